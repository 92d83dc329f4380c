#!/usr/bin/python3
"""Runs in the lab's machine: run.py LAB [--short] [SCENARIO...]"""
import importlib
import sys

import lab


def main():
    name, *words = sys.argv[1:]
    module = importlib.import_module(f"{name}_scenarios")
    is_short = "--short" in words
    wanted = [word for word in words if not word.startswith("--")]
    known = {scenario.__name__: scenario for scenario in module.SCENARIOS}
    unknown = [word for word in wanted if word not in known]
    if unknown:
        print(f"FAILED there is no {', '.join(unknown)}; there are {', '.join(known)}")
        return 1
    chosen = [known[word] for word in wanted] if wanted else module.SHORT if is_short else module.SCENARIOS
    is_good = lab.run_all([*module.SETUP, *(scenario for scenario in chosen if scenario not in module.SETUP)])
    print("complete", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

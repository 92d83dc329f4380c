#!/usr/bin/python3
"""Runs in the lab's machine: run.py LAB PHASE [--short] [SCENARIO...]"""
import importlib
import sys

import lab


def main():
    name, wanted_phase, *words = sys.argv[1:]
    module = importlib.import_module(f"{name}_scenarios")
    is_short = "--short" in words
    wanted = [word for word in words if not word.startswith("--")]
    known = {name for _, _, scenarios, more in module.PHASES for name in lab.names(scenarios + more)}
    unknown = [word for word in wanted if word not in known]
    if unknown:
        print(f"FAILED there is no {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return 1
    scenarios, more = next(phase[2:] for phase in module.PHASES if phase[0] == wanted_phase)
    if is_short:
        scenarios = module.SHORT
    elif wanted:
        scenarios = scenarios + more
    chosen = lab.chosen(scenarios, lambda name: not wanted or name in wanted or name in lab.names(module.SETUP))
    is_good = lab.run_all(chosen, getattr(module, "EMULATOR", None))
    print("complete", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

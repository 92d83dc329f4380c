"""What the scenarios share: the command line, waiting, the frame that counts."""
import json
import subprocess
import time
import traceback

COMMAND_SECONDS = 900


class Failure(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Failure(text)


def run(*words, seconds=COMMAND_SECONDS, status=0):
    """Runs a program; what it printed. Fails unless it ends with the status (None: any)."""
    done = subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False)
    require(status is None or done.returncode == status,
            f"{' '.join(map(str, words))}: status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
    return done.stdout if status is not None else done.stdout + done.stderr


def lodge(*words, **options):
    return run("lodge", *words, **options)


def show(noun, name):
    return json.loads(lodge(noun, "show", name, "-o", "json"))


def objects(noun):
    return json.loads(lodge(noun, "list", "-o", "json"))


def state(name):
    return show("vm", name)["status"]["state"]


def wait_until(what, condition, seconds, pause=2):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise Failure(f"after {seconds} s still not: {what}")


def run_all(scenarios):
    """Each in turn, also after one that failed. Returns whether all passed."""
    n_failed = 0
    for scenario in scenarios:
        begun = time.monotonic()
        print(f"-- {scenario.__name__}", flush=True)
        try:
            scenario()
            print(f"ok {scenario.__name__} ({time.monotonic() - begun:.0f} s)", flush=True)
        except Exception as failure:  # whatever it was: the rest shall run
            n_failed += 1
            print(f"FAILED {scenario.__name__} ({time.monotonic() - begun:.0f} s): {failure}", flush=True)
            if not isinstance(failure, Failure):
                traceback.print_exc()
    return n_failed == 0

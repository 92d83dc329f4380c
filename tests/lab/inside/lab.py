"""What the scenarios share: the command line, waiting, the frame that counts."""
import json
import subprocess
import time
import traceback

COMMAND_SECONDS = 900
TRIES = 2  # more, after a triple fault


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


def attempt(scenario, begun):
    """What went wrong; None when nothing did."""
    try:
        scenario()
        return None
    except Exception as failure:  # whatever it was: the rest shall run
        print(f"   after {time.monotonic() - begun:.0f} s: {failure}", flush=True)
        if not isinstance(failure, Failure):
            traceback.print_exc()
        return failure


def run_all(scenarios, emulator=None):
    """Each in turn, also after one that failed. `emulator` tells whether one failed because a guest was thrown out of its course: then
    it is tried again. Returns whether all passed."""
    n_failed = 0
    for scenario in scenarios:
        begun = time.monotonic()
        print(f"-- {scenario.__name__}", flush=True)
        if emulator:
            emulator.watch()
        failure = attempt(scenario, begun)
        for _ in range(TRIES):
            if not failure or not emulator or not emulator.is_to_blame():
                break
            print(f"-- {scenario.__name__}, again: a guest had a triple fault", flush=True)
            emulator.clean_up()
            failure = attempt(scenario, begun)
        n_failed += bool(failure)
        print(f"{'FAILED' if failure else 'ok'} {scenario.__name__} ({time.monotonic() - begun:.0f} s){f': {failure}' if failure else ''}", flush=True)
    return n_failed == 0

"""What the scenarios share: the command line, waiting, the frame that counts."""
import http.client
import json
import os
import selectors
import socket
import subprocess
import sys
import time
import traceback

COMMAND_SECONDS = 900
ANSWER_SECONDS = 120
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


class Api(http.client.HTTPConnection):
    """What is asked again and again: a tenth of the work of a command, on a machine where that is what takes long."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect("/run/lodge/lodged.sock")

    def get(self, path):
        try:
            self.request("GET", path)
            reply = self.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException) as failure:
            raise Failure(f"{path}: {failure}") from failure
        finally:
            self.close()
        require(reply.status == 200, f"{path}: {text}")
        return json.loads(text)


def show(noun, name):
    return Api("lodge").get(f"/v1/{noun}s/{name}")


def objects(noun):
    return Api("lodge").get(f"/v1/{noun}s?limit=1000")["items"]


def state(name):
    return show("vm", name)["status"]["state"]


def wait_until(what, condition, seconds, pause=1):
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


def run_one(scenario, emulator):
    """Prints what becomes of it; whether it passed."""
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
    print(f"{'FAILED' if failure else 'ok'} {scenario.__name__} ({time.monotonic() - begun:.0f} s){f': {failure}' if failure else ''}", flush=True)
    return not failure


def child(scenarios):
    """Runs them in a process of their own; its id and where to read what it prints."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.close(reader)
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    is_good = False
    try:
        is_good = run_all(scenarios)
    finally:
        sys.stdout.flush()
        os._exit(0 if is_good else 1)


def run_at_once(members):
    """What each prints is shown when a scenario of it has ended. None is tried again: its cleaning up would take the others' VMs."""
    children = [child(member if isinstance(member, list) else [member]) for member in members]
    texts = {reader: b"" for _, reader in children}
    with selectors.DefaultSelector() as selector:
        for reader in texts:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                more = os.read(key.fd, 65536)
                *lines, rest = (texts[key.fd] + more).split(b"\n")
                ended = [number for number, line in enumerate(lines) if line.startswith((b"ok ", b"FAILED "))]
                shown = ended[-1] + 1 if ended and more else 0 if more else len(lines)
                sys.stdout.write("".join(line.decode(errors="replace") + "\n" for line in lines[:shown]))
                sys.stdout.flush()
                texts[key.fd] = b"\n".join([*lines[shown:], rest])
                if not more:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return all([os.waitpid(pid, 0)[1] == 0 for pid, _ in children])


def run_all(scenarios, emulator=None):
    """Each in turn, also after one that failed; the members of a tuple at once, of which a list is again in turn. `emulator` tells
    whether one failed because a guest was thrown out of its course: then it is tried again. Returns whether all passed."""
    return all([run_at_once(scenario) if isinstance(scenario, tuple) else run_one(scenario, emulator) for scenario in scenarios])


def names(scenarios):
    """Of all, however they lie in one another."""
    return [name for scenario in scenarios
            for name in (names(scenario) if isinstance(scenario, (tuple, list)) else [scenario.__name__])]


def chosen(scenarios, is_wanted):
    """Those whose name is wanted, in the same order."""
    kept = []
    for scenario in scenarios:
        if isinstance(scenario, (tuple, list)):
            some = type(scenario)(chosen(scenario, is_wanted))
            kept += [some] if some else []
        elif is_wanted(scenario.__name__):
            kept.append(scenario)
    return kept

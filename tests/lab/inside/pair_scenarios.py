"""Two Xen hosts of one manager that see the same storage: a guest goes from one to the other while it runs."""
import re
import subprocess
import time

import emulator
from guests import domain, log_in, make, ticks
from lab import Api, lodge, objects, require, run, show, state, wait_until

QUICKSTART = 3600
HERE, THERE = "10.98.0.1", "10.98.0.2"
MOVE_SECONDS = 900
ENDED = {"succeeded", "failed", "cancelled", "lost"}


def there(*words, **options):
    """A program on the other machine."""
    return run("ssh", "-q", "-i", "/root/lab-key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
               "-o", "BatchMode=yes", f"root@{THERE}", *words, **options)


def on(host, *words, **options):
    return (run if host == "xen-1" else there)(*words, **options)


def other(host):
    return "xen-2" if host == "xen-1" else "xen-1"


def both_are_hosts_of_one_manager():
    other = subprocess.Popen(["ssh", "-q", "-i", "/root/lab-key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                              f"root@{THERE}", "cd /root/lodge && ./quickstart --host 2>&1"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = run("sh", "-c", f"cd /root/lodge && ./quickstart --no-vm --listen {HERE} 2>&1", seconds=QUICKSTART)
    print(re.sub(r", password .*", ", password (not shown here)", text), flush=True)
    said, _ = other.communicate(timeout=QUICKSTART)
    print(said, flush=True)
    require(other.returncode == 0, "quickstart failed on the other machine")
    code = re.search(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b", there("lodge-agent", "enrol")).group()
    lodge("host", "add", "xen-2", "--address", THERE, "--code", code)
    code = re.search(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b", run("lodge-agent", "enrol", status=None))
    lodge("host", "renew", "xen-1", "--address", HERE, *(["--code", code.group()] if code else []))
    wait_until("both are connected", lambda: lodge("host", "list", "-o", "csv", "--no-headers").count("connected") == 2, 300)
    print(lodge("host", "list"), flush=True)
    lodge("repository", "create", "san", "--kind", "shared", "--path", "/srv/san")
    wait_until("both see the storage", lambda: [view["state"] for view in Api("lodge").get("/v1/repositories/san")["status"]["hosts"]] == ["ready"] * 2, 300)


class Counter:
    """A guest that counts seconds, and writes each number to its disk."""

    def __init__(self, name, *words):
        self.name = name
        make(name, "--repository", "san", "--memory", "96M", *words)
        lodge("vm", "attach-disk", name, "--name", "data", "--size", "16M", "--format", "raw")
        with log_in(name) as console:
            console.run("[ -e /tmp/ticks ] || { (n=0; while :; do n=$((n+1)); echo $n >/tmp/ticks; "
                        "echo $n | dd of=/dev/xvda bs=512 seek=$n conv=notrunc,sync,fsync 2>/dev/null; sleep 1; done) & sleep 3; }")
            self.started = ticks(console)

    def place(self):
        return show("vm", self.name)["host_name"]

    def count(self):
        with log_in(self.name) as console:
            return ticks(console)

    def goes_on(self, before):
        """It runs once, is the same run, and each sector is the last that was written."""
        self.runs_once()
        with log_in(self.name) as console:
            now = ticks(console)
            require(before <= now < before + 1800, f"it counted {now} after {before}")
            wait_until("it counts on", lambda: ticks(console) > now, 60)
            n = ticks(console) - 1
            wanted = [1, max(1, before - 1), before, n]
            read = console.run(f"for i in {' '.join(map(str, wanted))}; do dd if=/dev/xvda bs=512 skip=$i count=1 iflag=direct 2>/dev/null | head -n 1; done")
            require(read.replace("\0", "").split() == list(map(str, wanted)), f"its disk has {read!r}, not {wanted}")

    def move(self, target):
        before, begun = self.count(), time.monotonic()
        lodge("vm", "migrate", self.name, "--to-host", target, seconds=MOVE_SECONDS)
        print(f"{self.name} went to {target} in {time.monotonic() - begun:.0f} s", flush=True)
        require(self.place() == target and state(self.name) == "running", f"{self.name} is {state(self.name)} on {self.place()}")
        self.goes_on(before)

    def runs_once(self):
        found = [words.count(domain(self.name)) for words in (run("xl", "list"), there("xl", "list"))]
        require(sum(found) == 1 and found[["xen-1", "xen-2"].index(self.place())] == 1, f"domains of it: {found}")


def a_pvh_guest_moves_live():
    """To and fro: its counter goes on, and each sector is the last that was written."""
    guest = Counter("runner", "--mode", "pvh")
    for _ in range(3):
        guest.move(other(guest.place()))
    lodge("vm", "stop", "runner", "--grace", "60", "--force")
    lodge("vm", "migrate", "runner", "--to-host", other(guest.place()))  # stopped, too
    lodge("vm", "start", "runner")
    log_in("runner").__exit__()
    guest.runs_once()
    lodge("vm", "delete", "runner", "--force", "--yes")


def a_full_pc_moves_live():
    guest = Counter("walker", "--mode", "hvm")
    guest.move(other(guest.place()))
    lodge("vm", "delete", guest.name, "--force", "--yes")


def what_cannot_move_is_refused():
    """And moves while it is stopped."""
    lodge("vm", "create", "stays", "--template", "tiny", "--repository", "san", "--memory", "96M", "--mode", "pv")
    lodge("vm", "attach-disk", "stays", "--name", "data", "--size", "16M", "--format", "qcow2")
    lodge("vm", "start", "stays")
    log_in("stays").__exit__()
    place = show("vm", "stays")["host_name"]
    refused("stays", place, "mode pv")
    lodge("vm", "kill", "stays")
    lodge("vm", "update", "stays", "--mode", "pvh")
    lodge("vm", "start", "stays")
    log_in("stays").__exit__()
    refused("stays", place, "qcow2")
    refused("stays", place, "/bandwidth", "--bandwidth", "10M")
    lodge("vm", "kill", "stays")
    lodge("vm", "migrate", "stays", "--to-host", other(place))
    require(show("vm", "stays")["host_name"] == other(place), "it has not moved")
    lodge("vm", "delete", "stays", "--force", "--yes")


def refused(name, place, wanted, *words):
    text = run("lodge", "vm", "migrate", name, "--to-host", other(place), *words, status=None)
    require(wanted in text, text)
    require(state(name) == "running" and show("vm", name)["host_name"] == place, "it does not run where it was")


def is_carried(host):
    """Whether a guest's memory is on its way there or from there."""
    return run_or_nothing(host, "pgrep", "-f", "libxl-save-helper --(save|restore)-domain")


def run_or_nothing(host, *words):
    """A pattern is one word of the shell on the other side."""
    return on(host, *(words if host == "xen-1" else [f"'{word}'" if " " in word else word for word in words]), status=None).strip()


def moves_that_are_interrupted_leave_one():
    """Whatever dies in the middle: one domain is left, it is the same run, and it can move again."""
    guest = Counter("victim", "--mode", "pvh")
    for side, what in (("source", "lodge-migrate"), ("target", "lodge-agent"), ("source", "libvirtd"), ("source", "lodge-agent"), ("target", "libvirtd")):
        source, before = guest.place(), guest.count()
        victim = source if side == "source" else other(source)
        lodge("vm", "migrate", guest.name, "--to-host", other(source), "--no-wait")
        job = max((job for job in objects("job") if job["kind"] == "vm.migrate"), key=lambda job: job["created"])["id"]
        wait_until("its memory is on its way", lambda: is_carried(victim), 300, pause=0.2)
        run_or_nothing(victim, "pkill", "-KILL", "-x", what)
        wait_until("the move has an end", lambda: Api("lodge").get(f"/v1/jobs/{job}")["state"] in ENDED, 600)
        ended = Api("lodge").get(f"/v1/jobs/{job}")
        print(f"{what} at the {side} killed: {ended['state']} {(ended.get('error') or {}).get('message', '')}; it is on {guest.place()}", flush=True)
        wait_until("it is said to run", lambda: state(guest.name) == "running", 120)
        guest.goes_on(before)
    guest.move(other(guest.place()))
    lodge("vm", "delete", guest.name, "--force", "--yes")


SETUP = [both_are_hosts_of_one_manager]
SHORT = [*SETUP, a_pvh_guest_moves_live]
SCENARIOS = [*SETUP, a_pvh_guest_moves_live, a_full_pc_moves_live, what_cannot_move_is_refused,
             moves_that_are_interrupted_leave_one]
PHASES = [("xen", True, SCENARIOS, [])]
EMULATOR = emulator
TEMPLATE, WANT_TEMPLATE = None, set()
MACHINES = 2

"""Two Xen hosts of one manager that see the same storage: a guest goes from one to the other while it runs."""
import re
import subprocess
import time

import emulator
from guests import domain, log_in, make, ticks
from lab import Api, lodge, require, run, show, state, wait_until

QUICKSTART = 3600
HERE, THERE = "10.98.0.1", "10.98.0.2"
MOVE_SECONDS = 900


def there(*words, **options):
    """A program on the other machine."""
    return run("ssh", "-q", "-i", "/root/lab-key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
               "-o", "BatchMode=yes", f"root@{THERE}", *words, **options)


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

    def move(self, target):
        with log_in(self.name) as console:
            before = ticks(console)
        begun = time.monotonic()
        lodge("vm", "migrate", self.name, "--to-host", target, seconds=MOVE_SECONDS)
        print(f"{self.name} went to {target} in {time.monotonic() - begun:.0f} s", flush=True)
        require(self.place() == target and state(self.name) == "running", f"{self.name} is {state(self.name)} on {self.place()}")
        self.runs_once()
        with log_in(self.name) as console:
            now = ticks(console)
            require(before <= now < before + 900, f"it counted {now} after {before}")
            wait_until("it counts on", lambda: ticks(console) > now, 60)
            n = ticks(console)
            read = console.run(f"for i in 1 {max(1, before - 1)} {before} {n - 1}; do dd if=/dev/xvda bs=512 skip=$i count=1 iflag=direct 2>/dev/null | head -n 1 | tr -d '\\000'; done")
            require(read.split() == [str(i) for i in (1, max(1, before - 1), before, n - 1)], f"its disk has {read.split()}")

    def runs_once(self):
        found = [words.count(domain(self.name)) for words in (run("xl", "list"), there("xl", "list"))]
        require(sum(found) == 1 and found[["xen-1", "xen-2"].index(self.place())] == 1, f"domains of it: {found}")


def a_pvh_guest_moves_live():
    """To and fro: its counter goes on, and each sector is the last that was written."""
    guest = Counter("runner", "--mode", "pvh")
    for target in ("xen-2", "xen-1", "xen-2") if guest.place() == "xen-1" else ("xen-1", "xen-2", "xen-1"):
        guest.move(target)
    lodge("vm", "stop", "runner", "--grace", "60", "--force")
    lodge("vm", "migrate", "runner", "--to-host", "xen-1" if guest.place() == "xen-2" else "xen-2")  # stopped, too
    lodge("vm", "start", "runner")
    log_in("runner").__exit__()
    guest.runs_once()
    lodge("vm", "delete", "runner", "--force", "--yes")


def a_pv_guest_moves_live():
    guest = Counter("walker", "--mode", "pv")
    guest.move("xen-2" if guest.place() == "xen-1" else "xen-1")
    lodge("vm", "delete", "walker", "--force", "--yes")


SETUP = [both_are_hosts_of_one_manager]
SHORT = [*SETUP, a_pvh_guest_moves_live]
SCENARIOS = [*SETUP, a_pvh_guest_moves_live, a_pv_guest_moves_live]
PHASES = [("xen", True, SCENARIOS, [])]
EMULATOR = emulator
TEMPLATE, WANT_TEMPLATE = None, set()
MACHINES = 2

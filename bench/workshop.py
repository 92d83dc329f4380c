"""What the benches share: the built programs, a private libvirt, figures and verdicts."""
import collections
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from house import PLACES, Failure, House, require, wait_until  # noqa: E402, F401  (the path comes first; benches import them from here)
from real_house import RealHouse  # noqa: E402, F401

SKIPPED = 77
BOOT_TEXT = b"bench-boot ok"  # src/image/boot-sector.c


def programs(build):
    """The built programs by name; ends the bench where something is missing."""
    places = {**PLACES, "direct-libvirt": "bench/direct-libvirt", "clone-once": "bench/clone-once", "scan-once": "bench/scan-once", "balance-once": "bench/balance-once"}
    found = {name: build / place for name, place in places.items()}
    missing = [str(path) for path in found.values() if not path.exists()]
    if missing:
        print(f"not built: {', '.join(missing)}; see CONTRIBUTING.md")
        sys.exit(SKIPPED)
    return found


def add_build_option(parser):
    parser.add_argument("--build", default=ROOT / "build", type=lambda text: pathlib.Path(text).resolve(), help="meson's build folder (build)")


def in_private_libvirt():
    """Runs this program again with a libvirt of its own, beside which nothing else is seen; returns inside."""
    if os.environ.get("LODGE_PRIVATE_LIBVIRT") == "inside":
        return
    wrapper = ROOT / "src/hypervisor/libvirt/private-libvirt.sh"
    status = subprocess.run([wrapper, "/usr/bin/python3", *sys.argv], check=False).returncode
    if status == SKIPPED:
        print("skipped: needs root, libvirtd, virtlogd and qemu-system-x86_64")
    sys.exit(status)


def in_private_mounts():
    """Runs this program again where what it mounts is its own and goes away with it; returns inside."""
    if os.environ.get("LODGE_PRIVATE_MOUNTS") == "inside":
        return
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(SKIPPED)
    wrapper = ["unshare", "--mount", "--propagation", "private", "/usr/bin/python3"]
    sys.exit(subprocess.run([*wrapper, *sys.argv], env=dict(os.environ, LODGE_PRIVATE_MOUNTS="inside"), check=False).returncode)


def command(*arguments):
    """Runs a program to its end; its standard output."""
    done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"{arguments[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def seconds(function):
    """How long it took, on the wall."""
    begun = time.monotonic()
    function()
    return time.monotonic() - begun


def processor_seconds():
    """Program -> seconds of processor time, its ended children's included, of all processes that are seen here: ours, in a
    private libvirt."""
    used = collections.Counter()
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        used[name] += sum(int(field) for field in rest.split()[11:15]) / os.sysconf("SC_CLK_TCK")  # proc(5): utime to cstime
    return used


def processor_note(before):
    """Who worked since `before`, the busiest first."""
    used = processor_seconds()
    used.subtract(before)
    busy = ", ".join(f"{name} {value:.1f}" for name, value in used.most_common(5) if value >= 0.1)
    return f"processor {sum(used.values()):.1f} s: {busy}"


def memory_figure(pid, name):
    """One of the sizes of /proc/PID/status, in kB."""
    return int(re.search(rf"^{name}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def used_seconds(pid):
    """Of processor time, by that process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_boots(folder, count, limit=300):
    """Until `count` serial logs (*.log) in the folder hold the boot sector's text."""
    seen = set()
    end = time.monotonic() + limit
    while len(seen) < count:
        for path in set(folder.glob("*.log")) - seen:
            if BOOT_TEXT in path.read_bytes():
                seen.add(path)
        if time.monotonic() > end:
            raise Failure(f"after {limit} s only {len(seen)} of {count} guests have printed their text")
        if len(seen) < count:
            time.sleep(0.05)


class Figures:
    """Collects times or sizes of one kind; prints them as they come."""

    def __init__(self, name, unit="s"):
        self.name, self.unit, self.values = name, unit, []

    def add(self, value, note=""):
        self.values.append(value)
        print(f"{self.name}: {value:.2f} {self.unit}{' ' + note if note else ''}", flush=True)

    def median(self):
        return statistics.median(self.values)


def verdict(text, is_good):
    """The last line of each bench; returns the exit status."""
    print(f"result: {text}: {'ok' if is_good else 'MISSED'}", flush=True)
    return 0 if is_good else 1


def run_bench(function, *arguments):
    """Runs a bench's body; a failure is a line and status 1 instead of a trace."""
    try:
        return function(*arguments)
    except Failure as failure:
        print(f"result: FAILED: {failure}")
        return 1

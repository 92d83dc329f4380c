"""Guests of the lab, made from the template tiny, and what they count."""
import pathlib
import time

from guest_console import Console, ConsoleFailure
from lab import lodge, objects, require, run, show, state, wait_until

BOOT = 600  # seconds until a guest asks for a name, on a starved machine


def make(name, *words, template="tiny"):
    lodge("vm", "create", name, "--template", template, *words, "--start", seconds=1800)
    return name


def remove(name):
    lodge("vm", "kill", name)
    lodge("vm", "delete", name, "--yes")


def the_disc():
    """The name of an ISO that is there."""
    disc = pathlib.Path("/root/disc.iso")
    if not disc.exists():
        disc.write_bytes(bytes(16 * 2048) + b"\x01CD001\x01".ljust(2048, b"\0") + b"\xffCD001\x01".ljust(2048, b"\0") + bytes(1 << 20))
        lodge("iso", "import", "disc", disc)
    return "disc"


def domain(name):
    return f"lodge-{show('vm', name)['id']}"


def domain_is_there(name):
    return domain(name) in run("xl", "list")


def domain_number(name):
    """Another one after each start and reboot; None while it is built."""
    text = run("xl", "domid", domain(name), status=None).split("\n")[0]
    return int(text) if text.isdigit() else None


def log_in(name, tries=10):
    """Again when the console ends: a daemon that was just started may not answer yet."""
    console = Console(name)
    try:
        console.log_in(BOOT)
    except Exception as failure:
        console.__exit__()
        if tries == 1 or not isinstance(failure, ConsoleFailure):
            raise
        time.sleep(5)
        return log_in(name, tries - 1)
    return console


def last_line(console, command):
    return console.run(command).splitlines()[-1:]


def counted(console, command, wanted, seconds=180):
    """Until the guest counts so many."""
    return wait_until(f"{console.name}: {command} gives {wanted}", lambda: last_line(console, command) == [str(wanted)], seconds)


def uptime(console):
    return float(last_line(console, "cut -d' ' -f1 /proc/uptime")[0])


def memory_mib(console):
    return int(last_line(console, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")[0]) // 1024


# --- a guest that counts seconds, so that it shows whether it is the same run

COUNTER = "[ -e /tmp/ticks ] || { (n=0; while :; do n=$((n+1)); echo $n >/tmp/ticks; sleep 1; done) & sleep 3; }"


def ticks(console):
    """Asked again when it is just being written."""
    return int(wait_until("it says how far it is", lambda: last_line(console, "cat /tmp/ticks"), 20)[0])


def start_counting(name):
    """How far it is."""
    with log_in(name) as console:
        console.run(COUNTER)
        return ticks(console)


def goes_on(name, before):
    with log_in(name) as console:
        now = ticks(console)
        require(before <= now < before + 900, f"it counted {now} after {before}")
        wait_until("it counts on", lambda: ticks(console) > now, 60)


def save_and_go_on(name):
    before = start_counting(name)
    lodge("vm", "save", name)
    wait_until("it is saved", lambda: state(name) == "saved", 20, pause=1)
    require(not domain_is_there(name), "its domain is still there")
    lodge("vm", "start", name)
    require(state(name) == "running", state(name))
    goes_on(name, before)


def remove_all(prefix, but=()):
    for vm in objects("vm"):
        if vm["name"].startswith(prefix) and vm["name"] not in but:
            run("lodge", "vm", "delete", vm["name"], "--force", "--yes", status=None)

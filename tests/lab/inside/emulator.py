"""What the emulator does to guests: its CPU ends those of each mode at random by a triple fault, whereupon they start anew."""
import subprocess

from lab import objects, run, wait_until

SETTLED_SECONDS = 300
_before = {"faults": 0, "vms": set()}


def triple_faults():
    """How many there were since the machine's start. (A guest without ACPI also reboots by one.)"""
    done = subprocess.run(["xl", "dmesg"], capture_output=True, text=True, check=False)
    return done.stdout.count("Triple fault")


def names():
    try:
        return {vm["name"] for vm in objects("vm")}
    except Exception:  # Lodge is not there yet
        return set()


def watch():
    _before.update(faults=triple_faults(), vms=names())


def is_to_blame():
    """Whether there was one since `watch`, or since this was asked last."""
    faults, _before["faults"] = _before["faults"], triple_faults()
    return _before["faults"] > faults


def clean_up():
    """VMs that were made since `watch` go, the others come to rest."""
    for name in names() - _before["vms"]:
        run("lodge", "vm", "delete", name, "--force", "--yes", status=None)
    wait_until("all VMs are at rest", lambda: all(vm["status"]["state"] in ("running", "stopped", "saved") for vm in objects("vm")), SETTLED_SECONDS)

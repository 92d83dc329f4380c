"""Tries each ability of a mode with a real guest, for the table that the host reports to be compared with."""
import json
import pathlib
import socket
import struct
import subprocess
import time

import emulator
import guests
from lab import Failure, lodge, require, run, show, state, wait_until

GUEST_SECONDS = 300
TRIES = 2  # more, after a triple fault
LEASE_SECONDS = 900  # firmware is slow under nested emulation


class Trial:
    """One guest of a mode; each method named like an ability uses it for that, or fails."""

    def __init__(self, mode):
        self.mode, self.name, self.console = mode, f"{mode}-guest", None
        self.loader, self.firmware = None, None  # guests with a boot sector, with firmware that looks for the network
        self.faults = emulator.triple_faults()

    def remove_others(self):
        guests.remove_all(f"{self.mode}-", but=[self.name, self.loader, self.firmware])

    def was_struck(self):
        """Whether the emulated CPU has thrown the guest out of its course since last asked; then it is running again."""
        before, self.faults = self.faults, emulator.triple_faults()
        if self.faults == before:
            return False
        wait_until("it runs again", lambda: state(self.name) == "running", GUEST_SECONDS)
        if self.console:
            self.console.__exit__()
            self.console = guests.log_in(self.name)
        for verb, name in (("detach-disk", "data"), ("detach-nic", "second")):
            if self.ability == verb.replace("detach-", "") + "_attach":
                run("lodge", "vm", verb, self.name, name, "--yes", status=None)
        return True

    def attempt(self, ability):
        """Whether it works, and what was said."""
        self.ability = ability
        try:
            getattr(self, ability)()
            return True, ""
        except Exception as failure:  # that it is refused, is an answer
            return False, str(failure).strip()

    # --- starting

    def boot_kernel(self):
        guests.make(self.name, "--mode", self.mode, "--vcpus", "1", "--vcpus-maximum", "2", "--memory", "128M", "--memory-maximum", "192M")
        require(show("vm", self.name)["status"]["mode"] == self.mode, "it runs in another mode")

    def serial(self):
        self.console = guests.log_in(self.name)
        kind = self.console.run("cat /sys/hypervisor/guest_type").splitlines()[-1]
        require(kind.lower() == self.mode, f"the guest finds itself in {kind}")

    def _loads(self, name):
        with guests.Console(name) as console:
            console.wait_for(["loader ok"], GUEST_SECONDS)

    def _asks_for_an_address(self, name, *words):
        """Firmware that starts from the network has a lease, whatever comes of it."""
        lodge("vm", "create", name, "--mode", self.mode, "--memory", "192M", *words, "--start")
        wait_until("its firmware has an address", lambda: show("vm", name)["status"].get("addresses"), LEASE_SECONDS)

    def boot_network(self):
        name = f"{self.mode}-network"
        self._asks_for_an_address(name, "--template", the_loader(), "--guest-os", "debian12", "--boot-order", "network", "--boot-order", "disk", "--graphics", "vnc")
        self.firmware = name

    def boot_disk(self):
        """The guest that found nothing on the network, where there is one: its disk's boot sector says over and over that it runs."""
        name = self.firmware or f"{self.mode}-disk"
        if not self.firmware:
            lodge("vm", "create", name, "--template", the_loader(), "--mode", self.mode, "--guest-os", "debian12", "--start")
        self._loads(name)

    def boot_any(self):
        """With an empty drive for CDs."""
        name = f"{self.mode}-any"
        lodge("vm", "create", name, "--template", the_loader(), "--mode", self.mode)
        lodge("vm", "attach-disk", name, "--kind", "cd", "--name", "drive")
        lodge("vm", "start", name)
        self._loads(name)
        self.loader = name

    def uefi(self):
        self._asks_for_an_address(f"{self.mode}-uefi", "--disk-size", "16M", "--firmware", "uefi", "--boot-order", "network")

    def graphics(self):
        """Of the guest that looks for the network, where there is one."""
        name = self.firmware or guests.make(f"{self.mode}-screen", "--mode", self.mode, "--graphics", "vnc")
        path = f"/var/lib/lodge/agent/{show('vm', name)['id']}.vnc"
        with socket.socket(socket.AF_UNIX) as screen:
            screen.settimeout(60)
            screen.connect(path)
            text = screen.recv(12).decode()
        others = subprocess.run(["runuser", "-u", "nobody", "--", "test", "-w", path], check=False)
        require(others.returncode != 0, "others may open the screen")
        require(text.startswith("RFB 003.008"), f"the screen says {text!r}")
        self.firmware = None

    # --- changes

    def vcpus_add(self):
        lodge("vm", "update", self.name, "--vcpus", "2")
        guests.counted(self.console, "nproc", 2)
        require(not show("vm", self.name)["status"].get("pending"), f"pending: {show('vm', self.name)['status']}")

    def vcpus_remove(self):
        lodge("vm", "update", self.name, "--vcpus", "1")
        require("/vcpus" not in show("vm", self.name)["status"].get("pending", []), "it waits for the next start")
        guests.counted(self.console, "nproc", 1)

    def memory_add(self):
        self.memory = guests.memory_mib(self.console)
        lodge("vm", "update", self.name, "--memory", "160M")
        wait_until("more memory", lambda: guests.memory_mib(self.console) > self.memory + 20, GUEST_SECONDS)

    def memory_remove(self):
        lodge("vm", "update", self.name, "--memory", "128M")
        wait_until("less memory", lambda: guests.memory_mib(self.console) < self.memory + 10, GUEST_SECONDS)

    def disk_attach(self):
        lodge("vm", "attach-disk", self.name, "--name", "data", "--size", "64M", "--format", "raw")
        guests.counted(self.console, "ls /sys/block | grep -c xvd", 1)

    def disk_grow(self):
        """The back end tells the guest with its next request."""
        lodge("vm", "resize-disk", self.name, "data", "128M")
        guests.counted(self.console, "dd if=/dev/xvda of=/dev/null bs=512 count=1 iflag=direct 2>/dev/null; cat /sys/block/xvda/size", 128 * 2048)

    def disk_detach(self):
        lodge("vm", "detach-disk", self.name, "data", "--yes")
        guests.counted(self.console, "ls /sys/block | grep -c xvd", 0)

    def nic_attach(self):
        self.nics = int(self.console.run(COUNT_NICS).splitlines()[-1])
        lodge("vm", "attach-nic", self.name, "--name", "second", "--network", "default")
        guests.counted(self.console, COUNT_NICS, self.nics + 1)

    def nic_detach(self):
        lodge("vm", "detach-nic", self.name, "second", "--yes")
        guests.counted(self.console, COUNT_NICS, self.nics)

    def cd_change(self):
        """Of the guest with a boot sector, where there is one."""
        name, disc = self.loader or f"{self.mode}-drive", guests.the_disc()
        if not self.loader:
            lodge("vm", "create", name, "--template", "tiny", "--mode", self.mode)
            lodge("vm", "attach-disk", name, "--kind", "cd", "--name", "drive")
            lodge("vm", "start", name)
        for verb, words, medium in (("insert-iso", [disc], True), ("eject-iso", [], False), ("insert-iso", [disc], True)):
            lodge("vm", verb, name, *words)
            require(not show("vm", name)["status"].get("pending"), "the medium waits for a restart")
            require((".iso" in run("virsh", "-c", "xen:///system", "domblklist", guests.domain(name))) == medium, f"{verb} did nothing")
        self.loader = None

    # --- holding

    def pause(self):
        lodge("vm", "pause", self.name)
        require(state(self.name) == "paused", state(self.name))
        lodge("vm", "resume", self.name)
        require(state(self.name) == "running", state(self.name))
        self.console.run("true")

    def save(self):
        self.console.__exit__()
        guests.save_and_go_on(self.name)
        self.console = guests.log_in(self.name)

    def copy(self):
        lodge("vm", "clone", self.name, f"{self.mode}-copy", "--hold")
        wait_until("it runs on", lambda: (state(self.name), state(f"{self.mode}-copy")) == ("running", "stopped"), 30)
        self.console.run("true")

    def statistics(self):
        before = self._usage()
        self.console.run("dd if=/dev/zero of=/dev/xvda bs=1M count=8; sync", seconds=GUEST_SECONDS)
        after = wait_until("the disk is counted", lambda: self._counts_more(before), 60)
        require(after["cpu_time_ms"] > before["cpu_time_ms"] and after["memory"] > 2**26, f"{before}, then {after}")
        require(after["nics"] and after["nics"][0].get("sent_packets", 0) > 0, f"NICs: {after}")

    def _usage(self):
        """Asked again when it takes longer than a question may, on a starved machine."""
        def ask():
            text = run("lodge", "vm", "stats", self.name, "-o", "json", status=None)
            return text if text[:1] in ("[", "{") else None
        rows = json.loads(wait_until("the host counts", ask, 120))
        return rows[0] if isinstance(rows, list) else rows

    def _counts_more(self, before):
        now = self._usage()
        old, new = ({disk["name"]: disk for disk in usage["disks"]}["data"] for usage in (before, now))
        return now if new.get("written_bytes", 0) >= old.get("written_bytes", 0) + 8 * 2**20 else None

    def reset(self):
        self.console.__exit__()
        time.sleep(1)
        begun = time.monotonic()
        lodge("vm", "reset", self.name)
        self.console = guests.log_in(self.name)
        require(guests.uptime(self.console) < time.monotonic() - begun + 5, "it was not reset")

    def guest_agent(self):
        """On a network whose leases nobody here can read, it is the only one who knows them."""
        wait_until("an agent is heard", lambda: show("vm", self.name)["status"].get("agent"), GUEST_SECONDS)
        address = show("vm", self.name)["status"]["addresses"][0]["address"]
        said = run("xenstore-ls", f"/local/domain/{run('xl', 'domid', guests.domain(self.name)).strip()}/attr/vif")
        require(address in said, f"{address} is not what the guest says: {said}")

    def migrate_live(self):
        raise Failure("there is no command for it")

    def end(self):
        if self.console:
            self.console.__exit__()
        guests.remove(self.name)


COUNT_NICS = "ls /sys/class/net | grep -c eth"
# In this order: what comes later uses the guest of what came before.
ORDER = ("boot_kernel", "serial", "boot_network", "boot_disk", "graphics", "boot_any", "cd_change", "uefi", "vcpus_add", "vcpus_remove", "memory_add",
         "memory_remove", "disk_attach", "disk_grow", "statistics", "disk_detach", "nic_attach", "nic_detach", "pause", "save", "copy",
         "guest_agent", "reset", "migrate_live")


# What is said where something cannot be: anything else is a failure, not a refusal.
REFUSALS = ("Not supported", "it waits for the next start", "there is no command for it")


def boot_sector():
    """Sixteen-bit code that sets up the serial port and then prints for ever (src/image/boot-sector.c prints once)."""
    text = b"loader ok\r\n\0"
    code = bytes.fromhex(
        "fa 31c0 8ed8 8ed0 bc007c fc bafb03 b080ee baf803 b001ee 42 30c0ee bafb03 b003ee be437c ac 84c0 7411 88c4 bafd03 ec a820 74fb 88e0 b2f8 ee ebea"
        "b90010 e480 e2fc ebde")
    return (code + text).ljust(510, b"\0") + struct.pack("<H", 0xaa55)


def the_loader():
    """The name of a template with that boot sector."""
    image = pathlib.Path("/root/loader.img")
    if not image.exists():
        image.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
        lodge("template", "import", "loader", image, "--format", "raw", "--memory", "64M")
    return "loader"


def compare(mode, elsewhere=()):
    """Tries all; fails with each cell where the table says something else. `elsewhere`: tried by another scenario."""
    table = next(row for row in show("host", "dom0")["status"]["modes"] if row["mode"] == mode)
    unknown = set(table) - {"mode"} ^ set(ORDER)
    require(not unknown, f"the table and the trials do not have the same abilities: {unknown}")
    trial, wrong = Trial(mode), []
    for ability in ORDER:
        if ability in elsewhere:
            continue
        begun, works, why = time.monotonic(), *trial.attempt(ability)
        for _ in range(TRIES):
            if works or not table[ability] or not trial.was_struck():
                break
            print(f"   {mode} {ability}: again, because the guest ended with a triple fault ({why[-100:]!r})", flush=True)
            trial.loader, trial.firmware = None, None
            trial.remove_others()
            works, why = trial.attempt(ability)
        trial.remove_others()
        is_refused = any(word in why for word in REFUSALS)
        verdict = "agrees" if works == table[ability] and (works or is_refused) else "DIFFERS"
        print(f"   {mode} {ability}: {'yes' if works else 'no'}, {verdict} ({time.monotonic() - begun:.0f} s){': ' + why[-300:] if why else ''}", flush=True)
        if verdict != "agrees":
            wrong.append(f"{ability} is {works}")
    trial.end()
    require(not wrong, f"the table is wrong for {mode}: {', '.join(wrong)}")

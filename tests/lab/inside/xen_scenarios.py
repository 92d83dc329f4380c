"""Lodge on Xen, as a user works with it."""
import glob
import json
import os
import re
import subprocess
import time

import abilities
import bad_times
import emulator
from guest_console import Console, ConsoleFailure
from guests import counted, domain_is_there, domain_number, goes_on, log_in, make, start_counting, uptime
from lab import COMMAND_SECONDS, Failure, lodge, objects, require, run, show, state, wait_until

QUICKSTART = 3600
DEBIAN_SECONDS = 3600
TEMPLATE, DISK_NAME = "debian-13", "disk.qcow2"  # built by its recipe outside; see cache.py
KEY = "/root/key"

# --- in this order


def quickstart_sets_up_a_host():
    text = run("sh", "-c", "cd /root/lodge && ./quickstart --no-vm 2>&1", seconds=QUICKSTART)
    print(re.sub(r", password .*", ", password (not shown here)", text), flush=True)


def the_host_is_shown():
    print(lodge("host", "show", "dom0"), flush=True)
    status = show("host", "dom0")["status"]
    require(status["hypervisor"].startswith("Xen 4."), status["hypervisor"])
    require(status["acceleration"] == "xen", status["acceleration"])
    require(status["kernel"] == run("uname", "-r").strip(), status["kernel"])
    total = int(re.search(r"total_memory *: (\d+)", run("xl", "info")).group(1))
    require(abs(status["memory"] // 2**20 - total) < 16, f"memory {status['memory']} beside {total} MiB")
    require(status["memory_free"] < status["memory"] - status["control_memory"] + 2**26, "dom0's memory counts as free")
    require("Domain-0" not in status.get("unmanaged", []), "dom0 is listed as a VM")


def the_first_vm_runs_without_a_word_about_the_mode():
    lodge("vm", "create", "hello", "--template", "tiny", "--start", seconds=1800)
    print(lodge("vm", "list"), flush=True)
    require(state("hello") == "running", state("hello"))
    with log_in("hello") as console:
        require(console.run("nproc").splitlines()[-1:] == ["1"], "not one vCPU")
        print(console.run("cat /sys/hypervisor/type /sys/hypervisor/guest_type; uname -r; cat /proc/cmdline"), flush=True)
        require("PVH" in console.run("cat /sys/hypervisor/guest_type"), "not PVH")


def its_address_is_shown():
    wait_until("an address", lambda: show("vm", "hello")["status"].get("addresses"), 300)
    print(lodge("vm", "list"), flush=True)


def what_cannot_be_written_is_there():
    """QEMU's back end would lose a read-only disk without a word."""
    lodge("vm", "create", "reader", "--template", "tiny", "--memory", "96M")
    lodge("vm", "attach-disk", "reader", "--name", "fixed", "--size", "16M", "--format", "raw", "--read-only")
    lodge("vm", "start", "reader")
    with log_in("reader") as console:
        found = console.run("cat /sys/block/xvd*/ro")
        require(found.split().count("1") == 1, f"not one of its disks is read-only:\n{found}")
    lodge("vm", "kill", "reader")
    lodge("vm", "attach-disk", "reader", "--name", "other", "--size", "16M", "--format", "qcow2", "--read-only")
    text = require_failure("vm", "start", "reader")
    require("read-only" in text, text)
    lodge("vm", "delete", "reader", "--yes")


def what_dom0_keeps_is_a_setting():
    """Counts from the next start on; this machine has no boot loader of its own, so that the runner's arguments count there."""
    require(show("host", "dom0")["status"]["control_state"] == "open", "somebody set it")
    lodge("host", "update", "dom0", "--control", "memory=1400M,vcpus=2")
    wait_until("the setting is shown", lambda: show("host", "dom0")["status"]["control_state"] in ("pending", "failed"), 60)
    print(lodge("host", "show", "dom0"), flush=True)
    text = run("cat", "/etc/default/grub.d/lodge-control.cfg")
    require("dom0_mem=1400M,max:1400M dom0_max_vcpus=2" in text, text)
    require("/control/memory" in require_failure("host", "update", "dom0", "--control", "memory=64G"), "64 GiB are not refused")
    run("lodge", "host", "update", "dom0", "--control", "null", status=None)


def a_guest_is_hot_plugged():
    with log_in(make("grow", "--vcpus", "1", "--vcpus-maximum", "2", "--memory", "128M", "--memory-maximum", "192M")) as console:
        lodge("vm", "update", "grow", "--vcpus", "2")
        counted(console, "nproc", 2)
        lodge("vm", "attach-disk", "grow", "--name", "data", "--size", "64M")
        counted(console, "ls /sys/block | grep -c xvd", 1)


def what_pvh_can_do():
    abilities.compare("pvh", elsewhere=["boot_disk"])


def what_hvm_can_do():
    abilities.compare("hvm")


def what_pv_can_do():
    abilities.compare("pv")


class Terminals:
    """Takes numbers of terminals that become free, and has something to say on each: nobody's console may show it."""

    def __init__(self):
        self.open = []

    def add(self):
        self.open.append(os.openpty())
        os.write(self.open[-1][0], b"not for you\n")

    def check(self, name):
        self.add()
        with Console(name) as console:
            try:
                console.read(1)
            except ConsoleFailure:  # there is none while it is built again
                pass
            require("not for you" not in console.text, f"the console of {name} is another's terminal: {console.text!r}")

    def close(self):
        for fd in sum(self.open, ()):
            os.close(fd)


def a_guest_that_reboots_is_never_stopped():
    """Whoever sees it as stopped might delete it, or start it elsewhere, while the hypervisor starts it again."""
    terminals = Terminals()
    with log_in("hello") as console:
        before = domain_number("hello")
        console.send("reboot -f\n")
        seen = set()

        def runs_again():
            seen.add(state("hello"))
            terminals.check("hello")
            return domain_number("hello") not in (None, before) and state("hello") == "running"
        wait_until("it runs again", runs_again, 300, pause=0.2)
    terminals.close()
    require(seen <= {"running", "starting"}, f"states: {seen}")
    with log_in("hello") as console:
        require(uptime(console) < 300, "it did not reboot")


def a_guest_that_reboots_keeps_its_vcpus():
    """The hypervisor builds it again with all that it may get; it must use as many as it had, and be able to get the others."""
    with log_in("grow") as console:
        lodge("vm", "update", "grow", "--vcpus", "1")
        counted(console, "nproc", 1)
        before = domain_number("grow")
        console.send("reboot -f\n")
        wait_until("it reboots", lambda: domain_number("grow") not in (None, before), 120, pause=0.5)
    wait_until("it runs again", lambda: state("grow") == "running", 300)
    with log_in("grow") as console:
        counted(console, "nproc", 1)
        lodge("vm", "update", "grow", "--vcpus", "2")
        counted(console, "nproc", 2)


def interrupted_saves_lose_nothing():
    for units, seconds in ((["lodge-agent"], 1), (["libvirtd", "lodge-agent"], 0.2), (["libvirtd"], 1.5)):
        before = start_counting("grow")
        lodge("vm", "save", "grow", "--no-wait")
        time.sleep(seconds)
        for unit in units:
            run("kill", "-9", run("systemctl", "show", "-P", "MainPID", unit).strip())
        print(run("xl", "list", "-v", status=None), flush=True)
        wait_until("the save has ended", lambda: [job for job in objects("job") if job["kind"] == "vm.save"] and not [
            job for job in objects("job") if job["state"] in ("queued", "running")], 600)
        wait_until("it is saved or runs", lambda: state("grow") in ("saved", "running"), 120)
        print(f"after {units} died it is {state('grow')}", flush=True)
        require(domain_is_there("grow") == (state("grow") == "running"), run("xl", "list", "-v"))
        if state("grow") == "saved":
            lodge("vm", "start", "grow")
        goes_on("grow", before)


def is_back(unit, old_pid):
    if run("systemctl", "show", "-P", "MainPID", unit).strip() in ("0", old_pid):
        return False
    text = run("lodge", "vm", "list", "-o", "csv", "--no-headers", "--columns", "name,state", "--filter", "name=hello", status=None)
    return text.strip() == "hello,running"


def daemons_die_and_guests_go_on():
    with log_in("hello") as console:
        before = uptime(console)
        for unit in ("lodge-agent", "lodged", "libvirtd"):
            pid = run("systemctl", "show", "-P", "MainPID", unit).strip()
            if pid == "0":
                continue
            run("kill", "-9", pid)
            wait_until(f"{unit} is back and the state right", lambda: is_back(unit, pid), 300)
    with log_in("hello") as console:
        require(uptime(console) > before, "the guest was started again")


def four_guests_from_one_command():
    lodge("vm", "create", "many", "--template", "tiny", "--count", "4", "--memory", "96M", "--start", seconds=1800)
    def machines_now():
        return [vm for vm in objects("vm") if vm["name"].startswith("many-")]
    wait_until("all run", lambda: [vm["status"]["state"] for vm in machines_now()] == ["running"] * 4, 120)
    machines = machines_now()
    require(len({nic["mac"] for vm in machines for nic in vm["nics"]}) == 4, "MACs are not each guest's own")
    print(lodge("vm", "list"), flush=True)
    ends = [subprocess.Popen(["lodge", "vm", "delete", vm["name"], "--force", "--yes"], stdin=subprocess.DEVNULL) for vm in machines]
    require([end.wait(COMMAND_SECONDS) for end in ends] == [0] * 4, "they could not all be deleted")


def a_running_guest_is_cloned():
    """It writes; its copy is made at one moment, both run side by side, and so does a copy of the one that was stopped."""
    make("writer", "--memory", "96M")
    lodge("vm", "attach-disk", "writer", "--name", "data", "--size", "32M", "--format", "raw")
    with log_in("writer") as console:
        console.run("(n=100000; while :; do n=$((n+1)); echo $n | dd of=/dev/xvda bs=512 conv=sync,notrunc oflag=direct 2>/dev/null; sleep 0.1; done) & sleep 2")
        before = uptime(console)
    text = require_failure("vm", "clone", "writer", "twin")  # this repository shares no blocks
    require("stop it, or" in text, text)
    lodge("vm", "clone", "writer", "twin", "--hold", "--start")
    wait_until("both run", lambda: state("writer") == "running" and state("twin") == "running", 30)
    with log_in("twin") as console:
        first = console.run("dd if=/dev/xvda bs=512 count=1 2>/dev/null | tr -d '\\0'").splitlines()[-1]
    with log_in("writer") as console:
        require(uptime(console) > before, "the original was started anew")
        now = console.run("dd if=/dev/xvda bs=512 count=1 2>/dev/null | tr -d '\\0'").splitlines()[-1]
    print(f"   the copy holds {first}, the original wrote on to {now}", flush=True)
    require(100000 < int(first) < int(now), "the copy holds something else")
    lodge("vm", "stop", "twin")
    lodge("vm", "clone", "twin", "triplet", "--start")
    macs = [nic["mac"] for name in ("writer", "twin", "triplet") for nic in show("vm", name)["nics"]]
    require(len(set(macs)) == 3, f"MACs are {macs}")
    for name in ("writer", "twin", "triplet"):
        lodge("vm", "delete", name, "--force", "--yes")


def domains_of_others_are_left_alone():
    """A domain made with xl, which libvirt does not know, and one that nobody may touch."""
    kernel = next(iter(run("sh", "-c", "ls /boot/vmlinuz-*").split()))
    config = "/root/other.cfg"
    with open(config, "w", encoding="ascii") as file:
        file.write(f'name="other"\ntype="pvh"\nkernel="{kernel}"\nmemory=192\nvcpus=1\non_crash="preserve"\n')
    run("xl", "create", config)
    try:
        wait_until("the other is reported", lambda: "other" in show("host", "dom0")["status"].get("unmanaged", []), 120)
        require(not [vm for vm in objects("vm") if vm["name"] == "other"], "it is listed as ours")
    finally:
        run("xl", "destroy", "other", status=None)


def guests_end():
    lodge("vm", "stop", "hello")
    require(state("hello") == "stopped", state("hello"))
    lodge("vm", "start", "hello")
    lodge("vm", "kill", "hello")
    require(state("hello") == "stopped", state("hello"))
    for vm in objects("vm"):
        lodge("vm", "stop", vm["name"], "--force", "--timeout", "600")
        lodge("vm", "delete", vm["name"], "--yes")
    left = subprocess.run(["xl", "list"], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    require(not left, f"domains are left: {left}")
    require(not run("losetup", "-n", "-l").strip(), "loop devices are left")


def require_failure(*words):
    text = lodge(*words, status=None)
    if "lodge:" not in text:
        raise Failure(f"not refused: {words}\n{text}")
    return text


def what_a_mode_cannot_do_is_refused_first():
    text = require_failure("vm", "create", "no", "--template", "tiny", "--mode", "pvh", "--firmware", "uefi", "--start")
    require("firmware" in text or "mode" in text, text)
    print(text, flush=True)
    run("lodge", "vm", "delete", "no", "--yes", status=None)


def ssh(address, command):
    """Standard output; None while the guest does not let us in."""
    done = subprocess.run(["ssh", "-i", KEY, "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                           "-o", "StrictHostKeyChecking=no", f"lodge@{address}", command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=600, check=False)
    return done.stdout if done.returncode == 0 else None


def enter(name, command):
    """What the command prints in a guest that is entered by SSH."""
    def address():
        found = [entry["address"] for entry in show("vm", name)["status"].get("addresses", []) if ":" not in entry["address"]]
        return found[0] if found else None
    where = wait_until(f"{name} has an address", address, DEBIAN_SECONDS)
    return wait_until(f"{name} lets us in by SSH", lambda: ssh(where, command), DEBIAN_SECONDS)


def start_debian(name, template):
    """Its own boot loader starts it, as PVH."""
    if not os.path.exists(KEY):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY)
    lodge("vm", "create", name, "--template", template, "--ssh-key", f"{KEY}.pub", "--memory", "512M", "--start")
    require(show("vm", name)["status"]["mode"] == "pvh", show("vm", name)["status"])


def enter_debian(name):
    text = enter(name, "hostname; cat /sys/hypervisor/guest_type; echo 1 >mark; sync")
    print(f"   in when it had run for {enter(name, 'cut -d. -f1 /proc/uptime').strip()} s: {text.split()}", flush=True)
    require(text.split() == [name, "PVH"], text)


def a_debian_guest_starts():
    """From a disk image that is imported as template."""
    begun = time.monotonic()
    lodge("template", "import", "imported", f"/root/{DISK_NAME}", "--guest-os", "debian13", "--cloud-init", "--repository", "main", seconds=DEBIAN_SECONDS)
    print(f"   template imported in {time.monotonic() - begun:.0f} s", flush=True)
    start_debian("debian", "imported")


def a_debian_guest_lets_us_in():
    """Whatever goes wrong on its host meanwhile."""
    enter_debian("debian")


def a_debian_guest_ends():
    lodge("vm", "stop", "debian", "--grace", "600")
    lodge("vm", "delete", "debian", "--yes")
    lodge("template", "delete", "imported", "--yes")


def debian_is_built_by_its_recipe():
    begun = time.monotonic()
    lodge("template", "build", "debian-13", seconds=DEBIAN_SECONDS)
    print(f"   template built in {time.monotonic() - begun:.0f} s", flush=True)
    start_debian("built", "debian-13")
    enter_debian("built")
    lodge("vm", "stop", "built", "--grace", "600")


def debian_goes_on_elsewhere():
    lodge("vm", "start", "built")
    text = enter("built", "cat mark; ls /dev/vda; sudo systemctl is-active serial-getty@ttyS0")
    require(text.split() == ["1", "/dev/vda", "active"], text)
    lodge("vm", "stop", "built", "--grace", "600")


def one_runs_always():
    """One runs always, one when it ran before, one only when somebody starts it."""
    for policy in ("always", "last", "manual"):
        make(policy, "--memory", "96M", "--run-policy", policy)
        log_in(policy).__exit__()


def run_policies_count():
    """The machine has started: who shall run, runs without being asked; nobody else runs, and nobody saved them meanwhile."""
    require(not glob.glob("/var/lib/xen/save/*"), "another tool has saved domains")
    for name in ("always", "last"):
        wait_until(f"the VM with the policy {name} runs", lambda name=name: state(name) == "running", 300)
        with log_in(name) as console:
            require(uptime(console) < 600, "it is the guest of an earlier start")
    require(state("manual") == "stopped", state("manual"))


def a_traveller_is_made():
    """A VM that goes from hypervisor to hypervisor, with marks on its own disk."""
    make("traveller", "--vcpus", "1", "--vcpus-maximum", "2")
    lodge("vm", "attach-disk", "traveller", "--name", "data", "--size", "64M")
    lodge("vm", "attach-nic", "traveller", "--name", "second", "--network", "default")
    leave_mark("/dev/xvda", 0)
    lodge("vm", "stop", "traveller")
    lodge("vm", "create", "anchored", "--guest-os", "debian13", "--mode", "pvh", "--disk-size", "64M", "--memory", "64M")
    keep_definition()
    print(lodge("vm", "modes", "traveller"), lodge("vm", "modes", "anchored"), flush=True)
    fits = {row["id"]: row for row in json.loads(lodge("vm", "modes", "anchored", "-o", "json"))}
    require(not fits["qemu/hvm"]["fits"] and fits["qemu/hvm"]["field"] == "/mode", f"what cannot be mapped is not named: {fits}")
    fits = {row["id"]: row for row in json.loads(lodge("vm", "modes", "traveller", "-o", "json"))}
    require(fits["qemu/hvm"]["fits"] and fits["xen/pvh"]["fits"], f"it would not run: {fits}")


def mark_text(number):
    return f"mark {number} of the traveller"


def leave_mark(device, number):
    with log_in("traveller") as console:
        console.run(f"echo {mark_text(number)} | dd of={device} bs=512 seek={number} conv=sync; sync")
        require(mark_text(number) in read_mark(console, device, number), "the mark was not written")


def read_mark(console, device, number):
    return console.run(f"dd if={device} bs=512 skip={number} count=1 2>/dev/null | tr -d '\\0'")


def definition():
    """What must stay as it is."""
    vm = show("vm", "traveller")
    return {key: value for key, value in vm.items() if key not in ("status", "revision", "updated")}


def keep_definition():
    with open("/root/traveller.json", "w", encoding="utf-8") as file:
        json.dump(definition(), file)


def the_host_is_back(driver):
    wait_until("the host is connected", lambda: "connected" in run("lodge", "host", "list", "-o", "csv", "--no-headers", status=None), 600)
    wait_until(f"it is known as {driver}", lambda: show("host", "dom0")["driver"] == driver, 120)
    print(lodge("host", "list"), flush=True)


def goes_on_elsewhere(device, disk_number, marks):
    """Starts the traveller: nothing of it is lost, and it leaves another mark."""
    with open("/root/traveller.json", encoding="utf-8") as file:
        require(definition() == json.load(file), f"its definition changed: {definition()}")
    lodge("vm", "start", "traveller", seconds=1800)
    with log_in("traveller") as console:
        for number in range(marks):
            require(mark_text(number) in read_mark(console, device, number), f"mark {number} is lost")
        macs = console.run("cat /sys/class/net/eth*/address").split()
        require(sorted(macs) == sorted(nic["mac"] for nic in show("vm", "traveller")["nics"]), f"its MACs are {macs}")
        require(console.run(f"ls /sys/block | grep -c {disk_number}").splitlines()[-1:] == ["1"], "its disks are not those")
    leave_mark(device, marks)
    lodge("vm", "stop", "traveller", "--grace", "300")
    keep_definition()


def a_vm_of_the_hypervisor_runs_without_it():
    the_host_is_back("qemu")
    require(show("host", "dom0")["status"]["hypervisor"].startswith("QEMU"), show("host", "dom0")["status"]["hypervisor"])
    text = require_failure("vm", "start", "anchored")
    require("mode" in text, text)
    print(text, flush=True)
    goes_on_elsewhere("/dev/vda", "vd", 1)
    print(lodge("vm", "list"), flush=True)


def and_back_again():
    the_host_is_back("xen")
    goes_on_elsewhere("/dev/xvda", "xvd", 2)


SETUP = [quickstart_sets_up_a_host]
SHORT = [*SETUP, the_host_is_shown, the_first_vm_runs_without_a_word_about_the_mode, a_guest_is_hot_plugged, guests_end]
SCENARIOS = [
    *SETUP, the_host_is_shown, the_first_vm_runs_without_a_word_about_the_mode, its_address_is_shown, what_cannot_be_written_is_there,
    what_dom0_keeps_is_a_setting, a_guest_is_hot_plugged, a_guest_that_reboots_is_never_stopped,
    a_guest_that_reboots_keeps_its_vcpus, interrupted_saves_lose_nothing, what_pvh_can_do,
    what_pv_can_do, what_hvm_can_do, daemons_die_and_guests_go_on, four_guests_from_one_command, a_running_guest_is_cloned, domains_of_others_are_left_alone,
    what_a_mode_cannot_do_is_refused_first, a_debian_guest_starts,
    (a_debian_guest_lets_us_in, [
        bad_times.the_toolstack_hangs, bad_times.libvirt_does_not_start, bad_times.a_disk_is_open_elsewhere,
        bad_times.another_tool_starts_a_domain_of_ours, bad_times.a_domain_does_not_die, bad_times.memory_runs_out]),
    a_debian_guest_ends, guests_end, (a_traveller_is_made, one_runs_always),
]
# Those of a tuple run at once, those of a list in it one after another.
# Name, whether the hypervisor runs, scenarios, and those that run only when they are named: each phase is a start of the machine.
PHASES = [
    ("xen", True, SCENARIOS, [debian_is_built_by_its_recipe]),
    ("linux", False, [a_vm_of_the_hypervisor_runs_without_it, run_policies_count], [debian_goes_on_elsewhere]),
    ("xen-again", True, [and_back_again, run_policies_count, bad_times.the_store_of_the_hypervisor_dies], []),
]
EMULATOR = emulator
WANT_TEMPLATE = {"a_debian_guest_starts"}  # names, of those that find TEMPLATE's disk in /root

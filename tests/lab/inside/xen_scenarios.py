"""Lodge on Xen, as a user works with it."""
import json
import re
import subprocess

from guest_console import Console
from lab import Failure, lodge, objects, require, run, show, state, wait_until

BOOT = 600  # seconds until a guest asks for a name, on a starved machine
QUICKSTART = 3600


def log_in(name):
    console = Console(name)
    try:
        console.log_in(BOOT)
    except Exception:
        console.__exit__()
        raise
    return console


def counted(console, command, wanted, seconds=180):
    """Until the guest counts so many."""
    return wait_until(f"{console.name}: {command} gives {wanted}", lambda: console.run(command).splitlines()[-1:] == [str(wanted)], seconds)


def memory_mib(console):
    return int(console.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo").splitlines()[-1]) // 1024


def make(name, *words):
    lodge("vm", "create", name, "--template", "tiny", *words, "--start")
    return name


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


def grow_and_shrink(name):
    with log_in(name) as console:
        counted(console, "nproc", 1)
        lodge("vm", "update", name, "--vcpus", "2")
        counted(console, "nproc", 2)
        require(not show("vm", name)["status"].get("pending"), f"pending: {show('vm', name)['status']}")
        lodge("vm", "update", name, "--vcpus", "1")
        counted(console, "nproc", 1)
        before = memory_mib(console)
        lodge("vm", "update", name, "--memory", "160M")
        wait_until("more memory", lambda: memory_mib(console) > before + 20, 180)
        lodge("vm", "update", name, "--memory", "128M")
        wait_until("less memory", lambda: memory_mib(console) < before + 10, 180)


def a_pvh_guest_counts_vcpus_and_memory():
    grow_and_shrink(make("grow-pvh", "--mode", "pvh", "--vcpus", "1", "--vcpus-maximum", "2", "--memory", "128M", "--memory-maximum", "192M"))


def a_pv_guest_counts_vcpus_and_memory():
    grow_and_shrink(make("grow-pv", "--mode", "pv", "--vcpus", "1", "--vcpus-maximum", "2", "--memory", "128M", "--memory-maximum", "192M"))


def disks_and_nics_come_and_go():
    with log_in("grow-pvh") as console:
        disks, nics = "ls /sys/block | grep -c xvd", "ls /sys/class/net | grep -c eth"
        have = int(console.run(nics).splitlines()[-1])
        lodge("vm", "attach-disk", "grow-pvh", "--name", "data", "--size", "64M")
        counted(console, disks, 1)
        lodge("vm", "attach-nic", "grow-pvh", "--name", "second", "--network", "default")
        counted(console, nics, have + 1)
        lodge("vm", "detach-disk", "grow-pvh", "data", "--yes")
        counted(console, disks, 0)
        lodge("vm", "detach-nic", "grow-pvh", "second", "--yes")
        counted(console, nics, have)


def usage(name):
    return json.loads(lodge("vm", "stats", name, "-o", "json"))


def statistics_grow():
    """A disk that the kernel's back end serves, and the NIC that has been there from the start."""
    with log_in("grow-pvh") as console:
        lodge("vm", "attach-disk", "grow-pvh", "--name", "counted", "--size", "64M", "--format", "raw")
        counted(console, "ls /sys/block | grep -c xvd", 1)
        before = usage("grow-pvh")
        print(lodge("vm", "stats", "grow-pvh"), flush=True)
        require(before["vcpus"] == 1 and before["memory"] > 2**26 and before["cpu_time_ms"] > 0, f"{before}")
        disk = console.run("ls /sys/block | grep xvd").splitlines()[-1]
        console.run(f"dd if=/dev/zero of=/dev/{disk} bs=1M count=8; sync", seconds=300)
        wait_until("the guest has a route", lambda: "default via" in console.run("ip route"), 300)
        console.run("ping -c 3 $(ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p')", seconds=300)
        after = usage("grow-pvh")
        print(lodge("vm", "stats", "grow-pvh"), flush=True)
        require(after["cpu_time_ms"] > before["cpu_time_ms"], f"CPU time: {before}, then {after}")
        old, new = before["disks"][-1], after["disks"][-1]
        require(new["name"] == "counted" and new["written_bytes"] >= old["written_bytes"] + 8 * 2**20, f"disk: {old}, then {new}")
        require(new["write_requests"] > old["write_requests"], f"disk: {old}, then {new}")
        old, new = before["nics"][0], after["nics"][0]
        require(new["received_bytes"] > old["received_bytes"] and new["sent_packets"] > old["sent_packets"], f"NIC: {old}, then {new}")
        lodge("vm", "detach-disk", "grow-pvh", "counted", "--delete", "--yes")


def hold_and_go_on():
    with log_in("hello") as console:
        lodge("vm", "pause", "hello")
        require(state("hello") == "paused", state("hello"))
        lodge("vm", "resume", "hello")
        require(state("hello") == "running", state("hello"))
        console.run("true")
        lodge("vm", "reset", "hello")
    with log_in("hello") as console:
        require(float(console.run("cut -d' ' -f1 /proc/uptime").splitlines()[-1]) < 600, "it was not reset")


def a_guest_that_reboots_is_never_stopped():
    """Whoever sees it as stopped might delete it, or start it elsewhere, while the hypervisor starts it again."""
    with log_in("hello") as console:
        console.send("reboot -f\n")
        seen = set()

        def runs_again():
            seen.add(state("hello"))
            return "starting" in seen and state("hello") == "running"
        wait_until("it runs again", runs_again, 300, pause=1)
    require(seen <= {"running", "starting"}, f"states: {seen}")
    with log_in("hello") as console:
        require(float(console.run("cut -d' ' -f1 /proc/uptime").splitlines()[-1]) < 300, "it did not reboot")


def an_hvm_guest_prints_and_grows():
    name = make("full-pc", "--mode", "hvm", "--vcpus", "1", "--vcpus-maximum", "2")
    with log_in(name) as console:
        require("HVM" in console.run("cat /sys/hypervisor/guest_type"), "not HVM")
        lodge("vm", "update", name, "--vcpus", "2")
        counted(console, "nproc", 2, seconds=300)
    lodge("vm", "kill", name)
    lodge("vm", "delete", name, "--yes")


def daemons_die_and_guests_go_on():
    with log_in("hello") as console:
        before = float(console.run("cut -d' ' -f1 /proc/uptime").splitlines()[-1])
        for unit in ("lodge-agent", "lodged", "libvirtd"):
            pid = run("systemctl", "show", "-P", "MainPID", unit).strip()
            if pid == "0":
                continue
            run("kill", "-9", pid)
            wait_until(f"{unit} is back and the state right",
                       lambda: "running" in run("lodge", "vm", "list", "-o", "csv", "--no-headers", "--columns", "name,state",
                                                "--filter", "name=hello", status=None), 300)
    with log_in("hello") as console:
        require(float(console.run("cut -d' ' -f1 /proc/uptime").splitlines()[-1]) > before, "the guest was started again")


def four_guests_from_one_command():
    lodge("vm", "create", "many", "--template", "tiny", "--count", "4", "--memory", "96M", "--start", seconds=1800)
    machines = [vm for vm in objects("vm") if vm["name"].startswith("many-")]
    require(len(machines) == 4 and all(vm["status"]["state"] == "running" for vm in machines), lodge("vm", "list"))
    require(len({nic["mac"] for vm in machines for nic in vm["nics"]}) == 4, "MACs are not each guest's own")
    print(lodge("vm", "list"), flush=True)
    for vm in machines:
        lodge("vm", "kill", vm["name"])
        lodge("vm", "delete", vm["name"], "--yes")


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


SETUP = [quickstart_sets_up_a_host]
SHORT = [*SETUP, the_host_is_shown, the_first_vm_runs_without_a_word_about_the_mode, a_pvh_guest_counts_vcpus_and_memory, guests_end]
SCENARIOS = [
    *SETUP, the_host_is_shown, the_first_vm_runs_without_a_word_about_the_mode, its_address_is_shown,
    a_pvh_guest_counts_vcpus_and_memory, disks_and_nics_come_and_go, statistics_grow, hold_and_go_on, a_guest_that_reboots_is_never_stopped, a_pv_guest_counts_vcpus_and_memory,
    an_hvm_guest_prints_and_grows, daemons_die_and_guests_go_on, four_guests_from_one_command, domains_of_others_are_left_alone,
    what_a_mode_cannot_do_is_refused_first, guests_end,
]

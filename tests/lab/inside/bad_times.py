"""What goes wrong on a Xen host: a clear state and message each, other VMs unaffected, answers in time."""
import pathlib
import subprocess
import time

from guests import domain, domain_is_there, goes_on, log_in, make, remove, start_counting
from lab import lodge, objects, require, run, show, state, wait_until

ANSWER_SECONDS = 20  # for what must not wait, on a starved machine


def answers_in_time(*words):
    begun = time.monotonic()
    text = lodge(*words, seconds=120)
    took = time.monotonic() - begun
    require(took < ANSWER_SECONDS, f"lodge {' '.join(words)} took {took:.0f} s")
    return text


def host_state():
    return show("host", "dom0")["status"]["state"]


def the_host_says_why(*words):
    """That its hypervisor does not answer, with a reason."""
    wait_until("the host is degraded", lambda: host_state() == "degraded", 120)
    reason = show("host", "dom0")["status"].get("reason", "")
    print(f"   reason: {reason}", flush=True)
    require(any(word in reason for word in words), f"the reason says nothing of {words}: {reason}")
    answers_in_time("vm", "list")
    answers_in_time("host", "show", "dom0")


def the_toolstack_hangs():
    before = start_counting("grow")
    pid = run("systemctl", "show", "-P", "MainPID", "libvirtd").strip()
    run("kill", "-STOP", pid)
    try:
        the_host_says_why("libvirt", "answer")
        job = lodge("vm", "start", "hello", "--no-wait", status=None)
        answers_in_time("vm", "list")
        print(f"   a start meanwhile: {job.strip()[:200]}", flush=True)
    finally:
        run("kill", "-CONT", pid)
    wait_until("the host is connected", lambda: host_state() == "connected", 300)
    goes_on("grow", before)


def libvirt_does_not_start():
    before = start_counting("grow")
    units = ["libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"]
    # Not both at once: of a masked unit systemd does not know any more that it kills the daemon only, not the guests' QEMUs.
    run("systemctl", "stop", *units, status=None)
    run("systemctl", "mask", "--runtime", *units, status=None)
    try:
        the_host_says_why("libvirt")
        text = lodge("vm", "reset", "grow", status=None)
        require("libvirt" in text, f"a refusal says nothing of libvirt: {text}")
        require(state("grow") in ("unknown", "running"), f"a VM that runs is {state('grow')}")
    finally:
        run("systemctl", "unmask", "--runtime", *units, status=None)
        run("systemctl", "start", "libvirtd.socket", "libvirtd")
    wait_until("the host is connected", lambda: host_state() == "connected", 300)
    wait_until("the guest is known to run", lambda: state("grow") == "running", 120)
    goes_on("grow", before)


def a_disk_is_open_elsewhere():
    """Another tool's domain writes to the VM's disk: two writers would destroy it."""
    lodge("vm", "create", "torn", "--template", "tiny")
    lodge("vm", "attach-disk", "torn", "--name", "data", "--size", "16M", "--format", "raw")
    disk = next(disk for disk in show("vm", "torn")["disks"] if disk["name"] == "data")
    path = next(pathlib.Path("/var/lib/lodge").glob(f"**/disks/{disk['id']}.raw"))
    other_domain("other", f'disk=["format=raw,vdev=xvda,access=w,target={path}"]')
    try:
        text = lodge("vm", "start", "torn", status=None)
        print(f"   {text.strip()[:300]}", flush=True)
        require(state("torn") != "running", "two domains write to one disk")
    finally:
        run("xl", "destroy", "other", status=None)
    lodge("vm", "start", "torn")
    remove("torn")


MAKE_HANGING_DISK = """
truncate -s 400M /root/hang.img
loop=$(losetup -f --show /root/hang.img)
echo "0 $(blockdev --getsz $loop) linear $loop 0" | dmsetup create hang
mkfs.ext4 -q /dev/mapper/hang
mkdir -p /srv/hang
mount /dev/mapper/hang /srv/hang
mkdir /srv/hang/repository
"""
REMOVE_HANGING_DISK = "umount /srv/hang; dmsetup remove hang; losetup -j /root/hang.img -O NAME -n | xargs losetup -d; rm /root/hang.img"


def a_domain_does_not_die():
    """The disk below it hangs while it writes: ended, but the hypervisor keeps it, and what is under way may still reach the disk."""
    before = start_counting("grow")
    run("sh", "-ec", MAKE_HANGING_DISK)
    lodge("repository", "create", "hang", "--path", "/srv/hang/repository")
    lodge("vm", "create", "undead", "--template", "tiny", "--memory", "96M", "--repository", "hang")
    lodge("vm", "attach-disk", "undead", "--name", "data", "--size", "32M", "--format", "raw")
    lodge("vm", "start", "undead")
    with log_in("undead") as console:
        console.run("(while :; do dd if=/dev/zero of=/dev/xvda bs=64k count=100 oflag=direct 2>/dev/null; sleep 0.1; done) & sleep 2")
    run("dmsetup", "suspend", "--noflush", "--nolockfs", "hang")
    try:
        time.sleep(5)
        text = lodge("vm", "kill", "undead", status=None)
        print(f"   {text.strip()[:300]}\n   {run('xl', 'list', '-v').strip().splitlines()[-1]}", flush=True)
        require("does not answer" in text, f"a domain that lives on counts as killed: {text}")
        wait_until("it is not shown as stopped", lambda: state("undead") == "stopping", 60)
        text = lodge("vm", "delete", "undead", "--force", "--yes", status=None)
        require("does not answer" in text and state("undead") == "stopping", f"a VM that may still write was deleted: {text}")
        lodge("vm", "start", "undead", "--no-wait")  # its definition lies on that disk, too: it waits
        time.sleep(10)
        require(not domain_is_there("undead"), "it runs twice")
        answers_in_time("vm", "list")
        answers_in_time("host", "show", "dom0")
        require(host_state() == "connected", host_state())
        goes_on("grow", before)
    finally:
        run("dmsetup", "resume", "hang")
    wait_until("it has ended, and starts", lambda: state("undead") == "running", 300)
    log_in("undead").__exit__()
    remove("undead")
    lodge("repository", "forget", "hang", "--yes", status=None)
    run("sh", "-c", REMOVE_HANGING_DISK)


def another_tool_starts_a_domain_of_ours():
    """As xendomains would, which Debian starts with the machine: the VM is not stopped, though libvirt knows nothing of it."""
    lodge("vm", "create", "stray", "--template", "tiny")
    other_domain(domain("stray"), "")
    try:
        wait_until("its state is not taken for certain", lambda: state("stray") == "unknown", 60)
        print(f"   reason: {show('vm', 'stray')['status'].get('reason')}", flush=True)
        text = lodge("vm", "start", "stray", status=None)
        require("kill the VM" in text, f"a second start is not refused, or it does not say what to do: {text}")
        lodge("vm", "delete", "stray", "--yes", status=None)
        wait_until("it is no more shown as being deleted", lambda: state("stray") == "unknown", 60)
        require(domain_is_there("stray"), f"it is gone:\n{run('xl', 'list')}")
        lodge("vm", "kill", "stray")
        require(not domain_is_there("stray"), "it was not ended")
    finally:
        run("xl", "destroy", domain("stray"), status=None)
    wait_until("it is stopped", lambda: state("stray") == "stopped", 60)
    lodge("vm", "start", "stray")
    remove("stray")


def memory_runs_out():
    """Domains of others take what the manager did not give them: the start fails as a whole."""
    free = int(next(line.split(":")[1] for line in run("xl", "info").splitlines() if line.startswith("free_memory")))
    other_domain("other", "", memory=free - 200)
    try:
        text = lodge("vm", "create", "thirsty", "--template", "tiny", "--memory", "400M", "--start", status=None)
        print(f"   {text.strip()[:300]}", flush=True)
        require("memory" in text, f"the message says nothing of memory: {text}")
        made = [vm for vm in objects("vm") if vm["name"] == "thirsty"]
        require(not made or domain("thirsty") not in run("xl", "list"), "something was left behind")
    finally:
        run("xl", "destroy", "other", status=None)
    run("lodge", "vm", "delete", "thirsty", "--force", "--yes", status=None)


def other_domain(name, more, memory=192):
    kernel = next(iter(run("sh", "-c", "ls /boot/vmlinuz-*").split()))
    config = f"/root/{name}.cfg"
    with open(config, "w", encoding="ascii") as file:
        file.write(f'name="{name}"\ntype="pvh"\nkernel="{kernel}"\nmemory={memory}\nvcpus=1\non_crash="preserve"\non_poweroff="preserve"\n{more}\n')
    run("xl", "create", config)


def the_store_of_the_hypervisor_dies():
    """Last of all: only a restart of the machine helps. What runs, runs on, and the host says what is wrong."""
    make("last-of-all", "--memory", "96M")
    subprocess.run(["pkill", "-9", "xenstored"], check=True)
    begun = time.monotonic()
    while time.monotonic() - begun < 30:
        answers_in_time("vm", "list")
        time.sleep(5)
    print(f"   the host is {host_state()}: {show('host', 'dom0')['status'].get('reason', '')}", flush=True)
    run("lodge", "vm", "start", "traveller", "--no-wait", status=None)
    answers_in_time("host", "show", "dom0")
    require(state("last-of-all") in ("running", "unknown"), f"a guest that runs is {state('last')}")

"""Copies of VMs that run: on the fake hypervisor, and on QEMU with a guest that writes meanwhile."""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import invariants
from house import ENDED, require, wait_until

MEBIBYTE = 1 << 20


def _control(house, text):
    (house.folder / "agent" / "fake" / "control").write_text(text)


def _refused(house, word, *arguments):
    done = house.run(*arguments, status=None)
    require(done.returncode != 0 and word in done.stderr, f"{' '.join(map(str, arguments))}: expected a refusal with {word!r}: {done.stdout}{done.stderr}")


def _paths(house, name, folder=None):
    """The files of its disks, in the order of the definition."""
    disks = [disk for disk in house.json("vm", "show", name)["disks"] if disk.get("kind", "disk") == "disk"]
    return [next(path for path in ((folder or house.repository) / "disks").glob(f"{disk['id']}.*") if path.suffix in (".raw", ".qcow2")) for disk in disks]


def _fill(path, mebibytes):
    with open(path, "r+b") as file:
        file.write(bytes([7]) * (mebibytes * MEBIBYTE))


def _notes(house):
    return list((house.folder / "agent").glob("*.held"))


@contextlib.contextmanager
def _file_system(house, name, options):
    """The folder of a file system of its own; None where such cannot be made."""
    folder = house.folder / name
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", *options, folder], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print(f"   skipped: the file system {name} cannot be mounted", flush=True)
        yield None
        return
    folder.chmod(0o711)  # the hypervisor's user goes through
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def _sharing(house):
    """One whose files can share blocks."""
    image = house.folder / "xfs.img"
    with open(image, "wb") as file:
        file.truncate(512 * MEBIBYTE)
    if shutil.which("mkfs.xfs"):
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    return _file_system(house, "sharing", ["-o", "loop", image])


def _repository(house, name, path):
    house.run("repository", "create", name, "--path", path)
    return wait_until(f"{name} is known", lambda: next((r["status"] for r in house.list("repository") if r["name"] == name and "reflink" in r.get("status", {})), None), 60)


def _ended(house, id):
    return wait_until(f"job {id} ends", lambda: next((job for job in house.list("job") if job["id"] == id and job["state"] in ENDED), None), 60)


def _begin(house, *arguments):
    """A job that is not waited for; its id."""
    return json.loads(house.run(*arguments, "--no-wait", "-o", "json").stdout)["id"]


def a_running_vm_is_copied(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _refused(house, "stop it, or", "vm", "clone", "web", "copy")
    _refused(house, "stop it, or", "vm", "clone", "web", "copy", "--dry-run")
    _refused(house, "overlay", "vm", "clone", "web", "copy", "--clone", "overlay", "--hold")
    plan = house.run("vm", "clone", "web", "copy", "--count", 3, "--hold", "--dry-run").stdout
    require("web would stand still until its disks are copied, up to 3 MiB." in plan, f"the plan says nothing: {plan}")
    require("vm web, together with others" in plan, f"the plan does not say what is held: {plan}")
    house.run("vm", "clone", "web", "copy", "--count", 3, "--hold", "--start")
    house.wait_for_states({"web": "running", "copy-1": "running", "copy-2": "running", "copy-3": "running"})
    macs = {nic["mac"] for vm in house.list("vm") for nic in vm["nics"]}
    require(len(macs) == 4, f"MACs are {macs}")
    require(not _notes(house), "a note stayed")
    for name in ("copy-1", "copy-2", "copy-3"):
        require([path.read_bytes() for path in _paths(house, name)] == [path.read_bytes() for path in _paths(house, "web")], "the disks differ")
    house.run("vm", "pause", "web")
    house.run("vm", "clone", "web", "other")
    house.wait_for_states({"web": "paused", "copy-1": "running", "copy-2": "running", "copy-3": "running", "other": "stopped"})
    invariants.hold(house)


def blocks_are_shared_in_a_moment(house):
    with _sharing(house) as folder:
        if not folder:
            return
        require(_repository(house, "fast", folder / "r")["reflink"], "XFS shares no blocks")
        house.run("vm", "create", "web", "--repository", "fast", "--disk-size", "64M", "--start")
        _fill(_paths(house, "web", folder / "r")[0], 64)
        plan = house.run("vm", "clone", "web", "copy", "--dry-run").stdout
        require("web would stand still for a moment." in plan, f"the plan says nothing: {plan}")
        _refused(house, "stop it, or", "vm", "clone", "web", "copy", "--clone", "full")
        house.run("vm", "clone", "web", "copy", "--count", 4, "--start")
        house.wait_for_states({"web": "running", "copy-1": "running", "copy-2": "running", "copy-3": "running", "copy-4": "running"})
        shared = subprocess.run(["filefrag", "-v", _paths(house, "copy-4", folder / "r")[0]], capture_output=True, text=True, check=False).stdout
        require(not shared or "shared" in shared, f"bytes were copied: {shared}")
        house.run("vm", "clone", "web", "full", "--clone", "full", "--hold")
        require(not _notes(house), "a note stayed")
        house.run("vm", "kill", "web", "copy-1", "copy-2", "copy-3", "copy-4")


def the_host_has_the_last_word_on_sharing(house):
    """A file system that the manager takes for one that shares blocks: no bytes are copied while the VM stands still."""
    with _sharing(house) as folder:
        if not folder:
            return
        _repository(house, "fast", folder / "r")
        house.run("vm", "create", "web", "--repository", "fast", "--disk-size", "1M", "--start")
        path = _paths(house, "web", folder / "r")[0]
        elsewhere = house.folder / "elsewhere.raw"
        path.rename(house.folder / "kept.raw") if path.stat().st_dev == house.folder.stat().st_dev else shutil.move(path, elsewhere)
        path.touch()
        subprocess.run(["mount", "--bind", elsewhere, path], check=True)
        try:
            _refused(house, "in a moment", "vm", "clone", "web", "copy")
            house.wait_for_states({"web": "running"})
            house.run("vm", "clone", "web", "copy", "--hold")
        finally:
            subprocess.run(["umount", path], check=True)
            shutil.move(elsewhere, path)
        house.wait_for_states({"web": "running", "copy": "stopped"})
        require(not _notes(house), "a note stayed")
        house.run("vm", "kill", "web")


def a_copy_that_fails_lets_its_source_go_on(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    for fault in ("quiesce", "quiesce-late"):
        _control(house, f"fail={fault}:1\n")
        _refused(house, "told to fail", "vm", "clone", "web", "copy", "--hold")
        _control(house, "")
        house.wait_for_states({"web": "running"})
        require(not _notes(house), f"a note stayed behind {fault}")
    _control(house, "fail=resume:1\n")
    house.run("vm", "clone", "web", "copy", "--hold")
    house.wait_for_states({"web": "paused", "copy": "stopped"})
    require(_notes(house), "no note stayed")
    house.run("vm", "pause", "web")  # from now on a user holds it
    _control(house, "")
    time.sleep(12)  # the agent looks every ten seconds
    require(house.states()["web"] == "paused", "what a user held goes on")
    house.run("vm", "resume", "web")
    house.run("vm", "delete", "copy", "--yes", "--purge")
    path = _paths(house, "web")[0]
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    house.run("vm", "clone", "web", "copy", "--hold", status=None)
    hidden.rename(path)
    house.wait_for_states({"web": "running"})
    require(not _notes(house), "a note stayed")
    invariants.hold(house)


def a_full_repository_lets_the_source_go_on(house):
    with _file_system(house, "small", ["-t", "tmpfs", "-o", "size=24m", "tmpfs"]) as folder:
        if not folder:
            return
        _repository(house, "small", folder / "r")
        house.run("vm", "create", "web", "--repository", "small", "--disk-size", "16M", "--start")
        _fill(_paths(house, "web", folder / "r")[0], 16)
        before = sorted(str(path) for path in (folder / "r").rglob("*"))
        _refused(house, "No space", "vm", "clone", "web", "copy", "--hold")
        house.wait_for_states({"web": "running"})
        left = sorted(str(path) for path in (folder / "r").rglob("*"))
        require(left == before, f"left behind: {set(left) - set(before)}")
        require(not _notes(house), "a note stayed")
        house.run("vm", "kill", "web")


def what_changes_a_vm_waits_for_its_copies(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "delay_ms=1500\n")
    copies = [_begin(house, "vm", "clone", "web", name, "--hold") for name in ("one", "two")]
    wait_until("it is being held", lambda: _notes(house))
    kill = _begin(house, "vm", "kill", "web")
    _refused(house, "in a moment", "vm", "clone", "web", "three")  # also when it stands still for the others at this moment
    jobs = {job["id"]: job for job in house.list("job")}
    require(all(jobs[id]["state"] == "running" for id in copies), "the copies do not run side by side")
    require(jobs[kill]["state"] == "queued" and "vm.clone" in jobs[kill].get("waits_for", ""), f"the kill does not say what it waits for: {jobs[kill]}")
    _control(house, "")
    require([_ended(house, id)["state"] for id in (*copies, kill)] == ["succeeded"] * 3, "not all went well")
    house.wait_for_states({"web": "stopped", "one": "stopped", "two": "stopped"})
    require(not _notes(house), "a note stayed")
    invariants.hold(house)


def a_cancelled_copy_lets_its_source_go_on(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "delay_ms=1500\n")
    copy = _begin(house, "vm", "clone", "web", "copy", "--hold")
    wait_until("it is being held", lambda: _notes(house))
    house.run("job", "cancel", copy)
    _control(house, "")
    require(_ended(house, copy)["state"] == "cancelled", "it was not cancelled")
    house.wait_for_states({"web": "running"})
    require(not _notes(house), "a note stayed")
    invariants.hold(house)


def an_agent_that_ends_lets_vms_go(house):
    """In order, but before the copy has ended: it is made when the agent is there again."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "delay_ms=2000\n")
    copy = _begin(house, "vm", "clone", "web", "copy", "--hold")
    wait_until("it is being held", lambda: _notes(house))
    house.end("lodge-agent", signal.SIGTERM)
    require(not _notes(house), "a note stayed")
    fake = next((house.folder / "agent" / "fake").glob("*.json"))
    require(json.loads(fake.read_text())["status"]["state"] == "running", f"its VM stands still: {fake.read_text()}")
    _control(house, "")
    house.start("lodge-agent")
    require(_ended(house, copy)["state"] == "succeeded", "the copy was not made")
    house.wait_for_states({"web": "running", "copy": "stopped"})
    invariants.hold(house)


def held_vms_go_on_whoever_dies(house, rounds=6, seed=None):
    seed = seed or random.randrange(1 << 30)
    print(f"   seed {seed}", flush=True)
    chance = random.Random(seed)
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    house.run("vm", "create", "still", "--template", "bench-boot", "--start")
    house.run("vm", "pause", "still")
    _fill(_paths(house, "web")[0], 32)
    _control(house, "delay_ms=100\n")
    for number in range(rounds):
        house.run("vm", "clone", "web", f"copy{number}", "--hold", "--clone", "full", "--no-wait")
        time.sleep(chance.random() * 0.6)
        house.power_cut(chance.choice(house.daemons))
        wait_until("the host is connected", house.has_host)
        house.wait_for_jobs()
        wait_until("the source goes on", lambda: house.states()["web"] == "running", 30)
        require(house.states()["still"] == "paused", "what a user held goes on")
    wait_until("no note is left", lambda: not _notes(house), 30)
    invariants.hold(house)


def _log(house, name):
    id = next(vm["id"] for vm in house.list("vm") if vm["name"] == name)
    path = house.folder / "agent" / f"{id}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def _type(house, name, text):
    with subprocess.Popen([house.programs["lodge"], "vm", "console", name], stdin=subprocess.PIPE, env=house.environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as console:
        console.stdin.write(f"{text}\n".encode())
        console.stdin.flush()
        time.sleep(3)
        console.communicate(b"\x1d", timeout=60)


def _log_in(house, name):
    wait_until(f"{name} asks for a name", lambda: "login:" in _log(house, name), 300, 1)
    _type(house, name, "root")
    wait_until("the guest's shell", lambda: "# " in _log(house, name).split("login:", 1)[1], 60, 1)


def _last_number(house, name, word):
    numbers = [int(line.split()[1]) for line in _log(house, name).splitlines() if line.startswith(f"{word} ") and line.split()[1:2] and line.split()[1].isdigit()]
    return numbers[-1] if numbers else 0


SLOT, SLOTS = 64 * 1024, 200

# Each number goes to the first disk, then to the second one, into clusters of its own. No request is a flush.
WRITER = (f"n=100000; while :; do n=$((n+1)); echo $n | dd of=/dev/vda bs=512 conv=sync,notrunc oflag=direct 2>/dev/null; "
          f"echo $n | dd of=/dev/vdb bs=512 seek=$((n%{SLOTS}*{SLOT // 512})) conv=sync,notrunc oflag=direct 2>/dev/null; "
          "echo; echo wrote $n; done")


def _writer(house, name, repository):
    house.run("vm", "create", name, "--template", "tiny", "--repository", repository, "--start", seconds=900)
    for disk, form in (("one", "raw"), ("two", "qcow2")):
        house.run("vm", "attach-disk", name, "--name", disk, "--size", "16M", "--format", form)
    _log_in(house, name)
    _type(house, name, WRITER)
    wait_until("the guest writes", lambda: _last_number(house, name, "wrote") > 100000, 60, 1)


def _writes_on(house, name):
    before = _last_number(house, name, "wrote")
    wait_until("the guest writes on", lambda: _last_number(house, name, "wrote") > before, 60, 1)


def _check_copy(house, name, folder, told):
    """What the guest had told is there; the second disk, whose tables QEMU keeps in memory, is whole and not a moment older or newer."""
    raw, tables = _paths(house, name, folder)
    flat = house.folder / "flat.raw"
    subprocess.run(["qemu-img", "check", "-q", tables], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", tables, flat], check=True)
    content = flat.read_bytes()

    def slot(number):
        at = number % SLOTS * SLOT
        return int(content[at:at + 6].strip(b"\0") or 0)
    first = int(raw.read_bytes()[:6])
    print(f"   {name}: the guest told {told}, the disks hold {first} and {slot(first) if slot(first) == first else first - 1}", flush=True)
    require(first >= told, f"{name} lacks what the guest had told: {first} < {told}")
    require(slot(first) in (first, max(first - SLOTS, 0)) or slot(first) == 0, f"{name}: slot of {first} holds {slot(first)}")
    newest = max(slot(number) for number in range(100001, 100001 + SLOTS))
    require(newest in (first, first - 1), f"{name}: the disks are of two moments: {first}, {newest}")
    for number in range(max(100001, newest - SLOTS + 1), newest + 1):
        require(slot(number) == number, f"{name}: {number} is lost: {slot(number)}")


def a_guest_that_writes_is_copied(house):
    """Byte by byte; whoever dies meanwhile, the guest goes on."""
    _writer(house, "web", "main")
    _refused(house, "stop it, or", "vm", "clone", "web", "copy0")
    for number in range(3):
        told = _last_number(house, "web", "wrote")
        house.run("vm", "clone", "web", f"copy{number}", "--hold")
        _check_copy(house, f"copy{number}", house.repository, told)
        _writes_on(house, "web")
    house.run("vm", "start", "copy0")
    house.wait_for_states({"web": "running", "copy0": "running", "copy1": "stopped", "copy2": "stopped"})
    macs = {nic["mac"] for vm in house.list("vm") for nic in vm["nics"]}
    require(len(macs) == 4, f"MACs are {macs}")
    _log_in(house, "copy0")
    for number, daemon in enumerate(("lodge-agent", "libvirtd", "lodged")):
        house.run("vm", "clone", "web", f"late{number}", "--hold", "--no-wait")
        time.sleep(0.1)
        house.power_cut(daemon)
        wait_until("the host is connected", house.has_host, 60)
        house.wait_for_jobs(120)
        wait_until("the source goes on", lambda: house.states()["web"] == "running", 60)
        _check_copy(house, f"late{number}", house.repository, 0)
        _writes_on(house, "web")
    require(not _notes(house), "a note stayed")
    invariants.hold(house)


def a_guest_that_writes_shares_its_blocks(house):
    with _sharing(house) as folder:
        if not folder:
            return
        _repository(house, "fast", folder / "r")
        _writer(house, "web", "fast")
        for number in range(4):
            told = _last_number(house, "web", "wrote")
            house.run("vm", "clone", "web", f"copy{number}")
            _check_copy(house, f"copy{number}", folder / "r", told)
            _writes_on(house, "web")
        house.run("vm", "start", "copy3")
        _log_in(house, "copy3")
        house.run("vm", "pause", "web")
        house.run("vm", "clone", "web", "still")
        _check_copy(house, "still", folder / "r", _last_number(house, "web", "wrote"))
        require(house.states()["web"] == "paused", "what a user held goes on")
        house.run("vm", "kill", "web", "copy3")


SCENARIOS = [a_running_vm_is_copied, blocks_are_shared_in_a_moment, the_host_has_the_last_word_on_sharing, a_copy_that_fails_lets_its_source_go_on,
             a_full_repository_lets_the_source_go_on, what_changes_a_vm_waits_for_its_copies, a_cancelled_copy_lets_its_source_go_on,
             an_agent_that_ends_lets_vms_go, held_vms_go_on_whoever_dies]
REAL_SCENARIOS = [a_guest_that_writes_is_copied, a_guest_that_writes_shares_its_blocks]

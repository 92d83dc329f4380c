"""Copies of VMs that run: on the fake hypervisor, and on QEMU with a guest that writes meanwhile."""
import random
import subprocess
import time

import invariants
from house import require, wait_until


def _control(house, text):
    (house.folder / "agent" / "fake" / "control").write_text(text)


def _refused(house, word, *arguments):
    done = house.run(*arguments, status=None)
    require(done.returncode != 0 and word in done.stderr, f"{' '.join(map(str, arguments))}: expected a refusal with {word!r}: {done.stdout}{done.stderr}")


def _fill(house, name, mebibytes):
    disk = house.json("vm", "show", name)["disks"][0]
    path = next(house.repository.glob(f"disks/{disk['id']}.*[!n]"))
    with open(path, "r+b") as file:
        file.write(bytes([7]) * (mebibytes << 20))


def _notes(house):
    return list((house.folder / "agent").glob("*.held"))


def a_running_vm_is_copied(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    shares = house.list("repository")[0]["status"].get("reflink")
    if not shares:
        _refused(house, "hold", "vm", "clone", "web", "copy")
    plan = house.run("vm", "clone", "web", "copy", "--hold", "--dry-run")
    require("copies" in plan.stdout, f"the plan says nothing: {plan.stdout}")
    house.run("vm", "clone", "web", "copy", "--count", 3, "--hold", "--start")
    house.wait_for_states({"web": "running", "copy-1": "running", "copy-2": "running", "copy-3": "running"})
    macs = {nic["mac"] for vm in house.list("vm") for nic in vm["nics"]}
    require(len(macs) == 4, f"MACs are {macs}")
    require(not _notes(house), "a note stayed")
    house.run("vm", "pause", "web")
    house.run("vm", "clone", "web", "other")
    house.wait_for_states({"web": "paused", "copy-1": "running", "copy-2": "running", "copy-3": "running", "other": "stopped"})
    invariants.hold(house)


def a_copy_that_fails_lets_its_source_go_on(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "fail=quiesce:1\n")
    house.run("vm", "clone", "web", "copy", "--hold", status=None)
    house.wait_for_states({"web": "running"})
    _control(house, "")
    disk = house.json("vm", "show", "web")["disks"][0]
    path = next(path for path in house.repository.glob(f"disks/{disk['id']}.*") if path.suffix != ".json")
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    house.run("vm", "clone", "web", "copy", "--hold", status=None)
    hidden.rename(path)
    house.wait_for_states({"web": "running"})
    require(not _notes(house), "a note stayed")
    invariants.hold(house)


def held_vms_go_on_whoever_dies(house, rounds=6, seed=None):
    seed = seed or random.randrange(1 << 30)
    print(f"   seed {seed}", flush=True)
    chance = random.Random(seed)
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    house.run("vm", "create", "still", "--template", "bench-boot", "--start")
    house.run("vm", "pause", "still")
    _fill(house, "web", 32)
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


def a_guest_that_writes_is_copied(house):
    """It writes each number to both of its disks, the second one later: no copy may have more on the second than on the first."""
    house.run("vm", "create", "web", "--template", "tiny", "--start", seconds=600)
    for name in ("one", "two"):
        house.run("vm", "attach-disk", "web", "--name", name, "--size", "16M")
    _log_in(house, "web")
    _type(house, "web", "n=100000; while :; do n=$((n+1)); for d in vda vdb; do echo $n | dd of=/dev/$d bs=512 conv=sync,notrunc oflag=direct 2>/dev/null; done; "
                        "echo; echo wrote $n; done")
    wait_until("the guest writes", lambda: _last_number(house, "web", "wrote") > 100000, 60, 1)
    for number in range(3):
        house.run("vm", "clone", "web", f"copy{number}", "--hold")
        disks = house.json("vm", "show", f"copy{number}")["disks"]
        paths = [next(path for path in house.repository.glob(f"disks/{disk['id']}.*") if path.suffix != ".json") for disk in disks]
        first, second = (int(path.read_bytes()[:6]) for path in paths)
        print(f"   copy {number}: {first}, {second}", flush=True)
        require(first > 100000 and second in (first, first - 1), f"the copy's disks are of two moments: {first}, {second}")
        before = _last_number(house, "web", "wrote")
        wait_until("the guest writes on", lambda: _last_number(house, "web", "wrote") > before, 60, 1)
    house.run("vm", "start", "copy0")
    house.wait_for_states({"web": "running", "copy0": "running", "copy1": "stopped", "copy2": "stopped"})
    macs = {nic["mac"] for vm in house.list("vm") for nic in vm["nics"]}
    require(len(macs) == 4, f"MACs are {macs}")
    house.run("vm", "clone", "web", "late", "--hold", "--no-wait")
    time.sleep(0.1)
    house.power_cut("lodge-agent")
    wait_until("the host is connected", house.has_host)
    house.wait_for_jobs(120)
    before = _last_number(house, "web", "wrote")
    wait_until("the guest writes on", lambda: _last_number(house, "web", "wrote") > before, 60, 1)
    invariants.hold(house)


SCENARIOS = [a_running_vm_is_copied, a_copy_that_fails_lets_its_source_go_on, held_vms_go_on_whoever_dies]
REAL_SCENARIOS = [a_guest_that_writes_is_copied]

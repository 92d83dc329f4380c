"""VMs whose memory lies in a file: on the fake hypervisor, and (real_…) on QEMU."""
import os
import random
import subprocess
import time

import invariants
from house import require, wait_until


def _memory(house, name="web"):
    """The file of a saved VM."""
    return house.repository / "vms" / house.json("vm", "show", name)["id"] / "memory"


def _control(house, text):
    (house.folder / "agent" / "fake" / "control").write_text(text)


def _refused(house, word, *arguments):
    done = house.run(*arguments, status=None)
    require(done.returncode != 0 and word in done.stderr, f"{' '.join(map(str, arguments))}: expected a refusal with {word!r}: {done.stdout}{done.stderr}")


def a_saved_vm_goes_on(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--vcpus", 1, "--vcpus-maximum", 2, "--start")
    started = house.json("vm", "show", "web")["status"]["started"]
    house.run("vm", "save", "web")
    house.wait_for_states({"web": "saved"})
    require(_memory(house).exists() and not house.guests(), "it runs on, or nothing was written")
    house.run("vm", "save", "web")
    invariants.hold(house)
    for name in ("lodged", "lodge-agent"):
        house.power_cut(name)
        wait_until("the host is connected", house.has_host)
        house.wait_for_states({"web": "saved"})
    house.run("vm", "start", "web")
    house.wait_for_states({"web": "running"})
    require(not _memory(house).exists(), "its memory is still there")
    require(house.json("vm", "show", "web")["status"]["started"] == started, "it did not go on, it was started anew")
    invariants.hold(house)


def what_would_not_fit_a_saved_memory_is_refused(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--vcpus", 1, "--vcpus-maximum", 2)
    _refused(house, "does not run", "vm", "save", "web")
    house.run("vm", "start", "web")
    house.run("vm", "save", "web")
    _refused(house, "is saved", "vm", "update", "web", "--vcpus", 2)
    _refused(house, "is saved", "vm", "attach-disk", "web", "--size", "16M")
    _refused(house, "is saved", "vm", "detach-disk", "web", "disk0", "--purge", "--yes")
    _refused(house, "stopped", "vm", "clone", "web", "copy")
    _refused(house, "is saved", "vm", "stop", "web")
    for verb in ("pause", "resume", "reset"):
        _refused(house, "is saved", "vm", verb, "web")
    house.run("vm", "update", "web", "--tag", "kept")
    require(_memory(house).exists(), "its memory is gone")
    invariants.hold(house)
    house.run("vm", "kill", "web")
    house.wait_for_states({"web": "stopped"})
    require(not _memory(house).exists(), "a kill left its memory")
    house.run("vm", "update", "web", "--vcpus", 2)
    house.run("vm", "start", "web")
    house.run("vm", "save", "web")
    house.run("vm", "stop", "web", "--force")
    house.wait_for_states({"web": "stopped"})
    house.run("vm", "start", "web")
    house.run("vm", "save", "web")
    house.run("vm", "delete", "web", "--yes")
    require(not list((house.folder / "agent").glob("*.sav*")), "a note of it stayed")
    invariants.hold(house)


def a_repository_that_is_away_costs_no_memory(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    started = house.json("vm", "show", "web")["status"]["started"]
    house.run("vm", "save", "web")
    folder = _memory(house).parent
    away = folder.with_name("away")
    folder.rename(away)
    for verb in ("resume", "stop", "start"):
        house.run("vm", verb, "web", status=None)
    house.power_cut("lodge-agent")
    wait_until("the host is connected", house.has_host)
    house.wait_for_states({"web": "saved"})
    if folder.exists():
        folder.rmdir()
    away.rename(folder)
    house.run("vm", "start", "web")
    house.wait_for_states({"web": "running"})
    require(house.json("vm", "show", "web")["status"]["started"] == started, "its memory is lost: it was started anew")
    invariants.hold(house)
    house.run("vm", "save", "web")
    folder.rename(away)
    house.run("vm", "kill", "web")
    house.wait_for_states({"web": "stopped"})
    if folder.exists():
        folder.rmdir()
    away.rename(folder)
    house.run("vm", "start", "web")
    require(house.json("vm", "show", "web")["status"]["started"] != started, "memory that was dropped came back")


def a_save_that_fails_lets_the_vm_run_on(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "fail=save:1\n")
    house.run("vm", "save", "web", status=None)
    house.wait_for_states({"web": "running"})
    invariants.hold(house)
    _control(house, "fail=save-late:1\n")
    house.run("vm", "save", "web")  # it was done, but reported as lost
    house.wait_for_states({"web": "saved"})
    _control(house, "fail=restore:1\n")
    _refused(house, "is kept", "vm", "start", "web")
    house.wait_for_states({"web": "saved"})
    _control(house, "fail=restore-late:1\n")
    _refused(house, "is kept", "vm", "start", "web")
    _control(house, "delay_ms=3000\n")
    house.run("vm", "start", "web")
    house.wait_for_states({"web": "running"})
    job = house.json("vm", "save", "web", "--no-wait")
    time.sleep(0.5)
    house.run("job", "cancel", job["id"])
    house.wait_for_jobs()
    house.wait_for_states({"web": "running"})
    _control(house, "")
    invariants.hold(house)


def a_save_is_settled_though_nobody_asks(house):
    """The save failed, and what became of it could not be found out: that is done once it can be."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "fail=save:1.0,settle:1.0\n")
    house.run("vm", "save", "web", status=None)
    house.wait_for_states({"web": "saving"})
    _control(house, "")
    house.wait_for_states({"web": "running"}, 30)
    house.run("vm", "save", "web")
    house.run("vm", "start", "web")
    house.wait_for_states({"web": "running"})
    invariants.hold(house)


def saved_vms_outlive_dying_daemons(house, rounds=8, seed=None):
    """Whatever dies in the middle, a VM is saved or runs, and never both."""
    seed = seed or random.randrange(1 << 30)
    print(f"   seed {seed}", flush=True)
    chance = random.Random(seed)
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _control(house, "delay_ms=150\n")
    for _ in range(rounds):
        verb = "start" if house.states()["web"] == "saved" else "save"
        house.run("vm", verb, "web", "--no-wait")
        time.sleep(chance.random() * 0.6)
        house.power_cut(chance.choice(house.daemons))
        wait_until("the host is connected", house.has_host)
        house.wait_for_jobs()
        require(house.states()["web"] in ("running", "saved"), f"after {verb} it is {house.states()['web']}")
        invariants.hold(house)


def _log_path(house, host=None):
    return (host or house).folder / "agent" / f"{house.list('vm')[0]['id']}.log"


def log(house, host=None):
    """Of the only VM's serial console on one of the hosts, the house's own by default."""
    path = _log_path(house, host)
    return path.read_text(errors="replace") if path.exists() else ""


def clear_log(house, host=None):
    os.truncate(_log_path(house, host), 0)


def _type(house, text):
    """Types into the guest's serial console."""
    with subprocess.Popen([house.programs["lodge"], "vm", "console", "web"], stdin=subprocess.PIPE, env=house.environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as console:
        console.stdin.write(f"{text}\n".encode())
        console.stdin.flush()
        time.sleep(3)
        console.communicate(b"\x1d", timeout=60)


def ticks(house, host=None):
    """How far the guest has counted."""
    numbers = [int(line.split()[1]) for line in log(house, host).splitlines() if line.startswith("tick ") and line.split()[1:2] and line.split()[1].isdigit()]
    return numbers[-1] if numbers else 0


def start_counting(house):
    wait_until("the guest asks for a name", lambda: "login:" in log(house), 300, 1)
    _type(house, "root")
    wait_until("the guest's shell", lambda: "# " in log(house).split("login:", 1)[1], 60, 1)
    _type(house, "n=0; while :; do n=$((n+1)); echo; echo tick $n; sleep 1; done")
    wait_until("the guest counts", lambda: ticks(house) > 2, 60, 1)


def a_guest_counts_on_after_a_save(house):
    house.run("vm", "create", "web", "--template", "tiny", "--start", seconds=600)
    start_counting(house)
    house.run("vm", "save", "web", seconds=120)
    house.wait_for_states({"web": "saved"})
    require(not house.guests() and _memory(house).exists(), "it runs on, or nothing was written")
    invariants.hold(house)
    time.sleep(3)
    before, boots = ticks(house), log(house).count("login:")
    for name in house.daemons:
        house.power_cut(name)
        wait_until("the host is connected", house.has_host)
    house.wait_for_states({"web": "saved"})
    house.run("vm", "start", "web", seconds=120)
    wait_until("the guest counts on", lambda: ticks(house) > before + 2, 60, 1)
    require(log(house).count("login:") == boots and ticks(house) < before + 60, "it was started anew")
    require(not _memory(house).exists(), "its memory is still there")
    house.run("vm", "save", "web", "--no-wait")
    time.sleep(0.2)
    house.power_cut("lodge-agent")
    house.power_cut("libvirtd")
    wait_until("the host is connected", house.has_host)
    house.wait_for_jobs(120)
    state = house.states()["web"]
    require(state in ("running", "saved"), f"after daemons died in a save it is {state}")
    invariants.hold(house)
    if state == "saved":
        house.run("vm", "start", "web", seconds=120)
    before = ticks(house)
    wait_until("the guest counts on", lambda: ticks(house) > before, 60, 1)


SCENARIOS = [a_saved_vm_goes_on, what_would_not_fit_a_saved_memory_is_refused,
             a_repository_that_is_away_costs_no_memory, a_save_that_fails_lets_the_vm_run_on,
             a_save_is_settled_though_nobody_asks, saved_vms_outlive_dying_daemons]
REAL_SCENARIOS = [a_guest_counts_on_after_a_save]

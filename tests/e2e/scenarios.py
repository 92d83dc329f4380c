"""Scenarios on the fake hypervisor; each is named by what it proves and gets a furnished house."""
import json
import random
import signal
import subprocess
import time

from house import require, wait_until
import invariants
import malformed
from scenarios_content import CONTENT_SCENARIOS


def vms_live_from_create_to_delete(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 3, "--start")
    house.wait_for_states({f"web-{n}": "running" for n in (1, 2, 3)})
    vms = house.list("vm")
    require(len({vm["nics"][0]["mac"] for vm in vms}) == 3, "MACs are not distinct")
    invariants.hold(house)
    house.run("vm", "kill", "web-1")
    house.run("vm", "stop", "web-2", "--force", "--grace", 1)
    house.wait_for_states({"web-1": "stopped", "web-2": "stopped", "web-3": "running"})
    house.run("vm", "start", "web-1")
    house.wait_for_states({"web-1": "running", "web-2": "stopped", "web-3": "running"})
    for name in ("web-1", "web-3"):
        house.run("vm", "kill", name)
    for name in ("web-1", "web-2", "web-3"):
        house.run("vm", "delete", name, "--yes")
    require(not house.list("vm"), "VMs are still listed")
    invariants.hold(house)


def create_survives_the_managers_death(house):
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="300")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 4, "--start", "--no-wait")
    wait_until("a VM is being made", house.is_making)
    house.power_cut("lodged")
    wait_until("lodged answers", house.answers)
    house.wait_for_jobs()
    house.wait_for_states({f"web-{n}": "running" for n in (1, 2, 3, 4)})
    invariants.hold(house)


def create_survives_the_agents_death(house):
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="300")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 4, "--start", "--no-wait")
    wait_until("a VM is being made", house.is_making)
    house.power_cut("lodge-agent")
    house.wait_for_jobs()
    house.wait_for_states({f"web-{n}": "running" for n in (1, 2, 3, 4)})
    invariants.hold(house)


def vms_return_after_their_hosts_start_as_their_policy_says(house):
    """The host loses power: both daemons and all VMs are gone, and its next boot has another id."""
    running = {"manual": "manual", "always": "always", "last": "last"}
    for name, policy in running.items():
        house.run("vm", "create", name, "--template", "bench-boot", "--run-policy", policy, "--start")
    house.run("vm", "create", "idle", "--template", "bench-boot", "--run-policy", "last")
    house.run("vm", "create", "ended", "--template", "bench-boot", "--run-policy", "last", "--start")
    house.run("vm", "kill", "ended")
    time.sleep(6)  # until the stop counts as one that was wanted
    house.end("lodged", signal.SIGKILL)
    house.end("lodge-agent", signal.SIGKILL)
    for vm in (house.folder / "agent").glob("**/fake/*.json"):
        vm.unlink()
    for name in ("lodge-agent", "lodged"):
        house.start(name, LODGE_FAKE_BOOT="second")
    wait_until("the host is connected", house.has_host)
    after = {"manual": "stopped", "always": "running", "last": "running", "idle": "stopped", "ended": "stopped"}
    house.wait_for_states(after)
    house.wait_for_jobs()
    invariants.hold(house)
    house.run("vm", "kill", "always")
    house.power_cut("lodged")
    wait_until("the host is connected again", house.has_host)
    time.sleep(1)
    house.wait_for_states(dict(after, always="stopped"))  # the host did not start: nothing is due


def ten_thousand_vms_on_one_host_are_taken_in(house, count=10000):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2, "--start")
    house.wait_for_states({"web-1": "running", "web-2": "running"})
    for number in range(count):
        vm = {"id": f"66666666-6666-4666-8666-{number:012}", "name": f"vm-{number}", "status": {"state": "running"}}
        (house.folder / "agent/fake" / f"{vm['id']}.json").write_text(json.dumps(vm))
    house.power_cut("lodged")
    wait_until("the host is connected", house.has_host, 60)
    house.wait_for_states({"web-1": "running", "web-2": "running"})
    running = house.list("host")[0]["status"]["vms_running"]
    require(running == count + 2, f"the host counts {running} running VMs")
    house.run("vm", "kill", "web-1", seconds=120)
    house.wait_for_states({"web-1": "stopped", "web-2": "running"})


def bad_input_is_refused_by_name(house):
    def refused(status, word, *arguments):
        done = house.run(*arguments, status=status)
        require(word in done.stderr, f"{arguments}: {word!r} is not in {done.stderr!r}")

    refused(3, "nothing-of-that-name", "vm", "show", "nothing-of-that-name")
    refused(None, "nothing-of-that-name", "vm", "create", "web", "--template", "nothing-of-that-name")
    refused(2, "--no-such-flag", "vm", "create", "web", "--no-such-flag", "1")
    house.run("vm", "create", "web", "--template", "bench-boot")
    refused(4, "web", "vm", "create", "web", "--template", "bench-boot")
    done = house.run("vm", "create", "huge", "--template", "bench-boot", "--memory", "8191P", status=None)
    require(done.returncode != 0, "8 EiB of memory were accepted")
    require(list(house.states()) == ["web"], f"something was left behind: {house.states()}")
    invariants.hold(house)


def api_answers_problems_for_malformed_bodies(house):
    for body in ("", "{", "[]", '{"name":1}', '{"name":"x","name":"y"}', '{"name":"x","count":0}', '{"unknown":1}', "\x00"):
        done = house.run("api", "POST", "/v1/vms", "--data", "-", data=body, status=None)
        require(done.returncode != 0, f"{body!r} was accepted: {done.stdout}")
    require(house.answers(), "lodged does not answer any more")
    require(not house.list("vm"), "a malformed request made a VM")


def malformed_requests_are_answered_with_problems(house, count=10000, seed=None):
    seed = seed if seed is not None else random.SystemRandom().randrange(2**32)
    print(f"   seed {seed}, {count} requests", flush=True)
    before = house.children["lodged"].pid
    problems = malformed.send(house.folder / "lodged.sock", count, seed)
    require(not problems, f"seed {seed}: {len(problems)} bad answers, the first:\n  " + "\n  ".join(problems[:5]))
    require(house.children["lodged"].poll() is None and house.children["lodged"].pid == before, "lodged died")
    require(house.answers(), "lodged does not answer any more")


def lists_come_in_every_format(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2)
    for layout in ("table", "wide", "json", "yaml", "csv", "name"):
        text = house.run("vm", "list", "-o", layout).stdout
        require("web-1" in text and "web-2" in text, f"-o {layout} misses a VM:\n{text}")
    json.loads(house.run("vm", "list", "-o", "json").stdout)
    plain = subprocess.run([house.programs["lodge"], "--version"], capture_output=True, text=True, check=False)
    require(plain.returncode == 0 and plain.stdout, "--version says nothing")


def _disk_files(house):
    return {path.name for path in (house.repository / "disks").glob("*") if path.suffix in invariants.DISK_SUFFIXES}


def devices_come_and_go(house):
    """Stopped and running: disks, NICs; what the machine cannot do now waits, what it cannot let go of is refused."""
    house.run("vm", "create", "web", "--template", "bench-boot")
    for number, state in enumerate(("stopped", "running")):
        if state == "running":
            house.run("vm", "start", "web")
        before = _disk_files(house)
        house.run("vm", "attach-disk", "web", "--name", "data", "--size", "16M")
        require(len(_disk_files(house)) == len(before) + 1, "no disk file was made")
        house.run("vm", "resize-disk", "web", "data", "32M")
        house.run("vm", "detach-disk", "web", "data")
        require(house.json("vm", "show", "web")["disks"][-1]["detached"], "the disk is not shown as detached")
        house.run("vm", "attach-disk", "web", "--disk", "data")
        disk = house.json("vm", "show", "web")["disks"][-1]
        require(not disk.get("detached") and disk["size"] == 32 << 20, f"not attached again: {disk}")
        house.run("vm", "detach-disk", "web", "data", *(["--delete"], ["--purge", "--yes"])[number])
        require(_disk_files(house) == before, "the disk's file is still there")
        house.run("vm", "attach-nic", "web", "--name", "second")
        macs = {nic["mac"] for nic in house.json("vm", "show", "web")["nics"]}
        require(len(macs) == 2, f"MACs: {macs}")
        house.run("vm", "change-nic", "web", "second", "--no-connected")
        house.run("vm", "detach-nic", "web", "second")
        require(not house.json("vm", "show", "web")["status"].get("pending"), "something is pending")
        invariants.hold(house)
    house.run("vm", "attach-disk", "web", "--name", "slow", "--size", "16M", "--bus", "sata")
    require(house.json("vm", "show", "web")["status"].get("pending") == ["/disks"], "a SATA disk is not pending")
    house.run("vm", "detach-disk", "web", "slow", "--delete")
    require(not house.json("vm", "show", "web")["status"].get("pending"), "a SATA disk is still pending")
    house.run("vm", "update", "web", "--boot-order", "cd", "--boot-order", "disk")
    require(house.json("vm", "show", "web")["status"].get("pending") == ["/boot_order"], "the boot order is not pending")
    invariants.hold(house)


def isos_come_and_go(house):
    disc = house.folder / "disc.iso"
    disc.write_bytes(bytes(32768) + b"\x01CD001\x01" + bytes(65536))  # as much of an ISO as anybody looks at
    house.run("iso", "import", "cd", disc)
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    house.run("vm", "insert-iso", "web", "cd")
    drive = house.json("vm", "show", "web")["disks"][-1]
    require(drive["kind"] == "cd" and drive.get("image"), f"the drive is {drive}")
    house.run("iso", "delete", "cd", "--yes", status=4)
    house.run("vm", "eject-iso", "web")
    house.run("iso", "delete", "cd", "--yes")
    house.run("vm", "insert-iso", "web", "cd", status=3)
    require("image" not in house.json("vm", "show", "web")["disks"][-1], "the drive is not empty")
    invariants.hold(house)


def a_failed_change_leaves_all_as_it_was(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    house.run("vm", "attach-disk", "web", "--name", "data", "--size", "16M")
    control = house.folder / "agent" / "fake" / "control"
    before, files = house.json("vm", "show", "web"), _disk_files(house)
    control.write_text("stuck=1\n")
    done = house.run("vm", "detach-disk", "web", "data", "--purge", "--yes", status=7)
    require("let go" in done.stderr, f"the reason is missing: {done.stderr}")
    control.write_text("full=1\n")
    house.run("vm", "attach-disk", "web", "--size", "16M", status=4)
    house.run("vm", "attach-nic", "web", status=4)
    after = house.json("vm", "show", "web")
    require(after["disks"] == before["disks"], f"disks are {after['disks']}, were {before['disks']}")
    require(after["nics"] == before["nics"], f"NICs are {after['nics']}, were {before['nics']}")
    require(_disk_files(house) == files, "files of disks came or went")
    invariants.hold(house)


def a_killed_change_leaves_no_orphan(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    control = house.folder / "agent" / "fake" / "control"
    control.write_text("delay_ms=300\n")
    for number, victim in enumerate(("lodged", "lodge-agent")):
        house.run("vm", "attach-disk", "web", "--name", f"data{number}", "--size", "16M", "--no-wait")
        time.sleep(0.4)
        house.power_cut(victim)
        wait_until("the host is connected", house.has_host)
        house.wait_for_jobs()
        house.run("vm", "detach-disk", "web", f"data{number}", "--purge", "--yes", "--no-wait")
        time.sleep(0.4)
        house.power_cut(victim)
        wait_until("the host is connected", house.has_host)
        house.wait_for_jobs()
        require(len(house.json("vm", "show", "web")["disks"]) == 1, "the disk is still there")
        invariants.hold(house)


def devices_follow_from_the_guest_os(house):
    ids = [row["id"] for row in house.list("guest-os")]
    require("debian12" in ids, f"debian12 is not listed among {len(ids)}")
    require(house.json("guest-os", "show", "debian12")["disk_bus"] == "virtio", "debian12 is not for virtio")
    done = house.run("vm", "create", "web", "--guest-os", "windows-13", status=2)
    require("/guest_os" in done.stderr or "guest_os" in done.stderr, f"the field is missing: {done.stderr}")
    house.run("vm", "create", "web", "--guest-os", "win2k25", "--disk-size", "16M")
    vm = house.json("vm", "show", "web")
    require(vm["firmware"] == "uefi" and vm["memory"] == 4 << 30, f"{vm['firmware']}, {vm['memory']} bytes")
    house.run("vm", "update", "web", "--guest-os", "windows-13", status=2)
    house.run("vm", "create", "two", "--template", "bench-boot", "--vcpus", 2)
    settings = house.json("template", "show", "bench-boot")["last_settings"]
    require(settings["vcpus"] == 2 and "name" not in settings, f"settings are {settings}")


def crashes_are_shown_as_crashes(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    vm = house.json("vm", "show", "web")
    running = house.folder / "agent" / "fake" / f"{vm['id']}.json"
    running.with_suffix(".crashed").write_text("the process ended by itself\n")
    running.unlink()
    house.wait_for_states({"web": "crashed"})
    require("by itself" in house.json("vm", "show", "web")["status"]["reason"], "the reason is missing")
    for name in ("lodged", "lodge-agent"):
        house.power_cut(name)
        wait_until("the host is connected", house.has_host)
        house.wait_for_states({"web": "crashed"})
    house.run("vm", "start", "web")
    house.wait_for_states({"web": "running"})
    invariants.hold(house)


def a_deaf_guest_is_killed_only_by_force(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    (house.folder / "agent" / "fake" / "control").write_text("deaf=1\n")
    house.run("vm", "stop", "web", "--grace", 1, status=7)
    house.wait_for_states({"web": "running"})
    begun = time.monotonic()
    house.run("vm", "stop", "web", "--force", "--grace", 2)
    require(time.monotonic() - begun >= 2, "the guest was not given its time")
    house.wait_for_states({"web": "stopped"})


def _refused(house, field, *arguments):
    """What a refused call says: nothing was begun, and the field is named."""
    jobs = len(house.list("job"))
    done = house.run(*arguments, status=None)
    require(done.returncode != 0 and field.replace("_", "-") in done.stderr.replace("_", "-"), f"{arguments} was not refused for {field}: {done.stderr!r}")
    require(len(house.list("job")) == jobs, f"{arguments} began a job")


def what_does_not_fit_together_is_refused_before_anything_starts(house):
    house.run("template", "build", "bench-boot")
    house.run("pool", "create", "empty")
    _refused(house, "pool", "vm", "create", "x", "--template", "bench-boot", "--pool", "empty")
    _refused(house, "pool", "network", "create", "n", "--pool", "empty")
    _refused(house, "path", "repository", "create", "inner", "--path", house.repository / "inner", "--pool", "default")
    subnet = next(network["subnet"] for network in house.list("network") if network["name"] == "default")
    _refused(house, "subnet", "network", "create", "n", "--subnet", subnet, "--pool", "default")
    _refused(house, "bridge", "network", "create", "n", "--kind", "bridge", "--pool", "default")
    _refused(house, "mac_range", "pool", "update", "empty", "--mac-range", "00:1b:21")
    house.run("vm", "create", "srv-{n}", "--template", "bench-boot", "--count", 2)
    require(sorted(house.states()) == ["srv-1", "srv-2"], f"the pattern made {house.states()}")


def _modes(house):
    return [mode["mode"] for mode in house.list("host")[0]["status"].get("modes", [])]


def a_vm_runs_in_a_mode_that_can_do_what_it_asks_for(house):
    """Named or automatic; what no mode can do is refused by its field before anything starts, dry runs included."""
    house.run("template", "build", "bench-boot")
    shown = house.run("host", "show", "one").stdout.splitlines()
    require(any(line.split() == ["MODE", "HVM", "PVH", "PV"] for line in shown), f"the modes are not shown: {shown}")
    require(any(line.split() == ["UEFI", "yes", "-", "-"] for line in shown), f"what they can do is not shown: {shown}")
    pvh = ["vm", "create", "x", "--disk-size", "16M", "--mode", "pvh"]
    for extra in ([], ["--dry-run"]):
        _refused(house, "firmware", *pvh, "--firmware", "uefi", *extra)
        _refused(house, "graphics", *pvh, "--graphics", "vnc", *extra)
        _refused(house, "boot_order", *pvh, "--boot-order", "network", *extra)
        _refused(house, "boot_order", "vm", "create", "x", "--template", "bench-boot", "--mode", "pv", *extra)
    reason = house.run(*pvh, "--firmware", "uefi", status=1).stderr
    require("the mode pvh has no UEFI firmware (modes that have it: hvm)" in reason, f"the reason is {reason!r}")
    plan = house.run("vm", "create", "x", "--template", "bench-boot", "--dry-run").stdout
    require("Would run in the mode hvm." in plan, f"the plan does not tell the mode: {plan}")
    house.run("vm", "create", "pc", "--template", "bench-boot", "--start")
    house.run("vm", "create", "light", "--template", "bench-boot", "--mode", "pvh", "--start")
    modes = {vm["name"]: vm["status"].get("mode") for vm in house.list("vm")}
    require(modes == {"pc": "hvm", "light": "pvh"}, f"they run as {modes}")
    for extra in ([], ["--dry-run"]):
        _refused(house, "firmware", "vm", "update", "light", "--firmware", "uefi", *extra)
        _refused(house, "CD drive", "vm", "attach-disk", "light", "--kind", "cd", *extra)
    house.run("vm", "update", "pc", "--firmware", "uefi")
    house.run("vm", "kill", "pc")
    house.run("vm", "kill", "light")
    house.power_cut("lodge-agent", LODGE_FAKE_MODES="pvh,pv")
    wait_until("the host tells its new modes", lambda: house.has_host() and _modes(house) == ["pvh", "pv"])
    for extra in ([], ["--dry-run"]):
        _refused(house, "firmware", "vm", "start", "pc", *extra)
    house.run("vm", "update", "pc", "--description", "waits for another host")
    house.run("vm", "update", "pc", "--firmware", "bios")
    house.run("vm", "start", "pc")
    require(house.json("vm", "show", "pc")["status"].get("mode") == "pvh", "the host's first mode was not taken")
    invariants.hold(house)


def where_a_vm_could_run_is_told(house):
    house.run("vm", "create", "web", "--guest-os", "debian12", "--disk-size", "16M", "--memory", "64M", "--mode", "pvh")
    house.run("vm", "create", "pc", "--disk-size", "16M", "--firmware", "uefi", "--memory", "64M")
    rows = {row["id"]: row for row in house.json("vm", "modes", "pc")}
    pc = [row for row in rows.values() if row["mode"] == "hvm"]
    require(len(pc) == 3 and all(row["fits"] and row["chosen"] for row in pc), f"a PC with UEFI does not fit: {rows}")
    light = [row for row in rows.values() if row["mode"] != "hvm"]
    require(light and not any(row["fits"] for row in light), f"without firmware it fits: {light}")
    require(all("reason" in row and row["field"].startswith("/") for row in light), f"reasons are missing: {light}")
    rows = {row["id"]: row for row in house.json("vm", "modes", "web")}
    require(not any(row["fits"] for row in rows.values() if row["mode"] != "pvh"), f"another mode than the named one fits: {rows}")
    require(any("/mode" == row.get("field") for row in rows.values()), f"the field is missing: {rows}")
    print(house.run("vm", "modes", "web").stdout, flush=True)


def a_machine_may_start_as_another_kind_of_host(house):
    house.run("vm", "create", "web", "--template", "bench-boot")
    before = house.json("vm", "show", "web")
    for driver in ("qemu", "fake"):
        house.driver = driver
        house.power_cut("lodge-agent")
        wait_until(f"the host is known as {driver}", lambda: house.answers() and house.json("host", "show", "one")["driver"] == driver)
    wait_until("the host is connected", house.has_host)
    house.wait_for_states({"web": "stopped"})
    after = house.json("vm", "show", "web")
    require({**before, "status": None} == {**after, "status": None}, f"its definition changed: {after}")


def a_host_without_control_domain_keeps_nothing_for_one(house):
    done = house.run("host", "update", "one", "--control", "memory=1G", status=None)
    require(done.returncode != 0 and "/control" in done.stderr, f"it was accepted: {done.stdout}{done.stderr}")
    house.run("host", "update", "one", "--control", "memory=1M", status=2)
    require("control" not in house.json("host", "show", "one"), "a refused setting was kept")


def memory_is_promised_once(house):
    """Guests that run together never have more memory than the host can give, whoever asks first."""
    house.run("template", "build", "bench-boot")
    total = next(host["status"]["memory"] for host in house.list("host"))
    most = f"{total * 6 // 10 // 2**20}M"
    _refused(house, "memory", "vm", "create", "two", "--template", "bench-boot", "--count", 2, "--memory", most, "--start")
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 3, "--memory", most)
    for name in ("web-1", "web-2", "web-3"):
        house.run("vm", "start", name, "--no-wait", status=None)
    house.wait_for_jobs(60)
    states = sorted(house.states().values())
    require(states == ["running", "stopped", "stopped"], f"of three that take 60 % each {states}")
    running = next(name for name, state in house.states().items() if state == "running")
    other = next(name for name, state in house.states().items() if state == "stopped")
    _refused(house, "memory", "vm", "start", other)
    house.run("vm", "kill", running)
    house.run("vm", "start", other)


def a_cancelled_create_is_cancelled(house):
    house.run("template", "build", "bench-boot")
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="1000")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "create", "slow", "--template", "bench-boot", "--count", 3, "--start", "--no-wait")
    job = wait_until("it works", lambda: next((job for job in house.list("job") if job["kind"] == "vm.create" and job["state"] == "running"), None))
    wait_until("its children work", lambda: len([child for child in house.list("job") if child["kind"] == "vm.make" and child["state"] == "running"]) == 3)
    house.run("job", "cancel", job["id"])
    house.wait_for_jobs(60)
    job = house.json("job", "show", job["id"])
    require(job["state"] == "cancelled" and "error" not in job, f"it {job['state']}: {job.get('error')}")
    codes = {result.get("error", {}).get("code") for result in job["result"]["vms"]}
    require(codes == {"cancelled"}, f"its results say {codes}")
    invariants.hold(house)


def pulling_the_plug_waits_for_nobody(house):
    """Forty guests that do not listen are being asked to stop; another one is killed at once, and so is one of them."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 41, "--start", seconds=180)
    (house.folder / "agent" / "fake" / "control").write_text("deaf=1\n")
    deaf = [f"web-{number}" for number in range(1, 41)]
    for name in deaf:
        house.run("vm", "stop", name, "--grace", 60, "--no-wait")
    wait_until("all are being stopped", lambda: len([job for job in house.list("job") if job["state"] == "running"]) == len(deaf))
    for name in ("web-41", "web-1"):
        begun = time.monotonic()
        house.run("vm", "kill", name)
        require(time.monotonic() - begun < 5, f"{name} was killed after {time.monotonic() - begun:.1f} s")
    stop = next(job for job in house.list("job") if job["kind"] == "vm.stop" and job["target_name"] == "web-1")
    require(stop["state"] == "cancelled", f"the stop that was displaced {stop['state']}")
    (house.folder / "agent" / "fake" / "control").write_text("")


SCENARIOS = [
    vms_live_from_create_to_delete,
    vms_return_after_their_hosts_start_as_their_policy_says,
    create_survives_the_managers_death,
    create_survives_the_agents_death,
    ten_thousand_vms_on_one_host_are_taken_in,
    bad_input_is_refused_by_name,
    api_answers_problems_for_malformed_bodies,
    devices_come_and_go,
    isos_come_and_go,
    a_failed_change_leaves_all_as_it_was,
    a_killed_change_leaves_no_orphan,
    devices_follow_from_the_guest_os,
    crashes_are_shown_as_crashes,
    a_deaf_guest_is_killed_only_by_force,
    what_does_not_fit_together_is_refused_before_anything_starts,
    a_vm_runs_in_a_mode_that_can_do_what_it_asks_for,
    where_a_vm_could_run_is_told,
    a_host_without_control_domain_keeps_nothing_for_one,
    a_machine_may_start_as_another_kind_of_host,
    memory_is_promised_once,
    a_cancelled_create_is_cancelled,
    pulling_the_plug_waits_for_nobody,
    lists_come_in_every_format,
    malformed_requests_are_answered_with_problems,
    *CONTENT_SCENARIOS,
]

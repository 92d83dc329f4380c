"""Scenarios about backups of the store and about what several people and a full disk do to it; on the fake hypervisor."""
import concurrent.futures
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time

from house import require, wait_until
import invariants

KIB = 1024


def a_restored_backup_loses_nothing(house):
    """Backup with an open job; more VMs, one changed, one deleted; restore: what only repositories know is shown, all goes on."""
    backup = house.folder / "lodge.backup"
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2, "--start")
    house.run("vm", "create", "db", "--template", "bench-boot")
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="1500")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "start", "db", "--no-wait")
    house.run("system", "backup", backup)
    house.wait_for_jobs()
    house.power_cut("lodge-agent")
    wait_until("the host is connected again", house.has_host)
    house.run("vm", "update", "db", "--description", "newer than the backup")
    house.run("vm", "create", "late", "--template", "bench-boot", "--start")
    house.run("vm", "kill", "web-2")
    house.run("vm", "delete", "web-2", "--yes")
    ids = {vm["name"]: vm["id"] for vm in house.list("vm")}
    invariants.hold(house)

    house.run("system", "restore", backup, "--yes")
    wait_until("the manager is back in a new epoch", lambda: _store_epoch(house) == 2)
    wait_until("the host is connected after the restore", house.has_host)
    house.wait_for_states({"web-1": "running", "web-2": "stopped", "db": "running"})
    require(set(house.guests()) == {ids["web-1"], ids["db"], ids["late"]}, f"guests are {house.guests()}, VMs were {ids}")
    status = wait_until("the repository was compared", lambda: _has(house.list("repository")[0]["status"], "unknown_vms"))
    require([ids["late"]] == [text.split("(")[1].rstrip(")") for text in status["unknown_vms"]], f"unknown: {status['unknown_vms']}")
    require([text.split()[0] for text in status.get("missing_vms", [])] == ["web-2"], f"missing: {status.get('missing_vms')}")
    require(any(ids["late"] in name for name in house.list("host")[0]["status"].get("unmanaged", [])), "the host does not show the VM that it runs")
    lost = [job["kind"] for job in house.list("job") if job["state"] == "lost"]
    require(lost == ["vm.start"], f"lost jobs: {lost}")
    wait_until("the newer definition was taken over", lambda: house.json("vm", "show", "db").get("description") == "newer than the backup")

    house.run("vm", "kill", "db")
    house.run("vm", "update", "db", "--description", "after the restore")
    house.run("vm", "start", "db")
    house.run("vm", "delete", "web-2", "--yes")
    house.run("vm", "kill", "web-1")
    house.run("vm", "create", "new", "--template", "bench-boot", "--start")
    house.wait_for_states({"web-1": "stopped", "db": "running", "new": "running"})
    stored = json.loads((house.repository / "vms" / ids["db"] / "vm.json").read_text())
    require(stored["epoch"] == 2 and stored["description"] == "after the restore", f"vm.json is {stored}")
    require(ids["late"] in house.guests() and (house.repository / "vms" / ids["late"] / "vm.json").exists(), "the VM that nobody knows has gone")


def large_repositories_are_compared_after_a_restore(house):
    """More definitions than one message holds; until they were compared, changes are refused."""
    backup = house.folder / "lodge.backup"
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 300, "--description", "x" * 4000, seconds=120)
    house.run("system", "backup", backup)
    names = sorted(vm["name"] for vm in house.list("vm"))
    for name in (names[0], names[150], names[-1]):
        house.run("vm", "update", name, "--description", "newer than the backup")
    house.end("lodge-agent", signal.SIGKILL)
    house.run("system", "restore", backup, "--yes")
    wait_until("the manager is back in a new epoch", lambda: _store_epoch(house) == 2)
    house.run("vm", "update", names[0], "--description", "over what was never looked at", status=6)

    house.start("lodge-agent")
    wait_until("the host is connected after the restore", house.has_host)
    for name in (names[0], names[150], names[-1]):
        wait_until(f"the definition of {name} was taken over", lambda: house.json("vm", "show", name).get("description") == "newer than the backup")
    status = wait_until("the repository was compared", lambda: house.list("repository")[0].get("status"))
    require(not status.get("missing_vms") and not status.get("unknown_vms") and status["state"] == "ready", f"its status is {status}")
    house.run("vm", "update", names[0], "--description", "after the restore")
    house.power_cut("lodged")
    wait_until("the host is connected", house.has_host)
    require(house.json("vm", "show", names[0])["description"] == "after the restore", "an old definition came back")


def a_repository_that_cannot_be_read_after_a_restore_says_so(house):
    backup = house.folder / "lodge.backup"
    house.run("vm", "create", "web", "--template", "bench-boot")
    house.run("system", "backup", backup)
    house.run("vm", "update", "web", "--description", "newer than the backup")
    description = house.repository / "lodge-repository.json"
    description.rename(house.folder / "away.json")
    house.run("system", "restore", backup, "--yes")
    wait_until("the manager is back in a new epoch", lambda: _store_epoch(house) == 2)
    wait_until("the repository says what is wrong", lambda: "compared" in house.list("repository")[0].get("status", {}).get("reason", ""))
    house.run("vm", "update", "web", "--description", "over what was never looked at", status=6)
    (house.folder / "away.json").rename(description)
    wait_until("it was read again", lambda: house.json("vm", "show", "web").get("description") == "newer than the backup")
    require(house.list("repository")[0]["status"]["state"] == "ready", "its failure stays")
    house.run("vm", "update", "web", "--description", "after the restore")


def _store_epoch(house):
    """None while the manager does not answer."""
    done = house.run("system", "info", "-o", "json", status=None)
    return json.loads(done.stdout).get("store_epoch") if done.returncode == 0 else None


def _has(status, field):
    return status if status.get(field) else None


def bad_backups_are_refused_and_change_nothing(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    backup = house.folder / "lodge.backup"
    house.run("system", "backup", backup)
    house.run("vm", "create", "late", "--template", "bench-boot")
    whole = backup.read_bytes()
    foreign = house.folder / "foreign.backup"
    shutil.copy(backup, foreign)
    with sqlite3.connect(foreign) as database:
        database.execute("UPDATE meta SET value = '11111111-1111-4111-8111-111111111111' WHERE name = 'uuid'")
    damaged = bytearray(whole)
    damaged[len(whole) // 2:len(whole) // 2 + 9000] = b"x" * 9000
    bad = {"text": b"this is no backup\n" * 1000, "half": whole[:len(whole) // 2], "damaged": bytes(damaged)}
    for name, content in bad.items():
        (house.folder / name).write_bytes(content)
    for path, word in [(house.folder / name, "the backup is refused") for name in bad] + [(foreign, "another installation")]:
        done = house.run("system", "restore", path, "--yes", status=None)
        require(done.returncode not in (0, 6, 7) and word in done.stderr, f"{path.name}: status {done.returncode}, {done.stderr!r}")
    refused = house.run("api", "POST", "/v1/system/restore", "--data", "{}", status=None)
    require(refused.returncode != 0, "a body of JSON was taken for a backup")
    time.sleep(1)  # a restart would come now
    require(house.json("system", "info")["store_epoch"] == 1, "the store was replaced")
    house.wait_for_states({"web": "running", "late": "stopped"})
    left = [path.name for path in (house.folder / "manager").glob("*restore*")]
    require(not left, f"left behind: {left}")
    invariants.hold(house)


def many_people_on_the_same_names_break_nothing(house, rounds=25, seed=None):
    """Six clients make, start, stop and delete VMs of three names at once: each is served or refused by name, nothing is half done."""
    seed = seed if seed is not None else random.SystemRandom().randrange(2**32)
    print(f"   seed {seed}, 6 clients, {rounds} calls each", flush=True)
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="20")
    wait_until("the host is connected", house.has_host)
    pids = {name: child.pid for name, child in house.children.items()}

    def client(number):
        chance = random.Random(seed + number)
        statuses = []
        for _ in range(rounds):
            name = chance.choice(["one", "two", "three"])
            words = chance.choice([["create", name, "--template", "bench-boot"], ["create", name, "--template", "bench-boot", "--start"],
                                   ["start", name], ["kill", name], ["stop", name, "--force", "--grace", "1"],
                                   ["delete", name, "--yes"], ["delete", name, "--yes", "--force"]])
            done = house.run("vm", *words, *chance.choice([[], ["--no-wait"]]), status=None, seconds=120)
            require(done.returncode in (0, 1, 3, 4), f"{words}: status {done.returncode}\n{done.stderr}")
            require(done.returncode == 0 or any(n in done.stderr for n in ("one", "two", "three", "VM", "name")), f"{words}: says only {done.stderr!r}")
            statuses.append(done.returncode)
        return statuses

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        statuses = [status for list_ in pool.map(client, range(6)) for status in list_]
    print(f"   {statuses.count(0)} done, {len(statuses) - statuses.count(0)} refused", flush=True)
    require(statuses.count(0) > len(statuses) / 6, "nearly everything was refused")
    house.wait_for_jobs()
    invariants.hold(house)
    require(pids == {name: child.pid for name, child in house.children.items()} and all(child.poll() is None for child in house.children.values()),
            "a daemon died")


def a_full_disk_leaves_nothing_half_made(house):
    _on_a_small_disk(house, _fill_and_free)


def a_change_on_a_full_disk_leaves_no_file(house):
    """A new disk does not fit: nothing of it stays. A disk is purged: that works, and makes space."""
    _on_a_small_disk(house, _change_when_full)


def _on_a_small_disk(house, prove):
    if os.geteuid() != 0:
        print("   skipped: making a small file system needs root", flush=True)
        return
    small = house.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0711", "tmpfs", small], check=True)
    try:
        prove(house, small)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def _fill(small, left):
    ballast = small / "ballast"
    ballast.write_bytes(b"")
    information = os.statvfs(small)
    ballast.write_bytes(b"x" * (information.f_bavail * information.f_frsize - left))


def _change_when_full(house, small):
    house.run("repository", "create", "small", "--path", small / "repository")
    house.repository = small / "repository"
    house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "small", "--start")
    house.run("vm", "attach-disk", "web", "--name", "data", "--size", "1M")
    before, files = house.json("vm", "show", "web"), sorted(house.repository.glob("disks/*"))
    for left in (4 * KIB, 0):
        _fill(small, left)
        done = house.run("vm", "attach-disk", "web", "--name", "more", "--size", "1M", status=None)
        require(done.returncode == 1 and "space" in done.stderr, f"status {done.returncode}: {done.stderr}")
        require(sorted(house.repository.glob("disks/*")) == files, f"{left} bytes left: files of disks came or went")
        require(house.json("vm", "show", "web")["disks"] == before["disks"], f"{left} bytes left: the VM has other disks")
    house.run("vm", "detach-disk", "web", "data", "--purge", "--yes")
    (small / "ballast").unlink()
    house.run("vm", "attach-disk", "web", "--name", "more", "--size", "1M")
    invariants.hold(house)


def a_manager_without_room_says_so_and_ends(house):
    house.run("vm", "create", "web", "--template", "bench-boot")
    house.end("lodged", signal.SIGKILL)  # leaves a log of the store that has outgrown the limit below

    def allow_no_file_to_grow():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40 * KIB, 40 * KIB))

    words = [house.programs["lodged"], "--instance", house.instance, "--state", house.folder / "manager", "--socket", house.folder / "lodged.sock"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False, restore_signals=False, preexec_fn=allow_no_file_to_grow)
    require(done.returncode == 1 and "cannot start" in done.stderr, f"status {done.returncode}: {done.stderr}")
    house.start("lodged")
    wait_until("the host is connected when there is room", house.has_host)
    house.run("vm", "start", "web")


def _fill_and_free(house, small):
    house.run("repository", "create", "small", "--path", small / "repository")
    house.repository = small / "repository"
    house.run("vm", "create", "first", "--template", "bench-boot", "--repository", "small")
    for left in (600 * KIB, 100 * KIB, 4 * KIB, 0):
        _fill(small, left)
        done = house.run("vm", "create", f"big-{left}", "--template", "bench-boot", "--repository", "small", "--count", 12, status=None)
        made = [name for name in house.states() if name.startswith(f"big-{left}")]
        print(f"   {left // KIB} KiB left: {len(made)} of 12 made", flush=True)
        require(len(made) < 12 and done.returncode == 1, f"12 VMs fit, status {done.returncode}: the scenario proves nothing")
        require("space" in done.stderr, f"the reason is not told: {done.stderr}")
        invariants.hold(house)
    (small / "ballast").unlink()
    house.run("vm", "create", "last", "--template", "bench-boot", "--repository", "small", "--start")
    invariants.hold(house)


SCENARIOS = [a_restored_backup_loses_nothing, large_repositories_are_compared_after_a_restore,
             a_repository_that_cannot_be_read_after_a_restore_says_so, bad_backups_are_refused_and_change_nothing, many_people_on_the_same_names_break_nothing,
             a_full_disk_leaves_nothing_half_made, a_change_on_a_full_disk_leaves_no_file, a_manager_without_room_says_so_and_ends]

"""A manager that is lost with its store is made anew from its hosts and repositories, by a recovery kit."""
import contextlib
import json
import shutil
import sqlite3

from house import House, require, wait_until
from hosts import BLANK, code_of, is_connected, neighbour, take

PASSPHRASE = "correct horse battery staple"
KINDS = ("pool", "host", "network", "repository", "vm", "template", "iso", "principal")
# What may differ after a rebuild: counters of the store, times of its writes, and what is reported.
VOLATILE = {"status", "revision", "epoch", "updated", "last_login", "last_used"}


def passphrase_file(house, text=PASSPHRASE):
    path = house.folder / "passphrase"
    path.write_text(text + "\n")
    return path


def make_kit(house, name="kit.json"):
    path = house.folder / name
    path.write_text(house.run("system", "recovery-kit", "--passphrase-file", passphrase_file(house)).stdout)
    require(json.loads(path.read_text())["format"] == "lodge-recovery-kit/1", f"the kit is {path.read_text()[:200]}")
    return path


def state_of(house):
    """All definitions by kind and id, without what may differ."""
    state = {}
    for kind in KINDS:
        for row in house.list(kind):
            if kind == "template" and row["state"] == "buildable":
                continue  # what could be built is told by hosts, under new ids
            if kind == "principal" and row["name"] == "admin":
                continue  # the new manager's own first administrator
            state[f"{kind}/{row['name']}"] = {key: value for key, value in row.items() if key not in VOLATILE}
    return state


def differences(before, after):
    found = [f"{name} is missing" for name in before if name not in after] + [f"{name} is new" for name in after if name not in before]
    for name, row in before.items():
        for key in {**row, **after.get(name, row)}:
            if row.get(key) != after.get(name, row).get(key):
                found.append(f"{name}.{key} was {row.get(key)!r}, is {after[name].get(key)!r}")
    return found


def revisions(house):
    return {row["id"]: (row.get("epoch", 0), row["revision"]) for kind in KINDS for row in house.list(kind) if "revision" in row}


def lose(house):
    """Its store and its certificates are gone; a new manager begins with nothing."""
    house.end("lodged", 9)
    shutil.move(house.folder / "manager", house.folder / "manager.lost")
    house.start("lodged")
    wait_until("lodged answers", house.answers)
    require(not house.list("host") and not house.list("pool"), "the store is not empty")


def rebuild(house, *arguments, kit=None, **options):
    with_kit = ("--kit", kit, "--passphrase-file", passphrase_file(house)) if kit else ()
    return house.run("system", "rebuild", *with_kit, *arguments, "--yes", seconds=120, **options)


def furnished(house, other, third):
    """Two pools, networks, a shared repository, templates, an ISO, VMs that run and that do not."""
    house.run("pool", "update", "default", "--keymap", "de", "--migrations", "8", "--description", "first")
    take(house, other)
    house.run("pool", "create", "second", "--mac-range", "02:0a:1b", "--keymap", "fr")
    house.run("host", "add", "three", "--address", third.address, "--code", code_of(third), "--pool", "second", "--tag", "rack-2")
    wait_until("two is connected", is_connected(house))
    wait_until("three is connected", is_connected(house, "three"))
    house.run("host", "update", "two", "--memory-reserve", "768M", "--tag", "rack-1", "--description", "the second")
    house.run("host", "maintenance", "three", "on", "--keep")
    house.run("network", "create", "lan", "--kind", "nat", "--pool", "second")
    house.run("network", "create", "office", "--kind", "bridge", "--bridge", "br0", "--pool", "default")
    house.run("network", "update", "office", "--bridge-on", "host=two,bridge=br1")
    house.run("repository", "create", "far", "--host", "two", "--path", other.repository, "--description", "on two")
    house.run("repository", "create", "away", "--host", "three", "--path", third.repository)
    (house.folder / "shared").mkdir()
    house.run("repository", "create", "san", "--kind", "shared", "--path", house.folder / "shared", "--pool", "default")
    image = house.folder / "small.iso"
    image.write_bytes(b"\0" * 32768 + b"\x01CD001\x01" + b"\0" * 40000)
    house.run("iso", "import", "tools", image, "--repository", "far")
    house.run("vm", "create", "near", *BLANK, "--repository", "main", "--start", "--tag", "web")
    house.run("vm", "create", "far", "--template", "bench-boot", "--repository", "far", "--count", "2", "--start")
    house.run("vm", "create", "still", *BLANK[:-1], "office", "--repository", "far")
    house.run("vm", "update", "still", "--keymap", "us", "--description", "stopped")
    house.run("vm", "create", "both-1", *BLANK, "--repository", "san", "--host", "one", "--start")
    house.run("vm", "create", "both-2", *BLANK, "--repository", "san", "--host", "two")
    secret = house.folder / "password"
    secret.write_text("hunter2hunter2\n")
    house.run("principal", "create", "eve", "--role", "operator", "--password-file", secret, "--grant", "object=vm/near,role=administrator")


def a_manager_is_rebuilt(house):
    """Everything is back under its id, field by field; the lost manager, when it comes back, is refused by every host."""
    with neighbour(house) as other, neighbour(house, "three") as third:
        furnished(house, other, third)
        require(house.json("system", "info")["recovery_kit"]["state"] == "none", "there is a kit")
        kit = make_kit(house)
        require(house.json("system", "info")["recovery_kit"]["state"] == "current", "the kit is not current")
        house.run("host", "update", "two", "--memory-reserve", "1G")
        require(house.json("system", "info")["recovery_kit"]["state"] == "current", "the kit does not know such things")
        require("hunter2" not in kit.read_text() and "PRIVATE" not in kit.read_text(), "the kit shows what is secret")
        before, numbers, states = state_of(house), revisions(house), house.states()
        manager, epoch = (house.json("system", "info")[key] for key in ("manager", "store_epoch"))
        guests = {host: sorted(host.guests()) for host in (house, other, third)}
        wait_until("it is kept", lambda: kept_by(other).get("host", {}).get("memory_reserve") == 1 << 30)
        lose(house)
        plan = json.loads(house.run("system", "rebuild", "--kit", kit, "--passphrase-file", passphrase_file(house), "--dry-run", "-o", "json").stdout)
        require([row["believes"] for row in plan["data"]["kit_hosts"]] == [True] * 3, f"the plan is {plan}")
        require(house.json("system", "info")["manager"] != manager, "a dry run took the identity")
        text = rebuild(house, kit=kit).stderr
        require("tokens" in text and "3 hosts" in text, f"it told {text}")
        info = house.json("system", "info")
        require(info["manager"] == manager and info["store_epoch"] > epoch, f"its identity is {info}")
        found = differences(before, state_of(house))
        require(not found, "after the rebuild: " + "; ".join(found))
        now = revisions(house)
        require(all(now[identity] >= was for identity, was in numbers.items() if identity in now), "a revision went back")
        house.wait_for_states(states)
        require({host: sorted(host.guests()) for host in (house, other, third)} == guests, "guests were started or ended")
        require("hunter2" not in json.dumps(house.list("job")) and "enrol_secret" not in json.dumps(house.list("job")), "jobs show what is secret")
        # It works.
        house.run("vm", "start", "still")
        house.run("vm", "stop", "far-1")
        house.run("vm", "create", "more", "--template", "bench-boot", "--repository", "far", "--start")
        wait_until("recipes are listed", lambda: [row for row in house.list("template") if row["state"] == "buildable"] or True)
        # The lost manager comes back.
        with back(house) as lost:
            for name in ("one", "two", "three"):
                reason = wait_until(f"{name} refuses it", lambda: refusal(lost, name))  # pylint: disable=cell-var-from-loop
                require("later epoch" in reason, f"{name}: {reason}")
            lost.run("vm", "kill", "near", "--no-wait", status=None)
            wait_until("the new one goes on", lambda: house.states().get("near") == "running")
        require(house.states()["near"] == "running", "the lost manager ended a VM")
        for name in ("one", "two", "three"):
            require(is_connected(house, name)(), f"{name} is not connected")


def kept_by(host):
    """What the agent keeps for a new manager; it is sent half a second after a change."""
    with contextlib.closing(sqlite3.connect(f"file:{host.folder}/agent/journal.sqlite?mode=ro", uri=True)) as journal:
        row = journal.execute("SELECT value FROM items WHERE CAST(key AS TEXT) = 'kept'").fetchone()
    return json.loads(row[0]) if row else {}


def refusal(manager, name):
    status = next(host for host in manager.list("host") if host["name"] == name).get("status", {})
    return status.get("reason") if status.get("state") in ("refused", "unreachable") and status.get("reason") else None


def back(house):
    """The lost manager, with its store, beside the new one."""
    lost = House(house.programs, folder=house.folder / "lost", instance=house.instance)
    shutil.move(house.folder / "manager.lost", lost.folder / "manager")
    lost.start("lodged")
    wait_until("the lost manager answers", lost.answers)
    return lost


SCENARIOS = [a_manager_is_rebuilt]

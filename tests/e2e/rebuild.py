"""A manager that is lost with its store is made anew from its hosts and repositories, by a recovery kit."""
import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
import time

from fleet import FIRST, FakeFleet, Line
from house import ENDED, House, require, wait_until
from hosts import BLANK, code_of, is_connected, neighbour, other_manager, take

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


def lose(house, at_once=False):
    """Its store and its certificates are gone; a new manager begins with nothing. Hosts keep what was true half a second before."""
    if not at_once:
        time.sleep(1.5)
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
        audit = [event for event in house.list("event") if event.get("method") == "system.recovery-kit"]
        require(audit and PASSPHRASE not in house.log("lodged").read_text() + json.dumps(house.list("event")), f"the audit has {audit}")
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
                wait_until(f"{name} refuses it", lambda: refusal(lost, name))  # pylint: disable=cell-var-from-loop
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
    """Whether it knows that the host has gone over to another one."""
    status = next(host for host in manager.list("host") if host["name"] == name).get("status", {})
    return status.get("state") == "unreachable" and "later epoch" in status.get("reason", "")


def back(house):
    """The lost manager, with its store, beside the new one."""
    lost = House(house.programs, folder=house.folder / "lost", instance=house.instance)
    shutil.move(house.folder / "manager.lost", lost.folder / "manager")
    lost.start("lodged")
    wait_until("the lost manager answers", lost.answers)
    return lost


def refused(house, word, *arguments, **options):
    text = house.run(*arguments, status=None, **options)
    require(text.returncode != 0 and word in text.stderr, f"lodge {' '.join(map(str, arguments))}: {text.returncode}, {text.stderr}")
    return text.stderr


def with_kit(house, kit, passphrase=PASSPHRASE):
    return ("system", "rebuild", "--kit", kit, "--passphrase-file", passphrase_file(house, passphrase), "--yes")


def a_rebuild_refuses_what_is_not_right(house):
    """A short or wrong passphrase, a damaged kit, what is no kit, a kit of others, a store that is not empty."""
    with neighbour(house) as other, other_manager(house) as stranger:
        take(house, other)
        wait_until("two is connected", is_connected(house))
        house.run("vm", "create", "web", *BLANK, "--repository", "main", "--start")
        refused(house, "12 characters", "system", "recovery-kit", "--passphrase-file", passphrase_file(house, "short"))
        require(house.json("system", "info")["recovery_kit"]["state"] == "none", "a kit that was refused counts")
        kit = make_kit(house)
        foreign = make_kit(stranger, "foreign.json")
        text = refused(house, "already", *with_kit(house, kit))
        require("1 pool" in text and "2 hosts" in text and "1 vm" in text, f"what is there is not named: {text}")
        refused(house, "without a kit", "system", "rebuild", "--yes")
        refused(house, "hosts", *with_kit(house, kit), "--hosts", "10.0.0.0/99")
        manager = house.json("system", "info")["manager"]
        lose(house)
        own = house.json("system", "info")["manager"]
        refused(house, "passphrase", *with_kit(house, kit, "another passphrase"))
        damaged = house.folder / "damaged.json"
        content = json.loads(kit.read_text())
        for change in ({"sealed": "AA" + content["sealed"][2:]}, {"sealed": content["sealed"][:-40]}, {"checksum": "0" * 64}):
            damaged.write_text(json.dumps({**content, **change}))
            refused(house, "damaged", *with_kit(house, damaged))
        damaged.write_text(json.dumps({**content, "format": "lodge-recovery-kit/2"}))
        refused(house, "lodge-recovery-kit/2", *with_kit(house, damaged))
        for text in "{}", "[]", "no kit", json.dumps({"format": 1}):
            damaged.write_text(text)
            refused(house, "no recovery kit", *with_kit(house, damaged))
        require(house.json("system", "info")["manager"] == own, "what was refused took the identity")
        # Of another installation: its hosts are none, and these do not believe it.
        text = refused(house, "belongs to the manager " + manager, *with_kit(house, foreign), "--hosts", other.address)
        require(f"lodge-agent release {manager}" in text and not house.list("host"), f"it told {text}")
        rebuild(house, kit=kit)  # which holds nothing yet
        house.wait_for_states({"web": "running"})
        refused(house, "another one than that of the kit", *with_kit(house, foreign))
        require(sorted(host["name"] for host in house.list("host")) == ["one", "two"], "hosts are missing")
        rebuild(house, kit=kit)  # again: nothing is to be done


def two_that_are_made_of_one_kit_share_no_host(house):
    """And one that was only cut off: it is hung up on, and each call of it is refused; the last one that came commands."""
    with neighbour(house) as other:
        take(house, other)
        wait_until("two is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", *BLANK, "--repository", "far", "--start")
        kit = make_kit(house)
        wait_until("it is kept", lambda: kept_by(other).get("repositories"))
        with contextlib.ExitStack() as stack:
            managers = [house]
            for number in range(2):  # the first one lives on all the while
                new = House(house.programs, folder=house.folder / f"new{number}", instance=house.instance)
                new.environment["LODGE_SERVER"] = f"unix:{new.folder}/lodged.sock"
                stack.enter_context(new)
                new.start("lodged")
                wait_until("it answers", new.answers)
                require(rebuild(new, kit=kit).returncode == 0, "it is not rebuilt")
                wait_until("it is connected", is_connected(new))
                require(new.json("system", "info")["store_epoch"] > managers[-1].json("system", "info")["store_epoch"], "its epoch is not newer")
                managers.append(new)
                for former in managers[:-1]:
                    for name in ("one", "two"):
                        wait_until(f"{name} refuses it", lambda: refusal(former, name))  # pylint: disable=cell-var-from-loop
                    former.run("vm", "kill", "web", "--no-wait", status=None)
            time.sleep(1)
            require(other.guests(), "a former manager ended the VM")
            managers[-1].run("vm", "kill", "web")
            require(not other.guests(), "the VM was not ended")


def a_host_that_was_away_comes_later(house):
    """It is named, and taken when the rebuild is repeated; nothing that it knows alone is lost."""
    with neighbour(house) as other, neighbour(house, "three") as third:
        furnished(house, other, third)
        kit, before = make_kit(house), None
        wait_until("three keeps its pool", lambda: kept_by(third).get("pool", {}).get("name") == "second")
        before = state_of(house)
        third.end("lodge-agent", 9)
        lose(house)
        text = refused(house, "three", *with_kit(house, kit))
        require("repeat the rebuild" in text, f"it told {text}")
        require(sorted(host["name"] for host in house.list("host")) == ["one", "two"], "hosts are missing")
        third.start("lodge-agent")
        wait_until("three listens", lambda: code_of(third, status=None))
        rebuild(house, "--hosts", third.address)  # the kit is not needed any more
        found = differences(before, state_of(house))
        require(not found, "after the second rebuild: " + "; ".join(found))


def rebuilds_survive_kills(house):
    """The manager and its agents, at any moment: the job goes on."""
    with neighbour(house) as other, neighbour(house, "three") as third:
        furnished(house, other, third)
        kit, before, states = make_kit(house), state_of(house), house.states()
        wait_until("all keep it", lambda: all(kept_by(host).get("networks") for host in (house, other, third)))
        for round_number in range(4):
            lose(house)
            rebuild(house, "--no-wait", kit=kit)
            for victim, daemon in ((house, "lodged"), (other, "lodge-agent"), (house, "lodged")):
                time.sleep(random.uniform(0, 1.2))
                victim.power_cut(daemon)
                wait_until("lodged answers", house.answers)
            job = wait_until("the job has ended", lambda: [row for row in house.list("job") if row["kind"] == "system.rebuild" and row["state"] in ENDED], 120)[0]
            if job["state"] != "succeeded":  # a host was away for a moment: it is told, and the next one takes it
                wait_until("two listens", lambda: code_of(other, status=None))
                rebuild(house, kit=kit, status=None)
            for name in ("one", "two", "three"):
                wait_until(f"{name} is connected", is_connected(house, name), 60)
            for host in house.list("host"):
                house.run("host", "adopt", host["name"], status=None)
            found = differences(before, state_of(house))
            require(not found, f"round {round_number}, {job['state']}: " + "; ".join(found))
            house.wait_for_states(states)
            shutil.rmtree(house.folder / "manager.lost")


def without_a_kit_hosts_are_set_free(house):
    """What is to be done is told for each; those that hold a secret are taken then, with all that they keep."""
    secret = house.folder / "secret"
    secret.write_text("correct horse battery staple\n")
    with neighbour(house, "two", "--enrol-secret-file", str(secret)) as other:
        take(house, other)
        wait_until("two is connected", is_connected(house))
        house.run("pool", "create", "second", "--keymap", "fr")
        house.run("host", "move", "two", "--pool", "second")
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "far", "--start", "--network", "default")
        wait_until("it is kept", lambda: kept_by(other).get("pool", {}).get("name") == "second" and kept_by(other).get("repositories"))
        manager = house.json("system", "info")["manager"]
        before = state_of(house)
        lose(house)
        text = refused(house, f"lodge-agent release {manager}", "system", "rebuild", "--hosts", other.address, "--yes")
        require("principals, their roles" in text, f"it told {text}")
        done = subprocess.run([other.programs["lodge-agent"], "--socket", f"{other.folder}/agent.sock", "release", manager], capture_output=True,
                              text=True, check=False, timeout=20)
        require(done.returncode == 0, f"lodge-agent release: {done}")
        refused(house, "has no owner", "system", "rebuild", "--hosts", other.address, "--yes")
        house.run("system", "rebuild", "--hosts", other.address, "--enrol-secret-file", secret, "--yes")
        after = state_of(house)
        for name in ("pool/second", "host/two", "repository/far", "vm/web", "template/bench-boot"):
            require(not differences({name: before[name]}, {name: after.get(name, {})}), f"{name} was {before[name]}, is {after.get(name)}")
        house.wait_for_states({"web": "running"})


def moves_that_had_not_ended_are_not_guessed(house):
    """The manager dies at any moment of a move: the VM is listed where it runs, or not at all, never twice."""
    with neighbour(house) as two, neighbour(house, "three") as three:
        hosts = {"two": two, "three": three}
        for name, host in hosts.items():
            take(house, host, name)
            wait_until(f"{name} is connected", is_connected(house, name))
            house.run("repository", "create", f"of-{name}", "--host", name, "--path", host.repository)
        house.run("vm", "create", "web", *BLANK, "--repository", "of-two", "--start")
        kit = make_kit(house)
        vm = house.json("vm", "show", "web")
        n_listed = 0
        for round_number in range(4):
            source = house.json("vm", "show", "web")["host_name"]
            target = "three" if source == "two" else "two"
            wait_until("all is kept", lambda: all(kept_by(host).get("repositories") for host in hosts.values()))
            house.run("vm", "migrate", "web", "--to-host", target, "--no-wait")
            time.sleep(random.uniform(0, 0.8))
            lose(house, at_once=True)
            time.sleep(1)
            rebuild(house, kit=kit, status=None)
            runs = [name for name, host in hosts.items() if vm["id"] in host.guests()]
            require(len(runs) == 1, f"round {round_number}: it runs on {runs}")
            listed = [row["host_name"] for row in house.list("vm")]
            require(listed in ([], runs), f"round {round_number}: it is listed on {listed}, and runs on {runs}")
            shutil.rmtree(house.folder / "manager.lost")
            if not listed:
                break
            n_listed += 1
            wait_until("its state is known", lambda: house.states() == {"web": "running"})
        print(f"moves that were cut short: {n_listed} decided", flush=True)


def a_fleet_is_rebuilt(house):
    """Sixty hosts with thirty VMs each, found by their network."""
    fleet = FakeFleet(house, 60, 30, "--beat", 0.5, "--changes", 2)
    with fleet:
        fleet.enrol()
        line = Line(house)
        wait_until("all hosts are connected", lambda: fleet.are_connected(line))
        fleet.adopt(line)
        kit = make_kit(house)
        before = {row["id"]: (row["name"], row["host"], row["nics"]) for row in line.rows("/v1/vms?sort=name")}
        names = {row["id"]: row["name"] for row in line.rows("/v1/hosts?sort=name")}
        require(len(before) == 1800 and len(names) == 61, f"{len(before)} VMs on {len(names)} hosts")
        time.sleep(2)  # until they keep it
        line.close()
        lose(house)
        begin = time.monotonic()
        rebuild(house, "--hosts", f"{FIRST},{FIRST + 1}:{fleet.port}", kit=kit, status=4)  # nobody listens at the first one's usual port
        print(f"60 hosts with 1,800 VMs: rebuilt within {time.monotonic() - begin:.1f} s", flush=True)
        line = Line(house)
        require({row["id"]: (row["name"], row["host"], row["nics"]) for row in line.rows("/v1/vms?sort=name")} == before, "VMs are others")
        require({row["id"]: row["name"] for row in line.rows("/v1/hosts?sort=name")} == names, "hosts are others")
        fleet.check_states(line)


def real_guests_run_on(house):
    """They notice nothing of a manager that is lost and made anew."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", "2", "--start", seconds=120)
    house.wait_for_states({"web-1": "running", "web-2": "running"}, 60)
    kit, before, processes = make_kit(house), state_of(house), house.guest_processes()
    time.sleep(1)
    lose(house)
    rebuild(house, kit=kit)
    found = differences(before, state_of(house))
    require(not found, "after the rebuild: " + "; ".join(found))
    house.wait_for_states({"web-1": "running", "web-2": "running"}, 60)
    require(processes and house.guest_processes() == processes, f"guests were {processes}, are {house.guest_processes()}")
    house.run("vm", "kill", "web-1", "web-2")


REAL_SCENARIOS = [real_guests_run_on]
SCENARIOS = [
    a_manager_is_rebuilt,
    a_rebuild_refuses_what_is_not_right,
    two_that_are_made_of_one_kit_share_no_host,
    a_host_that_was_away_comes_later,
    rebuilds_survive_kills,
    without_a_kit_hosts_are_set_free,
    moves_that_had_not_ended_are_not_guessed,
    a_fleet_is_rebuilt,
]

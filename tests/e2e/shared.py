"""Repositories that all hosts of a pool have mounted: a VM goes from host to host, its files stay."""
import contextlib
import json
import signal
import subprocess

from hosts import BLANK, is_connected, neighbour, take
from house import ENDED, Failure, require, wait_until
from migration import HOSTS, Row, migrate


def _views(house, name="san"):
    return {view["name"]: view["state"] for view in house.json("repository", "show", name)["status"].get("hosts", [])}


def _where(row):
    """None while the manager starts again."""
    try:
        return row.where()
    except Failure:
        return None


def _files(folder):
    """Path -> inode of all that VMs have."""
    return {str(path): path.stat().st_ino for part in ("disks", "vms") for path in (folder / part).rglob("*.raw")}


def _note(row, vm):
    return json.loads((row.shared / "vms" / vm["id"] / "vm.json").read_text())


def _local_answer(words, but):
    """What the agent says on its own machine; None as long as it says that."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    return None if but in done.stdout + done.stderr else done.stdout + done.stderr


def a_vm_goes_where_its_disks_are_seen(house):
    """Running and stopped; nothing is copied, and its definition says where it is."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, shared=True)
        before = _files(row.shared)
        plan = json.loads(house.run("vm", "migrate", "web", "--to-host", "three", "--dry-run", "-o", "json").stdout)
        require([step["name"] for step in plan["steps"]] == ["begin", "expect", "move", "define", "write", "end", "leave", "forget"], f"the plan is {plan['steps']}")
        for target in ("three", "two"):
            house.run("vm", "migrate", "web", "--to-host", target)
            row.is_whole()
            vm = house.json("vm", "show", "web")
            require(vm["host_name"] == target and _note(row, vm)["host"] == vm["host"], f"it is on {vm['host_name']}")
        require(_files(row.shared) == before, "its files are others")
        house.run("vm", "attach-disk", "web", "--size", "16M", "--name", "data")
        house.run("vm", "detach-disk", "web", "data")  # kept, and seen from everywhere
        house.run("vm", "migrate", "web", "--to-host", "three")
        house.run("vm", "stop", "web")
        plan = json.loads(house.run("vm", "migrate", "web", "--to-host", "one", "--dry-run", "-o", "json").stdout)
        require([step["name"] for step in plan["steps"]] == ["begin", "arrive", "part", "define", "write", "forget"], f"the plan is {plan['steps']}")
        house.run("vm", "migrate", "web", "--to-host", "one")  # which moves no running ones
        vm = house.json("vm", "show", "web")
        require(vm["host_name"] == "one" and _note(row, vm)["host"] == vm["host"], f"it is on {vm['host_name']}")
        house.end("lodged", signal.SIGKILL)
        two = row.hosts["two"]
        ask = [house.programs["lodge-agent"], "--socket", f"{two.folder}/agent.sock", "local", "start", json.dumps({"id": vm["id"]})]
        told = wait_until("the manager is missed", lambda: _local_answer(ask, "is connected"))
        require("another host" in told, f"its old host starts it: {told}")
        ask[4:] = ["list", "{}"]
        require('"web"' not in _local_answer(ask, "is connected"), "its old host lists it")
        require([row["name"] for row in house.json("--host-local", "vm", "list")] == ["web"], "its new host does not list it")
        house.start("lodged")
        wait_until("it is connected", is_connected(house, "one"))
        house.run("vm", "start", "web")
        require(house.guests() and not row.running(), "it does not run where it is said to be")
        house.run("vm", "kill", "web")
        row.hosts["two"].end("lodge-agent", signal.SIGKILL)
        wait_until("it is away", lambda: not is_connected(house, "two")())
        text = house.run("vm", "migrate", "web", "--to-host", "two", status=None).stderr
        require("two is not connected" in text, text)


def what_has_left_is_not_touched(house):
    """Its job was broken when it had arrived: its old host, which sees its disks, does nothing with it; it is said to be where it is by moving it there."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, shared=True)
        before = _files(row.shared)
        control = row.hosts["two"].folder / "agent" / "fake" / "control"
        control.write_text("hang=look\n")
        job = migrate(house, "web", "three")
        wait_until("it runs there", lambda: row.running() == {"web": ["three"]})
        row.hosts["two"].end("lodge-agent", signal.SIGKILL)
        house.run("job", "break", job, "--yes", "--reason", "its host is away")
        control.unlink()
        row.hosts["two"].start("lodge-agent")
        wait_until("it is connected", is_connected(house, "two"))
        wait_until("its state is known", lambda: house.states()["web"] == "stopped")
        for words in (("delete", "web", "--purge", "--yes"), ("start", "web"), ("migrate", "web", "--to-host", "one"), ("clone", "web", "copy"),
                      ("attach-disk", "web", "--size", "16M")):
            text = house.run("vm", *words, status=None).stderr
            require("the host at " + row.hosts["three"].address in text, f"{words[0]}: {text}")
            require(row.running() == {"web": ["three"]} and _files(row.shared) == before, f"{words[0]} did something")
            house.wait_for_jobs()
            house.wait_for_states({"web": "stopped"})
        text = house.run("template", "create", "golden", "--from-vm", "web", status=None).stderr
        require("the host at " + row.hosts["three"].address in text, text)
        house.run("vm", "migrate", "web", "--to-host", "three")
        row.is_whole()
        house.run("vm", "migrate", "web", "--to-host", "two")
        row.is_whole()


def moves_that_waited_look_again(house):
    """Two moves of one VM: the second was asked for when it was elsewhere."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, shared=True, delay_ms=100)
        house.run("vm", "clone", "web", "twin", "--no-wait", status=None)
        house.wait_for_jobs()
        house.run("vm", "delete", "twin", "--yes", status=None)
        first, second = (migrate(house, "web", name) for name in ("three", "four"))
        copy = json.loads(house.run("vm", "clone", "web", "copy", "--hold", "--no-wait", "-o", "json").stdout)["id"]
        for job, expected in ((first, "succeeded"), (second, "failed"), (copy, "failed")):
            wait_until("it has ended", lambda: house.json("job", "show", job)["state"] in ENDED, 60)
            require(house.json("job", "show", job)["state"] == expected, f"{house.json('job', 'show', job)}")
        require(row.where() == {"web": "three"}, f"they are on {row.where()}")
        row.is_whole()


def what_is_copied_goes_into_another_repository(house):
    """From a shared one into a host's own, and back."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, shared=True)
        own = row.hosts["three"].repository
        house.run("repository", "create", "local", "--host", "three", "--path", own)
        house.run("vm", "migrate", "web", "--to-host", "three", "--repository", "local")
        vm = house.json("vm", "show", "web")
        require(vm["repository_name"] == "local" and (own / "vms" / vm["id"] / "vm.json").exists(), f"it lies in {vm['repository_name']}")
        require(not list((row.shared / "vms").iterdir()), "its files are in both")
        house.run("vm", "migrate", "web", "--to-host", "two", "--repository", "san")
        require(_note(row, vm)["host"] == house.json("host", "show", "two")["id"], "it is not in the shared repository")
        require(not list((own / "vms").iterdir()), "its files are in both")
        require(row.running() == {"web": ["two"]}, f"there run {row.running()}")


def a_shared_repository_is_on_all_hosts(house):
    """Hosts that come have it, hosts that go do not; what belongs to no host is made on any of them."""
    with contextlib.ExitStack() as stack:
        path = house.folder / "shared"
        text = house.run("repository", "create", "san", "--kind", "shared", "--path", path, "--host", "one", status=2).stderr
        require("name the pool" in text, text)
        house.run("repository", "create", "san", "--kind", "shared", "--path", path)
        text = house.run("repository", "create", "inner", "--host", "one", "--path", path / "inner", status=4).stderr
        require("belongs to the repository san" in text, text)
        two = stack.enter_context(neighbour(house, "two"))
        take(house, two)
        wait_until("it is seen there", lambda: _views(house) == {"one": "ready", "two": "ready"})
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "san", "--count", 4, "--start")
        where = {vm["host_name"] for vm in house.list("vm")}
        require(where == {"one", "two"}, f"they are on {where}")
        text = house.run("host", "release", "two", "--yes", status=4).stderr
        require("shared repository san" in text, text)
        house.end("lodge-agent", signal.SIGKILL)
        wait_until("it is away", lambda: not is_connected(house, "one")())
        disc = house.folder / "disc.iso"
        disc.write_bytes(b"\0" * 0x8000 + b"\x01CD001" + b"\0" * 300000)
        house.run("iso", "import", "disc", disc, "--repository", "san")
        house.start("lodge-agent")
        wait_until("it is connected", is_connected(house, "one"))
        for vm in house.list("vm"):
            house.run("vm", "delete", vm["name"], "--force", "--yes")
        house.run("pool", "create", "other")
        house.run("host", "move", "two", "--pool", "other")
        wait_until("it is not used there", lambda: _views(house) == {"one": "ready"})
        house.run("host", "move", "two", "--pool", "default")
        wait_until("it is used again", lambda: _views(house) == {"one": "ready", "two": "ready"})
        house.run("host", "release", "two", "--yes")
        require(_views(house) == {"one": "ready"}, f"seen by {_views(house)}")
        house.run("iso", "delete", "disc", "--yes")
        house.run("repository", "forget", "san", "--yes")
        require((path / "lodge-repository.json").exists(), "its files are gone")


def a_shared_repository_is_read_after_a_restore(house):
    """A VM that was made after the backup is told of, one that moved since is where it is."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, shared=True)
        backup = house.folder / "backup"
        house.run("system", "backup", backup)
        house.run("vm", "migrate", "web", "--to-host", "three")
        house.run("vm", "create", "late", *BLANK, "--repository", "san")
        house.run("system", "restore", backup, "--yes")
        for name in row.hosts:
            wait_until("it is connected", is_connected(house, name), 60)
        wait_until("its definition is taken over", lambda: _where(row) == {"web": "three"})
        wait_until("it runs", lambda: house.states() == {"web": "running"})
        told = wait_until("the late one is told of", lambda: house.json("repository", "show", "san")["status"].get("unknown_vms"))
        require(len(told) == 1 and told[0].startswith("late "), f"it tells of {told}")
        require(_views(house) == dict.fromkeys(("one", "two", "three"), "ready"), f"seen by {_views(house)}")


SCENARIOS = [a_vm_goes_where_its_disks_are_seen, what_has_left_is_not_touched, moves_that_waited_look_again, what_is_copied_goes_into_another_repository, a_shared_repository_is_on_all_hosts,
             a_shared_repository_is_read_after_a_restore]

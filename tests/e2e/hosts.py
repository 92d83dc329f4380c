"""Scenarios with hosts that are reached over the network: taken by their code, believed by their key."""
import contextlib
import json
import re
import shutil
import socket
import subprocess
import time

from client import Client
from house import House, free_port, require, wait_until


BLANK = ("--guest-os", "debian12", "--disk-size", "16M", "--memory", "64M", "--network", "default")  # a VM without a template


@contextlib.contextmanager
def neighbour(house, name="two", *options):
    """Another host: an agent of its own that listens on an address."""
    other = House(house.programs, house.driver, house.folder / name, f"{house.instance}{name}")
    other.address = f"127.0.0.1:{free_port()}"
    other.agent_options = ["--listen", other.address, *options]
    with other:
        other.start("lodge-agent")
        wait_until("the neighbour listens", lambda: code_of(other, status=None))
        yield other


def code_of(other, status=0):
    done = subprocess.run([other.programs["lodge-agent"], "--socket", f"{other.folder}/agent.sock", "enrol"], capture_output=True, text=True,
                          check=False, timeout=20)
    require(status is None or done.returncode == status, f"lodge-agent enrol: {done}")
    found = re.search(r"^Code: (\S+) .*\n(?:.*\n)*  lodge host add \S+ --address (\S+) --code (\S+)$", done.stdout, re.M)
    if status == 0:
        require(found and found[1] == found[3] and found[2] == other.address, f"lodge-agent enrol wrote\n{done.stdout}")
    return found and found[1]


def take(house, other, name="two", **options):
    return house.run("host", "add", name, "--address", other.address, "--code", code_of(other), **options)


def state(house, name):
    return house.json("host", "show", name).get("status", {})


def is_connected(house, name="two"):
    return lambda: house.answers() and state(house, name).get("state") == "connected"


def a_host_is_taken_by_its_code(house):
    with neighbour(house) as other:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        disc = house.folder / "disc.iso"
        disc.write_bytes(b"\0" * 0x8000 + b"\x01CD001" + b"\0" * 300000)
        house.run("iso", "import", "disc", disc, "--repository", "far")
        require(any(other.repository.rglob("*.iso")), "the upload did not reach the other host")
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "far", "--start")
        require(other.guests() and not house.guests(), "the VM does not run on the other host")
        with subprocess.Popen([house.programs["lodge"], "vm", "console", "web"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=house.environment) as console:
            require(b"fake console" in console.stdout.readline(), "the console says nothing")
            console.kill()
        for daemon in (other, "lodge-agent"), (house, "lodged"), (house, "lodge-agent"):
            daemon[0].power_cut(daemon[1])
            wait_until(f"it is connected after the death of {daemon[1]}", is_connected(house))
            wait_until("the VM runs", lambda: house.states() == {"web": "running"})


def codes_are_guessed_in_vain(house):
    with neighbour(house) as other:
        add = ("host", "add", "two", "--address", other.address)
        text = house.run(*add, status=2).stderr
        require("lodge-agent enrol" in text, f"without a code: {text}")
        right = code_of(other)
        wrong = "0000-0000" if right != "0000-0000" else "0000-0001"
        for _ in range(3):
            text = house.run(*add, "--code", wrong, status=5).stderr
            require("not the one" in text, f"a wrong code: {text}")
        text = house.run(*add, "--code", right, status=5).stderr
        require("wrong tries" in text, f"after three wrong ones: {text}")
        house.run(*add, "--code", "hello", status=2)
        old = code_of(other)
        new = code_of(other)
        house.run(*add, "--code", old, status=5)
        house.run(*add, "--code", new.lower().replace("-", " "))
        wait_until("it is connected", is_connected(house))
        require(new not in other.log("lodge-agent").read_text() + house.log("lodged").read_text(), "a code is in a log")


def hosts_move_between_pools(house):
    house.run("pool", "create", "other")
    house.run("vm", "create", "web", "--template", "bench-boot")
    text = house.run("host", "move", "one", "--pool", "other", status=4).stderr
    require("has 1 VMs" in text, f"a host with a VM: {text}")
    house.run("vm", "delete", "web", "--yes")
    house.run("host", "move", "one", "--pool", "default", status=4)
    house.run("host", "move", "one", "--pool", "nowhere", status=3)
    house.run("host", "move", "one", status=2)
    house.run("host", "move", "one", "--pool", "other")
    other = house.json("pool", "show", "other")
    require(house.json("host", "show", "one")["pool"] == other["id"], "the host is where it was")
    require(house.json("repository", "show", "main")["pool"] == other["id"], "its repository is where it was")
    house.run("network", "create", "second", "--kind", "nat", "--pool", "other")
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    house.wait_for_states({"web": "running"})


def a_word_is_found_everywhere(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2, "--tag", "shop", "--start")
    house.run("vm", "create", "db", "--template", "bench-boot")
    vm = house.json("vm", "show", "web-2")
    mac = vm["nics"][0]["mac"]

    def rows(word):
        return [(row["kind"], row["name"], row["place"], row.get("host")) for row in house.json("find", word)]
    require(rows(mac.upper()) == [("vm", "web-2", "mac", "one")], f"by its MAC: {rows(mac)}")
    require(rows(vm["id"][:13]) == [("vm", "web-2", "id", "one")], f"by its id: {rows(vm['id'][:13])}")
    require([row[1] for row in rows("shop")] == ["web-1", "web-2"], f"by its tag: {rows('shop')}")
    require(("repository", "main", "name", None) in rows("main"), f"a repository: {rows('main')}")
    require(("host", "one", "address", None) in rows("agent.sock"), f"a host by its address: {rows('agent.sock')}")
    text = house.run("find", "web-1").stdout
    require(re.search(r"^vm +web-1 +one +name +web-1$", text, re.M), f"the table is\n{text}")
    require(house.run("find", "nowhere", status=3).stderr.count("nowhere") == 1, "nothing found is no error")
    house.run("find", "a,b", status=2)
    house.run("find", "x", status=2)
    house.run("find", status=2)


def a_secret_serves_for_many(house):
    """Hosts that are set up unattended hold their pool's secret; nobody types a code."""
    secret = house.folder / "secret"
    secret.write_text("correct horse battery staple\n")
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(neighbour(house, name, "--enrol-secret-file", str(secret))) for name in ("a1", "a2")]
        stranger = stack.enter_context(neighbour(house, "a3"))
        text = house.run("host", "add", "a1", "--address", others[0].address, status=2).stderr
        require("lodge-agent enrol" in text, f"without a secret in the pool: {text}")
        house.run("pool", "create", "many", "--enrol-secret-file", secret)
        require("correct horse" not in house.run("pool", "show", "many", "-o", "json").stdout, "the pool shows its secret")
        for name, other in zip(("a1", "a2"), others):
            house.run("host", "add", name, "--address", other.address, "--pool", "many")
            wait_until("it is connected", is_connected(house, name))
        text = house.run("host", "add", "a3", "--address", stranger.address, "--pool", "many", status=5).stderr
        require("the code is not the one" in text, f"a host without the secret: {text}")
        house.run("host", "add", "a3", "--address", stranger.address, "--pool", "many", "--code", code_of(stranger))


def many_hosts_are_taken_at_once(house):
    """By one job; one that cannot be taken keeps none of the others out, and nothing is added twice."""
    secret = house.folder / "secret"
    secret.write_text("correct horse battery staple\n")
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(neighbour(house, f"n{i}", "--enrol-secret-file", str(secret))) for i in range(3)]
        addresses = [other.address for other in others]
        text = house.run("host", "enrol", *addresses, "--pool", "default", status=2).stderr
        require("secret" in text, f"a pool without a secret: {text}")
        house.run("pool", "update", "default", "--enrol-secret-file", secret)
        nobody = f"127.0.0.1:{free_port()}"
        done = house.run("host", "enrol", addresses[0], nobody, status=None)
        require(done.returncode != 0 and "1 of 2 hosts were not added" in done.stderr and nobody in done.stderr, f"one that is not there: {done}")
        house.run("host", "enrol", *addresses)
        hosts = {host["address"]: host["name"] for host in house.list("host") if host.get("key")}
        require(set(hosts) == set(addresses) and len(set(hosts.values())) == 3, f"the hosts are {hosts}")
        for name in hosts.values():
            wait_until("it is connected", is_connected(house, name))


def a_host_has_one_owner(house):
    """Another manager gets it neither with an old code nor with a new one, and the audit shows no code."""
    stranger = House(house.programs, "fake", house.folder / "stranger", house.instance)
    stranger.environment["LODGE_SERVER"] = f"unix:{stranger.folder}/lodged.sock"
    with neighbour(house) as other, stranger:
        stranger.start("lodged")
        wait_until("the other manager answers", stranger.answers)
        stranger.run("pool", "create", "default")
        code = code_of(other)
        house.run("host", "add", "two", "--address", other.address, "--code", code)
        wait_until("it is connected", is_connected(house))
        add = ("host", "add", "two", "--address", other.address, "--code")
        text = stranger.run(*add, code, status=5).stderr
        require("belongs to" in text or "no code" in text, f"with the used code: {text}")
        text = stranger.run(*add, code_of(other), status=5).stderr
        require("belongs to" in text, f"with a new code: {text}")
        require(state(house, "two")["state"] == "connected", "the owner lost it")
        require(code not in json.dumps(Client(house).items("/v1/events?limit=1000")), "the code is in the audit")


@contextlib.contextmanager
def other_manager(house):
    stranger = House(house.programs, "fake", house.folder / "stranger", house.instance)
    stranger.environment["LODGE_SERVER"] = f"unix:{stranger.folder}/lodged.sock"
    with stranger:
        stranger.start("lodged")
        wait_until("the other manager answers", stranger.answers)
        stranger.run("pool", "create", "default")
        yield stranger


def adopt(manager, other):
    take(manager, other)
    wait_until("it is connected", is_connected(manager))
    job = manager.json("host", "adopt", "two")
    wait_until("states are known", lambda: "unknown" not in manager.states().values())
    return job


def hosts_change_hands(house):
    """With all that lies on them, to another manager and back: what runs, runs on, whoever dies in the middle."""
    with neighbour(house) as other, other_manager(house) as stranger:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "far", "--count", "20", "--start", seconds=120)
        house.run("vm", "create", "db", "--template", "bench-boot", "--repository", "far", "--tag", "shop")
        house.run("vm", "update", "db", "--memory", "96M")
        house.run("vm", "create", "stays", *BLANK, "--repository", "main", "--start")
        macs = {vm["name"]: [nic["mac"] for nic in vm["nics"]] for vm in house.list("vm")}
        before = sorted(other.guests())
        house.run("host", "release", "two", "--yes", "--no-wait")
        house.power_cut("lodged")
        wait_until("lodged answers", house.answers)
        house.wait_for_jobs()
        require([host["name"] for host in house.list("host")] == ["one"], "the host is still listed")
        require(house.states() == {"stays": "running"}, f"VMs are {house.states()}")
        require([repository["name"] for repository in house.list("repository")] == ["main"], "the repository is still listed")
        require(sorted(other.guests()) == before, "guests were ended")
        # Another manager, where some names are taken.
        text = stranger.run("host", "take", "two", "--address", other.address, "--code", "2222-2222", status=None).stderr
        require("code" in text and not [host for host in stranger.list("host") if host["name"] == "two"], f"with a wrong code: {text}")
        job = stranger.run("host", "take", "two", "--address", other.address, "--code", code_of(other)).stderr
        require("vm db" in job, f"it told {job}")
        wait_until("states are known", lambda: "unknown" not in stranger.states().values())
        require(stranger.states() == {**{f"web-{i}": "running" for i in range(1, 21)}, "db": "stopped"}, f"adopted: {stranger.states()}, {job}")
        now = {vm["name"]: [nic["mac"] for nic in vm["nics"]] for vm in stranger.list("vm")}
        require(now == {name: mac for name, mac in macs.items() if name != "stays"}, f"MACs were {macs}, are {now}")
        require(stranger.json("vm", "show", "db")["tags"] == ["shop"], "a tag is lost")
        stranger.run("vm", "update", "db", "--memory", "128M")
        stranger.run("vm", "start", "db")
        stranger.run("vm", "kill", "web-1")
        stranger.run("vm", "delete", "web-1", "--yes")
        other.power_cut("lodge-agent")
        wait_until("it is connected", is_connected(stranger))
        text = stranger.run("host", "adopt", "two").stderr
        require("listed before" in text, f"nothing is there to adopt: {text}")
        require(len(stranger.list("vm")) == 20, "something was adopted twice")
        # And back, where a name is taken meanwhile.
        house.run("vm", "create", "db", *BLANK, "--repository", "main")
        stranger.run("host", "release", "two", "--yes")
        adopt(house, other)
        require(house.states() == {**{f"web-{i}": "running" for i in range(2, 21)}, "db": "stopped", "db-2": "running", "stays": "running"},
                f"back: {house.states()}")
        require(house.json("vm", "show", "db-2")["memory"] == 128 << 20, "a change of the other manager is lost")
        house.run("vm", "stop", "db-2")
        house.run("vm", "update", "db-2", "--memory", "64M")
        house.run("vm", "start", "db-2")
        house.run("host", "remove", "two", "--yes", status=4)
        # A VM that cannot come along is named; the others come.
        house.run("vm", "delete", "web-7", "--force", "--yes")
        house.run("host", "release", "two", "--yes")
        web = next(path for path in other.repository.rglob("vm.json") if json.loads(path.read_text())["name"] == "web-8")
        definition = json.loads(web.read_text())
        definition["nics"][0]["mac"] = macs["stays"][0]
        web.write_text(json.dumps(definition))
        odd = next(path for path in other.repository.rglob("vm.json") if json.loads(path.read_text())["name"] == "web-20")
        odd.write_text(json.dumps({key: value for key, value in json.loads(odd.read_text()).items() if key != "id"}))
        take(house, other)
        wait_until("it is connected", is_connected(house))
        text = house.run("host", "adopt", "two", status=4).stderr
        require("1 objects" in text and "web-8" in text and macs["stays"][0] in text, f"a MAC that is taken: {text}")
        require("web-9" in house.states() and "web-8" not in house.states(), f"adopted: {house.states()}")
        house.power_cut("lodged")
        wait_until("it answers", house.answers)


def a_host_on_a_socket_is_let_go(house):
    """Its manager could own it again without being asked: not while it gives it away, and dies in the middle."""
    with other_manager(house) as stranger:
        house.run("vm", "create", "web", "--template", "bench-boot", "--count", "60", "--start", seconds=120)
        house.run("host", "release", "one", "--yes", "--no-wait")
        for _ in range(3):
            house.power_cut("lodged")
        wait_until("it is forgotten", lambda: house.answers() and not house.list("host") and not house.list("vm"))
        stranger.run("host", "add", "mine", "--address", f"unix:{house.folder}/agent.sock")
        wait_until("it is connected", is_connected(stranger, "mine"))
        stranger.run("host", "adopt", "mine")
        wait_until("all run", lambda: list(stranger.states().values()) == ["running"] * 60)


def many_vms_change_hands(house):
    """More than a job can claim; both managers start again afterwards. A name as long as names may be is taken already."""
    long_name = "n" * 63
    with neighbour(house) as other, other_manager(house) as stranger:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "far", "--count", "140", seconds=120)
        house.run("vm", "create", long_name, *BLANK, "--repository", "far", "--start")
        for number in range(5):
            house.run("vm", "attach-nic", "web-1", "--name", f"more{number}", "--network", "default")
        house.run("host", "release", "two", "--yes")
        require(not house.list("vm") and [host["name"] for host in house.list("host")] == ["one"], "something is still listed")
        take(stranger, other, "first")
        wait_until("it is connected", is_connected(stranger, "first"))
        stranger.run("network", "create", "default", "--kind", "nat")
        stranger.run("repository", "create", "own", "--host", "first", "--path", other.folder / "own")
        stranger.run("vm", "create", long_name, *BLANK, "--repository", "own")
        stranger.run("host", "adopt", "first")
        for manager in (house, stranger):
            manager.power_cut("lodged")
            wait_until("it answers", manager.answers)
        wait_until("it is connected", is_connected(stranger, "first"))
        wait_until("states are known", lambda: "unknown" not in stranger.states().values())
        states = stranger.states()
        require(len(states) == 142 and states[long_name] == "stopped" and states["n" * 58 + "-2"] == "running", f"{len(states)} VMs: {states}")
        require(len(stranger.json("vm", "show", "web-1")["nics"]) == 6, "NICs are lost")


def a_lost_manager_is_replaced(house):
    """One on an empty store takes all hosts again, with what lies on them."""
    def release(host, manager, status):
        done = subprocess.run([host.programs["lodge-agent"], "--socket", f"{host.folder}/agent.sock", "release", manager], capture_output=True,
                              text=True, check=False, timeout=20)
        require(done.returncode == status, f"lodge-agent release: {done}")
        return done.stderr
    with neighbour(house) as other:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "near", *BLANK, "--repository", "main", "--start")
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "far", "--start")
        manager = house.json("system", "info")["manager"]
        vms = {vm["name"]: (vm["id"], vm["nics"], vm["memory"]) for vm in house.list("vm")}
        house.end("lodged", 9)
        shutil.rmtree(house.folder / "manager")
        house.start("lodged")
        wait_until("lodged answers", house.answers)
        require(not house.list("vm"), "the store is not empty")
        house.run("pool", "create", "default")
        add = ("host", "add", "one", "--address", f"unix:{house.folder}/agent.sock")
        text = house.run(*add, status=5).stderr
        require("belongs to" in text, f"a host of the lost manager: {text}")
        require(manager in release(house, house.json("system", "info")["manager"], 4), "the right one is not named")
        release(house, "nonsense", 2)
        release(house, manager, 0)
        release(house, manager, 4)
        release(other, manager, 0)
        house.run(*add)
        take(house, other)
        for name in ("one", "two"):
            wait_until("it is connected", is_connected(house, name))
            house.run("host", "adopt", name)
        house.wait_for_states({"near": "running", "web": "running"})
        require({vm["name"]: (vm["id"], vm["nics"], vm["memory"]) for vm in house.list("vm")} == vms, "the VMs are not those")
        house.run("vm", "create", "more", "--template", "bench-boot", "--repository", "far", "--start")
        house.run("vm", "stop", "web")
        house.run("vm", "delete", "web", "--yes")


def a_host_with_another_key_is_not_believed(house):
    """Somebody else answers at its address: nothing is sent there."""
    with neighbour(house) as other:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        other.end("lodge-agent", 9)
        keys = other.folder / "agent" / "tls"
        shutil.move(keys, other.folder / "kept")
        other.start("lodge-agent")
        status = wait_until("it is refused", lambda: (s := state(house, "two"))["state"] == "unreachable" and "believed" in s.get("reason", "") and s)
        require("since" in status, f"since when is not told: {status}")
        other.end("lodge-agent", 9)
        shutil.rmtree(keys)
        shutil.move(other.folder / "kept", keys)
        other.start("lodge-agent")
        wait_until("it is believed again", is_connected(house), 40)


def a_host_is_believed_again(house):
    """It has lost its key, or what it knew of its owner, or has another address: with a new code it goes on, its VMs run on."""
    with neighbour(house) as other, neighbour(house, "three") as third:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", "--template", "bench-boot", "--repository", "far", "--start")
        other.power_cut("lodge-agent")
        for what in ("host.key", "owner-*.pem"):
            other.end("lodge-agent", 9)
            lost = list((other.folder / "agent" / "tls").glob(what))
            require(lost, f"no {what} in {list((other.folder / 'agent' / 'tls').iterdir())}")
            for path in lost:
                path.unlink()
            other.start("lodge-agent")
            wait_until("it is not connected", lambda: state(house, "two")["state"] in ("unreachable", "refused"))
            wait_until("its agent answers", lambda: code_of(other, status=None))
            text = house.run("host", "renew", "two", status=2).stderr
            require("lodge-agent enrol" in text, f"without a code: {text}")
            house.run("host", "renew", "two", "--code", "0000-0000", status=5)
            text = house.run("host", "renew", "two", "--address", third.address, "--code", code_of(third), status=2).stderr
            require("another host" in text, f"another host's address: {text}")
            require("owner" not in house.json("host", "discover", third.address)[0], "the other host was taken")
            house.run("host", "renew", "two", "--code", code_of(other))
            wait_until("it is connected", is_connected(house))
            wait_until("its VM runs", lambda: house.states() == {"web": "running"})
        other.end("lodge-agent", 9)
        other.address = f"127.0.0.1:{free_port()}"
        other.agent_options[1] = other.address
        other.start("lodge-agent")
        wait_until("its agent answers", lambda: code_of(other, status=None))
        house.run("host", "renew", "two", "--address", other.address, "--code", code_of(other))
        wait_until("it is connected", is_connected(house))
        house.run("vm", "kill", "web")
        require(not other.guests(), "the VM was not ended")


def knocking_keeps_nobody_out(house):
    """Connections that say nothing, and some that speak no TLS, by the hundred."""
    with neighbour(house) as other, contextlib.ExitStack() as stack:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        host, port = other.address.split(":")
        for number in range(300):
            knock = stack.enter_context(socket.create_connection((host, int(port))))
            if number % 3 == 0:
                knock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        begun = time.monotonic()
        house.power_cut("lodged")
        wait_until("it is connected", is_connected(house))
        print(f"   connected {time.monotonic() - begun:.1f} s after the manager's death, past 300 who say nothing", flush=True)


def found(house, *arguments):
    return {row["address"]: row for row in house.json("host", "discover", *arguments, seconds=90)}


def hosts_are_found(house):
    """New, ours, another's, one that is no agent, and those that are not there; by address, name, range, network and file."""
    stranger = House(house.programs, "fake", house.folder / "stranger", house.instance)
    stranger.environment["LODGE_SERVER"] = f"unix:{stranger.folder}/lodged.sock"
    with neighbour(house, "free") as free, neighbour(house, "mine") as mine, neighbour(house, "theirs") as theirs, stranger, \
            socket.create_server(("127.0.0.1", 0)) as silent:
        stranger.start("lodged")
        wait_until("the other manager answers", stranger.answers)
        stranger.run("pool", "create", "default")
        take(stranger, theirs)
        take(house, mine, "mine")
        wait_until("it is connected", is_connected(house, "mine"))
        closed = f"127.0.0.1:{free_port()}"
        noise = f"127.0.0.1:{silent.getsockname()[1]}"
        listed = house.folder / "hosts.txt"
        listed.write_text(f"# ours and another's\n{mine.address}\n\n{theirs.address}  # theirs\n")
        rows = found(house, free.address, closed, noise, "nobody.invalid", "--file", listed)
        states = {address: row["state"] for address, row in rows.items()}
        require(states == {free.address: "new", mine.address: "ours", theirs.address: "owned", closed: "refused", noise: "foreign",
                           "nobody.invalid": "unknown"}, f"found: {states}")
        require(rows[mine.address]["name"] == "mine" and rows[free.address]["version"] and rows[free.address]["driver"] == "fake",
                f"what is known of them: {rows}")
        owner = stranger.json("system", "info")["manager"]
        require(rows[theirs.address]["owner"] == owner, f"whose it is: {rows[theirs.address]}, not {owner}")
        # A network: only what was found, or all of it.
        require(not found(house, "127.9.9.0/24"), "something is found where nothing is")
        require(len(found(house, "127.9.9.0/24", "127.9.9.7", "--all")) == 254, "not every address is told of")
        require(list(found(house, "127.9.9.0/24", "127.9.9.7")) == ["127.9.9.7"], "what was named is not told of")
        text = house.run("host", "discover", free.address, closed).stdout
        require(text.startswith("ADDRESS") and re.search(rf"^{free.address} +new ", text, re.M) and
                re.search(rf"^{closed} +refused .*nobody listens", text, re.M), f"the table is\n{text}")
        for wrong, word in (("127.0.0.1/40", "bits"), ("10.0.0.0/8", "65,536"), ("10.0.0.9-3", "lowest"), ("a b", "neither")):
            text = house.run("host", "discover", wrong, status=2).stderr
            require(word in text, f"{wrong}: {text}")
        text = house.run("host", "discover", status=2).stderr
        require("addresses" in text, f"without addresses: {text}")


def a_search_ends_with_its_client(house):
    """Four at a time; one whose client leaves makes room at once."""
    slow = [house.programs["lodge"], "host", "discover", "127.0.0.0/17", "--rate", "100"]
    def begin():
        return subprocess.Popen(slow, env=house.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    searches = [begin() for _ in range(4)]
    try:
        def is_busy():
            # What asks here may have come before one of the four, which was refused then.
            searches[:] = [begin() if search.poll() is not None else search for search in searches]
            return "4 searches" in house.run("host", "discover", "127.0.0.1", status=None).stderr
        wait_until("a fifth is refused", is_busy)
        house.run("vm", "list")
        searches[0].kill()
        searches[0].wait()
        wait_until("there is room again", lambda: house.run("host", "discover", "127.0.0.1", status=None).returncode == 0)
    finally:
        for search in searches:
            search.kill()
            search.wait()


SCENARIOS = [
    hosts_are_found,
    a_search_ends_with_its_client,
    a_host_is_taken_by_its_code,
    codes_are_guessed_in_vain,
    a_secret_serves_for_many,
    hosts_move_between_pools,
    a_word_is_found_everywhere,
    many_hosts_are_taken_at_once,
    a_host_has_one_owner,
    a_host_with_another_key_is_not_believed,
    a_host_is_believed_again,
    hosts_change_hands,
    a_host_on_a_socket_is_let_go,
    many_vms_change_hands,
    a_lost_manager_is_replaced,
    knocking_keeps_nobody_out,
]

"""Scenarios about what a pool has: networks that each of its hosts has or lacks, a keyboard, processors; on the fake hypervisor."""
import contextlib
import json
import signal

from hosts import BLANK, is_connected, neighbour, state, take
from house import require, wait_until
from migration import HOSTS, Row
from placement import SMALL, places, pool_of, refused


def tell(host, *lines):
    """Settings of a host's fake hypervisor."""
    (host.folder / "agent" / "fake" / "control").write_text("".join(f"{line}\n" for line in lines))


def network(house, name):
    return house.json("network", "show", name)


def on_hosts(house, name):
    """State of a network by host."""
    return {row["host"]: row["state"] for row in network(house, name)["status"].get("hosts", [])}


def is_on(house, name, expected):
    return lambda: house.answers() and on_hosts(house, name) == expected


def why(house, name, host):
    return next(row.get("reason", "") for row in network(house, name)["status"]["hosts"] if row["host"] == host)


def each_host_of_a_pool_has_its_networks(house):
    """One that lacks a bridge does not stop the others, says so, and gets no VM that needs it."""
    with pool_of(house, "two", "three") as others:
        wait_until("all have the first network", is_on(house, "default", {"one": "active", "two": "active", "three": "active"}))
        tell(others["two"], "no_bridge=br7,br9")
        house.run("network", "create", "office", "--kind", "bridge", "--bridge", "br7")
        require(on_hosts(house, "office") == {"one": "active", "three": "active", "two": "failed"}, f"it is {network(house, 'office')}")
        status = network(house, "office")["status"]
        require(status["state"] == "partial" and "two: the bridge br7 does not exist" in status["reason"], f"its status is {status}")
        require("partial" in house.run("network", "list").stdout, "the list does not tell")
        text = house.run("network", "show", "office").stdout
        require("the bridge br7 does not exist" in text and "HOST" in text, f"it is shown as\n{text}")
        job = next(job for job in house.list("job") if job["kind"] == "network.create")
        kept = house.json("job", "show", job["id"])["result"]["failed"]
        require([row["host"] for row in kept] == ["two"], f"its job tells {kept}")
        house.run("vm", "create", "web", *SMALL, "--network", "office", "--count", 4)
        require(set(places(house).values()) == {"one", "three"}, f"they went to {places(house)}")
        refused(house, "lacks the network office: the bridge br7 does not exist", "vm", "create", "x", *SMALL, "--network", "office", "--host", "two")
        text = house.run("vm", "create", "x", *SMALL, "--network", "office", "--dry-run").stdout
        require("not on two: lacks the network office: the bridge br7 does not exist" in text, f"the plan is\n{text}")
        # Where no host has it, it is not made.
        tell(house, "no_bridge=br9")
        tell(others["three"], "no_bridge=br9")
        text = house.run("network", "create", "nowhere", "--kind", "bridge", "--bridge", "br9", status=3).stderr
        require("one: the bridge br9 does not exist" in text and "three: " in text, f"no host has it: {text}")
        require({row["name"] for row in house.list("network")} == {"default", "office"}, "a network that no host has is listed")


def a_bridge_may_have_another_name(house):
    with pool_of(house, "two") as others:
        tell(others["two"], "no_bridge=br7")
        house.run("network", "create", "office", "--kind", "bridge", "--bridge", "br7")
        house.run("network", "update", "office", "--bridge-on", "host=two,bridge=br8")
        rows = network(house, "office")["status"]["hosts"]
        require([(row["host"], row["state"], row["bridge"]) for row in rows] == [("one", "active", "br7"), ("two", "active", "br8")], f"they are {rows}")
        require(network(house, "office")["status"]["state"] == "active", "the network is not whole")
        house.run("vm", "create", "web", *SMALL, "--network", "office", "--host", "two", "--start")
        house.wait_for_states({"web": "running"})
        told = json.dumps(house.list("network"))
        for wrong, word in ((("--bridge-on", "host=two,bridge=br8", "--bridge-on", "host=two,bridge=br9"), "twice"),
                            (("--bridge-on", "host=two,bridge=a/b"), "interface"), (("--bridge-on", "host=nobody,bridge=br8"), "nobody"),
                            (("--bridge-on", "bridge=br8"), "host"), (("--name", "default"), "already")):
            refused(house, word, "network", "update", "office", *wrong, status=None)
        refused(house, "bridge", "network", "update", "default", "--bridge-on", "host=two,bridge=br8", status=2)
        require(json.dumps(house.list("network")) == told, "what was refused changed something")
        house.run("network", "update", "office", "--description", "desks", "--unset", "bridge-on")
        require(on_hosts(house, "office")["two"] == "failed", f"it is {network(house, 'office')}")
        refused(house, "br7", "vm", "create", "x", *SMALL, "--network", "office", "--host", "two")


def hosts_that_come_back_or_join_are_asked(house):
    """What was made or vanished while a host was away is known as soon as it is back."""
    house.run("network", "create", "office", "--kind", "bridge", "--bridge", "br7")
    with neighbour(house) as other:
        tell(other, "no_bridge=br7")
        take(house, other)
        wait_until("it was asked", is_on(house, "office", {"one": "active", "two": "failed"}))
        other.end("lodge-agent", 9)
        wait_until("nothing is known of it", is_on(house, "office", {"one": "active", "two": "unknown"}))
        require(network(house, "office")["status"]["state"] == "active", "a host that is away makes the network worse")
        house.run("network", "create", "lab", "--kind", "bridge", "--bridge", "br7")
        require(on_hosts(house, "lab") == {"one": "active", "two": "unknown"}, f"it is {on_hosts(house, 'lab')}")
        other.start("lodge-agent")
        wait_until("it was asked for both", lambda: "br7" in why(house, "lab", "two") and "br7" in why(house, "office", "two"))
        # A bridge that people make is found, without anybody's help.
        tell(other)
        wait_until("the bridge was found", is_on(house, "lab", {"one": "active", "two": "active"}), 45, 0.5)
        house.power_cut("lodged")
        wait_until("both are known again", is_on(house, "office", {"one": "active", "two": "active"}))
        # Of another pool it is not asked.
        house.run("pool", "create", "other")
        house.run("host", "move", "two", "--pool", "other")
        wait_until("its row is gone", is_on(house, "office", {"one": "active"}))
        house.run("host", "move", "two", "--pool", "default")
        wait_until("it was asked again", is_on(house, "office", {"one": "active", "two": "active"}))
        house.run("network", "delete", "office", "lab", "--yes")
        require([row["name"] for row in house.list("network")] == ["default"], "they were not deleted")
        house.run("host", "remove", "two", "--yes")
        wait_until("its row is gone", is_on(house, "default", {"one": "active"}))


def networks_are_made_whoever_dies(house):
    """With every host away the job waits; a host that dies in the middle does not hold up the others."""
    with pool_of(house, "two") as others:
        tell(others["two"], "delay_ms=3000")
        job = json.loads(house.run("network", "create", "slow", "--no-wait", "-o", "json").stdout)["id"]
        wait_until("the first host has it", lambda: any(row["name"] == "slow" for row in house.list("network")))
        others["two"].end("lodge-agent", 9)
        house.wait_for_jobs()
        require(house.json("job", "show", job)["state"] == "succeeded", f"{house.json('job', 'show', job)}")
        require(on_hosts(house, "slow") == {"one": "active", "two": "unknown"}, f"it is {on_hosts(house, 'slow')}")
        house.end("lodge-agent", 9)
        wait_until("nobody answers", lambda: state(house, "one").get("state") == "unreachable")
        job = json.loads(house.run("network", "create", "late", "--no-wait", "-o", "json").stdout)["id"]
        house.power_cut("lodged")
        wait_until("lodged answers", house.answers)
        tell(others["two"])
        house.start("lodge-agent")
        others["two"].start("lodge-agent")
        wait_until("both have it", lambda: any(row["name"] == "late" for row in house.list("network")) and
                   is_on(house, "late", {"one": "active", "two": "active"})(), 60)
        house.wait_for_jobs()
        require(house.json("job", "show", job)["state"] == "succeeded", f"{house.json('job', 'show', job)}")


def nothing_moves_to_a_host_without_its_networks(house):
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS[:2])
        tell(row.hosts["three"], "no_bridge=br7")
        house.run("network", "create", "office", "--kind", "bridge", "--bridge", "br7")
        house.run("vm", "attach-nic", "web", "--network", "office")
        text = refused(house, "three lacks the network office: the bridge br7 does not exist", "vm", "migrate", "web", "--to-host", "three")
        require("/to_host" in text or "to_host" in text, f"the field is not named: {text}")
        plan = house.run("host", "maintenance", "two", "on", "--dry-run").stdout
        require("Would stay:\n  web: " in plan, f"the plan is\n{plan}")
        tell(row.hosts["three"])
        row.hosts["three"].power_cut("lodge-agent")
        wait_until("it is connected", is_connected(house, "three"))
        wait_until("it has the network", lambda: on_hosts(house, "office")["three"] == "active")
        house.run("vm", "migrate", "web", "--to-host", "three")
        row.is_whole()


def keyboards_are_remembered(house):
    """Of the pool, and of a VM whose people have another one; nonsense is refused by field."""
    house.run("pool", "create", "prod", "--keymap", "de")
    house.run("pool", "update", "default", "--keymap", "us(dvorak)")
    require({pool["name"]: pool.get("keymap") for pool in house.list("pool")} == {"default": "us(dvorak)", "prod": "de"}, f"they are {house.list('pool')}")
    require("Keymap: de\n" in house.run("pool", "show", "prod").stdout, "it is not shown")
    require("us(dvorak)" in house.run("pool", "list", "-o", "wide").stdout, "it is not listed")
    house.run("vm", "create", "web", *SMALL, "--start")
    house.run("vm", "update", "web", "--keymap", "fr")
    vm = house.json("vm", "show", "web")
    require(vm["keymap"] == "fr" and not vm["status"].get("pending"), f"the VM is {vm}")
    for wrong in ("xx", "DE", "de(", "de()", "de(a b)", "../de", "de;reboot"):
        refused(house, "keyboard", "pool", "update", "prod", "--keymap", wrong, status=2)
        refused(house, "keyboard", "vm", "update", "web", "--keymap", wrong, status=2)
    house.run("pool", "update", "prod", "--unset", "keymap")
    require("keymap" not in house.json("pool", "show", "prod"), "it is still there")


def processors_of_a_pool_are_compared(house):
    """A guest keeps the processor that it was started with: it goes where nothing of that is missing, and back."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, ())
        cpus = {"two": "Intel:Haswell:aes,avx2", "three": "Intel:Skylake:aes,avx2,avx512f", "four": "AMD:EPYC:aes,avx2"}
        for name, cpu in cpus.items():
            tell(row.hosts[name], f"cpu={cpu}")
            row.hosts[name].power_cut("lodge-agent")
        wait_until("their processors are known", lambda: all("cpu" in state(house, name) for name in cpus), 30)
        require(all("feature_names" not in state(house, name)["cpu"] for name in cpus), "hundreds of names are shown")
        status = house.json("pool", "show", "default")["status"]
        require(status["cpu"] == {"features": 2, "hosts": 3}, f"they have in common {status['cpu']}")
        rows = {row["host"]: (row["model"], row["features"], row["beyond"]) for row in status["cpu_hosts"]}
        require(rows == {"two": ("Haswell", 2, 0), "three": ("Skylake", 3, 1), "four": ("EPYC", 2, 0)}, f"the rows are {rows}")
        require(state(house, "three")["cpu_beyond"] == ["avx512f"] and "cpu_lacks" not in state(house, "three"), f"{state(house, 'three')}")
        text = house.run("pool", "show", "default").stdout
        require("Skylake" in text and "BEYOND" in text, f"the pool is shown as\n{text}")
        require("clock_spread_ms" in status and "cpu" not in state(house, "one"), "an emulated host counts, or clocks are not told of")
        house.run("pool", "update", "default", "--cpu", "host")
        for name in ("old", "new"):
            house.run("vm", "create", name, *BLANK, "--repository", {"old": "two", "new": "three"}[name], "--start")
        refused(house, "the processor of two lacks what new was started with: avx512f", "vm", "migrate", "new", "--to-host", "two", status=1)
        refused(house, "was started on a processor of Intel, and four has one of AMD", "vm", "migrate", "new", "--to-host", "four", status=1)
        for target in ("three", "two", "three"):
            house.run("vm", "migrate", "old", "--to-host", target)
        require(house.json("vm", "show", "old")["cpu_from"]["host"] == house.json("host", "show", "two")["id"], "it is not known where it comes from")
        house.power_cut("lodged")
        wait_until("lodged answers", is_connected(house, "two"))
        wait_until("three is back", is_connected(house, "three"))
        plan = house.run("host", "maintenance", "three", "on", "--dry-run").stdout
        require("  old from three to two" in plan and "  new: " in plan, f"the plan is\n{plan}")
        house.run("vm", "stop", "old")
        house.run("vm", "start", "old")
        refused(house, "avx512f", "vm", "migrate", "old", "--to-host", "two", status=1)


GENERATIONS = {"two": "Intel:Haswell:aes,avx2,-hle", "three": "Intel:Skylake:aes,avx2,avx512f,hle"}


def guests_get_what_their_pool_has_in_common(house):
    """Where processors differ guests start with what all have, and keep it; a host that comes with less is told of."""
    def level(name):
        return house.json("vm", "show", name)["status"].get("cpu_level")

    def bound():
        return house.json("pool", "show", "default")["status"]["vms_bound"]

    def there_and_back(name):
        for target in ("two", "three"):
            house.run("vm", "migrate", name, "--to-host", target)

    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, ())

        def processor(name, cpu):
            tell(row.hosts[name], f"cpu={cpu}")
            row.hosts[name].power_cut("lodge-agent")
            wait_until("its processor is known", lambda: state(house, name).get("state") == "connected" and "cpu" in state(house, name), 30)

        for name, cpu in GENERATIONS.items():
            processor(name, cpu)
        require(house.json("pool", "show", "default")["cpu"] == "common", "a pool does not care by itself")
        for name, place, more in (("web", "three", ()), ("old", "two", ()), ("fast", "three", ("--cpu", "host"))):
            house.run("vm", "create", name, *BLANK, "--repository", place, *more, "--start")
        require(level("web") and not level("old") and not level("fast"), f"they have {level('web')}, {level('old')}, {level('fast')}")
        known = house.json("pool", "show", "default")
        require([(row["id"], row["model"], row["features"]) for row in known["cpu_levels"]] == [(level("web"), "Haswell", 2)], f"{known}")
        require("feature_names" not in json.dumps(known) and bound() == 1, f"the pool is {known}")
        refused(house, "lacks what fast was started with: avx512f, hle", "vm", "migrate", "fast", "--to-host", "two", status=1)
        there_and_back("web")
        require(level("web") == known["cpu_levels"][0]["id"], "it lost on its way what it was started with")
        # Whoever dies: the pool knows what it has, its host what it was given.
        house.power_cut("lodged")
        row.hosts["three"].power_cut("lodge-agent")
        wait_until("lodged and both hosts answer", lambda: all(is_connected(house, name)() for name in row.hosts))
        wait_until("what runs is known", lambda: house.states().get("web") == "running" and bound() == 1)
        there_and_back("web")
        # It may say otherwise, from its next start on.
        house.run("vm", "update", "web", "--cpu", "host")
        require(house.json("vm", "show", "web")["status"]["pending"] == ["/cpu"], "the next start is not waited for")
        there_and_back("web")
        house.run("vm", "stop", "web")
        house.run("vm", "start", "web")
        refused(house, "avx512f", "vm", "migrate", "web", "--to-host", "two", status=1)
        house.run("vm", "update", "web", "--unset", "cpu")
        house.run("vm", "stop", "web")
        # A host that is away counts: what it told last is known, also by a manager that has not seen it.
        processor("four", "Intel:Nehalem:aes")
        row.hosts["four"].end("lodge-agent", signal.SIGKILL)
        house.power_cut("lodged")
        wait_until("lodged and the others answer", lambda: is_connected(house, "two")() and is_connected(house, "three")())
        house.run("vm", "start", "web")
        levels = {row["id"]: (row["model"], row["features"]) for row in house.json("pool", "show", "default")["cpu_levels"]}
        require(levels[level("web")] == ("Nehalem", 1) and len(levels) == 2, f"the levels are {levels}, it has {level('web')}")
        require(bound() == 2, f"{bound()} do not fit everywhere")
        row.hosts["four"].start("lodge-agent")
        wait_until("it is back", is_connected(house, "four"))
        require("2 running VMs of the pool cannot move to this host" in json.dumps(state(house, "four")["warnings"]), f"{state(house, 'four')}")
        house.run("vm", "migrate", "web", "--to-host", "four")
        # Before a host joins.
        house.run("vm", "stop", "web")
        house.run("vm", "delete", "web", "--yes")
        house.run("pool", "create", "other")
        house.run("host", "move", "four", "--pool", "other")
        text = house.run("host", "move", "four", "--pool", "default", "--dry-run").stdout
        require("do without avx2" in text and "2 running VMs of the pool cannot move to this host" in text, f"the plan is\n{text}")
        require(house.json("host", "show", "four")["pool_name"] == "other", "a dry run moved it")
        # Without the manager a VM is given what others were.
        house.run("vm", "create", "alone", *BLANK, "--repository", "three", "--start")
        given = level("alone")
        house.run("vm", "stop", "alone")
        three = row.hosts["three"]
        house.end("lodged", signal.SIGKILL)
        three.run("--host-local", "vm", "start", "alone")
        house.start("lodged")
        wait_until("the host is back", is_connected(house, "three"))
        wait_until("it is seen", lambda: house.states().get("alone") == "running")
        require(given and level("alone") == given, f"it was given {level('alone')}, not {given}")


SCENARIOS = [
    each_host_of_a_pool_has_its_networks,
    a_bridge_may_have_another_name,
    hosts_that_come_back_or_join_are_asked,
    networks_are_made_whoever_dies,
    nothing_moves_to_a_host_without_its_networks,
    keyboards_are_remembered,
    processors_of_a_pool_are_compared,
    guests_get_what_their_pool_has_in_common,
]

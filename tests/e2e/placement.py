"""Scenarios about where new VMs go: several hosts, each with a repository of its own; on the fake hypervisor."""
import collections
import contextlib

from hosts import is_connected, neighbour, state, take
from house import require, wait_until

SMALL = ("--disk-size", "16M", "--memory", "64M")


@contextlib.contextmanager
def pool_of(house, *names):
    """The house's own host `one`, and neighbours with these names; gives them by name."""
    with contextlib.ExitStack() as stack:
        others = {}
        for name in names:
            others[name] = stack.enter_context(neighbour(house, name))
            take(house, others[name], name)
            wait_until("it is connected", is_connected(house, name))
            house.run("repository", "create", f"disks-{name}", "--host", name, "--path", others[name].repository)
        yield others


def places(house):
    """Names of hosts by names of VMs."""
    return {vm["name"]: vm["host_name"] for vm in house.list("vm")}


def planned(house, *arguments):
    return house.json("vm", "create", *arguments, "--dry-run")["data"]["placement"]


def refused(house, word, *arguments, status=4):
    text = house.run(*arguments, status=status).stderr
    require(word in text, f"{arguments} was refused without \"{word}\": {text}")
    return text


def vms_of_a_batch_spread(house):
    with pool_of(house, "two", "three") as others:
        house.run("vm", "create", "web", *SMALL, "--count", 6, "--start")
        counts = collections.Counter(places(house).values())
        require(counts == {"one": 2, "two": 2, "three": 2}, f"they went to {counts}")
        require(all(len(other.guests()) == 2 for other in (house, *others.values())), "they do not run where they are shown")
        repositories = {vm["host_name"]: vm["repository_name"] for vm in house.list("vm")}
        require(repositories == {"one": "main", "two": "disks-two", "three": "disks-three"}, f"they lie in {repositories}")
        # One after the other too, and what does not run counts as well.
        for number in range(3):
            house.run("vm", "create", f"single-{number}", *SMALL)
        singles = {host for name, host in places(house).items() if name.startswith("single")}
        require(singles == {"one", "two", "three"}, f"single ones went to {singles}")
        house.run("vm", "create", "named", *SMALL, "--count", 2, "--host", "two")
        house.run("vm", "create", "kept", *SMALL, "--count", 2, "--repository", "disks-three")
        now = places(house)
        require(now["named-1"] == now["named-2"] == "two" and now["kept-1"] == now["kept-2"] == "three", f"what was named does not count: {now}")
        refused(house, "lies on another host", "vm", "create", "x", *SMALL, "--host", "two", "--repository", "disks-three")
        # A template lies in one repository.
        house.run("vm", "create", "boot", "--template", "bench-boot", "--count", 3)
        boots = {host for name, host in places(house).items() if name.startswith("boot")}
        require(len(boots) == 1, f"the VMs of one template went to {boots}")


def vms_keep_apart_or_together(house):
    with pool_of(house, "two"):
        apart = (*SMALL, "--tag", "db", "--anti-affinity", "db")
        house.run("vm", "create", "db", *apart, "--count", 2)
        require(sorted(places(house).values()) == ["one", "two"], f"they went to {places(house)}")
        text = refused(house, "no host of the pool default can take db-3", "vm", "create", "db-3", *apart)
        require("one: has a VM with the tag db; two: has a VM with the tag db" in text, f"the reasons are {text}")
        refused(house, "has a VM that keeps away from the tag db", "vm", "create", "x", *SMALL, "--tag", "db")
        home = places(house)["db-2"]
        house.run("vm", "create", "cache", *SMALL, "--host", home, "--tag", "cache", "--start")
        house.run("vm", "create", "app", *SMALL, "--affinity", "cache", "--count", 3)
        require({host for name, host in places(house).items() if name.startswith("app")} == {home}, f"they are not beside the cache: {places(house)}")
        # What came later counts when it starts.
        house.run("vm", "update", "app-1", "--anti-affinity", "cache")
        refused(house, "a VM that has the tag cache runs on the host", "vm", "start", "app-1")
        house.run("vm", "stop", "cache")
        house.run("vm", "start", "app-1")
        refused(house, "keeps away from the tag cache", "vm", "start", "cache")


def a_host_in_maintenance_gets_no_vms(house):
    with pool_of(house, "two"):
        house.run("vm", "create", "runs", *SMALL, "--host", "one", "--start")
        house.run("vm", "create", "rests", *SMALL, "--host", "one")
        house.run("host", "maintenance", "one", "on")
        require(house.json("host", "show", "one")["maintenance"] is True, "it is not shown")
        house.run("vm", "create", "web", *SMALL, "--count", 3)
        require({host for name, host in places(house).items() if name.startswith("web")} == {"two"}, f"they went to {places(house)}")
        refused(house, "is in maintenance", "vm", "create", "x", *SMALL, "--host", "one")
        refused(house, "is in maintenance", "vm", "create", "x", *SMALL, "--repository", "main")
        refused(house, "the host one is in maintenance", "vm", "start", "rests")
        refused(house, "the host one is in maintenance", "vm", "clone", "rests", "copy")
        require(house.states()["runs"] == "running", "what ran there was not left alone")
        house.run("vm", "stop", "runs")
        house.run("host", "maintenance", "two", "on")
        refused(house, "one: is in maintenance; two: is in maintenance", "vm", "create", "x", *SMALL)
        house.run("host", "maintenance", "one", "perhaps", status=2)
        house.run("host", "maintenance", "one", status=2)
        house.run("host", "maintenance", "one", "off")
        house.run("vm", "start", "runs", "rests")
        house.run("vm", "create", "last", *SMALL)
        require(places(house)["last"] == "one", f"the last one went to {places(house)}")


def a_full_host_gets_no_vms(house):
    with pool_of(house, "two"):
        def fill(name):
            house.run("host", "update", name, "--memory-reserve", f"{state(house, name)['memory'] // 2**20}M")
        fill("one")
        house.run("vm", "create", "web", *SMALL, "--count", 2, "--start")
        require(set(places(house).values()) == {"two"}, f"they went to {places(house)}")
        told = planned(house, "x", *SMALL, "--start")[0]
        require(told["host"] == "two" and "the only one" in told["reason"], f"the plan is {told}")
        require([row["host"] for row in told["refused"]] == ["one"] and "of memory left" in told["refused"][0]["reason"], f"the refusals are {told}")
        fill("two")
        text = refused(house, "no host of the pool default can take x", "vm", "create", "x", *SMALL, "--start")
        require("one: has" in text and "two: has" in text and "memory" in text, f"the reasons are {text}")
        house.run("vm", "create", "later", *SMALL)
        refused(house, "memory", "vm", "start", "later")


def where_vms_would_go_is_told(house):
    with pool_of(house, "two", "three") as others:
        told = planned(house, "web", *SMALL, "--count", 3)
        require(sorted(row["host"] for row in told) == ["one", "three", "two"], f"the plan is {told}")
        require([row["vm"] for row in told] == ["web-1", "web-2", "web-3"] and all(row["reason"] and row["repository"] for row in told), f"the plan is {told}")
        house.run("host", "maintenance", "one", "on")
        others["two"].end("lodge-agent", 9)
        wait_until("it is unreachable", lambda: state(house, "two").get("state") == "unreachable")
        text = house.run("vm", "create", "web", *SMALL, "--dry-run").stdout
        expected = ("Would be placed:\n  web on three: the only one that can take it", "    not on one: is in maintenance\n    not on two: is unreachable\n")
        require(all(part in text for part in expected), f"the plan is\n{text}")
        require(not house.states(), "a dry run made something")
        house.run("vm", "create", "web", *SMALL)
        job = next(job for job in house.list("job") if job["kind"] == "vm.create")
        kept = house.json("job", "show", job["id"])["data"]["placement"][0]
        require(kept["host"] == "three" and len(kept["refused"]) == 2, f"its job keeps {kept}")
        # Only one is left to choose, by name: its job waits until it is back.
        house.run("vm", "create", "waits", *SMALL, "--host", "two", "--no-wait")
        others["two"].start("lodge-agent")
        house.wait_for_jobs()
        require(places(house)["waits"] == "two", "what waited for its host was not made")


SCENARIOS = [
    vms_of_a_batch_spread,
    vms_keep_apart_or_together,
    a_host_in_maintenance_gets_no_vms,
    a_full_host_gets_no_vms,
    where_vms_would_go_is_told,
]

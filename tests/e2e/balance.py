"""Hosts that are emptied and filled again, and pools whose hosts carry alike, by moves of running VMs."""
import contextlib
import json

from hosts import BLANK, state
from house import require, wait_until
from migration import HOSTS, Row

SPARE = 1 << 30  # memory that a host has for VMs


def shrink(house, name):
    house.run("host", "update", name, "--memory-reserve", str(state(house, name)["memory"] - SPARE))


def a_host_is_emptied_for_maintenance(house):
    """By a plan that is shown first; what cannot leave is told of; they come back afterwards."""
    with contextlib.ExitStack() as stack:
        names = ("a", "b", "c", "d")
        row = Row(house, stack, HOSTS, names)
        plan = house.run("host", "maintenance", "two", "on", "--dry-run").stdout
        require(all(f"  {vm} from two to " in plan for vm in names) and "Would stay" not in plan, f"the plan is\n{plan}")
        require(set(row.where().values()) == {"two"} and not house.json("host", "show", "two")["maintenance"], "the dry run did something")
        house.run("vm", "stop", "d")
        told = house.run("host", "maintenance", "two", "on").stderr
        require(all(f"  {vm} is on " in told for vm in "abc") and "d is" not in told, f"it told {told}")
        where = row.where()
        require(where.pop("d") == "two" and set(where.values()) == {"three", "four"}, f"they went to {where}")
        require(house.states() == {"a": "running", "b": "running", "c": "running", "d": "stopped"}, f"{house.states()}")
        text = house.run("vm", "migrate", "a", "--to-host", "two", status=4).stderr
        require("in maintenance" in text, text)
        house.run("host", "maintenance", "two", "off", "--bring-back")
        require(set(row.where().values()) == {"two"}, f"they are on {row.where()}")
        require(not house.json("host", "show", "two").get("evacuated"), "it remembers them still")
        house.run("vm", "start", "d")
        row.is_whole()
        # What cannot go stays, with its reason, and runs on.
        house.run("vm", "create", "fixed", *BLANK, "--host", "one", "--start")
        told = house.run("host", "maintenance", "one", "on").stderr
        require("fixed stays: " in told and "--listen" in told, f"it told {told}")
        require(house.states()["fixed"] == "running", "it was not left alone")
        house.run("host", "maintenance", "two", "on", "--keep")
        require(set(row.where()[vm] for vm in names) == {"two"}, f"they are on {row.where()}")
        house.run("host", "maintenance", "two", "on", "--bring-back", status=2)


def a_pool_is_balanced(house):
    """Few moves, each with its gain; afterwards there is nothing to do."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, ("a", "b", "c", "d", "e", "f"))
        house.run("host", "maintenance", "one", "on")
        for name in HOSTS:
            shrink(house, name)
        plan = json.loads(house.run("pool", "balance", "default", "--dry-run", "-o", "json").stdout)["data"]
        require(len(plan["moves"]) == 4 and plan["spread_after"] < plan["spread_before"], f"the plan is {plan}")
        require(all("two 75 %" in move["reason"] or "two" == move["from"] for move in plan["moves"]), f"the plan is {plan}")
        house.run("pool", "balance", "default", "--moves", 1)
        require(sorted(row.where().values()).count("two") == 5, f"they are on {row.where()}")
        house.run("pool", "balance", "default")
        require(sorted(row.where().values()) == ["four"] * 2 + ["three"] * 2 + ["two"] * 2, f"they are on {row.where()}")
        row.is_whole()
        text = house.run("pool", "balance", "default", "--dry-run").stdout
        require("Nothing would be moved." in text, text)
        told = house.run("pool", "balance", "default").stderr
        require("no VM had to move" in told, f"it told {told}")
        wait_until("it is known how much they carry", lambda: house.json("pool", "show", "default")["status"]["vms"] == 6)


def hosts_are_emptied_to_be_switched_off(house):
    """Those that carry least, while their VMs fit on the others; they come back as from a maintenance."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, ("a", "b", "c"))
        house.run("host", "maintenance", "one", "on")
        house.run("vm", "migrate", "a", "--to-host", "three")
        plan = house.run("pool", "save-power", "default", "--hosts", 2, "--dry-run").stdout
        require("  four: no VM runs there" in plan and "  three: its VM fits on the others, " in plan, f"the plan is\n{plan}")
        require("  a from three to two: " in plan and row.where()["a"] == "three", f"the plan is\n{plan}")
        for name in HOSTS:
            shrink(house, name)
        plan = house.run("pool", "save-power", "default", "--hosts", 2, "--load", 15, "--dry-run").stdout
        require("  three: " not in plan, f"the plan is\n{plan}")
        house.run("pool", "save-power", "default", "--hosts", 2)
        require(set(row.where().values()) == {"two"}, f"they are on {row.where()}")
        resting = {host["name"] for host in house.list("host") if host.get("maintenance")}
        require(resting == {"one", "three", "four"}, f"in maintenance are {resting}")
        text = house.run("pool", "save-power", "default", "--dry-run").stdout
        require("No host can be emptied." in text, text)
        house.run("host", "maintenance", "three", "off", "--bring-back")
        require(row.where()["a"] == "three", f"they are on {row.where()}")
        row.is_whole()


SCENARIOS = [a_host_is_emptied_for_maintenance, a_pool_is_balanced, hosts_are_emptied_to_be_switched_off]

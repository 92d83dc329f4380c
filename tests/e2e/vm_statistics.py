"""What VMs use: counters, refusals, and a hypervisor that hangs while it is asked."""
import json
import signal
import threading
import time

from client import Client, log_in
from house import require, wait_until

PASSWORD = "correct horse battery"


def _read(house, name):
    return house.json("vm", "stats", name)


def _grows(before, after, *fields):
    for field in fields:
        require(after[field] > before[field], f"{field}: {before[field]}, then {after[field]}")


def statistics_grow_while_a_vm_runs(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--vcpus", 2, "--memory", "64M")
    house.run("vm", "attach-disk", "web", "--name", "data", "--size", "16M")
    _are_refused_when_it_does_not_run(house)
    house.run("vm", "start", "web")
    before = _read(house, "web")
    time.sleep(1.1)
    after = _read(house, "web")
    definition = house.json("vm", "show", "web")
    require((after["id"], after["name"]) == (definition["id"], "web"), f"{after}")
    require(after["started"] == definition["status"]["started"] < after["time"], f"{after['started']} {after['time']}")
    require((after["vcpus"], after["memory"]) == (2, 64 << 20) and 0 < after["memory_used"] <= 64 << 20, f"{after}")
    _grows(before, after, "time", "cpu_time_ms")
    for kind, fields in (("disks", ("read_bytes", "read_requests", "written_bytes", "write_requests")),
                         ("nics", ("received_bytes", "received_packets", "sent_bytes", "sent_packets"))):
        require([(d["id"], d["name"]) for d in after[kind]] == [(d["id"], d["name"]) for d in definition[kind]], f"{kind}: {after[kind]}")
        for old, new in zip(before[kind], after[kind]):
            _grows(old, new, *fields)
    require(after["nics"][0]["received_dropped"] == 0 and after["nics"][0]["sent_errors"] == 0, f"{after['nics']}")
    _are_readable(house)
    _only_who_may_view_sees_them(house)
    house.run("vm", "detach-disk", "web", "data")
    require([d["name"] for d in _read(house, "web")["disks"]] == ["disk0"], "a detached disk is counted")


def _are_refused_when_it_does_not_run(house):
    done = house.run("vm", "stats", "web", status=4)
    require("does not run" in done.stderr, done.stderr)
    Client(house).refused("GET", "/v1/vms/web/statistics", None, 409, "wrong-state")
    Client(house).refused("GET", "/v1/vms/nothing/statistics", None, 404, "not-found")


def _are_readable(house):
    text = house.run("vm", "stats", "web").stdout
    require("CPU time (ms): " in text and "Memory used: 32 MiB" in text and "READ BYTES" in text, text)
    require("Received dropped" in text and max(map(len, text.splitlines())) <= 80, text)
    header, row = house.run("vm", "stats", "web", "-o", "csv").stdout.splitlines()
    require(header == "NAME,TIME,CPU MS,VCPUS,MEMORY,MEMORY USED" and row.startswith("web,2"), f"{header} {row}")
    columns = house.run("vm", "stats", "web", "--columns", "name,disks.1.name,nics.0.sent_bytes", "-o", "csv").stdout
    require(columns.splitlines()[1].startswith("web,data,"), columns)
    require("cpu_time_ms: " in house.run("vm", "stats", "web", "-o", "yaml").stdout, "no YAML")
    require(house.run("vm", "stats", "web", "-o", "name").stdout == "web\n", "no name")
    house.run("vm", "stats", "web", "--columns", "colour", status=2)
    house.run("vm", "create", "other", "--template", "bench-boot")
    done = house.run("vm", "stats", "other", "web", "-o", "json", status=4)
    require(json.loads(done.stdout)["name"] == "web", "one that does not run hides another one")
    require(house.run("__complete", "vm", "stats", "").stdout.split() == ["web"], "completion offers what does not run")


def _only_who_may_view_sees_them(house):
    for name, grants in (("stranger", []), ("guest", [{"object": "vm/web", "role": "viewer"}])):
        body = {"name": name, "role": "none", "password": PASSWORD, "grants": grants}
        Client(house).send("POST", "/v1/principals", body, 201)
    stranger, guest = (log_in(house, name, PASSWORD) for name in ("stranger", "guest"))
    stranger.refused("GET", "/v1/vms/web/statistics", None, 403, "denied")
    guest.refused("GET", "/v1/vms/other/statistics", None, 403, "denied")
    require(guest.send("GET", "/v1/vms/web/statistics", status=200).document["cpu_time_ms"] > 0, "the granted VM")
    require(not [event for event in house.list("event") if event.get("method") == "vm.statistics"], "a question is audited")


def statistics_that_hang_hold_nothing_else(house):
    """More are asked than the agent has threads for them: each ends in its time, and all else goes on."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    control = house.folder / "agent" / "fake" / "control"
    control.write_text("hang=statistics\n")
    begun, ends = time.monotonic(), []

    def ask():
        done = house.run("vm", "stats", "web", status=None)
        ends.append((done.returncode, time.monotonic() - begun))
    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    house.run("vm", "pause", "web", seconds=5)
    house.run("vm", "resume", "web", seconds=5)
    require(house.states() == {"web": "running"}, f"{house.states()}")
    require(not ends, f"one was answered while the hypervisor hangs: {ends}")
    for asker in askers:
        asker.join(30)
    require(len(ends) == 8 and all(status == 7 and 9 < seconds < 20 for status, seconds in ends), f"{ends}")
    control.write_text("")
    wait_until("statistics are told again", lambda: house.run("vm", "stats", "web", status=None).returncode == 0)
    house.end("lodge-agent", signal.SIGKILL)
    wait_until("the host is away", lambda: house.list("host")[0]["status"]["state"] == "unreachable")
    begun = time.monotonic()
    house.run("vm", "stats", "web", status=6)
    require(time.monotonic() - begun < 3, "an unreachable host is waited for")


SCENARIOS = [statistics_grow_while_a_vm_runs, statistics_that_hang_hold_nothing_else]

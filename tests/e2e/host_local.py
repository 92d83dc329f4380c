"""A host is operated on itself while its manager is away, and the manager takes note when it is back."""
import contextlib
import os
import signal
import subprocess
import sys
import time

from client import Client
from hosts import is_connected
from house import ENDED, require, wait_until
from migration import Row, _arrived, migrate

NOBODY = 65534
# What a program of another user gets for an answer from the agent: one call, by the frames of docs/agent-protocol.md.
STRANGER = """
import json, socket, struct, sys
agent = socket.socket(socket.AF_UNIX)
agent.connect(sys.argv[1])
def send(**message):
    data = json.dumps(message).encode()
    agent.sendall(struct.pack(">I", len(data)) + data)
def read(n):
    data = b""
    while len(data) < n:
        piece = agent.recv(n - len(data))
        if not piece:
            sys.exit("closed")
        data += piece
    return data
send(type="hello", protocol={"lowest": 1, "highest": 1}, software="stranger", features=[])
send(type="call", id=1, method=sys.argv[2], parameters=json.loads(sys.argv[3]))
while True:
    message = json.loads(read(struct.unpack(">I", read(4))[0]))
    if message["type"] == "reply":
        print(message.get("error", {}).get("code", "ok"))
        break
"""


def local(house, *arguments, **options):
    return house.run("--host-local", *arguments, **options)


def local_states(house):
    return {vm["name"]: vm["status"]["state"] for vm in house.json("--host-local", "vm", "list")}


def lose_manager(house, vm="web-1"):
    """kill -9; the agent notices when the connection is gone."""
    house.end("lodged", signal.SIGKILL)
    wait_until("the agent has noticed", lambda: "is connected" not in local(house, "vm", "start", vm, status=None).stderr)


def bring_manager(house):
    house.start("lodged")
    wait_until("the host is connected", house.has_host, 60)


def taken_note(house):
    """Lines of the audit that tell of what was done without the manager: (method, name, outcome), the oldest first."""
    lines = [line for line in Client(house).items("/v1/events?limit=1000") if line.get("source") == "host one"]
    who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    require(all(line["principal"] == who and "without the manager" in line["text"] for line in lines), f"lines are {lines}")
    return [(line["method"], line["name"], line["outcome"]) for line in reversed(lines)]


def a_host_is_operated_without_its_manager(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 3)
    house.run("vm", "start", "web-1", "web-3")
    house.run("vm", "save", "web-3")
    known = {vm["name"]: vm for vm in house.list("vm")}

    # While the manager is there: looking only.
    for verb in ("start", "stop", "kill"):
        text = local(house, "vm", verb, "web-1", status=4).stderr
        require("manager of this host is connected" in text, f"{verb}: {text}")
    require(local_states(house) == {"web-1": "running", "web-2": "stopped", "web-3": "saved"}, f"states are {local_states(house)}")
    for vm in house.json("--host-local", "vm", "list"):
        for field in ("id", "vcpus", "memory", "disks", "nics", "repository", "repository_name", "host", "created"):
            require(vm.get(field) == known[vm["name"]].get(field), f"{field} of {vm['name']}: {vm.get(field)}, the manager says {known[vm['name']].get(field)}")
    require(taken_note(house) == [], "what was refused is told of")

    lose_manager(house)  # which starts web-1, that runs already
    table = local(house, "vm", "list").stdout.splitlines()
    require(table[0].split()[:4] == ["NAME", "STATE", "VCPUS", "MEMORY"] and [line.split()[:2] for line in table[1:]] ==
            [["web-1", "running"], ["web-2", "stopped"], ["web-3", "saved"]], f"the table is {table}")
    shown = local(house, "vm", "show", "web-1").stdout
    require("Name: web-1" in shown and "State: running" in shown, f"web-1 is shown as\n{shown}")
    require(local(house, "vm", "list", "-o", "csv", "--columns", "name,state", "--no-headers").stdout.splitlines()[1] == "web-2,stopped", "CSV")

    with subprocess.Popen([house.programs["lodge"], "--host-local", "vm", "console", "web-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=house.environment) as console:
        require(b"fake console" in console.stdout.readline(), "the console says nothing")
        console.stdin.write(b"echo\n\x1d")
        console.stdin.flush()
        require(console.wait(20) == 0, "ctrl-] does not leave")

    local(house, "vm", "stop", "web-1")
    done = local(house, "vm", "start", "web-2", "web-3").stderr
    require("start web-2: done" in done and "start web-3: done" in done, f"told was {done}")
    require(local_states(house) == {"web-1": "stopped", "web-2": "running", "web-3": "running"}, f"states are {local_states(house)}")
    require(sorted(house.guests()) == sorted(known[name]["id"] for name in ("web-2", "web-3")), f"there run {house.guests()}")
    local(house, "vm", "start", known["web-2"]["id"])  # runs already
    control = house.folder / "agent" / "fake" / "control"
    control.write_text("deaf=1\n")
    text = local(house, "vm", "stop", "web-2", "--grace", 1, status=7).stderr
    require("has not stopped within 1 s" in text, f"a deaf guest: {text}")
    with subprocess.Popen([house.programs["lodge"], "--host-local", "vm", "stop", "web-2", "--grace", "60"], env=house.environment,
                          stderr=subprocess.DEVNULL) as waiting:
        wait_until("the stop is under way", lambda: house.log("lodge-agent").read_text().count(f"vm.stop of {known['web-2']['id']} on") == 2)
        local(house, "vm", "kill", "web-2", seconds=20)  # waits for nobody
        require(waiting.wait(20) != 0, "a stop whose VM was killed")
    local(house, "vm", "stop", "web-3", "--grace", 1, "--force")
    control.unlink()
    require(house.guests() == [], f"there run {house.guests()}")
    local(house, "vm", "start", "web-2")

    bring_manager(house)
    house.wait_for_states({"web-1": "stopped", "web-2": "running", "web-3": "stopped"})
    expected = [("vm.start", "web-1", "ok"), ("vm.stop", "web-1", "ok"), ("vm.start", "web-2", "ok"), ("vm.start", "web-3", "ok"),
                ("vm.start", "web-2", "ok"), ("vm.stop", "web-2", "timed-out"), ("vm.stop", "web-2", "cancelled"), ("vm.kill", "web-2", "ok"),
                ("vm.stop", "web-3", "ok"), ("vm.start", "web-2", "ok")]
    wait_until("it is told of", lambda: len(taken_note(house)) >= len(expected))
    # The stop that made way may have been noted before or behind: by its beginning.
    require(sorted(taken_note(house)) == sorted(expected), f"told is {taken_note(house)}")
    house.power_cut("lodged")
    wait_until("the host is connected", house.has_host, 60)
    house.run("vm", "stop", "web-2")  # and commands as before
    require(len(taken_note(house)) == len(expected), f"told twice: {taken_note(house)}")


def what_needs_the_manager_is_refused_with_advice(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2)
    disc = house.folder / "disc.iso"
    disc.write_bytes(b"\0" * 0x8000 + b"\x01CD001" + b"\0" * 300000)
    house.run("iso", "import", "disc", disc)
    house.run("vm", "insert-iso", "web-2", "disc")
    lose_manager(house)
    text = local(house, "vm", "start", "wbe-2", status=3).stderr
    require('no vm "wbe-2" on this host; did you mean web-2?' in text, f"a wrong name: {text}")
    for words in (("vm", "pause", "web-1"), ("vm", "delete", "web-1", "--yes"), ("host", "list"), ("find", "web"), ("login", "https://other:7443")):
        text = local(house, *words, status=2).stderr
        require("vm list, vm show, vm start, vm stop, vm kill, vm console" in text, f"{words}: {text}")
    for words in (("--filter", "state=running"), ("--sort", "name"), ("--limit", "1"), ("--server", "unix:/x")):
        text = local(house, "vm", "list", *words, status=2).stderr
        require(f"{words[0]} needs the manager" in text, f"{words}: {text}")
    local(house, "vm", "start", "web-1", "--no-wait", status=2)
    local(house, "vm", "list", "--columns", "nonsense", status=2)
    # The rest of several is done all the same.
    text = local(house, "vm", "stop", "nobody", "web-1", status=3).stderr
    require("stop web-1: done" in text and local_states(house)["web-1"] == "stopped", f"told was {text}")
    offered = subprocess.run([house.programs["lodge"], "__complete", "--host-local", "vm", "start", "we"], env=house.environment,
                             capture_output=True, text=True, check=True).stdout.split()
    require(offered == ["web-1", "web-2"], f"offered is {offered}")
    # A VM whose definition is out of reach is seen, and can be ended.
    local(house, "vm", "start", "web-2")
    house.repository.rename(house.folder / "away")
    here = {vm["id"]: vm["status"]["state"] for vm in house.json("--host-local", "vm", "list")}
    require(list(here) == house.guests() and list(here.values()) == ["running"], f"without its repository: {here}")
    text = local(house, "vm", "start", *here, status=3).stderr
    require("no repository that this host can read" in text, text)
    local(house, "vm", "kill", *here)
    require(house.guests() == [], "it runs still")
    (house.folder / "away").rename(house.repository)
    house.end("lodge-agent", signal.SIGKILL)
    local(house, "vm", "list", status=6)


def interrupted_starts_end_well(house):
    """The agent dies in whichever moment of a start that root has asked for."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2)
    lose_manager(house, "web-2")
    control = house.folder / "agent" / "fake" / "control"
    moments = (0.1, 0.3, 0.5, 0.7, 0.9, 1.1)
    for moment in moments:
        local(house, "vm", "kill", "web-1")
        control.write_text("delay_ms=250\n")
        with subprocess.Popen([house.programs["lodge"], "--host-local", "vm", "start", "web-1"], env=house.environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
            time.sleep(moment)
            house.end("lodge-agent", signal.SIGKILL)
            starting.wait(20)
        control.unlink()
        house.start("lodge-agent")
        wait_until("the agent answers", lambda: local(house, "vm", "list", status=None).returncode == 0)
        runs = len(house.guests()) == 2
        require(local_states(house)["web-1"] == ("running" if runs else "stopped"), f"after {moment} s: {local_states(house)}, there run {house.guests()}")
        local(house, "vm", "start", "web-1")
        require(len(house.guests()) == 2 and len(set(house.guests())) == 2, f"after {moment} s there run {house.guests()}")
    bring_manager(house)
    house.wait_for_states({"web-1": "running", "web-2": "running"})
    wait_until("it is told of", lambda: sum(line == ("vm.kill", "web-1", "ok") for line in taken_note(house)) == len(moments))
    outcomes = {outcome for method, _, outcome in taken_note(house) if method == "vm.start"}
    require(outcomes <= {"ok", "lost"}, f"told is {taken_note(house)}")


def what_has_left_is_not_started_without_the_manager(house):
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        job, control = _arrived(house, row)  # it runs on three, and two does not know yet
        house.end("lodged", signal.SIGKILL)
        control.unlink()
        two, three = row.hosts["two"], row.hosts["three"]
        two.start("lodge-agent")
        wait_until("its agent answers", lambda: local(two, "vm", "list", status=None).returncode == 0)
        for other, part in ((two, "the host at " + three.address), (three, "on its way to this host")):
            text = wait_until("it is refused", lambda: _refusal(other), 40)
            require(part in text, f"the refusal is {text}")
        status = two.json("--host-local", "vm", "list")[0]["status"]
        require(status["state"] == "paused" or (status["state"] == "unknown" and three.address in status["reason"]), f"it is shown as {status}")
        require(row.running() == {"web": ["three"]}, f"there run {row.running()}")
        house.start("lodged")
        wait_until("the move has ended", lambda: house.answers() and house.json("job", "show", job)["state"] in ENDED, 60)
        require(house.json("job", "show", job)["state"] == "succeeded", house.json("job", "show", job))
        row.is_whole()


def _refusal(other):
    """What stands against a start of `web`; nothing while its manager seems to be connected."""
    text = local(other, "vm", "start", "web", status=None).stderr
    return None if "manager of this host is connected" in text or "done" in text else text


def what_is_to_come_is_not_started_without_the_manager(house):
    """Its disks are made at its new host, empty, and nothing has moved yet."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        two, three = row.hosts["two"], row.hosts["three"]
        control = three.folder / "agent" / "fake" / "control"
        control.write_text("hang=expect\n")
        job = migrate(house, "web", "three")
        wait_until("its files are made there", lambda: list((three.repository / "vms").glob("*/vm.json")))
        wait_until("it goes on", lambda: house.json("job", "show", job).get("step", 0) >= 2)
        house.end("lodged", signal.SIGKILL)
        three.end("lodge-agent", signal.SIGKILL)
        control.unlink()
        three.start("lodge-agent")
        wait_until("its agent answers", lambda: local(three, "vm", "list", status=None).returncode == 0)
        text = local(three, "vm", "start", "web", status=4).stderr
        require("names another host" in text, f"the refusal is {text}")
        require(three.json("--host-local", "vm", "list")[0]["status"]["state"] == "unknown", "three seems to know what it does")
        wait_until("two has noticed", lambda: "done" in local(two, "vm", "start", "web", status=None).stderr, 40)
        require(row.running() == {"web": ["two"]}, f"there run {row.running()}")
        house.start("lodged")
        wait_until("the move has ended", lambda: house.answers() and house.json("job", "show", job)["state"] in ENDED, 60)
        for name in row.hosts:
            wait_until("it is connected", is_connected(house, name), 60)
        row.is_whole()
        # And whoever has it now may start it.
        here, there = (two, three) if row.where() == {"web": "two"} else (three, two)
        house.end("lodged", signal.SIGKILL)
        wait_until("it is stopped", lambda: local(here, "vm", "stop", "web", status=None).returncode == 0, 40)
        local(here, "vm", "start", "web")
        require(local(there, "vm", "list", "-o", "name").stdout == "", "it lies on its old host still")
        require(len(row.running()["web"]) == 1, f"there run {row.running()}")


def only_root_operates_a_host(house):
    if os.geteuid() != 0:
        return
    house.run("vm", "create", "web", "--template", "bench-boot")
    vm = house.json("vm", "show", "web")["id"]
    house.end("lodged", signal.SIGKILL)
    house.end("lodge-agent", signal.SIGTERM)
    house.agent_options = ["--allow-uid", str(NOBODY)]  # as the manager's user is let in
    house.start("lodge-agent")
    wait_until("the agent answers", lambda: local(house, "vm", "list", status=None).returncode == 0)

    def answer(user, method, parameters="{}"):
        done = subprocess.run([sys.executable, "-c", STRANGER, str(house.folder / "agent.sock"), method, parameters], user=user, group=user,
                              extra_groups=[], capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    require(answer(0, "local.list") == "ok", f"root: {answer(0, 'local.list')}")
    for method in ("local.list", "local.start", "local.stop", "local.kill"):
        require(answer(NOBODY, method, f'{{"id": "{vm}"}}') == "denied", f"{method} of a user who is let in: {answer(NOBODY, method)}")
    require("PermissionError" in answer(NOBODY - 1, "local.list"), f"a stranger: {answer(NOBODY - 1, 'local.list')}")
    require(house.guests() == [], "it was started")


def a_real_host_is_operated_without_its_manager(house):
    """Its libvirt is as after a start of the host: networks are made when a VM needs them."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2, "--memory", "64M", seconds=300)
    house.run("vm", "start", "web-1", seconds=120)
    lose_manager(house)
    local(house, "vm", "kill", "web-1")
    require(house.domains() == [], f"there run {house.domains()}")
    for name in house.networks():
        house.virsh("net-destroy", name)
    local(house, "vm", "start", "web-1", "web-2", seconds=120)
    require(len(house.domains()) == 2, f"there run {house.domains()}")
    require(local_states(house) == {"web-1": "running", "web-2": "running"}, f"states are {local_states(house)}")
    with subprocess.Popen([house.programs["lodge"], "--host-local", "vm", "console", "web-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=house.environment) as console:
        time.sleep(1)
        require(console.poll() is None, "the console does not stay open")
        console.stdin.write(b"\x1d")
        console.stdin.flush()
        require(console.wait(20) == 0, "ctrl-] does not leave")
    local(house, "vm", "stop", "web-1", "--grace", 1, "--force", seconds=120)
    require(len(house.domains()) == 1, f"there run {house.domains()}")
    bring_manager(house)
    house.wait_for_states({"web-1": "stopped", "web-2": "running"}, 60)
    wait_until("it is told of", lambda: ("vm.stop", "web-1", "ok") in taken_note(house))


REAL_SCENARIOS = [a_real_host_is_operated_without_its_manager]
SCENARIOS = [
    a_host_is_operated_without_its_manager,
    what_needs_the_manager_is_refused_with_advice,
    interrupted_starts_end_well,
    what_has_left_is_not_started_without_the_manager,
    what_is_to_come_is_not_started_without_the_manager,
    only_root_operates_a_host,
]

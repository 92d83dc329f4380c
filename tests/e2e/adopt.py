"""VMs that another tool made are listed and taken over; whatever dies meanwhile, each belongs to exactly one."""
import contextlib
import json
import random
import signal
import subprocess
import threading
import time
import uuid

from client import Client
from house import ENDED, require, wait_until
import invariants
from migration import MOVE_SECONDS, Row

MIB = 1 << 20
DISK_BYTES = 4 * MIB


def mac(number):
    return f"52:54:00:aa:00:{number:02x}"


def foreign_folder(house):
    return house.folder / "agent" / "fake" / "foreign"


def other_disk(house, name, content=b"old"):
    """A raw disk outside of the repository."""
    folder = house.folder / "elsewhere"
    folder.mkdir(exist_ok=True, mode=0o711)
    path = folder / f"{name}.raw"
    path.write_bytes(content)
    with open(path, "r+b") as file:
        file.truncate(DISK_BYTES)
    return path


def make(house, name, number, state="stopped", **more):
    """A VM of another tool, as the fake hypervisor tells of it; returns its id and the path of its disk."""
    identity = str(uuid.uuid4())
    path = other_disk(house, f"{name}-{number}")
    vm = {"name": name, "state": state, "tool": "libvirt", "vcpus": 2, "memory": 256 * MIB, "firmware": "bios", "mode": "hvm", "chipset": "pc",
          "disks": [{"name": "vda", "kind": "disk", "format": "raw", "bus": "virtio", "path": str(path)}],
          "nics": [{"mac": mac(number), "model": "e1000", "connected": True, "bridge": "br0", "pci": "0000:00:03.0"}], **more}
    folder = foreign_folder(house)
    folder.mkdir(exist_ok=True)
    (folder / f".{identity}").write_text(json.dumps(vm))
    (folder / f".{identity}").rename(folder / f"{identity}.json")
    return identity, path


def office(house):
    house.run("network", "create", "office", "--kind", "bridge", "--bridge", "br0")


def told(house, *arguments):
    answer = house.json("host", "vms", "one", *arguments)
    return {vm["name"]: vm for vm in (answer["items"] if isinstance(answer, dict) else answer)}


def other_tools_vms_are_adopted_where_they_are(house):
    office(house)
    stopped, its_disk = make(house, "old-web", 1, autostart=True, warnings=["its sound card is left out"])
    running, _ = make(house, "Old \u00dc \"x\"", 2, "running")
    make(house, "strange", 3, obstacles=["it has a TPM"])
    table = house.run("host", "vms", "one").stdout.splitlines()
    require([line.split()[0] for line in table[1:]] == ["Old", "old-web", "strange"], f"the table is {table}")
    require(str(its_disk) in table[2] and mac(1) in table[2] and "it has a TPM" in table[3], f"the table is {table}")
    require(told(house, "--filter", "state=running").keys() == {"Old \u00dc \"x\""}, "filter")
    found = wait_until("it is found", lambda: house.run("find", "old-web", status=None).stdout.count("unmanaged"), 30)
    require(found, "lodge find")
    require(house.states() == {}, "what is not adopted is no VM of Lodge")

    plan = house.run("vm", "adopt", "old-web", "--dry-run").stdout
    require(all(word in plan for word in ("its sound card is left out", mac(1), "main", "one")), f"the plan is\n{plan}")
    require(house.states() == {} and told(house).keys() >= {"old-web"}, "a dry run changes nothing")
    house.run("vm", "adopt", "old-web", "--host", "one")
    house.run("vm", "adopt", running, "--name", "web-2", "--network", "from=br0,to=default")
    house.wait_for_states({"old-web": "stopped", "web-2": "running"})
    require(told(house).keys() == {"strange"}, f"told of are {told(house).keys()}")
    one, two = (house.json("vm", "show", name) for name in ("old-web", "web-2"))
    require((one["id"], one["vcpus"], one["memory"], one["firmware"], one["run_policy"], one["chipset"]) == (stopped, 2, 256 * MIB, "bios", "always", "pc"), f"{one}")
    require((one["disks"][0]["path"], one["disks"][0]["size"], one["disks"][0]["bus"]) == (str(its_disk), DISK_BYTES, "virtio"), f"{one['disks']}")
    require((one["nics"][0]["mac"], one["nics"][0]["model"], one["nics"][0]["pci"]) == (mac(1), "e1000", "0000:00:03.0"), f"{one['nics']}")
    require(two["id"] == running and two["status"]["adopted"] and not one["status"].get("adopted"), f"{two['status']}")
    kept = house.repository / "vms" / stopped / "adopted.xml"
    require(json.loads(kept.read_text())["name"] == "old-web", "how the other tool defined it is not kept")
    invariants_but_strange(house)

    # As any VM. What still runs as the other tool defined it is changed at its next start.
    house.run("vm", "update", "web-2", "--vcpus", 3)
    require("/vcpus" in house.json("vm", "show", "web-2")["status"].get("pending", ["/vcpus"]), "pending")
    require("still runs as the tool" in house.run("vm", "save", "web-2", status=4).stderr, "save")
    require("takes nothing away" in house.run("vm", "detach-nic", "web-2", mac(2), status=4).stderr, "detach")
    house.run("vm", "pause", "web-2")
    house.run("vm", "resume", "web-2")
    house.run("vm", "stop", "web-2")
    house.run("vm", "start", "web-2", "old-web")
    house.wait_for_states({"old-web": "running", "web-2": "running"})
    require(not house.json("vm", "show", "web-2")["status"].get("adopted"), "started by Lodge")
    house.run("vm", "kill", "old-web", "web-2")
    house.run("vm", "resize-disk", "old-web", "vda", DISK_BYTES * 2)
    require(its_disk.stat().st_size == DISK_BYTES * 2, "it has not grown")
    house.run("vm", "clone", "old-web", "copy")
    copy = house.json("vm", "show", "copy")
    require("path" not in copy["disks"][0] and copy["nics"][0]["mac"] != mac(1), f"{copy}")
    require((house.repository / "disks" / f"{copy['disks'][0]['id']}.raw").read_bytes()[:3] == b"old", "the copy's disk")
    house.run("template", "create", "golden", "--from-vm", "old-web")
    house.run("vm", "attach-disk", "old-web", "--size", "1M", "--name", "more")
    require("outside of the repository" in house.run("vm", "detach-disk", "old-web", "vda", "--purge", "--yes", status=1).stderr, "purge")
    invariants_but_strange(house)
    plan = house.run("vm", "delete", "old-web", "--dry-run", "--yes").stdout
    require(f"{its_disk} lies outside of the repository and stays" in plan, f"the plan is\n{plan}")
    house.run("vm", "delete", "old-web", "--yes")
    require(its_disk.read_bytes()[:3] == b"old" and not kept.exists(), "what stays and what goes")
    house.run("vm", "delete", "web-2", "copy", "--yes")
    lines = [event["method"] for event in Client(house).items("/v1/events?limit=1000") if event.get("name") == "old-web" and event.get("method")]
    require("vm.adopt" in lines, f"the audit has {lines}")


def invariants_but_strange(house):
    """All is well, but for those that are still another tool's."""
    others = sorted(vm["name"] for vm in told(house).values())
    problems = [problem for problem in invariants.check(house) if "unmanaged" not in problem and "the host runs" not in problem]
    require(not problems, f"beside {others}: {problems}")


def what_cannot_be_adopted_is_refused_by_field(house):
    office(house)
    client = Client(house)
    house.run("vm", "create", "taken", "--template", "bench-boot", "--mac", mac(9))
    _, path = make(house, "ok", 1)
    make(house, "taken", 2)
    make(house, "same-mac", 9)
    make(house, "strange", 4, obstacles=["it has a TPM", "it has a device of the host"])
    make(house, "twin", 5)
    make(house, "twin", 6)
    make(house, "two words", 7)
    make(house, "unplugged", 8, nics=[{"mac": mac(8), "bridge": "virbr0", "network": "lan0"}])
    make(house, "gone", 10, disks=[{"name": "vda", "kind": "disk", "format": "raw", "bus": "virtio", "path": str(path.with_name("gone"))}])
    make(house, "layer", 11, disks=[{"name": "vda", "kind": "disk", "format": "qcow2", "bus": "virtio", "path": str(path)}])
    taken_disk = next(house.repository.glob("disks/*.raw"))
    make(house, "thief", 12, disks=[{"name": "vda", "kind": "disk", "format": "raw", "bus": "virtio", "path": str(taken_disk)}])
    opened = house.folder / "opened"
    opened.mkdir()
    opened.chmod(0o777)
    (opened / "a.raw").write_bytes(bytes(4096))
    make(house, "open", 13, disks=[{"name": "vda", "kind": "disk", "format": "raw", "bus": "virtio", "path": str(opened / "a.raw")}])

    def refused(vm, status, code, field, text="", **more):
        problem = client.refused("POST", "/v1/vms/adopt", {"vm": vm, **more}, status, code, field)
        require(text in problem["detail"], f"{vm}: {problem}")

    refused("none", 404, "not-found", "/vm")
    refused("ok", 404, "not-found", "/host", host="other")
    refused("ok", 404, "not-found", "/repository", repository="other")
    refused("ok", 409, "exists", "/name", "there is a VM taken", name="taken")
    refused("ok", 400, "invalid", "/found", found={"name": "x"})
    refused("ok", 404, "not-found", "/networks/0/from", networks=[{"from": "br7", "to": "office"}])
    refused("ok", 404, "not-found", "/networks/0/to", networks=[{"from": "br0", "to": "nowhere"}])
    refused("taken", 409, "exists", "/name")
    refused("same-mac", 409, "exists", "/vm", "the VM taken has its MAC")
    refused("strange", 422, "unsupported", "/vm", "a TPM; it has a device")
    refused("twin", 409, "ambiguous", "/vm")
    refused("two words", 400, "invalid", "/name")
    refused("unplugged", 404, "not-found", "/networks", "from=virbr0,to=NETWORK")
    refused("gone", 422, "unsupported", "/vm", "does not exist")
    refused("layer", 422, "unsupported", "/vm", "does not begin as a qcow2")
    refused("thief", 422, "unsupported", "/vm", "lies in a repository of Lodge")
    refused("open", 422, "unsupported", "/vm", "can be written by others")
    house.run("vm", "adopt", "unplugged", "--network", "from=lan0,to=office")
    make(house, "shares", 14, disks=[{"name": "vda", "kind": "disk", "format": "raw", "bus": "virtio",
                                      "path": house.json("vm", "show", "unplugged")["disks"][0]["path"]}])
    refused("shares", 409, "in-use", "/vm", "the VM unplugged has its disk")

    # What changes between the question and the answer, and a disk that becomes open to others afterwards.
    control = house.folder / "agent" / "fake" / "control"
    control.write_text("fail=adopt:1\n")
    require("told to fail" in house.run("vm", "adopt", "ok", status=1).stderr, "a take that fails")
    require("ok" in told(house) and "ok" not in house.states(), "it is the other tool's again")
    control.write_text("")
    house.run("vm", "adopt", "ok")
    path.parent.chmod(0o777)
    require("can be written by others" in house.run("vm", "start", "ok", status=None).stderr, "the start follows an open path")
    path.parent.chmod(0o711)
    house.run("vm", "start", "ok")
    reader = {"name": "reader", "role": "viewer", "password": "secret of a reader"}
    if client.send("POST", "/v1/principals", reader).status == 201:
        from client import log_in
        viewer = log_in(house, "reader", reader["password"])
        viewer.refused("POST", "/v1/vms/adopt", {"vm": "twin"}, 403, "denied", None)


def two_at_once_adopt_a_vm_once(house):
    office(house)
    for turn in range(5):
        name = f"old-{turn}"
        identity, _ = make(house, name, turn + 20, "running" if turn % 2 else "stopped")
        both = [subprocess.Popen([house.programs["lodge"], "vm", "adopt", name, "--name", f"{name}-{side}"], env=house.environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for side in "ab"]
        ends = sorted(child.wait(60) for child in both)
        require(ends[0] == 0 and ends[1] != 0, f"they ended with {ends}")
        house.wait_for_jobs()
        mine = [vm for vm in house.list("vm") if vm["id"] == identity]
        require(len(mine) == 1 and name not in told(house), f"{name} is there {len(mine)} times")
    invariants.hold(house)
    # The same request again, with its key, is the same job.
    client = Client(house)
    make(house, "again", 30)
    first = client.send("POST", "/v1/vms/adopt", {"vm": "again"}, 202, Idempotency_Key="k1")
    house.wait_for_jobs()
    second = client.send("POST", "/v1/vms/adopt", {"vm": "again"}, 202, Idempotency_Key="k1")
    require(first.document["id"] == second.document["id"], "it was adopted twice")


def adoptions_survive_kills(house, rounds=12, seed=None):
    seed = seed if seed is not None else random.randrange(1 << 30)
    print(f"   seed {seed}", flush=True)
    draw = random.Random(seed)
    office(house)
    control = house.folder / "agent" / "fake" / "control"
    made = {}
    for turn in range(rounds):
        name = f"old-{turn}"
        made[name], _ = make(house, name, turn + 1, draw.choice(("running", "stopped")))
        control.write_text(f"delay_ms={draw.choice((20, 60, 120))}\n")
        victims = draw.choice((("lodge-agent",), ("lodged",), ("lodge-agent", "lodged")))
        after = draw.random() * 0.6

        def strike(victims=victims, after=after):
            time.sleep(after)
            for victim in victims:
                house.power_cut(victim)

        striker = threading.Thread(target=strike)
        striker.start()
        house.run("vm", "adopt", name, status=None)
        striker.join()
        wait_until("the host is connected", house.has_host, 60)
        control.write_text("")
        house.wait_for_jobs()
        wait_until("the list is told", lambda: house.run("host", "vms", "one", status=None).returncode == 0)
        is_foreign, is_ours = name in told(house), name in house.states()
        require(is_foreign != is_ours, f"round {turn}: the other tool has it: {is_foreign}, Lodge has it: {is_ours}")
        if is_foreign:
            require(not (house.repository / "vms" / made[name]).exists(), f"round {turn}: files of {name} stay")
            house.run("vm", "adopt", name)
    require({vm["name"]: vm["id"] for vm in house.list("vm")} == made, "not all are adopted with their uuids")
    require(all(job["state"] in ENDED for job in house.list("job")), "a job is open")
    invariants.hold(house)
    house.end("lodged", signal.SIGTERM)
    house.start("lodged")
    wait_until("the host is connected", house.has_host, 60)
    invariants.hold(house)


def an_adopted_vm_moves_into_a_repository(house):
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, vms=())
        two = row.hosts["two"]
        office(house)
        identity, path = make(two, "old", 1, "running")
        house.run("vm", "adopt", "old", "--host", "two", "--repository", "two")
        require("still runs as the tool" in house.run("vm", "migrate", "old", "--to-host", "three", status=4).stderr, "moved as it was made")
        house.run("vm", "stop", "old")
        text = house.run("vm", "migrate", "old", "--to-host", "three", status=None).stderr
        require("start the VM" in text and "/disks" in text, text)
        house.run("vm", "start", "old")
        house.run("vm", "migrate", "old", "--to-host", "three", seconds=MOVE_SECONDS)
        vm = house.json("vm", "show", "old")
        require(vm["id"] == identity and vm["host_name"] == "three" and "path" not in vm["disks"][0], f"it is {vm}")
        require((row.hosts["three"].repository / "disks" / f"{vm['disks'][0]['id']}.raw").exists(), "it has no disk there")
        require(path.read_bytes()[:3] == b"old" and not (two.repository / "vms" / identity).exists(), "the original is gone, or files stay")
        house.run("vm", "delete", "old", "--force", "--yes")


SCENARIOS = [an_adopted_vm_moves_into_a_repository, other_tools_vms_are_adopted_where_they_are, what_cannot_be_adopted_is_refused_by_field, two_at_once_adopt_a_vm_once, adoptions_survive_kills]

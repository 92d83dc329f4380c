"""VMs that do not run and go from host to host with all their files; on the fake hypervisor."""
import contextlib
import hashlib
import json
import random
import signal
import subprocess

from hosts import is_connected
from house import ENDED, Failure, require, wait_until
from migration import HOSTS, Row, _settle, migrate

DISK = 16 << 20


def _fill(path, seed, pieces=8):
    """Pieces of a disk that hold something, with holes between them. Returns what all of it amounts to."""
    chance = random.Random(seed)
    with open(path, "r+b") as disk:
        for i in range(pieces):
            disk.seek(i * DISK // pieces + chance.randrange(4096))
            disk.write(chance.randbytes(256 << 10))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _disk(repository, vm):
    """Of a VM with one."""
    disk = vm["disks"][0]
    return repository / "disks" / f"{disk['id']}.{disk['format']}"


def _files(folder):
    """What belongs to VMs in a repository, by name; not the trash."""
    return sorted(str(path.relative_to(folder)) for part in ("vms", "disks") for path in (folder / part).rglob("*") if path.is_file())


def _variables(host, vm):
    return host.folder / "agent" / f"{vm['id']}.nvram"


def _steps(house, *arguments):
    return [step["name"] for step in json.loads(house.run(*arguments, "--dry-run", "-o", "json").stdout)["steps"]]


def a_stopped_vm_goes_with_its_files(house):
    """Disks with their holes, a detached one too, and UEFI variables; the old ones are in the trash then."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        two, three = row.hosts["two"], row.hosts["three"]
        house.run("vm", "stop", "web")
        house.run("vm", "attach-disk", "web", "--size", "16M", "--name", "data")
        house.run("vm", "detach-disk", "web", "data")
        house.run("vm", "update", "web", "--firmware", "uefi")
        vm = house.json("vm", "show", "web")
        holds = _fill(_disk(two.repository, vm), 1)
        kept = _fill(two.repository / "disks" / f"{vm['disks'][1]['id']}.raw", 2)
        _variables(two, vm).write_text("boot order")
        names = _files(two.repository)
        steps = ["begin", "make", "expect", "carry", "arrive", "part", "define", "write", "remove", "forget"]
        require(_steps(house, "vm", "migrate", "web", "--to-host", "three") == steps, "the plan is another one")
        text = house.run("vm", "migrate", "web", "--to-host", "one", status=None).stderr
        require("--listen" in text, text)
        house.run("vm", "migrate", "web", "--to-host", "three")
        after = house.json("vm", "show", "web")
        require(after["host_name"] == "three" and [nic["mac"] for nic in after["nics"]] == [nic["mac"] for nic in vm["nics"]], f"it is {after}")
        path = _disk(three.repository, after)
        require(hashlib.sha256(path.read_bytes()).hexdigest() == holds, "its disk is another one")
        require(hashlib.sha256((three.repository / "disks" / f"{vm['disks'][1]['id']}.raw").read_bytes()).hexdigest() == kept, "the detached one is")
        require(path.stat().st_blocks * 512 < 6 << 20, "its holes are filled")
        require(_variables(three, vm).read_text() == "boot order", "its UEFI variables are not there")
        require(not _files(two.repository) and list((two.repository / "trash").iterdir()), "the old files are not in the trash")
        require({name for name in names if name.startswith("disks")} == {name for name in _files(three.repository) if name.startswith("disks")}, "others came")
        house.run("vm", "start", "web")
        require(row.running() == {"web": ["three"]}, f"there run {row.running()}")
        house.run("vm", "stop", "web")
        house.run("vm", "migrate", "web", "--to-host", "two", "--bandwidth", "20M")
        require(hashlib.sha256(_disk(two.repository, vm).read_bytes()).hexdigest() == holds, "it came back as another one")


def overlays_become_whole_on_their_way(house):
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, vms=())
        house.run("template", "build", "bench-boot", "--repository", "two")
        house.run("vm", "create", "thin", "--template", "bench-boot", "--clone", "overlay")
        vm = house.json("vm", "show", "thin")
        old = _disk(row.hosts["two"].repository, vm)
        chain = json.loads(subprocess.run(["qemu-img", "info", "--output=json", old], capture_output=True, check=True).stdout)
        require("backing-filename" in chain, "it is no overlay")
        raw = row.hosts["two"].folder / "before.raw"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 64k 64k", old], check=True, capture_output=True)
        subprocess.run(["qemu-img", "convert", "-O", "raw", old, raw], check=True)
        house.run("vm", "migrate", "thin", "--to-host", "three")
        new = _disk(row.hosts["three"].repository, house.json("vm", "show", "thin"))
        info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", new], capture_output=True, check=True).stdout)
        require("backing-filename" not in info, f"it lies on another one: {info}")
        subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, new], check=True)
        house.run("vm", "start", "thin")
        house.run("template", "delete", "bench-boot", "--yes", status=None)
        work = list((row.hosts["two"].repository / "work").glob("*")) if (row.hosts["two"].repository / "work").exists() else []
        require(not work, f"left over: {work}")


def a_stopped_move_is_cancelled_or_fails(house):
    """It is where it was then, can be started, and nothing is left at the target; meanwhile nobody starts it."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        two, three = row.hosts["two"], row.hosts["three"]
        house.run("vm", "stop", "web")
        vm = house.json("vm", "show", "web")
        holds = _fill(_disk(two.repository, vm), 3)

        def slowly():
            job = json.loads(house.run("vm", "migrate", "web", "--to-host", "three", "--bandwidth", "256K", "--no-wait", "-o", "json").stdout)["id"]
            wait_until("it is under way", lambda: "Copying" in house.json("job", "show", job).get("progress", {}).get("phase", ""), 30)
            return job

        def is_as_before(job, state):
            wait_until("it has ended", lambda: house.answers() and house.json("job", "show", job)["state"] in ENDED, 120)
            require(house.json("job", "show", job)["state"] == state, house.json("job", "show", job))
            require(not _files(three.repository) and house.json("vm", "show", "web")["host_name"] == "two", f"there lie {_files(three.repository)}")
            require(hashlib.sha256(_disk(two.repository, vm).read_bytes()).hexdigest() == holds, "its disk is another one")
            house.run("vm", "start", "web")
            house.run("vm", "stop", "web")

        job = slowly()
        house.end("lodged", signal.SIGKILL)  # root on its hosts cannot start it now
        for other, words in ((two, ("on its way", "still works")), (three, ("another host", "on its way"))):
            ask = [house.programs["lodge-agent"], "--socket", f"{other.folder}/agent.sock", "local", "start", json.dumps({"id": vm["id"]})]
            told = wait_until("the manager is missed", lambda asked=ask: _answer(asked))
            require(any(word in told for word in words) and not row.running(), f"it was started: {told}")
        house.start("lodged")
        wait_until("lodged answers", lambda: is_connected(house, "two")() and is_connected(house, "three")())
        house.run("job", "cancel", job)
        is_as_before(job, "cancelled")
        job = slowly()
        three.end("lodge-agent", signal.SIGKILL)  # for a moment: it goes on
        three.start("lodge-agent")
        two.end("lodge-agent", signal.SIGKILL)
        two.start("lodge-agent")
        wait_until("both are back", lambda: is_connected(house, "two")() and is_connected(house, "three")(), 60)
        house.run("job", "cancel", job)
        is_as_before(job, "cancelled")


def _answer(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    return None if "is connected" in done.stdout + done.stderr else done.stdout + done.stderr


def stopped_moves_survive_kills(house, rounds=16, seed=None):
    """Agents of both ends and the manager die at any moment: each VM is at one host then, whole, and starts there and nowhere else."""
    seed = random.randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    kills = moves = moved = 0
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, ("a", "b", "c"))
        sums = {}
        for number, name in enumerate(row.vms):
            house.run("vm", "stop", name)
            sums[name] = _fill(_disk(row.hosts["two"].repository, house.json("vm", "show", name)), number)
        daemons = [(house, "lodged"), *((other, "lodge-agent") for other in row.hosts.values())]
        while kills < rounds:
            before = row.where()
            targets = {vm: chance.choice([name for name in HOSTS if name != before[vm]]) for vm in chance.sample(row.vms, chance.randint(1, 3))}
            try:
                asked = [migrate(house, vm, target) for vm, target in targets.items()]
                victims = chance.sample(daemons, chance.choice((1, 2, 3)))
                with contextlib.suppress(Failure):
                    wait_until("a moment", lambda: False, chance.uniform(0, 1.5))
                for owner, daemon in victims:
                    owner.end(daemon, signal.SIGKILL)
                if (house, "lodged") not in victims and chance.random() < 0.4:
                    house.run("job", "cancel", chance.choice(asked), status=None)
                for owner, daemon in victims:
                    owner.start(daemon)
                _settle(house, row)
                _are_whole(house, row, sums)
            except Failure as failure:
                raise Failure(f"seed {seed}, after {kills} kills, {before} with moves {targets}: {failure}") from None
            kills += len(victims)
            moves += len(targets)
            moved += sum(row.where()[vm] == target for vm, target in targets.items())
        print(f"   seed {seed}: {kills} kills, {moves} moves, {moved} arrived", flush=True)


def _are_whole(house, row, sums):
    where = row.where()
    for name, other in row.hosts.items():
        here = [house.json("vm", "show", vm) for vm, host in where.items() if host == name]
        require({vm["id"] for vm in here} == {path.parent.name for path in (other.repository / "vms").glob("*/vm.json")}, f"on {name} lie {_files(other.repository)}")
        require(len(list((other.repository / "disks").glob("*.raw"))) == len(here), f"on {name} lie {_files(other.repository)}")
        for vm in here:
            require(hashlib.sha256(_disk(other.repository, vm).read_bytes()).hexdigest() == sums[vm["name"]], f"the disk of {vm['name']} is another one")
    for name in where:
        house.run("vm", "start", name)
    require(row.running() == {vm: [host] for vm, host in where.items()}, f"defined are {where}, there run {row.running()}")
    for name in where:
        house.run("vm", "stop", name)


SCENARIOS = [a_stopped_vm_goes_with_its_files, overlays_become_whole_on_their_way, a_stopped_move_is_cancelled_or_fails, stopped_moves_survive_kills]

"""Running VMs that go from host to host: one copy runs, whoever dies in whichever moment."""
import collections
import contextlib
import json
import random
import signal
import time

from hosts import BLANK, is_connected, neighbour, take
from house import ENDED, Failure, require, wait_until

HOSTS = ("two", "three", "four")
MOVE_SECONDS = 120


class Row:
    """More hosts, with a repository each or a shared one, and VMs on the first."""

    def __init__(self, house, stack, names=HOSTS[:2], vms=("web",), delay_ms=20, shared=False):
        self.house, self.vms = house, vms
        self.hosts = {}
        self.shared = house.folder / "shared" if shared else None
        for name in names:
            other = stack.enter_context(neighbour(house, name))
            self.hosts[name] = other
            take(house, other, name)
            wait_until("it is connected", is_connected(house, name))
            if not shared:
                house.run("repository", "create", name, "--host", name, "--path", other.repository)
            (other.folder / "agent" / "fake" / "control").write_text(f"delay_ms={delay_ms}\n")
        if shared:
            house.run("repository", "create", "san", "--kind", "shared", "--path", self.shared)
        where = ("--repository", "san", "--host", names[0]) if shared else ("--repository", names[0])
        for vm in vms:
            house.run("vm", "create", vm, *BLANK, *where, "--start")

    def where(self):
        return {vm["name"]: vm["host_name"] for vm in self.house.list("vm")}

    def runs_on(self, name):
        """VMs that run on a host, as its hypervisor has it."""
        found = set()
        for path in (self.hosts[name].folder / "agent" / "fake").glob("*.json"):
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # it is being replaced
                vm = json.loads(path.read_text())
                if vm["status"]["state"] == "running":
                    found.add(vm["name"])
        return found

    def running(self):
        """VM -> hosts on which it runs."""
        seen = collections.defaultdict(list)
        for name in self.hosts:
            for vm in self.runs_on(name):
                # Hosts are looked at one after the other: what has left meanwhile does not count twice.
                seen[vm] = [other for other in seen[vm] if vm in self.runs_on(other)] + [name]
        return dict(seen)

    def runs_once_at_most(self):
        twice = {vm: hosts for vm, hosts in self.running().items() if len(hosts) > 1}
        require(not twice, f"these run twice: {twice}")

    def is_whole(self):
        """Each VM runs where its definition says, and its files are there and nowhere else."""
        where = self.where()
        require(set(where) == set(self.vms), f"VMs are {where}")
        require(self.running() == {vm: [host] for vm, host in where.items()}, f"defined are {where}, there run {self.running()}")
        wait_until("their states are known", lambda: self.house.states() == dict.fromkeys(self.vms, "running"))
        if self.shared:
            self._has_files(self.shared, len(where))
        for name, other in self.hosts.items():
            self._has_files(other.repository, 0 if self.shared else sum(host == name for host in where.values()))
            left = [path.name for path in (other.folder / "agent" / "fake").rglob("*") if path.suffix in (".held", ".arriving", ".arrived")]
            require(not left, f"left over on {name}: {left}")

    @staticmethod
    def _has_files(repository, n_vms):
        disks = list((repository / "disks").glob("*.raw"))
        notes = list((repository / "vms").glob("*/vm.json"))
        require(len(disks) == len(notes) == n_vms, f"of {n_vms} VMs, in {repository} lie {disks} and {notes}")


def migrate(house, vm, target):
    return json.loads(house.run("vm", "migrate", vm, "--to-host", target, "--no-wait", "-o", "json").stdout)["id"]


def a_running_vm_moves(house):
    """There and back, with its disks; what cannot be is refused before anything is made."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        text = house.run("vm", "migrate", "web", "--to-host", "two", status=4).stderr
        require("already" in text, text)
        text = house.run("vm", "migrate", "web", "--to-host", "one", status=None).stderr
        require("--listen" in text, text)
        for target in ("three", "two"):
            house.run("vm", "migrate", "web", "--to-host", target)
            require(row.where() == {"web": target}, f"it is on {row.where()}")
            row.is_whole()
        house.run("vm", "attach-disk", "web", "--size", "16M", "--name", "data")
        house.run("vm", "detach-disk", "web", "data")
        text = house.run("vm", "migrate", "web", "--to-host", "three", status=None).stderr
        require("detached disk data" in text and row.where() == {"web": "two"}, text)
        house.run("vm", "attach-disk", "web", "--disk", "data")
        house.run("vm", "detach-disk", "web", "data", "--delete")
        row.is_whole()


def a_move_is_cancelled(house):
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, delay_ms=200)
        job = migrate(house, "web", "three")
        wait_until("it moves", lambda: house.json("job", "show", job).get("progress", {}).get("percent", 0) > 30)
        house.run("job", "cancel", job)
        wait_until("it has ended", lambda: house.json("job", "show", job)["state"] in ENDED, 60)
        require(house.json("job", "show", job)["state"] == "cancelled", house.json("job", "show", job))
        require(row.where() == {"web": "two"}, f"it is on {row.where()}")
        row.is_whole()


def moves_wait_for_their_turn(house):
    """As many at a time as the pool lets; the others say for what they wait."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, vms=("a", "b", "c"), delay_ms=100)
        house.run("pool", "update", "default", "--migrations-per-host", 1)
        asked = [migrate(house, vm, "three") for vm in row.vms]
        waited = set()
        while not all(house.json("job", "show", job)["state"] in ENDED for job in asked):
            jobs = [house.json("job", "show", job) for job in asked]
            require(sum(job["state"] == "running" for job in jobs) <= 1, f"several move: {jobs}")
            waited |= {job["waits_for"].split()[0].split("-")[0] for job in jobs if job.get("waits_for")}
            time.sleep(0.05)
        require("host/moves" in " ".join(waited), f"they waited for {waited}")
        require(row.where() == dict.fromkeys(row.vms, "three"), f"they are on {row.where()}")
        row.is_whole()


def _arrived(house, row):
    """A job whose VM runs at its target, while its source, which cannot look at itself, does not know yet."""
    source = row.hosts["two"]
    control = source.folder / "agent" / "fake" / "control"
    control.write_text("hang=look\n")
    job = migrate(house, "web", "three")
    wait_until("it runs there", lambda: row.running() == {"web": ["three"]})
    source.end("lodge-agent", signal.SIGKILL)
    return job, control


def a_cancel_comes_too_late_for_what_has_arrived(house):
    """Though the host that knows of it was away when it was asked for."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        job, control = _arrived(house, row)
        house.run("job", "cancel", job)
        control.unlink()
        row.hosts["two"].start("lodge-agent")
        wait_until("it has ended", lambda: house.json("job", "show", job)["state"] in ENDED, 60)
        require(house.json("job", "show", job)["state"] == "succeeded", house.json("job", "show", job))
        require(row.where() == {"web": "three"}, f"it is on {row.where()}")
        row.is_whole()


def what_has_left_is_not_started_again(house):
    """Though its job was broken, so that the manager does not know."""
    with contextlib.ExitStack() as stack:
        row = Row(house, stack)
        job, control = _arrived(house, row)
        house.run("job", "break", job, "--yes", "--reason", "its host is away")
        control.unlink()
        row.hosts["two"].start("lodge-agent")
        wait_until("it is connected", is_connected(house, "two"))
        wait_until("its state is known", lambda: house.states()["web"] == "stopped")
        text = house.run("vm", "start", "web", status=None).stderr
        require("the host at " + row.hosts["three"].address in text, text)
        require(row.running() == {"web": ["three"]}, f"there run {row.running()}")


def moves_survive_kills(house, rounds=16, seed=None):
    """Agents of both ends and the manager die at any moment of moves: never do two copies run, and afterwards one does."""
    _kill_during_moves(house, rounds, seed, shared=False)


def moves_of_what_both_see_survive_kills(house, rounds=16, seed=None):
    """The same where no disk is copied: both ends have the only one."""
    _kill_during_moves(house, rounds, seed, shared=True)


def _kill_during_moves(house, rounds, seed, shared):
    seed = random.randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    kills = moves = moved = 0
    with contextlib.ExitStack() as stack:
        row = Row(house, stack, HOSTS, ("a", "b", "c"), shared=shared)
        daemons = [(house, "lodged"), *((other, "lodge-agent") for other in row.hosts.values())]
        while kills < rounds:
            before = row.where()
            targets = {vm: chance.choice([name for name in HOSTS if name != before[vm]]) for vm in chance.sample(row.vms, chance.randint(1, 3))}
            what = f"seed {seed}, after {kills} kills, {before} with moves {targets}"
            try:
                asked = [migrate(house, vm, target) for vm, target in targets.items()]
                victims = chance.sample(daemons, chance.choice((1, 2, 3)))
                _watch(row, time.monotonic() + chance.uniform(0, 1.5))
                for owner, daemon in victims:
                    owner.end(daemon, signal.SIGKILL)
                if (house, "lodged") not in victims and chance.random() < 0.4:
                    house.run("job", "cancel", chance.choice(asked), status=None)
                for owner, daemon in victims:
                    owner.start(daemon)
                _settle(house, row)
                row.is_whole()
            except Failure as failure:
                raise Failure(f"{what}: {failure}") from None
            kills += len(victims)
            moves += len(targets)
            moved += sum(row.where()[vm] == target for vm, target in targets.items())
        print(f"   seed {seed}: {kills} kills, {moves} moves, {moved} arrived", flush=True)


def _watch(row, end):
    while time.monotonic() < end:
        row.runs_once_at_most()
        time.sleep(0.01)


def _settle(house, row):
    deadline = time.monotonic() + MOVE_SECONDS
    while not (house.answers() and all(job["state"] in ENDED for job in house.list("job"))):
        _watch(row, time.monotonic() + 0.1)
        if time.monotonic() > deadline:
            raise Failure(f"jobs do not end: {[job for job in house.list('job') if job['state'] not in ENDED]}")
    for name in row.hosts:
        wait_until("it is connected", is_connected(house, name), MOVE_SECONDS)


SCENARIOS = [a_running_vm_moves, a_move_is_cancelled, moves_wait_for_their_turn, a_cancel_comes_too_late_for_what_has_arrived,
             what_has_left_is_not_started_again, moves_survive_kills, moves_of_what_both_see_survive_kills]

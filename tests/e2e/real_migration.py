"""Running QEMU guests that go from host to host: they count on, one copy runs, and their disks are whole."""
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import threading
import time

from hosts import code_of, is_connected
from house import ENDED, Failure, require, wait_until
from real_hosts import NETWORK, PORT, neighbours
import saved

SECTOR, SECTORS = 512, 2048  # of tests/e2e/counter.S
DISK_BYTES = 8 << 20
GUEST_SECONDS = 60
BOOT_SECONDS = 300


def boot_disk(folder):
    """The image of a disk that starts tests/e2e/counter.S."""
    source = pathlib.Path(__file__).with_name("counter.S")
    parts, image = folder / "counter.o", folder / "counter.img"
    subprocess.run(["as", "--32", "-o", parts, source], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-e", "start", "--oformat", "binary", "-o", image, parts], check=True)
    with open(image, "r+b") as file:
        file.truncate(DISK_BYTES)
    return image


def numbers_of(log):
    lines = log.replace(b"\r", b"").split(b"\n")[:-1]
    require(not any(b"refuses" in line for line in lines), "the guest's disk failed")
    return [int(line.split()[1], 16) for line in lines if line.startswith(b"tick ") and len(line) == 13]


class Counter:
    """A VM that counts, on one of several hosts; in the first one's repository, or in one that all of them see."""

    def __init__(self, house, hosts, name="counter", shared=None):
        self.house, self.hosts, self.name, self.shared = house, {host.name: host for host in hosts}, name, shared
        first = hosts[0].name
        repository = "san" if shared else first
        house.run("template", "import", name, boot_disk(house.folder), "--format", "raw", "--memory", "64M", "--repository", repository)
        house.run("vm", "create", name, "--template", name, "--repository", repository, "--host", first, "--start")
        self.id = house.json("vm", "show", name)["id"]
        wait_until("it counts", lambda: len(self.ticks(first)) > 5, GUEST_SECONDS)

    def log(self, place):
        return self.hosts[place].folder / "agent" / f"{self.id}.log"

    def ticks(self, place):
        """What the guest counted there, and has said in whole."""
        return numbers_of(self.log(place).read_bytes() if self.log(place).exists() else b"")

    def where(self):
        return self.house.json("vm", "show", self.name)["host_name"]

    def move(self, target, *options):
        """What it said last before, which may have been cut off in the middle of a line."""
        place = self.where()
        with open(self.log(place), "rb") as log:  # it is removed when the VM has gone
            self.house.run("vm", "migrate", self.name, "--to-host", target, *options, seconds=180)
            before = numbers_of(log.read())[-1]
        require(self.where() == target, f"it is on {self.where()}")
        numbers = wait_until("it counts on", lambda: len(self.ticks(target)) > 3 and self.ticks(target), GUEST_SECONDS)
        require(numbers[0] in (before + 1, before + 2), f"it said {before} at last, and {numbers[0]} at first")
        require(numbers == list(range(numbers[0], numbers[-1] + 1)), f"it counts {numbers}")

    def processes(self):
        return self.house.guest_processes().get(self.id, [])

    def disk_is_whole(self):
        """Of a VM that has been killed: each sector has the last number that was written to it."""
        place = self.where()
        disk = self.house.json("vm", "show", self.name)["disks"][0]
        last = self.ticks(place)[-1]
        path = (self.shared or self.hosts[place].repository) / "disks" / f"{disk['id']}.{disk['format']}"
        chain = json.loads(subprocess.run(["qemu-img", "info", "--backing-chain", "--output", "json", path], check=True, capture_output=True).stdout)
        require(len(chain) == 1 or self.shared, f"below {path} lies {chain[1:]}")
        raw = self.house.folder / "content.raw"
        subprocess.run(["qemu-img", "convert", "-f", disk["format"], "-O", "raw", path, raw], check=True)
        content = raw.read_bytes()
        for number in range(max(1, last - SECTORS + 3), last + 1):
            at = (number % SECTORS + 1) * SECTOR
            found = struct.unpack("<I", content[at:at + 4])[0]
            require(found == number, f"the sector of {number} holds {found}; it was at {last}")


def a_running_guest_moves_with_its_disk(house):
    """To another host and back: nothing that it counted or wrote is lost."""
    with neighbours(house, "two", "three") as hosts:
        guest = Counter(house, hosts)
        for target in ("three", "two", "three"):
            guest.move(target)
            require(len(guest.processes()) == 1, f"processes of it: {guest.processes()}")
            house.wait_for_states({guest.name: "running"})
        house.run("host", "maintenance", "one", "on")
        told = house.run("host", "maintenance", "three", "on", seconds=180).stderr
        require(f"{guest.name} is on two now" in told and guest.where() == "two", f"it told {told}")
        house.run("host", "maintenance", "three", "off", "--bring-back", seconds=180)
        require(guest.where() == "three" and len(guest.processes()) == 1, f"it is on {guest.where()}, its processes are {guest.processes()}")
        house.run("vm", "kill", guest.name)
        guest.disk_is_whole()
        before = guest.ticks("three")[-1]
        house.run("vm", "start", guest.name)  # where it is now, from what was copied
        wait_until("it counts", lambda: guest.ticks("three")[-1] < before, GUEST_SECONDS)
        house.run("vm", "delete", guest.name, "--force", "--yes")


def a_running_guest_moves_on_shared_storage(house):
    """Both hosts have its disk: it is not copied, and each sector is the last that was written, here or there."""
    shared = house.folder.parent / "san"
    shared.mkdir(mode=0o711)
    with neighbours(house, "two", "three", "four") as hosts:
        four = hosts.pop()
        house.run("repository", "create", "san", "--kind", "shared", "--path", shared)
        guest = Counter(house, hosts, shared=shared)
        files = sorted((path, path.stat().st_ino) for path in (shared / "disks").iterdir())
        for target in ("three", "two", "three"):
            guest.move(target)
            require(len(guest.processes()) == 1, f"processes of it: {guest.processes()}")
            house.wait_for_states({guest.name: "running"})
        require(sorted((path, path.stat().st_ino) for path in (shared / "disks").iterdir()) == files, "its files are others")
        four.end("lodge-agent", signal.SIGKILL)
        subprocess.run([*four.inside(), "mount", "-t", "tmpfs", "none", shared], check=True)  # as if it were not mounted there
        four.start("lodge-agent")
        wait_until("it is connected", is_connected(house, "four"), 60)
        views = wait_until("it is not seen there", lambda: {view["name"]: view for view in house.json("repository", "show", "san")["status"]["hosts"]
                                                            if view["state"] == "failed"})
        require(set(views) == {"four"}, f"not seen on {views}")
        text = house.run("vm", "migrate", guest.name, "--to-host", "four", status=None).stderr
        require("cannot be used" in text and "four" in text, text)
        house.run("vm", "kill", guest.name)
        guest.disk_is_whole()
        before = guest.ticks("three")[-1]
        house.run("vm", "migrate", guest.name, "--to-host", "two")
        house.run("vm", "start", guest.name)
        wait_until("it counts anew", lambda: len(guest.ticks("two")) > 3 and guest.ticks("two")[-1] < before, GUEST_SECONDS)
        house.run("vm", "delete", guest.name, "--force", "--yes")


class Watch(threading.Thread):
    """Reads what the guest says on all hosts: a number that is said twice was counted by two copies, or by an old one."""

    def __init__(self, guest):
        super().__init__(daemon=True)
        self.guest, self.files, self.seen, self.twice, self.is_over = guest, {}, set(), set(), False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *why):
        self.is_over = True
        self.join()

    def run(self):
        while not self.is_over:
            for place in self.guest.hosts:
                self._read(place)
            time.sleep(0.01)

    def _read(self, place):
        path = self.guest.log(place)
        file, rest = self.files.get(place, (None, b""))
        try:
            if not file or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                rest = b"" if not file else rest
                self._take(place, file, rest)
                file, rest = open(path, "rb"), b""
        except FileNotFoundError:
            pass
        self._take(place, file, rest)

    def _take(self, place, file, rest):
        if not file:
            return
        lines = (rest + file.read()).split(b"\n")
        self.files[place] = (file, lines.pop())
        for number in numbers_of(b"\n".join([*lines, b""])):
            if number in self.seen:
                self.twice.add(number)
            self.seen.add(number)

    def forget(self):
        """It was started anew."""
        self.seen, self.twice = set(), set()


def a_running_guest_outlives_kills(house, rounds=6, seed=None):
    """Any daemon, and the guest itself, dies at any moment of a move: one copy runs at most, and one afterwards unless it was killed."""
    seed = random.randrange(2**32) if seed is None else seed
    chance = random.Random(seed)
    moved = 0
    with neighbours(house, "two", "three") as hosts, Watch(Counter(house, hosts)) as watch:
        guest = watch.guest
        two, three = hosts
        victims = {"lodged": lambda: house.power_cut("lodged"), "no one": lambda: None}
        for host in hosts:
            victims[f"the agent of {host.name}"] = lambda host=host: host.power_cut("lodge-agent")
            victims[f"libvirtd of {host.name}"] = host.cut_libvirtd
            victims[f"the guest on {host.name}"] = lambda host=host: _kill_guest(guest, host)
        for number in range(rounds):
            place = guest.where()
            target = three if place == two.name else two
            victim = chance.choice(sorted(victims))
            wait = chance.uniform(0, 2.2)
            what = f"seed {seed}, round {number}: from {place} to {target.name}, after {wait:.2f} s dies {victim}"
            house.run("vm", "migrate", guest.name, "--to-host", target.name, "--bandwidth", "8M", "--no-wait")
            time.sleep(wait)
            try:
                victims[victim]()
                _settle(house, hosts)
                moved += guest.where() == target.name
                _is_one(house, guest, watch, may_be_dead="guest" in victim)
            except Failure as failure:
                raise Failure(f"{what}: {failure}") from None
            print(f"   {what}; it is on {guest.where()}", flush=True)
        house.run("vm", "kill", guest.name)
        guest.disk_is_whole()
    print(f"   seed {seed}: {moved} of {rounds} moved", flush=True)


def _kill_guest(guest, host):
    for pid in guest.processes():
        if host.runs(pid):
            os.kill(pid, signal.SIGKILL)


def _settle(house, hosts):
    wait_until("jobs end", lambda: house.answers() and all(job["state"] in ENDED for job in house.list("job")), 180)
    for host in hosts:
        wait_until("it is connected", is_connected(house, host.name), 60)


def _is_one(house, guest, watch, may_be_dead):
    known = wait_until("its state is known", lambda: house.states()[guest.name] in ("running", "crashed", "stopped") and house.states()[guest.name], 60)
    require(known == "running" or may_be_dead, f"it is {known}")
    require(not watch.twice, f"it counted these twice: {sorted(watch.twice)[:10]}")
    require(len(guest.processes()) == (known == "running"), f"it is {known}, its processes are {guest.processes()}")
    if known != "running":
        watch.forget()
        house.run("vm", "start", guest.name)
    place, before = guest.where(), len(watch.seen)
    wait_until(f"it counts on {place}", lambda: len(watch.seen) > before + 3, GUEST_SECONDS)
    require(not watch.twice, f"it counted these twice: {sorted(watch.twice)[:10]}")
    disk = house.json("vm", "show", guest.name)["disks"][0]["id"]
    for host in guest.hosts.values():
        disks = list((host.repository / "disks").glob(f"{disk}.*[!n]"))
        require(len(disks) == (host.name == place), f"it is on {place}, its disks are {disks}")


def a_guest_that_writes_faster_than_its_wire_moves(house):
    """It is held a little longer instead of being copied for ever."""
    with neighbours(house, "two", "three") as hosts:
        guest = Counter(house, hosts)
        guest.move("three", "--bandwidth", "1M")
        require(len(guest.processes()) == 1, f"processes of it: {guest.processes()}")
        house.run("vm", "delete", guest.name, "--force", "--yes")


def a_guest_with_a_kernel_of_its_template_moves(house):
    """The smallest guest, from the manager's own machine: what it is started with goes along, and leaves when nobody needs it."""
    house.run("vm", "create", "web", "--template", "tiny", "--start", seconds=600)
    saved.start_counting(house)
    with neighbours(house, "two") as (two,):
        _listen(house)
        before, boots = saved.ticks(house), saved.log(house).count("login:")
        house.run("vm", "migrate", "web", "--to-host", "two", seconds=180)
        wait_until("it counts on", lambda: saved.ticks(house, two) > before + 2, GUEST_SECONDS)
        require(saved.log(house, two).count("login:") == 0 and saved.ticks(house, two) < before + GUEST_SECONDS, "it was started anew")
        require(boots == 1 and len(list(two.repository.glob("templates/*/*"))) == 2, "its kernel and RAM disk are not there")
        for again in (("reset", "web"), ("kill", "web"), ("start", "web")):
            house.run("vm", *again)
            if again[0] != "kill":
                wait_until("it starts", lambda: "login:" in saved.log(house, two), BOOT_SECONDS, 1)
                saved.clear_log(house, two)
        house.run("vm", "migrate", "web", "--to-host", "one", seconds=180)
        require(not list(two.repository.glob("templates/*")), "its kernel stayed")
        house.run("vm", "reset", "web")
        wait_until("it starts", lambda: "login:" in saved.log(house), BOOT_SECONDS, 1)
        house.run("vm", "delete", "web", "--force", "--yes")


def _listen(house):
    """The manager's own machine is reached over the network, too."""
    house.address = f"{NETWORK}.1:{PORT}"
    house.agent_options = ["--listen", house.address]
    house.power_cut("lodge-agent")
    wait_until("it listens", lambda: code_of(house, status=None))
    house.run("host", "renew", "one", "--address", house.address, "--code", code_of(house))
    wait_until("it is connected", is_connected(house, "one"), 60)


REAL_ONLINE = [a_guest_with_a_kernel_of_its_template_moves]
REAL_SCENARIOS = [a_running_guest_moves_with_its_disk, a_running_guest_moves_on_shared_storage, a_running_guest_outlives_kills, a_guest_that_writes_faster_than_its_wire_moves]

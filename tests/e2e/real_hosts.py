"""Several real hosts on one machine: each a libvirt and an agent in namespaces of its own, on a wire to the others."""
import contextlib
import os
import pathlib
import signal
import subprocess

from house import House, require, wait_until
from hosts import BLANK, code_of, is_connected, state
from real_house import COLD_SECONDS, command_line

NETWORK, PORT = "10.213.0", 7444
WIRE = "hosts0"
PRIVATE = pathlib.Path(__file__).resolve().parent.parent.parent / "src/hypervisor/libvirt/private-libvirt.sh"


def children(pid):
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class RealNeighbour(House):
    """A machine beside the house's own. What it keeps on disk outlives a power cut; what it runs does not."""

    def __init__(self, house, name, number):
        super().__init__(house.programs, "qemu", house.folder.parent / name, house.instance)
        for folder in (self.folder, self.repository):
            folder.chmod(0o711)
        self.name, self.number = name, number
        self.address = f"{NETWORK}.{number}:{PORT}"
        self.agent_options = ["--listen", self.address]
        self.machine = self.init = None

    def __enter__(self):
        try:
            self.switch_on()
        except BaseException:
            self.switch_off()
            raise
        return self

    def __exit__(self, kind, error, trace):
        super().__exit__(kind, error, trace)
        self.switch_off()

    def switch_on(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LODGE_PRIVATE_")}
        with open(self.folder / "machine.log", "ab") as log:
            self.machine = subprocess.Popen([PRIVATE, "sleep", "infinity"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**environment, "LODGE_PRIVATE_HOSTNAME": self.name, "LODGE_PRIVATE_RUN": f"/run/{self.instance}-migrate"})
        self.init = wait_until("the machine is there", self._find_init)
        wire = f"wire{self.number}"
        ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", str(self.init))
        ip("link", "set", wire, "master", WIRE, "up")
        for words in (("addr", "add", f"{NETWORK}.{self.number}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            subprocess.run([*self.inside(), "ip", *words], check=True)
        wait_until("its libvirt answers", lambda: self.virsh("list"), COLD_SECONDS)
        self.start("lodge-agent")

    def _find_init(self):
        """The process 1 of the machine, once it is past the script that makes the namespaces."""
        for unshare in children(self.machine.pid):
            for init in children(unshare):
                if any(command_line(child).startswith(b"sleep") for child in children(init)):
                    return init
        return None

    def switch_off(self):
        """A power cut: everything that it runs is gone at once."""
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        if self.machine:
            self.machine.wait(20)
        child = self.children.pop("lodge-agent", None)
        if child:
            child.wait(20)
        self.machine = self.init = None

    def inside(self):
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", "--"]

    def virsh(self, *words):
        done = subprocess.run([*self.inside(), "virsh", "-q", "-c", "qemu:///system", *words], capture_output=True, text=True,
                              timeout=COLD_SECONDS, check=False)
        return done.stdout or "none" if done.returncode == 0 else None

    def runs(self, pid):
        """Whether that process is one of the machine's."""
        try:
            return os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat(f"/proc/{self.init}/ns/mnt").st_ino
        except FileNotFoundError:
            return False

    def cut_libvirtd(self):
        """kill -9, and a new one, as a supervisor would."""
        pid = subprocess.run([*self.inside(), "cat", "/run/libvirt/libvirtd.pid"], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run([*self.inside(), "kill", "-9", pid], check=False)
        wait_until("libvirtd is gone", lambda: subprocess.run([*self.inside(), "kill", "-0", pid], capture_output=True, check=False).returncode)
        subprocess.run([*self.inside(), "libvirtd", "-d", "-p", "/run/libvirt/libvirtd.pid"], check=True)

    def command(self, name):
        return [*self.inside(), *super().command(name)] if name == "lodge-agent" else super().command(name)

    def end(self, name, number):
        """The signal is for the daemon, not for the program that put it inside."""
        child = self.children.get(name)
        for pid in children(child.pid) if child else []:
            os.kill(pid, number)
        super().end(name, signal.SIGCONT)


@contextlib.contextmanager
def neighbours(house, *names):
    """Hosts of the house's manager, with a repository each that is called like its host."""
    ip("link", "add", WIRE, "type", "bridge")
    ip("addr", "add", f"{NETWORK}.1/24", "dev", WIRE)
    ip("link", "set", WIRE, "up")
    with contextlib.ExitStack() as stack:
        stack.callback(ip, "link", "delete", WIRE)
        others = [stack.enter_context(RealNeighbour(house, name, number)) for number, name in enumerate(names, 2)]
        for other in others:
            wait_until("it listens", lambda other=other: code_of(other, status=None))
            house.run("host", "add", other.name, "--address", other.address, "--code", code_of(other))
            wait_until("it is connected", is_connected(house, other.name), 60)
            house.run("repository", "create", other.name, "--host", other.name, "--path", other.repository)
        yield others


def real_hosts_are_one_place(house):
    """Three machines: VMs on each, the console of a far one, the power cut of one and its return."""
    with neighbours(house, "two", "three") as (two, three):
        for name, place, words in (("a", "main", BLANK), ("b", "two", ("--template", "bench-boot")), ("c", "three", BLANK)):
            house.run("vm", "create", name, *words, "--repository", place, "--start")
        house.wait_for_states({name: "running" for name in "abc"})
        ids = {name: house.json("vm", "show", name)["id"] for name in "abc"}
        where = {name: host.virsh("list", "--uuid") for name, host in (("b", two), ("c", three))}
        require(all(ids[name] in text for name, text in where.items()), f"{ids} run elsewhere: {where}")
        require(house.domains() == [f"{house.instance}-{ids['a']}"], f"here run {house.domains()}")
        with subprocess.Popen([house.programs["lodge"], "vm", "console", "b"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=house.environment) as console:
            house.run("vm", "reset", "b")
            require(console.stdout.read(1), "the console says nothing")
            console.kill()
        found = {row["address"]: (row["state"], row.get("name")) for row in house.json("host", "discover", f"{NETWORK}.0/29")}
        require(found == {f"{NETWORK}.2": ("ours", "two"), f"{NETWORK}.3": ("ours", "three")}, f"found are {found}")
        two.switch_off()
        wait_until("it is unreachable", lambda: state(house, "two")["state"] == "unreachable", 60)
        house.wait_for_states({"a": "running", "b": "unknown", "c": "running"})
        require(ids["b"] not in house.guest_processes(), "the guest outlived its host")
        two.switch_on()
        wait_until("it is connected", is_connected(house, "two"), 60)
        wait_until("its VM has ended", lambda: house.states()["b"] in ("stopped", "crashed"))
        house.run("vm", "start", "b")
        house.wait_for_states({name: "running" for name in "abc"})
        # A host with what runs on it leaves, and comes back with all of it; so does one whose key is lost.
        running = house.guest_processes()
        house.run("host", "release", "two", "--yes")
        require("b" not in house.states() and house.guest_processes() == running, "guests did not run on")
        house.run("host", "add", "two", "--address", two.address, "--code", code_of(two))
        wait_until("it is connected", is_connected(house, "two"), 60)
        house.run("host", "adopt", "two")
        house.wait_for_states({name: "running" for name in "abc"})
        three.end("lodge-agent", signal.SIGKILL)
        (three.folder / "agent" / "tls" / "host.key").unlink()
        three.start("lodge-agent")
        wait_until("it listens", lambda: code_of(three, status=None), 60)
        house.run("host", "renew", "three", "--code", code_of(three))
        wait_until("it is connected", is_connected(house, "three"), 60)
        three.end("lodge-agent", signal.SIGKILL)
        three.start("lodge-agent")
        wait_until("it is connected", is_connected(house, "three"), 60)
        require(house.guest_processes() == running, "guests were started anew")
        require({id: len(pids) for id, pids in house.guest_processes().items()} == {id: 1 for id in ids.values()}, "not each VM runs once")
        for name in "abc":
            house.run("vm", "delete", name, "--force", "--yes")


REAL_SCENARIOS = [real_hosts_are_one_place]

"""Hosts, wires and clocks that misbehave: nobody else is held up, nothing runs twice, nothing counts as stopped for being silent."""
import contextlib
import random
import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from hosts import BLANK, code_of, is_connected, neighbour, state, take
from house import Failure, House, free_port, require, wait_until

ANSWER_SECONDS = 5  # for what has nothing to do with the one that misbehaves


class Wire(threading.Thread):
    """Passes bytes on between whoever connects to `address` and the target, as badly as it is told."""

    def __init__(self, target, seed):
        super().__init__(daemon=True)
        host, port = target.split(":")
        self.target, self.random = (host, int(port)), random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.is_bad, self.is_over, self.n_cut = False, False, 0
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.join()
        self.listener.close()

    def run(self):
        pairs = []
        while not self.is_over:
            ready, _, _ = select.select([self.listener, *(end for pair in pairs for end in pair)], [], [], 0.1)
            if self.listener in ready:
                near, _ = self.listener.accept()
                with contextlib.suppress(OSError):
                    pairs.append((near, socket.create_connection(self.target)))
            pairs = [pair for pair in pairs if self.serve(pair, ready)]
        for pair in pairs:
            self.cut(pair)

    def serve(self, pair, ready):
        """Whether the pair lasts."""
        for end, other in (pair, pair[::-1]):
            if end not in ready:
                continue
            if self.is_bad and self.random.random() < 0.3:
                time.sleep(self.random.uniform(0, 0.3))
            try:
                data = end.recv(65536)
                if self.is_bad and self.random.random() < 0.1:  # in the middle of a message
                    other.sendall(data[:self.random.randrange(len(data) + 1)])
                    data = b""
                    self.n_cut += 1
                if not data:
                    raise OSError
                other.sendall(data)
            except OSError:
                self.cut(pair)
                return False
        return True

    @staticmethod
    def cut(pair):
        for end in pair:
            end.close()


def in_time(house, *arguments, **options):
    begun = time.monotonic()
    done = house.run(*arguments, **options)
    took = time.monotonic() - begun
    require(took < ANSWER_SECONDS, f"lodge {' '.join(map(str, arguments))} took {took:.1f} s")
    return done


def a_host_that_hangs_holds_nobody(house):
    """It does not answer in the middle of a call: others go on, its VMs count as unknown, and nobody starts them elsewhere."""
    with neighbour(house) as other:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "far", *BLANK, "--repository", "far", "--run-policy", "always", "--start")
        house.run("vm", "create", "near", *BLANK, "--repository", "main")
        other.children["lodge-agent"].send_signal(signal.SIGSTOP)
        try:
            house.run("vm", "reset", "far", "--no-wait")
            end = time.monotonic() + 120
            while state(house, "two")["state"] != "unreachable":
                require(time.monotonic() < end, f"the host that hangs is {state(house, 'two')}")
                in_time(house, "vm", "start", "near")
                in_time(house, "vm", "kill", "near")
                in_time(house, "vm", "list")
                require(house.states()["far"] in ("running", "unknown"), f"its VM is {house.states()['far']}")
            status = state(house, "two")
            require(status.get("since") and status.get("reason"), f"since when and why is not told: {status}")
            house.wait_for_states({"far": "unknown", "near": "stopped"})
            require(not house.guests() and len(other.guests()) == 1, f"here run {house.guests()}, there {other.guests()}")
            in_time(house, "vm", "start", "far", "--no-wait", status=None)
        finally:
            other.children["lodge-agent"].send_signal(signal.SIGCONT)
        wait_until("it is connected", is_connected(house), 60)
        house.wait_for_jobs()
        house.wait_for_states({"far": "running", "near": "stopped"})
        require(not house.guests() and len(other.guests()) == 1, f"here run {house.guests()}, there {other.guests()}")


def a_hypervisor_that_hangs_is_told(house):
    """Its agent answers, it does not: the host says so, and is right again when it answers."""
    with neighbour(house) as other:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "far", *BLANK, "--repository", "far", "--start")
        control = other.folder / "agent" / "fake" / "control"
        control.write_text("hang=probe\n")
        try:
            wait_until("the host is degraded", lambda: state(house, "two")["state"] == "degraded", 60)
            require("not answered" in state(house, "two").get("reason", ""), f"the reason: {state(house, 'two')}")
            in_time(house, "vm", "list")
            in_time(house, "vm", "kill", "far")
        finally:
            control.write_text("")
        wait_until("it is connected", is_connected(house))
        house.wait_for_states({"far": "stopped"})


def a_bad_wire_loses_nothing(house, seed=None):
    """Messages come late, and connections end in the middle of one, while VMs are made, started, stopped and deleted."""
    seed = random.randrange(2**32) if seed is None else seed
    print(f"   seed {seed}", flush=True)
    names = [f"vm-{number}" for number in range(6)]
    with neighbour(house) as other, Wire(other.address, seed) as wire:
        house.run("host", "add", "two", "--address", wire.address, "--code", code_of(other))
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        wire.is_bad = True
        end = time.monotonic() + 20
        while time.monotonic() < end:
            name = wire.random.choice(names)
            words = wire.random.choice([("create", name, *BLANK, "--repository", "far", "--start"), ("start", name), ("kill", name), ("stop", name),
                                        ("delete", name, "--yes")])
            house.run("vm", words[0], *words[1:], "--no-wait", status=None)
            time.sleep(0.2)
            in_time(house, "vm", "list")
        wire.is_bad = False
        wait_until("it is connected", is_connected(house), 60)
        jobs = house.wait_for_jobs(120)
        require(wire.n_cut > 3, f"the wire was cut {wire.n_cut} times only")
        outcomes = {outcome: sum(job["state"] == outcome for job in jobs) for outcome in {job["state"] for job in jobs}}
        print(f"   {wire.n_cut} cuts, jobs: {outcomes}", flush=True)

        def fits():
            running = {vm["id"] for vm in house.list("vm") if vm["status"]["state"] == "running"}
            return set(house.states().values()) <= {"running", "stopped"} and running == set(other.guests()) and len(other.guests()) == len(running)
        wait_until("what is shown is what runs", fits)
        known = {vm["id"] for vm in house.list("vm")}
        there = {path.name for path in (other.repository / "vms").iterdir()} if (other.repository / "vms").exists() else set()
        require(there == known, f"the repository holds {there}, known are {known}")
        for name in house.states():
            house.run("vm", "delete", name, "--force", "--yes")


def a_copied_machine_is_not_taken_for_another(house):
    """Its image was cloned with all that makes an agent itself: only one of the two is believed, and the error says why."""
    with neighbour(house) as other:
        other.end("lodge-agent", signal.SIGTERM)
        twin = House(house.programs, house.driver, house.folder / "three", f"{house.instance}three")
        shutil.copytree(other.folder / "agent", twin.folder / "agent")
        twin.address = f"127.0.0.1:{free_port()}"
        twin.agent_options = ["--listen", twin.address]
        with twin:
            for one in (other, twin):
                one.start("lodge-agent")
                wait_until("it listens", lambda one=one: code_of(one, status=None))
            take(house, other)
            wait_until("it is connected", is_connected(house))
            text = house.run("host", "add", "three", "--address", twin.address, "--code", code_of(twin), status=None).stderr
            require("two" in text, f"that it has the id of another host is not told: {text}")
            require([host["name"] for host in house.list("host")] == ["one", "two"], f"hosts: {house.list('host')}")
            require(state(house, "two")["state"] == "connected", state(house, "two"))
            house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
            house.run("vm", "create", "web", *BLANK, "--repository", "far", "--start")
            require(len(other.guests()) == 1 and not twin.guests(), f"there run {other.guests()}, at its copy {twin.guests()}")
            house.run("vm", "delete", "web", "--force", "--yes")


def another_disk_in_a_host_is_noticed(house):
    """It comes back without the file system that a repository lay on: nothing is made in its place, and nothing is lost."""
    with neighbour(house) as other:
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", *BLANK, "--repository", "far")
        other.end("lodge-agent", signal.SIGKILL)
        kept = other.folder / "kept"
        for has_folder in (True, False):
            other.repository.rename(kept)
            if has_folder:
                other.repository.mkdir()
            other.start("lodge-agent")
            wait_until("it is connected", is_connected(house), 60)
            text = house.run("vm", "start", "web", status=None).stderr
            print(f"   {text.strip()}", flush=True)
            require("epository" in text or "far" in text, f"a start without its repository: {text}")
            text = house.run("vm", "create", "more", *BLANK, "--repository", "far", status=None).stderr
            require("lodge: " in text, f"a VM was made there: {text}")
            house.wait_for_states({"web": "stopped", "more": "stopped"})  # what could not be undone is there to be deleted
            require(not other.repository.exists() or not list(other.repository.iterdir()), "something was made in its place")
            other.end("lodge-agent", signal.SIGKILL)
            if has_folder:
                other.repository.rmdir()
            kept.rename(other.repository)
            other.start("lodge-agent")
            wait_until("it is connected", is_connected(house), 60)
            house.run("vm", "start", "web")
            house.run("vm", "kill", "web")
            house.run("vm", "delete", "more", "--yes")
            other.end("lodge-agent", signal.SIGKILL)


def a_clock_that_jumps_changes_nothing(house):
    """The manager's clock goes an hour forward, then two back, then it starts with that."""
    shift = house.folder / "shift"
    shift.write_text("0")
    clock = {"LD_PRELOAD": str(house.programs["clock"]), "LODGE_TEST_CLOCK": str(shift)}
    with neighbour(house) as other:
        house.power_cut("lodged", **clock)
        wait_until("it answers", house.answers)
        take(house, other)
        wait_until("it is connected", is_connected(house))
        house.run("repository", "create", "far", "--host", "two", "--path", other.repository)
        house.run("vm", "create", "web", *BLANK, "--repository", "far", "--start")
        for seconds in (3600, -3600):
            shift.write_text(str(seconds))
            end = time.monotonic() + 12
            while time.monotonic() < end:
                require(house.states() == {"web": "running"}, f"states: {house.states()}")
                require(state(house, "two")["state"] == "connected", f"the host is {state(house, 'two')}")
                time.sleep(0.5)
            in_time(house, "vm", "kill", "web")
            in_time(house, "vm", "start", "web")
            newest = max(house.list("job"), key=lambda job: job["created"])
            print(f"   {seconds} s: the newest job is of {newest['created']}", flush=True)
        house.power_cut("lodged", **clock)
        wait_until("it is connected", is_connected(house))
        house.wait_for_states({"web": "running"})
        in_time(house, "vm", "delete", "web", "--force", "--yes")


def certificate(house):
    """What the web address shows, whether this machine's clock believes it or not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", house.port), 10) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


def the_web_certificate_is_renewed_in_time(house):
    """While the manager runs; who is connected stays so."""
    shift = house.folder / "shift"
    shift.write_text("0")
    house.power_cut("lodged", LD_PRELOAD=str(house.programs["clock"]), LODGE_TEST_CLOCK=str(shift))
    wait_until("it answers", house.answers)
    shown = certificate(house)
    house.children["lodged"].send_signal(signal.SIGHUP)
    require(house.answers() and certificate(house) == shown, "it was renewed without need")
    with subprocess.Popen([house.programs["lodge"], "event", "watch", "-o", "json"], stdout=subprocess.PIPE, env=house.environment) as watch:
        for days in (370, 0):  # nearly over; then not valid yet
            shift.write_text(str(days * 24 * 3600))
            house.children["lodged"].send_signal(signal.SIGHUP)
            wait_until("it shows another one", lambda shown=shown: certificate(house) != shown)
            shown = certificate(house)
        require(watch.poll() is None, "whoever was connected was cut off")
        watch.kill()
    context = ssl.create_default_context(cafile=house.folder / "manager/ca.pem")
    with socket.create_connection(("127.0.0.1", house.port), 10) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1").close()


SCENARIOS = [a_host_that_hangs_holds_nobody, a_hypervisor_that_hangs_is_told, a_bad_wire_loses_nothing, a_copied_machine_is_not_taken_for_another, another_disk_in_a_host_is_noticed,
             a_clock_that_jumps_changes_nothing, the_web_certificate_is_renewed_in_time]

"""Scenarios with pretended hosts by the dozen, all in one process (tools/fake-fleet); the bench of many hosts builds on them."""
import ipaddress
import json
import signal
import subprocess
import urllib.parse

from client import UnixConnection
from house import ENDED, free_port, require, wait_until

FIRST = ipaddress.IPv4Address("127.78.0.1")
POOL = "fleet"
ENROL_AT_ONCE = 1000  # the API's limit is 1,024
PAGE = 1000


def behind(path, page):
    """The path of the page behind this one; `path` has a question mark."""
    return f"{path}&cursor={urllib.parse.quote(page['next'], safe='')}"


class Line:
    """A client whose connection stays open."""

    def __init__(self, house, timeout=60):
        self.connection = UnixConnection(house.folder / "lodged.sock", timeout)

    def send(self, method, path, status=200):
        self.connection.request(method, path)
        answer = self.connection.getresponse()
        text = answer.read()
        require(answer.status == status, f"{method} {path}: status {answer.status}, expected {status}: {text[:400]!r}")
        return json.loads(text)

    def rows(self, path):
        """All of them, page by page; `path` has a question mark."""
        path = f"{path}&limit={PAGE}"
        page = self.send("GET", path)
        yield from page["items"]
        while "next" in page:
            page = self.send("GET", behind(path, page))
            yield from page["items"]

    def close(self):
        self.connection.close()


class FakeFleet:
    """The hosts of a house; their keys and owners lie in its folder and outlive their process."""

    def __init__(self, house, hosts, vms, *options):
        self.house, self.hosts, self.vms, self.options = house, hosts, vms, options
        self.truth_path, self.secret = house.folder / "truth.json", house.folder / "fleet-secret"
        port = house.folder / "fleet-port"
        if not port.exists():
            port.write_text(str(free_port()))
        self.port = int(port.read_text())
        self.secret.write_text("correct horse battery staple\n")
        self.child = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        self.end(signal.SIGTERM)
        if error:
            print("---- last lines of fake-fleet\n" + "\n".join(self.log().read_text().splitlines()[-25:]), flush=True)

    def log(self):
        return self.house.folder / "fake-fleet.log"

    def start(self):
        command = [self.house.programs["fake-fleet"], "--hosts", self.hosts, "--vms", self.vms, "--listen", f"{FIRST}:{self.port}",
                   "--state", self.house.folder / "fleet", "--enrol-secret-file", self.secret, "--truth", self.truth_path, *self.options]
        with open(self.log(), "ab") as log:
            self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        line = self.child.stdout.readline()
        require(line.startswith(b"ready: "), f"fake-fleet does not start:\n{self.log().read_text()}")

    def end(self, number):
        self.child.send_signal(number)
        self.child.wait(20)
        self.child.stdout.close()

    def addresses(self):
        return [f"{FIRST + number}:{self.port}" for number in range(self.hosts)]

    def enrol(self, seconds=120):
        """All hosts, by their secret, into a pool of their own."""
        self.house.run("pool", "create", POOL, "--enrol-secret-file", self.secret)
        addresses = self.addresses()
        for first in range(0, self.hosts, ENROL_AT_ONCE):
            self.house.run("host", "enrol", *addresses[first:first + ENROL_AT_ONCE], "--pool", POOL, seconds=seconds)

    def host_ids(self, line, condition=""):
        return [row["id"] for row in line.rows(f"/v1/hosts?fields=id&filter=pool={POOL}{condition}")]

    def are_connected(self, line):
        return len(self.host_ids(line, ",state=connected")) == self.hosts

    def adopt(self, line, seconds=120):
        """All VMs of all hosts, side by side."""
        jobs = [line.send("POST", f"/v1/hosts/{host}/adopt", 202)["id"] for host in self.host_ids(line)]

        def ended(job):
            row = line.send("GET", f"/v1/jobs/{job}")
            return row if row["state"] in ENDED else None
        for job in jobs:
            row = wait_until(f"the job {job} has ended", lambda: ended(job), seconds)  # pylint: disable=cell-var-from-loop
            require(row["state"] == "succeeded", f"a host's VMs were not adopted: {row}")

    def truth(self):
        """What the VMs do, by their ids; they stay so until go_on()."""
        self.truth_path.unlink(missing_ok=True)
        self.child.send_signal(signal.SIGUSR1)
        wait_until("fake-fleet tells what its VMs do", self.truth_path.exists)
        return json.loads(self.truth_path.read_text())

    def go_on(self):
        self.child.send_signal(signal.SIGUSR2)

    def check_states(self, line, seconds=20):
        """Until the manager shows of each VM what it really does."""
        truth = self.truth()["vms"]
        require(len(truth) == self.hosts * self.vms, f"fake-fleet has {len(truth)} VMs")

        def wrong():
            shown = {row["id"]: row.get("status", {}).get("state") for row in line.rows("/v1/vms?fields=id,status")}
            return {identity: (state, shown.get(identity)) for identity, state in truth.items() if shown.get(identity) != state}
        wait_until("all VMs are shown as they are", lambda: not wrong(), seconds)
        self.go_on()


def a_fleet_is_taken_and_shown_right(house):
    """By one job, their VMs adopted side by side; and right again after the death of either side."""
    fleet = FakeFleet(house, 20, 20, "--beat", 0.5, "--changes", 2, "--page-bytes", 4096)
    with fleet:
        fleet.enrol()
        line = Line(house)
        wait_until("all hosts are connected", lambda: fleet.are_connected(line))
        fleet.adopt(line)
        require(len(house.list("network")) == 2, "the network that all hosts have is listed more than once")
        fleet.check_states(line)
        truth = fleet.truth()["vms"]
        for verb, before, after in ("stop", "running", "stopped"), ("start", "stopped", "running"):
            vm = next(identity for identity, state in truth.items() if state == before)
            house.run("vm", verb, vm)
            require(fleet.truth()["vms"][vm] == after, f"{vm} is not {after} after its {verb}")
        fleet.check_states(line)
        house.power_cut("lodged")
        wait_until("lodged answers", house.answers)
        line = Line(house)
        wait_until("all hosts are connected", lambda: fleet.are_connected(line))
        fleet.check_states(line)
        fleet.end(signal.SIGKILL)
        wait_until("no host is connected", lambda: not fleet.host_ids(line, ",state=connected"))
        fleet.start()
        wait_until("all hosts are connected", lambda: fleet.are_connected(line))
        fleet.check_states(line)


SCENARIOS = [a_fleet_is_taken_and_shown_right]

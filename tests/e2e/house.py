"""A Lodge of its own in a temporary folder: real lodged and lodge-agent as children, driven by the real `lodge`."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# Of the programs, below meson's build folder.
PLACES = {"lodged": "src/manager/lodged", "lodge-agent": "src/agent/lodge-agent", "lodge": "src/cli/lodge",
          "lodge-fetch": "src/fetch/lodge-fetch", "lodge-migrate": "src/hypervisor/lodge-migrate",
          "clock": "tests/e2e/clock-shift.so", "fake-fleet": "tools/fake-fleet/fake-fleet"}
HELPERS = ("lodge-fetch", "lodge-migrate")  # of the agent's: installed beside each other
ENDED = {"succeeded", "failed", "cancelled", "lost"}


class Failure(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(what, condition, seconds=20, pause=0.05):
    """Polls until the condition returns something true, which is returned."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(pause)
    raise Failure(f"after {seconds} s still not: {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class House:
    daemons = ("lodged", "lodge-agent")  # that a test may kill

    def __init__(self, programs, driver="fake", folder=None, instance=None):
        self.programs, self.driver = programs, driver
        self.folder = folder or pathlib.Path(tempfile.mkdtemp(prefix="lodge-e2e-"))
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        # Short, because libvirt's bridge names carry it; of its own, so that nobody else's VMs are touched.
        self.instance = instance or f"e2e{os.getpid() % 100000}"
        self.port = free_port()
        self.children = {}
        self.agent_options = []  # beside the usual ones
        self.environment = dict(os.environ, LODGE_SERVER=f"unix:{self.folder}/lodged.sock", LODGE_INSTANCE=self.instance,
                                LODGE_AGENT=str(programs["lodge-agent"]), LODGE_AGENT_SOCKET=f"{self.folder}/agent.sock")
        self.repository = self.folder / "repository"
        self.repository.mkdir(exist_ok=True)
        (self.folder / "helpers").mkdir(exist_ok=True)
        for name in HELPERS:
            with contextlib.suppress(FileExistsError):
                (self.folder / "helpers" / name).symlink_to(programs[name])
        self.is_kept = False  # the folder, at the end

    def guests(self):
        """Ids of all VMs that the hypervisor runs; one that runs twice is there twice."""
        return [path.stem for path in (self.folder / "agent" / "fake").glob("*.json")]

    def guest_processes(self):
        """Process ids of guests by the id of their VM."""
        return {}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        stuck = [failure for failure in (self._end_quietly(name) for name in ("lodged", "lodge-agent")) if failure]
        if error or stuck:
            for name in ("lodged", "lodge-agent"):
                log = self.log(name)
                text = log.read_text(errors="replace") if log.exists() else "(never started)"
                print(f"---- last lines of {name}\n" + "\n".join(text.splitlines()[-25:]), flush=True)
        if not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)
        if stuck and not error:
            raise stuck[0]

    def _end_quietly(self, name):
        """Ends a daemon in order; the failure when it does not, so that the others are ended too."""
        try:
            self.end(name, signal.SIGTERM)
        except Failure as failure:
            return failure
        return None

    def log(self, name):
        return self.folder / f"{name}.log"

    def command(self, name):
        arguments = {
            "lodge-agent": ["--instance", self.instance, "--driver", self.driver, "--socket", f"{self.folder}/agent.sock",
                            "--state", f"{self.folder}/agent", "--helpers", f"{self.folder}/helpers",
                            *self.agent_options],
            "lodged": ["--instance", self.instance, "--state", f"{self.folder}/manager", "--socket", f"{self.folder}/lodged.sock",
                       "--listen", f"127.0.0.1:{self.port}"],
        }[name]
        return [self.programs[name], *arguments]

    def start(self, name, **environment):
        with open(self.log(name), "ab") as log:
            self.children[name] = subprocess.Popen(self.command(name), stdin=subprocess.DEVNULL, stdout=log,
                                                   stderr=log, env={**self.environment, **environment})

    def end(self, name, number):
        child = self.children.pop(name, None)
        if not child:
            return
        child.send_signal(number)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise Failure(f"{name} did not end within 20 s of signal {number}") from None

    def power_cut(self, name, **environment):
        """kill -9, and a new one."""
        self.end(name, signal.SIGKILL)
        self.start(name, **environment)

    def run(self, *arguments, status=0, seconds=60, data=None):
        """Runs `lodge`; fails unless it ends with the status (None: any). Returns the finished process."""
        done = subprocess.run([self.programs["lodge"], *map(str, arguments)], capture_output=True, text=True, timeout=seconds,
                              env=self.environment, input=data, check=False)
        require(status is None or done.returncode == status,
                f"lodge {' '.join(map(str, arguments))}: status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "-o", "json", **options).stdout)

    def list(self, noun, *arguments):
        answer = self.json(noun, "list", *arguments)
        return answer["items"] if isinstance(answer, dict) else answer

    def answers(self):
        return self.run("system", "info", status=None).returncode == 0

    def has_host(self):
        if not self.answers():
            return False
        return any(host.get("status", {}).get("state") == "connected" for host in self.list("host"))

    def furnish(self, has_network=True):
        """Both daemons, and what a first VM needs."""
        self.start("lodge-agent")
        self.start("lodged")
        wait_until("lodged answers", self.answers)
        wait_until("the agent listens", (self.folder / "agent.sock").exists)
        self.run("pool", "create", "default")
        self.run("host", "add", "one", "--address", f"unix:{self.folder}/agent.sock")
        wait_until("the host is connected", self.has_host, 60)
        self.run("repository", "create", "main", "--path", self.repository)
        if has_network:
            self.run("network", "create", "default", "--kind", "nat")
        wait_until("the templates are listed", lambda: [t for t in self.list("template") if t["name"] == "bench-boot"])

    def is_making(self):
        """Whether a VM is being made at this moment."""
        return any(job["kind"] == "vm.make" and job["state"] == "running" for job in self.list("job"))

    def states(self):
        return {vm["name"]: vm.get("status", {}).get("state") for vm in self.list("vm")}

    def wait_for_states(self, expected, seconds=30):
        try:
            wait_until("", lambda: self.states() == expected, seconds)
        except Failure:
            raise Failure(f"states are {self.states()}, expected {expected}") from None

    def wait_for_jobs(self, seconds=60):
        """Until no job is open any more; returns all jobs."""
        def all_ended():
            if not self.has_host():
                return None
            jobs = self.list("job")
            return jobs if all(job["state"] in ENDED for job in jobs) else None
        return wait_until("all jobs have ended", all_ended, seconds) if self.list("job") else []

"""Scenarios about jobs that wait, are cancelled or grow too large; on the fake hypervisor."""
import contextlib
import json
import signal
import sqlite3

from house import ENDED, require, wait_until
import invariants

LARGEST_RECORD = 1_500_000  # STORE_MAX_BYTES


def a_host_with_an_open_job_is_not_removed(house):
    house.run("repository", "forget", "main", "--yes")
    house.end("lodge-agent", signal.SIGKILL)
    wait_until("the host is away", lambda: not house.has_host())
    house.run("repository", "create", "other", "--path", house.folder / "other", "--no-wait")
    job = wait_until("the job waits for the host", lambda: [job for job in house.list("job") if job["state"] == "running"])[0]
    done = house.run("host", "remove", "one", "--yes", status=4)
    require(job["id"][:8] in done.stderr, f"the job is not named: {done.stderr}")
    house.run("job", "cancel", job["id"])
    wait_until("the job is cancelled", lambda: house.json("job", "show", job["id"])["state"] == "cancelled")
    house.run("host", "remove", "one", "--yes")
    require(house.answers() and not house.list("host"), "the host is still there")


def a_cancelled_delete_leaves_all_or_nothing(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2)
    house.end("lodge-agent", signal.SIGKILL)
    wait_until("the host is away", lambda: not house.has_host())
    job = _begun(house, "files", "vm", "delete", "web-1", "--yes")
    house.run("job", "cancel", job)
    wait_until("nothing was asked yet: cancelled", lambda: house.json("job", "show", job)["state"] == "cancelled")
    house.start("lodge-agent", LODGE_FAKE_DELAY_MS="1500")
    wait_until("the host is connected", house.has_host)
    house.run("vm", "start", "web-1")

    job = _begun(house, "files", "vm", "delete", "web-2", "--yes")
    house.run("job", "cancel", job)
    house.wait_for_jobs()
    require(house.json("job", "show", job)["state"] == "succeeded", f"the job ended as {house.json('job', 'show', job)}")
    house.wait_for_states({"web-1": "running"})
    invariants.hold(house)


def results_fit_into_a_job_however_much_was_asked_for(house):
    """The plans alone nearly fill what the store takes at once; each VM adds the id of a job and an error."""
    house.power_cut("lodge-agent", LODGE_FAKE_FAIL="start:1")
    wait_until("the host is connected", house.has_host)
    count = 318
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", count, "--description", "x" * 4000, "--start", "--no-wait")
    identity = next(job["id"] for job in house.list("job") if job["kind"] == "vm.create")
    begun = len(_record(house, identity))
    job = wait_until("the job has ended", lambda: _ended(house.json("job", "show", identity)), 120)
    require(job["state"] == "failed" and len(job["result"]["vms"]) == count, f"the job is {job['state']}: {job.get('error')}")
    added = len(json.dumps(job["result"])) + len(json.dumps(job["children"]))
    require(begun + added > LARGEST_RECORD, f"{begun} and {added} bytes: the scenario proves nothing")
    require(not house.list("vm"), "what could not be started stays")


def _record(house, job):
    """As it is stored."""
    with contextlib.closing(sqlite3.connect(f"file:{house.folder}/manager/lodge.db?mode=ro", uri=True)) as database:
        return database.execute("SELECT value FROM items WHERE key = ?", (f"job/{job}".encode(),)).fetchone()[0]


def what_was_asked_for_earlier_counts_when_something_is_deleted(house):
    """While the host is away two people ask for what excludes each other; when it is back the first one has it."""
    disc = house.folder / "disc.iso"
    disc.write_bytes(bytes(32768) + b"\x01CD001\x01" + bytes(65536))
    house.run("iso", "import", "cd", disc)
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 3)
    house.run("repository", "create", "other", "--path", house.folder / "other")
    for network in ("used", "gone"):
        house.run("network", "create", network, "--kind", "nat")
    house.end("lodge-agent", signal.SIGKILL)
    wait_until("the host is away", lambda: not house.has_host())

    house.run("vm", "start", "web-1", "--no-wait")
    house.run("vm", "attach-nic", "web-1", "--network", "used", "--no-wait")
    house.run("vm", "start", "web-2", "--no-wait")
    house.run("vm", "update", "web-2", "--protected", "--no-wait")
    refused = [_asked(house, "network", "delete", "used", "--yes"), _asked(house, "vm", "delete", "web-2", "--yes", "--force")]
    for words in (("network", "delete", "gone"), ("iso", "delete", "cd"), ("repository", "forget", "other")):
        house.run(*words, "--yes", "--no-wait")
    late = [_asked(house, "vm", "attach-nic", "web-3", "--network", "gone"),
            _asked(house, "vm", "create", "on-network", "--template", "bench-boot", "--network", "gone"),
            _asked(house, "vm", "create", "with-disc", "--template", "bench-boot", "--iso", "cd"),
            _asked(house, "vm", "create", "elsewhere", "--template", "bench-boot", "--repository", "other")]

    house.start("lodge-agent")
    jobs = {job["id"]: job for job in house.wait_for_jobs()}
    for number, code in [(number, "in-use") for number in refused] + [(number, "not-found") for number in late]:
        job = jobs[number]
        require(job["state"] == "failed" and job["error"]["code"] == code, f"{job['kind']} {job.get('target_name')} {job['state']}: {job.get('error')}")
    others = [job for job in jobs.values() if job["state"] != "succeeded" and not job.get("parent") and job["id"] not in refused + late]
    require(not others, f"not done: {others}")
    require({network["name"] for network in house.list("network")} == {"default", "used"} and not house.list("iso"), "the wrong ones are gone")
    house.wait_for_states({"web-1": "running", "web-2": "running", "web-3": "stopped"})
    require(house.json("vm", "show", "web-2")["protected"], "it is not protected")
    invariants.hold(house)


def _asked(house, *arguments):
    """The id of the job."""
    return house.run(*arguments, "--no-wait").stdout.strip()


def _ended(job):
    return job if job["state"] in ENDED else None


def _begun(house, step, *arguments):
    """The id of a job whose step has begun."""
    house.run(*arguments, "--no-wait")
    def begun():
        return [job["id"] for job in house.list("job") if any(s["name"] == step and s["state"] == "running" for s in job["steps"])]
    return wait_until(f"the step {step} has begun", begun)[0]


SCENARIOS = [a_host_with_an_open_job_is_not_removed, a_cancelled_delete_leaves_all_or_nothing, results_fit_into_a_job_however_much_was_asked_for,
             what_was_asked_for_earlier_counts_when_something_is_deleted]

"""Scenarios about jobs that wait, are cancelled or grow too large; on the fake hypervisor."""
import signal

from house import require, wait_until
import invariants


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


def _begun(house, step, *arguments):
    """The id of a job whose step has begun."""
    house.run(*arguments, "--no-wait")
    def begun():
        return [job["id"] for job in house.list("job") if any(s["name"] == step and s["state"] == "running" for s in job["steps"])]
    return wait_until(f"the step {step} has begun", begun)[0]


SCENARIOS = [a_host_with_an_open_job_is_not_removed, a_cancelled_delete_leaves_all_or_nothing]

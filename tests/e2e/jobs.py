"""Scenarios about jobs that wait, are cancelled or grow too large; on the fake hypervisor."""
import signal

from house import require, wait_until


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


SCENARIOS = [a_host_with_an_open_job_is_not_removed]

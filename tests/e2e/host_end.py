"""The machine goes down in order: VMs are asked to stop before it does, and come back as their run policy says."""
import signal
import subprocess
import time

from house import ENDED, require, wait_until
import invariants

SETTLED_SECONDS = 6  # after this the manager takes a stop for one that was wanted


def _agent(house, *words):
    return subprocess.Popen([house.programs["lodge-agent"], "--instance", house.instance, "--socket", f"{house.folder}/agent.sock", *words],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _ask_agent(house, *words, status=0):
    child = _agent(house, *words)
    text = child.communicate(timeout=60)[0]
    require(child.returncode == status, f"{words}: status {child.returncode}, expected {status}: {text}")
    return text


def _host_state(house):
    return house.list("host")[0]["status"]["state"]


def _deaf(house, count):
    for number in range(count):
        house.run("vm", "create", f"deaf-{number}", "--template", "bench-boot", "--start")
    (house.folder / "agent" / "fake" / "control").write_text("deaf=1\n")


def _start_the_machine_again(house):
    house.end("lodged", signal.SIGTERM)
    house.end("lodge-agent", signal.SIGTERM)
    for name in ("lodge-agent", "lodged"):
        house.start(name, LODGE_FAKE_BOOT="second")


def vms_stop_in_order_before_their_host(house):
    for policy in ("always", "last", "manual"):
        house.run("vm", "create", policy, "--template", "bench-boot", "--run-policy", policy, "--start")
    house.run("vm", "create", "held", "--template", "bench-boot", "--start")
    house.run("vm", "pause", "held")
    house.run("vm", "create", "idle", "--template", "bench-boot", "--run-policy", "last")
    text = _ask_agent(house, "--end-guests", "20")
    require("4 VMs stopped, 0 were killed" in text, text)
    house.wait_for_states({name: "stopped" for name in ("always", "last", "manual", "held", "idle")})
    wait_until("the host's state tells it", lambda: _host_state(house) == "stopping")
    for name in ("manual", "idle"):
        done = house.run("vm", "start", name, status=None)
        require(done.returncode != 0 and "going down" in done.stderr, f"a start is not refused: {done.stderr}")
    time.sleep(SETTLED_SECONDS)
    _start_the_machine_again(house)
    wait_until("the host is connected", house.has_host)
    house.wait_for_states({"always": "running", "last": "running", "manual": "stopped", "held": "stopped", "idle": "stopped"})
    house.wait_for_jobs()
    invariants.hold(house)


def vms_start_on_a_host_whose_hypervisor_answers_late(house):
    """Until it answers nobody knows which VMs run, and so none can be started by its policy."""
    house.run("vm", "create", "always", "--template", "bench-boot", "--run-policy", "always", "--start")
    require("1 VMs stopped" in _ask_agent(house, "--end-guests", "20"), "it was not stopped")
    control = house.folder / "agent" / "fake" / "control"
    control.write_text("fail=probe:1\n")
    _start_the_machine_again(house)
    wait_until("the host is degraded", lambda: house.answers() and _host_state(house) == "degraded")
    require(house.states()["always"] == "unknown", f"it is {house.states()}")
    control.write_text("")
    house.wait_for_states({"always": "running"})
    house.wait_for_jobs()
    invariants.hold(house)


def what_does_not_stop_is_killed_before_its_host_goes(house):
    _deaf(house, 2)
    text = _ask_agent(house, "--end-guests", "2")
    require("0 VMs stopped, 2 were killed" in text, text)
    house.wait_for_states({"deaf-0": "stopped", "deaf-1": "stopped"})
    require(not house.guests(), "a guest still runs")
    invariants.hold(house)


def a_machine_that_stays_lets_vms_start_again(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    require("1 VMs stopped" in _ask_agent(house, "--end-guests", "20"), "it was not stopped")
    require("0 VMs stopped, 0 were killed" in _ask_agent(house, "--end-guests", "20"), "a second time did something")
    _ask_agent(house, "--allow-guests")
    wait_until("the host is connected", lambda: _host_state(house) == "connected")
    house.run("vm", "start", "web")
    house.wait_for_states({"web": "running"})
    invariants.hold(house)


def a_stop_on_a_machine_that_stayed_counts_as_wanted(house):
    """It seemed to go down and did not: what stopped then does not start when it starts next."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--run-policy", "last", "--start")
    house.wait_for_states({"web": "running"})
    _ask_agent(house, "--end-guests", "20")
    time.sleep(SETTLED_SECONDS)
    _ask_agent(house, "--allow-guests")
    wait_until("the host is connected", lambda: _host_state(house) == "connected")
    time.sleep(SETTLED_SECONDS)
    _start_the_machine_again(house)
    wait_until("the host is connected", house.has_host)
    time.sleep(2)
    house.wait_for_states({"web": "stopped"})
    house.wait_for_jobs()


def a_kill_does_not_wait_for_the_end_of_its_host(house):
    _deaf(house, 1)
    asking = _agent(house, "--end-guests", "60")
    wait_until("the host's state tells it", lambda: _host_state(house) == "stopping")
    begun = time.monotonic()
    house.run("vm", "kill", "deaf-0", seconds=30)
    require(time.monotonic() - begun < 15, "the kill waited for the guest")
    text = asking.communicate(timeout=60)[0]
    require(asking.returncode == 0 and not house.guests(), f"it does not end: {text}")


def a_guest_that_comes_late_is_asked_all_the_same(house):
    """Another one takes all the time there is."""
    control = house.folder / "agent" / "fake" / "control"
    house.run("vm", "create", "late", "--template", "bench-boot")
    house.run("vm", "create", "deaf", "--template", "bench-boot", "--start")
    control.write_text("delay_ms=5000\n")
    house.run("vm", "start", "late", "--no-wait")
    time.sleep(1)
    control.write_text("deaf=1\n")
    asking = _agent(house, "--end-guests", "10")
    time.sleep(2)
    control.write_text("")  # whoever is asked from now on, listens
    text = asking.communicate(timeout=60)[0]
    require("1 VMs stopped, 1 were killed" in text and not house.guests(), f"the late one was not asked: {text}")


def daemons_that_die_while_vms_stop_lose_nothing(house):
    """Neither the one who asks nor the agent: asked again, the rest is done."""
    _deaf(house, 2)
    asking = _agent(house, "--end-guests", "60")
    wait_until("the host's state tells it", lambda: _host_state(house) == "stopping")
    asking.kill()
    asking.communicate()
    asking = _agent(house, "--end-guests", "60")
    time.sleep(0.5)
    house.power_cut("lodged")
    house.power_cut("lodge-agent")
    text = asking.communicate(timeout=60)[0]
    require(asking.returncode != 0, f"it is told as done though the agent died: {text}")
    wait_until("the host is connected", house.has_host)
    house.wait_for_states({"deaf-0": "running", "deaf-1": "running"})
    text = _ask_agent(house, "--end-guests", "1")
    require("2 were killed" in text, text)
    house.wait_for_states({"deaf-0": "stopped", "deaf-1": "stopped"})
    invariants.hold(house)


def a_start_under_way_ends_with_its_host(house):
    """It was begun before: it may still run, and is stopped as well."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 4)
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="1500")
    wait_until("the host is connected", house.has_host)
    for number in range(1, 5):
        house.run("vm", "start", f"web-{number}", "--no-wait")
    time.sleep(0.3)
    _ask_agent(house, "--end-guests", "20")
    wait_until("all jobs have ended", lambda: all(job["state"] in ENDED for job in house.list("job")))
    require(not house.guests(), f"guests run on: {house.guests()}")
    house.wait_for_states({f"web-{number}": "stopped" for number in range(1, 5)})
    invariants.hold(house)


SCENARIOS = [vms_stop_in_order_before_their_host, vms_start_on_a_host_whose_hypervisor_answers_late, what_does_not_stop_is_killed_before_its_host_goes,
             a_machine_that_stays_lets_vms_start_again, daemons_that_die_while_vms_stop_lose_nothing,
             a_start_under_way_ends_with_its_host, a_stop_on_a_machine_that_stayed_counts_as_wanted,
             a_kill_does_not_wait_for_the_end_of_its_host, a_guest_that_comes_late_is_asked_all_the_same]

"""Scenarios in which daemons die; on the fake hypervisor, most of them on real QEMU too."""
import json
import random
import time

from house import Failure, require, wait_until
import invariants

RIGHT_AGAIN_SECONDS = 5
# How long a round waits before its kill: about as long as the change takes that it is to hit.
LONGEST_WAIT = {"fake": 0.4, "qemu": 2.0}


def vms_do_not_notice_dying_daemons(house):
    """Guests run on; the state is right again within five seconds of each daemon's kill -9."""
    house.run("vm", "create", "web", "--template", "bench-boot", "--count", 2, "--start", seconds=120)
    house.run("vm", "create", "off", "--template", "bench-boot")
    expected = {"web-1": "running", "web-2": "running", "off": "stopped"}
    guests = house.guest_processes()
    for name in house.daemons:
        begun = time.monotonic()
        house.power_cut(name)
        time.sleep(0.2)  # long enough to be noticed
        wait_until(f"the host is connected after the death of {name}", house.has_host)
        house.wait_for_states(expected)
        house.run("vm", "pause", "web-1")
        house.run("vm", "resume", "web-1")
        passed = time.monotonic() - begun
        print(f"   right again {passed:.2f} s after the kill of {name}", flush=True)
        require(passed <= RIGHT_AGAIN_SECONDS, f"it took {passed:.2f} s until all was right after the death of {name}")
        require(house.guest_processes() == guests, f"guests were started again: {guests}, then {house.guest_processes()}")
        invariants.hold(house)


def random_kills_lose_nothing(house, rounds=12, seed=None):
    """kill -9 of a daemon at random moments of creates, starts and deletes: every job ends well all the same."""
    seed = seed if seed is not None else random.SystemRandom().randrange(2**32)
    print(f"   seed {seed}, {rounds} rounds", flush=True)
    chance = random.Random(seed)
    wanted = {}
    house.power_cut("lodge-agent", LODGE_FAKE_DELAY_MS="30")
    for number in range(rounds):
        wait_until("the host is connected", house.has_host)
        change = _random_change(house, chance, number, wanted)
        time.sleep(chance.uniform(0, LONGEST_WAIT[house.driver]))
        victim = chance.choice(house.daemons)
        house.power_cut(victim, LODGE_FAKE_DELAY_MS="30")
        try:
            wait_until("the host is connected again", house.has_host)
            _all_ended_well(house)
            _is_as_wanted(house, wanted)
            invariants.hold(house)
        except Failure as failure:
            raise Failure(f"seed {seed}, round {number} ({change}, then kill -9 of {victim}): {failure}") from None


def _random_change(house, chance, number, wanted):
    """Asks for something; `wanted` then holds the state in which each VM must end."""
    choice = chance.choice(["create", "create", "start", "kill", "delete", "attach-disk"])
    able = {"start": "stopped", "kill": "running", "delete": "stopped", "attach-disk": "stopped"}
    names = sorted(name for name, state in wanted.items() if state == able.get(choice))
    if choice == "create" or not names:
        count, start = chance.randint(1, 3), chance.choice([True, False])
        arguments = ["vm", "create", f"r{number}", "--template", "bench-boot", "--count", count, *(["--start"] if start else [])]
        made = [f"r{number}"] if count == 1 else [f"r{number}-{n + 1}" for n in range(count)]
        wanted.update({name: "running" if start else "stopped" for name in made})
    else:
        name = chance.choice(names)
        arguments = ["vm", choice, name, *{"delete": ["--yes"], "attach-disk": ["--size", "16M"]}.get(choice, [])]
        after = {"start": "running", "kill": "stopped", "attach-disk": "stopped"}.get(choice)
        wanted.pop(name)
        if after:
            wanted[name] = after
    house.run(*arguments, "--no-wait")
    return " ".join(map(str, arguments))


def _all_ended_well(house):
    for job in house.wait_for_jobs(120):
        require(job["state"] == "succeeded", f"the job {job['kind']} of {job.get('target_name')} {job['state']}: {json.dumps(job.get('error'))}")


def _is_as_wanted(house, wanted):
    try:
        wait_until("", lambda: house.states() == wanted, 15)
    except Failure:
        raise Failure(f"the VMs are {house.states()}, expected {wanted}") from None


SCENARIOS = [vms_do_not_notice_dying_daemons, random_kills_lose_nothing]
REAL_SCENARIOS = [vms_do_not_notice_dying_daemons, random_kills_lose_nothing]

"""Scenarios on real libvirt and QEMU; each is named by what it proves and gets a furnished house."""
import concurrent.futures
import subprocess
import time

from house import require, wait_until
import invariants

COUNT = 8
# Under emulation eight guests on two cores need minutes for what hardware does in seconds.
BOOT_SECONDS = 1800


def _address(house, name):
    vm = next((vm for vm in house.list("vm") if vm["name"] == name), {})
    addresses = [entry["address"] for entry in vm.get("status", {}).get("addresses", []) if ":" not in entry["address"]]
    return addresses[0] if addresses else None


def _ssh(key, address, *command):
    """Standard output, or None while the guest does not let us in."""
    options = ["-i", str(key), "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
               "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"]
    done = subprocess.run(["ssh", *options, f"lodge@{address}", *command], capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL, check=False)
    return done.stdout if done.returncode == 0 else None


def _identity(key, address):
    """What must be the guest's own: host name, machine-id, SSH host key, MAC; None while it is not up."""
    text = _ssh(key, address, "hostname; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; cat /sys/class/net/e*/address")
    if not text or len(text.splitlines()) != 4:
        return None
    hostname, machine_id, host_key, mac = text.splitlines()
    return {"hostname": hostname, "machine_id": machine_id, "host_key": host_key.split()[1], "mac": mac}


def eight_debian_guests_let_us_in(house):
    key = house.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    begun = time.monotonic()
    house.run("vm", "create", "web", "--template", "debian-12", "--count", COUNT, "--ssh-key", f"{key}.pub", "--start", seconds=BOOT_SECONDS)
    print(f"   template built, {COUNT} VMs started: {time.monotonic() - begun:.1f} s", flush=True)
    names = [f"web-{n}" for n in range(1, COUNT + 1)]
    require(len(house.domains()) == COUNT, "not all domains run")

    def enter(name):
        address = wait_until(f"{name} has an address", lambda: _address(house, name), BOOT_SECONDS, 2)
        identity = wait_until(f"{name} lets us in by SSH", lambda: _identity(key, address), BOOT_SECONDS, 2)
        print(f"   {name} {address} {identity['hostname']} {identity['machine_id']} {identity['mac']} after {time.monotonic() - begun:.1f} s", flush=True)
        return identity

    with concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
        identities = dict(zip(names, pool.map(enter, names)))
    for name, identity in identities.items():
        require(identity["hostname"] == name, f"{name} calls itself {identity['hostname']}")
    for what in ("machine_id", "host_key", "mac"):
        require(len({identity[what] for identity in identities.values()}) == COUNT, f"{what} is not each guest's own")
    macs = {vm["name"]: vm["nics"][0]["mac"] for vm in house.list("vm")}
    require(all(macs[name] == identities[name]["mac"] for name in names), "a guest's MAC is not what its definition says")
    print(house.run("vm", "list").stdout, flush=True)
    problems = invariants.check(house)
    require(not problems, f"invariants are broken: {problems}")


REAL_SCENARIOS = [eight_debian_guests_let_us_in]

"""Scenarios on real libvirt and QEMU; each is named by what it proves and gets a furnished house."""
import concurrent.futures
import os
import select
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
    invariants.hold(house)


class _Outside:
    """A bridge of the test's own with a DHCP server on it, as an office network would have; the host's NIC is no part of it."""

    def __init__(self, house):
        self.name, self.leases = f"{house.instance}-out", house.folder / "leases"
        self.process = None

    def __enter__(self):
        for arguments in (["add", self.name, "type", "bridge"], ["set", self.name, "up"]):
            subprocess.run(["ip", "link", *arguments], check=True)
        subprocess.run(["ip", "address", "add", "198.19.77.1/24", "dev", self.name], check=True)
        self.process = subprocess.Popen([
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--port=0", "--bind-interfaces",
            f"--interface={self.name}", "--except-interface=lo", "--dhcp-range=198.19.77.10,198.19.77.50,1h", "--dhcp-authoritative",
            f"--dhcp-leasefile={self.leases}", "--log-facility=-"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.remove()

    def remove(self):
        subprocess.run(["ip", "link", "delete", self.name], stderr=subprocess.DEVNULL, check=False)

    def lease(self, mac):
        """The address that the server gave to the MAC, or None."""
        lines = self.leases.read_text().splitlines() if self.leases.exists() else []
        return next((line.split()[2] for line in lines if line.split()[1] == mac), None)

    def members(self):
        """Names of the interfaces in the bridge."""
        lines = subprocess.run(["ip", "-o", "link", "show", "master", self.name], capture_output=True, text=True, check=True).stdout.splitlines()
        return [line.split(": ")[1].split("@")[0] for line in lines]


def a_vm_on_a_bridge_is_a_member_of_its_network(house):
    refused = house.run("network", "create", "nowhere", "--kind", "bridge", "--bridge", "absent0", status=None)
    require(refused.returncode != 0 and "absent0" in refused.stderr, f"a bridge that does not exist was accepted: {refused.stderr!r}")
    require([network["name"] for network in house.list("network")] == ["default"], "a refused network is listed")
    with _Outside(house) as outside:
        house.run("network", "create", "office", "--kind", "bridge", "--bridge", outside.name)
        require(not outside.members(), f"the network brought {outside.members()} into the bridge")
        house.run("vm", "create", "desk", "--template", "tiny", "--network", "office", "--start", seconds=600)
        mac = house.list("vm")[0]["nics"][0]["mac"]
        # A lease is written at the end of a dialogue, so both directions work.
        address = wait_until("the bridge's DHCP server knows the VM", lambda: outside.lease(mac), 300, 1)
        print(f"   {mac} has {address}", flush=True)
        require(len(outside.members()) == 1, f"the bridge holds {outside.members()}, not only the VM")
        house.run("vm", "kill", "desk")
        require(not outside.members(), "the VM's interface stayed in the bridge")
        outside.remove()
        refused = house.run("vm", "start", "desk", status=None)
        require(refused.returncode != 0 and outside.name in refused.stderr, f"a start without its bridge said: {refused.stderr!r}")
        require(not house.domains(), "something was started without its bridge")


SECTOR = 2048


def _boot_disc(path, program):
    """The smallest CD that a PC boots: El Torito without emulation (its specification, version 1.0)."""
    def descriptor(kind, body=b""):
        return (bytes([kind]) + b"CD001\x01" + body).ljust(SECTOR, b"\0")
    validation = b"\x01\0\0\0".ljust(30, b"\0") + b"\x55\xaa"
    total = sum(int.from_bytes(validation[at:at + 2], "little") for at in range(0, 32, 2))
    validation = validation[:28] + ((-total) & 0xffff).to_bytes(2, "little") + validation[30:]
    entry = b"\x88\0\0\0\0\0" + (1).to_bytes(2, "little") + (20).to_bytes(4, "little")
    boot_record = b"EL TORITO SPECIFICATION".ljust(64, b"\0") + (19).to_bytes(4, "little")
    sectors = [descriptor(1), descriptor(0, boot_record), descriptor(255), (validation + entry).ljust(SECTOR, b"\0"), program.ljust(SECTOR, b"\0")]
    path.write_bytes(bytes(16 * SECTOR) + b"".join(sectors) + bytes(64 * SECTOR))


def _read_until(stream, words, seconds):
    """Whether the words come in time."""
    end, text = time.monotonic() + seconds, b""
    while words.encode() not in text and time.monotonic() < end:
        if select.select([stream], [], [], 1)[0]:
            block = os.read(stream.fileno(), 4096)
            if not block:
                return False
            text += block
    return words.encode() in text


def _says_again_after_reset(house, name, words):
    """Whether the guest's serial line says it at the first boot (by its log) and at the next (by its console)."""
    id = next(vm["id"] for vm in house.list("vm") if vm["name"] == name)
    log = house.folder / "agent" / f"{id}.log"

    def times():
        return log.read_text(errors="replace").count(words) if log.exists() else 0

    def booted(before):
        # Waited for before each reset: a PC that is reset while its firmware copies itself into memory hangs.
        wait_until(f"{name} boots", lambda: times() > before, 120)

    booted(0)
    has_said = False
    with subprocess.Popen([house.programs["lodge"], "vm", "console", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=house.environment) as console:
        # The console may open after the first reset's words.
        for _ in range(5):
            before = times()
            house.run("vm", "reset", name)
            booted(before)
            has_said = _read_until(console.stdout, words, 5)
            if has_said:
                break
        console.communicate(b"\x1d", timeout=30)
    return has_said


def imported_images_and_discs_boot(house):
    house.run("template", "build", "bench-boot", seconds=300)
    disk = next(house.repository.glob("disks/*.raw"))
    image, disc = house.folder / "image.qcow2", house.folder / "disc.iso"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(image)], check=True)
    _boot_disc(disc, disk.read_bytes()[:512])
    house.run("template", "import", "imported", image, "--memory", "64M")
    house.run("iso", "import", "disc", disc)
    house.run("vm", "create", "from-image", "--template", "imported", "--start", seconds=300)
    house.run("vm", "create", "from-disc", "--iso", "disc", "--memory", "64M", "--start", seconds=300)
    for name in ("from-image", "from-disc"):
        require(_says_again_after_reset(house, name, "bench-boot ok"), f"{name} does not boot")
    house.run("vm", "kill", "from-image")
    house.run("template", "create", "golden", "--from-vm", "from-image")
    house.run("vm", "create", "copy", "--template", "golden", "--start", seconds=300)
    require(_says_again_after_reset(house, "copy", "bench-boot ok"), "a VM of a template made from a VM does not boot")


REAL_SCENARIOS = [a_vm_on_a_bridge_is_a_member_of_its_network, eight_debian_guests_let_us_in, imported_images_and_discs_boot]

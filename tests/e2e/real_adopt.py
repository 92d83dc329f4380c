"""On real libvirt and QEMU: what virsh has made is taken over, running and stopped."""
import os
import subprocess
import uuid

from house import require, wait_until
from real_migration import boot_disk, numbers_of

GUEST_SECONDS = 120
BRIDGE = "adopt0"
MAC = "52:54:00:ab:cd:01"
OTHER_MAC = "52:54:00:ab:cd:02"


UEFI = "/usr/share/OVMF/OVMF_CODE_4M.fd"


def domain(name, identity, disk, format, mac, log, machine="pc", firmware=""):
    """As virt-install would define it; small."""
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <uuid>{identity}</uuid>
  <memory unit='KiB'>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type>{firmware}<boot dev='hd'/></os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  <clock offset='utc'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='{format}' cache='none'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
      <serial>OLD-DISK</serial>
    </disk>
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='{BRIDGE}'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'><log file='{log}' append='on'/><target port='0'/></serial>
    <sound model='ich6'/>
  </devices>
</domain>
"""


def define(house, name, *more):
    path = house.folder / f"{name}.xml"
    path.write_text(domain(name, *more))
    require(house.virsh("define", str(path)) is not None, f"virsh does not define {name}")


def process_of(identity):
    """Process ids of QEMUs that run that uuid."""
    out = subprocess.run(["pgrep", "-f", f"qemu-system.*{identity}"], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in out.split() if os.readlink(f"/proc/{pid}/exe").rpartition("/")[2].startswith("qemu-system")]


def xml_of(house, identity):
    return house.virsh("dumpxml", identity) or ""


def virsh_guests_are_adopted(house):
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
    house.run("network", "create", "office", "--kind", "bridge", "--bridge", BRIDGE)
    folder = house.folder / "elsewhere"
    folder.mkdir()
    folder.chmod(0o711)
    raw = boot_disk(house.folder).rename(folder / "old.raw")
    identity, other = str(uuid.uuid4()), str(uuid.uuid4())
    log = folder / "old.log"
    define(house, "old-web", identity, raw, "raw", MAC, log)
    require(house.virsh("autostart", "old-web") is not None and house.virsh("start", "old-web") is not None, "it does not start")
    wait_until("it counts", lambda: log.exists() and len(numbers_of(log.read_bytes())) > 3, GUEST_SECONDS)
    # Beside it one that is stopped, on two layers.
    base, layer = folder / "base.raw", folder / "layer.qcow2"
    base.write_bytes(raw.read_bytes())
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base.name, layer], check=True, cwd=folder)
    define(house, "layered", other, layer, "qcow2", OTHER_MAC, folder / "layered.log", "q35")

    rows = {vm["name"]: vm for vm in house.json("host", "vms", "one")}
    require({name: (vm["id"], vm["state"], vm.get("obstacles")) for name, vm in rows.items()} ==
            {"old-web": (identity, "running", None), "layered": (other, "stopped", None)}, f"told is {rows}")
    require(rows["old-web"]["autostart"] and rows["old-web"]["nics"][0]["bridge"] == BRIDGE, f"{rows['old-web']}")
    require("sound card" in house.run("vm", "adopt", "old-web", "--dry-run").stdout, "the plan")

    # Running: the same domain, the same process; it counts on, and libvirt keeps no definition of it.
    pids, domain_id = process_of(identity), house.virsh("domid", identity)
    house.run("vm", "adopt", "old-web", "--name", "web")
    require(process_of(identity) == pids and len(pids) == 1 and house.virsh("domid", identity) == domain_id, "it was started anew")
    vm = house.json("vm", "show", "web")
    require(vm["status"]["state"] == "running" and vm["status"]["adopted"], f"{vm['status']}")
    require("no" in (house.virsh("dominfo", identity) or "").split("Persistent:")[1].split()[0], "libvirt keeps it")
    require((house.repository / "vms" / identity / "adopted.xml").read_text().count("<name>old-web</name>") == 1, "adopted.xml")
    last = numbers_of(log.read_bytes())[-1]
    wait_until("it counts on", lambda: numbers_of(log.read_bytes())[-1] > last + 2, GUEST_SECONDS)
    numbers = numbers_of(log.read_bytes())
    require(numbers == list(range(numbers[0], numbers[-1] + 1)), "a number is missing")
    require(house.json("vm", "stats", "web")["disks"][0]["written_bytes"] > 0, "statistics")
    house.run("vm", "update", "web", "--memory", "96M")
    require("/memory" in house.json("vm", "show", "web")["status"]["pending"], "it is changed at its next start only")
    # Nothing is forgotten when daemons die.
    for daemon in ("lodge-agent", "libvirtd"):
        house.power_cut(daemon)
        wait_until("the host is connected", house.has_host, 120)
        wait_until("it runs", lambda: house.states().get("web") == "running", 120)
        require(house.json("vm", "show", "web")["status"].get("adopted"), f"forgotten after {daemon}")
    house.run("vm", "pause", "web")
    house.run("vm", "resume", "web")
    require(process_of(identity) == pids, "it was started anew")
    house.run("vm", "stop", "web", "--grace", "1", "--force", seconds=120)
    require(process_of(identity) == [] and identity not in (house.virsh("list", "--all", "--uuid") or ""), "libvirt still knows it")
    house.run("vm", "start", "web", seconds=120)
    xml = xml_of(house, identity)
    require(all(text in xml for text in (f"<uuid>{identity}</uuid>", MAC, str(raw), "pc-i440fx", "OLD-DISK", "98304", f"{house.instance}-{identity}")), xml)
    ours = house.folder / "agent" / f"{identity}.log"
    wait_until("it counts again", lambda: ours.exists() and len(numbers_of(ours.read_bytes())) > 3, GUEST_SECONDS)
    require(len(house.domains()) == 1 and not house.json("vm", "show", "web")["status"].get("adopted"), "started by Lodge")
    house.run("vm", "delete", "web", "--force", "--yes")
    require(raw.stat().st_size > 0, "its disk is gone")

    # Stopped: nobody but Lodge starts it from now on; both layers stay where they are.
    house.run("vm", "adopt", "layered")
    require(other not in (house.virsh("list", "--all", "--uuid") or ""), "libvirt still knows it")
    refused = house.run("vm", "clone", "layered", "copy", status=1).stderr
    require("on another file" in refused, f"a layer alone is copied: {refused}")
    house.run("vm", "start", "layered", seconds=120)
    xml = xml_of(house, other)
    require(all(text in xml for text in (str(layer), str(base), OTHER_MAC, "pc-q35")), xml)
    ours = house.folder / "agent" / f"{other}.log"
    wait_until("it counts", lambda: ours.exists() and len(numbers_of(ours.read_bytes())) > 3, GUEST_SECONDS)
    house.run("vm", "kill", "layered")
    house.run("vm", "delete", "layered", "--yes")
    require(layer.exists() and base.exists() and house.json("host", "vms", "one") == [], "what stays")


def uefi_variables_come_along(house):
    """Of a guest that is stopped at once, and of one that runs until Lodge starts it anew."""
    if not os.path.exists(UEFI):
        print("   skipped: no UEFI (package ovmf)", flush=True)
        return
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    house.run("network", "create", "office", "--kind", "bridge", "--bridge", BRIDGE)
    folder = house.folder / "elsewhere"
    folder.mkdir()
    folder.chmod(0o711)
    for name, mac in (("stopped", MAC), ("running", OTHER_MAC)):
        identity = str(uuid.uuid4())
        disk, nvram = folder / f"{name}.raw", folder / f"{name}.vars"
        disk.write_bytes(bytes(1 << 20))
        firmware = f"<loader readonly='yes' type='pflash'>{UEFI}</loader><nvram template='{UEFI.replace('CODE', 'VARS')}'>{nvram}</nvram>"
        define(house, name, identity, disk, "raw", mac, folder / f"{name}.log", "q35", firmware)
        require(house.virsh("start", name) is not None, f"{name} does not start")
        if name == "stopped":
            house.virsh("destroy", name)
        house.run("vm", "adopt", name)
        kept = house.folder / "agent" / f"{identity}.nvram"
        require(kept.exists() == (name == "stopped"), "they are copied when nobody writes them")
        if name == "running":
            house.run("vm", "kill", name)
        before = nvram.read_bytes()
        require(name == "running" or kept.read_bytes() == before, "other variables")
        house.run("vm", "start", name, seconds=120)
        require(kept.stat().st_size == len(before) and nvram.exists(), "the variables")
        require(str(kept) in xml_of(house, identity) and f"{house.instance}-{identity}" in xml_of(house, identity), "it runs with others")
        house.run("vm", "delete", name, "--force", "--yes")


REAL_SCENARIOS = [virsh_guests_are_adopted, uefi_variables_come_along]

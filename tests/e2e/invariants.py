"""What must be true whenever no job is open: store, repository and hypervisor tell the same story."""
import json
import pathlib
import time

from house import Failure, require

# Names that a repository may hold beside these stand in docs/repository-format.md.
DISK_SUFFIXES = {".raw", ".qcow2"}


def hold(house):
    """Fails unless all is well. The host's count of running VMs follows by events; everything else must be true at once."""
    problems = check(house)
    end = time.monotonic() + 15
    while problems and time.monotonic() < end:
        time.sleep(0.1)
        problems = check(house)
    require(not problems, "invariants are broken:\n  " + "\n  ".join(problems))


def check(house):
    """Returns a list of what is wrong; empty when all is well."""
    listed = {vm["id"]: vm for vm in house.list("vm")}
    stored = _vms_of_repository(house.repository)
    return [*_doubled(listed), *_store_and_repository(listed, stored), *_files(house.repository, stored), *_hypervisor(house, listed),
            *_hosts(house, listed), *_saved(house, listed)]


def _vms_of_repository(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("vms/*/vm.json")}


def _is_running(vm):
    return vm.get("status", {}).get("state") in ("running", "paused")


def _saved(house, listed):
    kept = {path.parent.name for path in house.repository.glob("vms/*/memory")}
    wanted = {id for id, vm in listed.items() if vm.get("status", {}).get("state") == "saved"}
    notes = {path.stem for path in (house.folder / "agent").glob("*.saved")}
    if not kept == wanted == notes:
        yield f"saved are {sorted(wanted)}, but memory is kept of {sorted(kept)} and noted of {sorted(notes)}"
    for path in [*house.repository.glob("vms/*/memory.part"), *(house.folder / "agent").glob("*.saving")]:
        yield f"{path} is left of a save"


def _doubled(listed):
    names = [vm["name"] for vm in listed.values()]
    macs = [nic["mac"] for vm in listed.values() for nic in vm.get("nics", []) if "mac" in nic]
    for what, values in (("name", names), ("MAC", macs)):
        for value in {value for value in values if values.count(value) > 1}:
            yield f"{what} {value} is there twice"


def _identity(vm):
    """What both sides must agree on, beside the name."""
    return {"MACs": [nic.get("mac") for nic in vm.get("nics", [])], "disks": [disk.get("id") for disk in vm.get("disks", [])],
            "vCPUs": vm.get("vcpus"), "memory": vm.get("memory")}


def _store_and_repository(listed, stored):
    for id in listed.keys() - stored.keys():
        yield f"VM {listed[id]['name']} ({id}) is in the store but not in the repository"
    for id in stored.keys() - listed.keys():
        yield f"VM {stored[id].get('name')} ({id}) is in the repository but not in the store"
    for id in listed.keys() & stored.keys():
        if stored[id].get("name") != listed[id]["name"]:
            yield f"VM {id} is {stored[id].get('name')} in the repository and {listed[id]['name']} in the store"
        if _identity(stored[id]) != _identity(listed[id]):
            yield f"VM {id} is {_identity(stored[id])} in the repository and {_identity(listed[id])} in the store"
        if stored[id].get("revision", 0) > listed[id].get("revision", 0):
            yield f"VM {id}: the repository's revision is above the store's"


def _files(folder, stored):
    disks = {path.name for path in folder.glob("disks/*") if path.suffix in DISK_SUFFIXES}
    texts = [json.dumps(definition) for definition in stored.values()]
    texts += [path.read_text() for path in folder.glob("templates/*/template.json")]
    for name in sorted(disks):
        if not any(name.rsplit(".", 1)[0] in text for text in texts):
            yield f"disk file {name} belongs to nobody"
    for path in sorted(folder.glob("disks/*")):
        if path.suffix not in DISK_SUFFIXES | {".json"}:
            yield f"unfinished file {path.name}"
        elif path.suffix == ".json" and not any(path.with_suffix(suffix).exists() for suffix in DISK_SUFFIXES):
            yield f"disk note {path.name} has no disk"
    for definition in stored.values():
        for disk in definition.get("disks", []):
            if disk.get("path"):  # an adopted VM's, outside of the repository
                if not pathlib.Path(disk["path"]).exists():
                    yield f"VM {definition.get('name')} has lost its disk {disk['path']}"
            elif disk.get("kind") != "cd" and not any(f"{disk['id']}{suffix}" in disks for suffix in DISK_SUFFIXES):
                yield f"VM {definition.get('name')} has lost its disk {disk['id']}"
    for vm in folder.glob("vms/*"):
        if not (vm / "vm.json").exists():
            yield f"{vm} has no vm.json"
        if (vm / "draft.json").exists():
            yield f"{vm} still has its draft"


def _hypervisor(house, listed):
    try:
        guests = house.guests()
    except Failure as failure:
        yield str(failure)
        return
    for id in {id for id in guests if guests.count(id) > 1}:
        yield f"VM {id} runs {guests.count(id)} times"
    for id in set(guests) - listed.keys():
        yield f"the hypervisor runs {id}, which nobody knows"
    for id, vm in listed.items():
        if _is_running(vm) != (id in guests):
            yield f"VM {vm['name']} ({id}) is {vm.get('status', {}).get('state')} but {'runs' if id in guests else 'does not run'}"


def _hosts(house, listed):
    running = sum(map(_is_running, listed.values()))
    for host in house.list("host"):
        status = host.get("status", {})
        if status.get("vms_running", 0) != running:
            yield f"the host runs {status.get('vms_running', 0)} VMs, the store knows {running} running ones"
        if status.get("unmanaged"):
            yield f"the host runs unmanaged VMs: {status['unmanaged']}"

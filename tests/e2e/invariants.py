"""What must be true whenever no job is open: store, repository and hypervisor tell the same story."""
import json

# Names that a repository may hold beside these stand in docs/repository-format.md.
DISK_SUFFIXES = {".raw", ".qcow2"}


def _vms_of_repository(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("vms/*/vm.json")}


def _disk_files(folder):
    return {path.name for path in folder.glob("disks/*") if path.suffix in DISK_SUFFIXES}


def _disks_named_by(folder, definitions):
    """Names of disk files that some vm.json or template.json mentions by id."""
    texts = [json.dumps(definition) for definition in definitions]
    texts += [path.read_text() for path in folder.glob("templates/*/template.json")]
    return {name for name in _disk_files(folder) if any(name.rsplit(".", 1)[0] in text for text in texts)}


def check(house):
    """Returns a list of what is wrong; empty when all is well."""
    problems = []
    listed = {vm["id"]: vm for vm in house.list("vm")}
    stored = _vms_of_repository(house.repository)
    names = [vm["name"] for vm in listed.values()]
    macs = [nic["mac"] for vm in listed.values() for nic in vm.get("nics", []) if "mac" in nic]
    for what, values in (("name", names), ("MAC", macs)):
        doubled = {value for value in values if values.count(value) > 1}
        problems += [f"{what} {value} is there twice" for value in doubled]
    problems += [f"VM {listed[id]['name']} ({id}) is in the store but not in the repository" for id in listed.keys() - stored.keys()]
    problems += [f"VM {stored[id].get('name')} ({id}) is in the repository but not in the store" for id in stored.keys() - listed.keys()]
    for id in listed.keys() & stored.keys():
        if stored[id].get("name") != listed[id]["name"]:
            problems.append(f"VM {id} is {stored[id].get('name')} in the repository and {listed[id]['name']} in the store")
        if stored[id].get("revision", 0) > listed[id].get("revision", 0):
            problems.append(f"VM {id}: the repository's revision is above the store's")
    orphans = _disk_files(house.repository) - _disks_named_by(house.repository, stored.values())
    problems += [f"disk file {name} belongs to nobody" for name in sorted(orphans)]
    debris = [folder for folder in house.repository.glob("vms/*") if not (folder / "vm.json").exists()]
    problems += [f"{folder} has no vm.json" for folder in debris]
    running = sum(vm.get("status", {}).get("state") in ("running", "paused") for vm in listed.values())
    for host in house.list("host"):
        status = host.get("status", {})
        if status.get("vms_running", 0) != running:
            problems.append(f"the host runs {status.get('vms_running', 0)} VMs, the store knows {running} running ones")
        if status.get("unmanaged"):
            problems.append(f"the host runs unmanaged VMs: {status['unmanaged']}")
    return problems

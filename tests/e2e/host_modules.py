"""Kernel modules of a host, whose files lie in a folder of the scenario's own."""
import json
import os
import signal
import struct

from house import require, wait_until

KERNEL = "6.1.0-lodge"
LIST = {"ext4": ["jbd2"], "jbd2": [], "e1000e": [], "floppy": [], "snd-hda-intel": ["snd"], "snd": [], "lodge-fake": []}
LOADED = {"ext4": 1, "jbd2": 1, "e1000e": 0, "floppy": 0}


def _put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _module_file(info):
    """The smallest ELF file with a section .modinfo."""
    names = b"\0.modinfo\0.shstrtab\0"
    header = struct.pack("=16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, 64 + len(info) + len(names), 0, 64, 0, 0, 64, 3, 2)
    sections = [(0,) * 10, (1, 1, 0, 0, 64, len(info), 0, 0, 1, 0), (10, 3, 0, 0, 64 + len(info), len(names), 0, 0, 1, 0)]
    return header + info + names + b"".join(struct.pack("=IIQQQQIIQQ", *section) for section in sections)


def _kernel(root, release, names):
    """Takes the place of the kernel that ran."""
    lines = [f"kernel/{name}.ko: {' '.join(f'kernel/{need}.ko' for need in needs)}" for name, needs in names.items()]
    _put(root / "lib/modules" / release / "modules.dep", "\n".join(lines) + "\n")
    _put(root / "proc/sys/kernel/osrelease", release + "\n")


def _system(root):
    _kernel(root, KERNEL, LIST)
    _put(root / "proc/modules", "".join(f"{name} 4096 {uses} - Live 0x0\n" for name, uses in LOADED.items()))
    _put(root / f"lib/modules/{KERNEL}/kernel/e1000e.ko", _module_file(b"description=a NIC\0firmware=nic/absent.bin\0firmware=nic/there.bin\0"))
    _put(root / "lib/firmware/nic/there.bin", "x")
    _put(root / "etc/modprobe.d/blacklist.conf", "blacklist snd\n")
    for link, target in {"sys/module/e1000e/drivers/pci:e1000e": "../../../bus/pci/drivers/e1000e",
                         "sys/bus/pci/drivers/e1000e/0000:00:19.0": "../../../../devices/0000:00:19.0"}.items():
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(target)


def _modules(house, *arguments):
    answer = house.json("host", "modules", "one", *arguments)
    return {row["name"]: row for row in (answer["items"] if isinstance(answer, dict) else answer)}


def _status(house):
    return house.list("host")[0]["status"]


def _wait_for_state(house, state):
    wait_until(f"the list is {state}", lambda: _status(house).get("modules_state") == state)


def _file(house, root):
    path = root / f"etc/modprobe.d/{house.instance}-modules.conf"
    return path.read_text() if path.exists() else None


def _list(*names):
    return json.dumps({"policy": "allow_list", "allow": names})


def kernel_modules_are_listed_and_blocked(house):
    root = house.folder / "system"
    _system(root)
    house.agent_options = ["--system-root", str(root)]
    house.power_cut("lodge-agent")
    wait_until("the host is connected", lambda: house.has_host() and _status(house).get("modules_state") == "open")
    _are_listed(house)
    _are_refused(house, root)
    _are_blocked(house, root)
    _outlive_kills(house, root)
    _survive(house, root)


def _are_listed(house):
    rows = _modules(house)
    states = {name: row["state"] for name, row in rows.items()}
    require(states == {"ext4": "loaded", "jbd2": "loaded", "e1000e": "loaded", "floppy": "loaded", "snd": "blocked",
                       "snd_hda_intel": "available", "lodge_fake": "available"}, f"states are {states}")
    require(rows["e1000e"]["missing_firmware"] == ["nic/absent.bin"], f"firmware: {rows['e1000e']}")
    require(rows["snd_hda_intel"]["needs"] == ["snd"] and not rows["snd"]["returns"], f"needs or returns: {rows}")
    require(list(_modules(house, "--filter", "state=loaded")) == ["e1000e", "ext4", "floppy", "jbd2"], "the filter or the order")
    require(list(_modules(house, "--filter", "in_use=true")) == ["e1000e", "ext4", "jbd2"], "what is in use")
    require(len(_modules(house, "--limit", 2)) == 2, "the limit")
    totals = json.loads(house.run("api", "GET", "/v1/hosts/one/modules?limit=1&filter=state%3Dblocked").stdout)["totals"]
    require(totals == {"loaded": 4, "available": 2, "blocked": 1}, f"totals are {totals}")
    table = house.run("host", "modules", "one").stdout
    require("NEXT START" in table and "nic/absent.bin" in table, table)


def _are_refused(house, root):
    for extra in ([], ["--dry-run"]):
        done = house.run("host", "update", "one", "--modules", _list("ext4"), *extra, status=2)
        require("modules.allow" in done.stderr and "e1000e" in done.stderr and "jbd2" not in done.stderr, done.stderr)
    done = house.run("host", "update", "one", "--modules", _list("no/module"), status=2)
    require("/modules/allow/0" in done.stderr, done.stderr)
    require(_file(house, root) is None and "modules" not in house.list("host")[0], "a refused list left something")


def _are_blocked(house, root):
    words = house.run("host", "update", "one", "--modules", _list("ext4", "e1000e", "abroad"), "--dry-run").stdout
    require("Block 3 of 7" in words and "floppy" in words and "abroad" in words and "Nothing was done." in words, words)
    require(_file(house, root) is None and _status(house)["modules_state"] == "open", "the dry run did something")
    house.run("host", "update", "one", "--modules", _list("ext4", "e1000e", "abroad"))
    _wait_for_state(house, "applied")
    text = _file(house, root)
    for name in ("floppy", "snd", "snd_hda_intel"):
        require(f"\nblacklist {name}\ninstall {name} /bin/false\n" in text, text)
    require(_status(house)["modules_blocked"] == 3 and text.count("install ") == 3, f"{text}{_status(house)}")
    rows = _modules(house)
    require(rows["floppy"]["state"] == "loaded" and not rows["floppy"]["returns"] and not rows["floppy"]["allowed"], f"{rows['floppy']}")
    require(rows["jbd2"]["reason"] == "ext4 needs it" and rows["lodge_fake"]["reason"] == "Lodge needs it", f"{rows}")


def _outlive_kills(house, root, rounds=6):
    """The definition is stored when the command ends; the agent dies while it follows, or before."""
    for number in range(rounds):
        names = ["ext4", "e1000e", "abroad"] + ["snd"] * (number % 2 == 0)
        house.run("host", "update", "one", "--modules", _list(*names))
        house.power_cut("lodge-agent")
        wait_until("the file follows", lambda: ("install snd " in _file(house, root)) == ("snd" not in names))
        wait_until("the host is connected", house.has_host)
        _wait_for_state(house, "applied")
    left = [path.name for path in (root / "etc/modprobe.d").iterdir() if ".tmp-" in path.name]
    require(not left, f"unfinished files: {left}")


def _survive(house, root):
    """A new kernel while the manager is away, a change while the agent is away, and back to open."""
    house.end("lodged", signal.SIGKILL)
    _kernel(root, "6.12.0-lodge", dict(LIST, new=[]))
    house.power_cut("lodge-agent")
    wait_until("the list is that of the new kernel", lambda: "install new " in _file(house, root))
    house.start("lodged")
    wait_until("the host is connected", house.has_host)
    _wait_for_state(house, "applied")
    os.remove(root / "lib/modules/6.12.0-lodge/modules.dep")
    house.run("host", "update", "one", "--modules", _list("ext4", "e1000e"), status=None)
    require("install new " in _file(house, root), "a list that cannot be judged changed the file")
    house.end("lodge-agent", signal.SIGKILL)
    wait_until("the host is away", lambda: _status(house)["state"] == "unreachable")
    house.run("host", "update", "one", "--modules", _list("ext4"), status=6)
    house.run("host", "update", "one", "--modules", "policy=open")
    house.start("lodge-agent")
    _wait_for_state(house, "open")
    require(_file(house, root) is None, "the file is still there")


SCENARIOS = [kernel_modules_are_listed_and_blocked]

"""Scenarios about what comes from outside: images and ISOs, uploaded or fetched."""
import hashlib
import os
import signal
import subprocess
import threading
import time

from house import require, wait_until

MIB = 1 << 20


def _image(house, name, *arguments, layout="qcow2", size="64M"):
    path = house.folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", layout, *arguments, str(path), *([size] if size else [])], check=True)
    return path


def _filled(house, name, mebibytes):
    """A raw image of random bytes: nothing of it can be left out."""
    path = house.folder / name
    path.write_bytes(os.urandom(mebibytes * MIB))
    return path


def _refused(house, word, *arguments, status=None):
    done = house.run(*arguments, status=status)
    require(done.returncode != 0, f"{arguments} was accepted")
    require(word in done.stderr, f"{arguments}: {word!r} is not in {done.stderr!r}")


def nothing_is_half_made(house, templates=(), isos=()):
    house.wait_for_jobs()
    listed = sorted(t["name"] for t in house.list("template") if "recipe" not in t)
    require(listed == sorted(templates), f"templates are {listed}, expected {sorted(templates)}")
    require(sorted(i["name"] for i in house.list("iso")) == sorted(isos), "other ISOs are listed")
    left = [str(p.relative_to(house.repository)) for folder in ("work", "assemblies") for p in house.repository.glob(f"{folder}/*")]
    require(not left, f"left behind: {left}")
    disks = [p.name for p in house.repository.glob("disks/*.raw")]
    require(len(disks) == len(listed), f"{len(disks)} disks for {len(listed)} templates: {disks}")
    require(len(list(house.repository.glob("templates/*"))) == len(listed), "template folders are left behind")
    require(len(list(house.repository.glob("isos/*.iso"))) == len(isos), "ISO files are left behind")


def uploaded_images_become_templates(house):
    for layout in ("qcow2", "vmdk", "vdi", "vpc", "vhdx"):
        path = _image(house, f"image.{layout}", layout=layout)
        house.run("template", "import", f"from-{layout}", path)
    raw = _filled(house, "image.raw", 3)
    checksum = hashlib.sha256(raw.read_bytes()).hexdigest()
    house.run("template", "import", "from-raw", raw, "--format", "raw", "--sha256", checksum, "--description", "plain")
    made = {t["name"]: t for t in house.list("template")}
    require(made["from-raw"]["disks"][0]["size"] == 3 * MIB, "the size is not the image's")
    require(made["from-qcow2"]["state"] == "ready", "it is not ready")
    disk = house.repository / "disks" / (made["from-raw"]["disks"][0]["id"] + ".raw")
    require(disk.read_bytes() == raw.read_bytes(), "the bytes differ")
    house.run("vm", "create", "web", "--template", "from-qcow2", "--start")
    require(house.states() == {"web": "running"}, "a VM of it does not run")
    house.run("vm", "kill", "web")
    house.run("vm", "delete", "web", "--yes", "--purge")
    nothing_is_half_made(house, templates=[name for name in made if name.startswith("from-")])
    for name in made:
        if name.startswith("from-"):
            house.run("template", "delete", name, "--yes")
    nothing_is_half_made(house)


def foreign_images_are_refused_by_name(house):
    base = _image(house, "base.qcow2")
    child = _image(house, "child.qcow2", "-b", str(base), "-F", "qcow2", size=None)
    external = _image(house, "external.qcow2", "-o", f"data_file={house.folder}/outside.raw,data_file_raw=on")
    huge = _image(house, "huge.qcow2", size="1P")
    liar = _image(house, "liar.qcow2")
    with open(liar, "r+b") as file:  # QEMU's docs/interop/qcow2: the offset of the first level table
        file.seek(40)
        file.write((1 << 40).to_bytes(8, "big"))
    plain = _filled(house, "plain", 1)
    _refused(house, "backing file", "template", "import", "child", child)
    _refused(house, "/source", "template", "import", "child", child)
    _refused(house, "external data file", "template", "import", "external", external)
    _refused(house, "claims", "template", "import", "huge", huge)
    _refused(house, "/source", "template", "import", "liar", liar)
    _refused(house, "raw", "template", "import", "plain", plain)
    _refused(house, "/sha256", "template", "import", "wrong", plain, "--format", "raw", "--sha256", "0" * 64)
    _refused(house, "/sha256", "template", "import", "short", plain, "--sha256", "12")
    _refused(house, "CD or DVD", "iso", "import", "plain", plain)
    _refused(house, "http", "template", "import", "remote", "nbd://127.0.0.1/x")
    _refused(house, "already", "template", "import", "bench-boot", plain, "--format", "raw")
    nothing_is_half_made(house)


def _upload_in_the_middle(house, path, *arguments):
    """Starts an upload whose bytes come slowly, and returns when some of them have arrived."""
    child = subprocess.Popen([house.programs["lodge"], "template", "import", *arguments, str(path)], env=house.environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until("bytes have arrived", lambda: any(p.stat().st_size > MIB for p in house.repository.glob("assemblies/*/data")))
    return child


def broken_uploads_go_on(house):
    path = _filled(house, "large.raw", 300)
    arguments = ("large", "--format", "raw")
    for victim in ("lodge", "lodged", "lodge-agent"):
        child = _upload_in_the_middle(house, path, *arguments)
        if victim == "lodge":
            child.kill()
        else:
            house.power_cut(victim)
        child.wait()
        wait_until("the host is connected", house.has_host)
        kept = max(p.stat().st_size for p in house.repository.glob("assemblies/*/data"))
        require(0 < kept < path.stat().st_size, f"{victim}: {kept} bytes are kept")
    done = house.run("template", "import", *arguments, path, seconds=300)
    require("going on at" in done.stderr, f"it began anew: {done.stderr}")
    disk = next(house.repository.glob("disks/*.raw"))
    require(disk.read_bytes() == path.read_bytes(), "the bytes differ")
    nothing_is_half_made(house, templates=["large"])


def _importing(house):
    return [j for j in house.list("job") if j["kind"] == "template.import" and j["state"] == "running"]


def imports_end_whoever_dies(house):
    path = _filled(house, "large.raw", 200)
    for number, victim in enumerate(("lodged", "lodge-agent")):
        house.run("template", "import", f"t{number}", path, "--format", "raw", "--no-wait", seconds=300)
        wait_until("it is converted", lambda: _importing(house))
        house.power_cut(victim)
        wait_until("the host is connected", house.has_host)
        house.wait_for_jobs(120)
    nothing_is_half_made(house, templates=["t0", "t1"])
    for template in ("t0", "t1"):
        house.run("template", "delete", template, "--yes")
    house.run("template", "import", "unwanted", path, "--format", "raw", "--no-wait", seconds=300)
    job = wait_until("it is converted", lambda: _importing(house))[0]
    house.run("job", "cancel", job["id"])
    house.wait_for_jobs(120)
    require(house.json("job", "show", job["id"])["state"] == "cancelled", "the job was not cancelled")
    nothing_is_half_made(house)


CONTENT_SCENARIOS = [
    uploaded_images_become_templates,
    foreign_images_are_refused_by_name,
    broken_uploads_go_on,
    imports_end_whoever_dies,
]

"""Scenarios about what comes from outside: images and ISOs, uploaded or fetched."""
import hashlib
import http.server
import os
import random
import subprocess
import threading
import time

from house import Failure, require, wait_until
import invariants

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
    _refused(house, "sha256", "template", "import", "wrong", plain, "--format", "raw", "--sha256", "0" * 64)
    _refused(house, "sha256", "template", "import", "short", plain, "--sha256", "12")
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
    child = _upload_in_the_middle(house, path, "large", "--format", "raw")
    child.kill()
    child.wait()
    kept = max(p.stat().st_size for p in house.repository.glob("assemblies/*/data"))
    require(0 < kept < path.stat().st_size, f"{kept} bytes are kept")
    done = house.run("template", "import", "large", "--format", "raw", path, seconds=300)
    require("going on at" in done.stderr, f"it began anew: {done.stderr}")
    disk = next(house.repository.glob("disks/*.raw"))
    require(disk.read_bytes() == path.read_bytes(), "the bytes differ")
    nothing_is_half_made(house, templates=["large"])


def uploads_outlive_dying_daemons(house):
    path = _filled(house, "large.raw", 300)
    for victim in ("lodged", "lodge-agent"):
        child = _upload_in_the_middle(house, path, f"after-{victim}", "--format", "raw")
        house.power_cut(victim)
        require(child.wait(120) == 0, f"the upload did not outlive {victim}")
    require(all(disk.read_bytes() == path.read_bytes() for disk in house.repository.glob("disks/*.raw")), "the bytes differ")
    nothing_is_half_made(house, templates=["after-lodged", "after-lodge-agent"])


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


def _disc(house, name, mebibytes=1):
    """As much of an ISO as anybody looks at: the volume descriptor of ISO 9660."""
    path = house.folder / name
    path.write_bytes(bytes(32768) + b"\x01CD001\x01" + os.urandom(mebibytes * MIB))
    return path


def isos_live_from_import_to_delete(house):
    path = _disc(house, "cd.iso")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    house.run("iso", "import", "cd", path, "--sha256", checksum.upper())
    shown = house.json("iso", "show", "cd")
    require(shown["sha256"] == checksum and shown["size"] == path.stat().st_size, f"it is shown as {shown}")
    _refused(house, "already", "iso", "import", "cd", path, status=4)
    house.run("vm", "create", "web", "--iso", "cd", "--start")
    require(house.states() == {"web": "running"}, "a VM with it does not run")
    _refused(house, "web", "iso", "delete", "cd", "--yes", status=4)
    house.run("vm", "delete", "web", "--yes", "--force", "--purge")
    nothing_is_half_made(house, isos=["cd"])
    house.run("iso", "delete", "cd", "--yes")
    nothing_is_half_made(house)


def vms_become_templates(house):
    house.run("vm", "create", "web", "--template", "bench-boot", "--start")
    _refused(house, "stopped", "template", "create", "early", "--from-vm", "web", status=4)
    house.run("vm", "kill", "web")
    house.run("template", "create", "golden", "--from-vm", "web", "--description", "made of web")
    golden = house.json("template", "show", "golden")
    require(golden["state"] == "ready" and len(golden["disks"]) == 1, f"it is shown as {golden}")
    require(golden["source_vm"] == house.json("vm", "show", "web")["id"], "its source is not the VM")
    house.run("vm", "delete", "web", "--yes", "--purge")
    house.run("vm", "create", "copy", "--template", "golden", "--count", 2, "--start")
    require(set(house.states().values()) == {"running"}, "VMs of it do not run")
    if golden["disks"][0]["format"] == "qcow2":  # then it leans on the first template's disk
        _refused(house, "overlay", "template", "delete", "bench-boot", "--yes", status=4)
    for name in ("copy-1", "copy-2"):
        house.run("vm", "delete", name, "--yes", "--force", "--purge")
    house.run("template", "delete", "golden", "--yes")
    house.run("template", "delete", "bench-boot", "--yes")
    require(not list(house.repository.glob("disks/*")), "disks are left behind")


def full_repositories_keep_nothing_half_made(house):
    """A repository of 24 MiB: an image that does not fit, one that fits only until it is converted."""
    small = house.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        house.run("repository", "create", "small", "--path", small / "r")
        for mebibytes in (40, 16):
            path = _filled(house, f"image{mebibytes}", mebibytes)
            _refused(house, "No space", "template", "import", "t", path, "--format", "raw", "--repository", "small")
            data = path.read_bytes()
            done = subprocess.run([house.programs["lodge"], "template", "import", "t", "-", "--format", "raw", "--repository", "small"],
                                  input=data, capture_output=True, env=house.environment, check=False)
            require(done.returncode == 1 and b"No space" in done.stderr, f"from a pipe: {done}")
        house.wait_for_jobs()
        left = [str(p) for folder in ("work", "assemblies", "disks", "templates") for p in (small / "r" / folder).glob("*")]
        require(not left, f"left behind: {left}")
        require(not [t for t in house.list("template") if t["name"] == "t"], "the template is listed")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


class _Site(http.server.ThreadingHTTPServer):
    """Serves files with ranges and versions; /moved/… redirects, /slow/… sends a piece and hangs up the first time."""
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Page)
        self.folder, self.asked, self.broken = folder, [], set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        parts = self.path.strip("/").split("/")
        if parts[0] == "moved":
            return self.redirect("/" + "/".join(parts[1:]))
        if parts[0] == "away":
            return self.redirect("file:///etc/passwd")
        if parts[0] == "loop":
            return self.redirect(self.path)
        path = self.server.folder / parts[-1]
        if not path.exists():
            return self.send_error(404)
        return self.send_file(path, parts[0])

    def send_file(self, path, manner):
        data, first = path.read_bytes(), 0
        if self.headers.get("Range") and self.headers.get("If-Range") == '"one"':
            first = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if manner == "broken" and self.path not in self.server.broken:
            self.server.broken.add(self.path)
            self.wfile.write(data[first:first + len(data) // 2])
            return
        for start in range(first, len(data), MIB):
            self.wfile.write(data[start:start + MIB])
            if manner == "slow":
                time.sleep(0.05)


def urls_are_fetched_in_a_jail(house):
    image = _image(house, "image.qcow2")
    checksum = hashlib.sha256(image.read_bytes()).hexdigest()
    site = _Site(house.folder)
    _refused(house, "this host itself", "template", "import", "inner", site.url("image.qcow2"))
    _refused(house, "link-local", "iso", "import", "inner", "http://169.254.169.254/latest/meta-data")
    require(not site.asked, "this machine was asked")
    house.agent_options = ["--fetch-from-this-machine"]
    house.power_cut("lodge-agent")
    wait_until("the host is connected", house.has_host)
    house.run("template", "import", "plain", site.url("image.qcow2"), "--sha256", checksum)
    house.run("template", "import", "moved", site.url("moved/image.qcow2"))
    _disc(house, "cd.iso", 8)
    house.run("iso", "import", "broken", site.url("broken/cd.iso"), "--sha256", hashlib.sha256((house.folder / "cd.iso").read_bytes()).hexdigest())
    require(any(wanted for path, wanted in site.asked if path == "/broken/cd.iso"), "it did not go on where it broke off")
    _refused(house, "404", "template", "import", "none", site.url("nothing"), status=3)
    _refused(house, "redirects", "template", "import", "loop", site.url("loop/x"))
    _refused(house, "/source", "template", "import", "away", site.url("away/x"))
    _refused(house, "sha256", "template", "import", "other", site.url("image.qcow2"), "--sha256", "1" * 64)
    nothing_is_half_made(house, templates=["plain", "moved"], isos=["broken"])


def fetches_end_whoever_dies(house):
    _disc(house, "cd.iso", 40)
    site = _Site(house.folder)
    house.agent_options = ["--fetch-from-this-machine"]
    house.power_cut("lodge-agent")
    wait_until("the host is connected", house.has_host)
    for number, victim in enumerate(("lodged", "lodge-agent")):
        house.run("iso", "import", f"cd{number}", site.url("slow/cd.iso"), "--no-wait")
        wait_until("bytes have arrived", lambda: any(p.stat().st_size > MIB for p in house.repository.glob("assemblies/*/data")))
        house.power_cut(victim)
        wait_until("the host is connected", house.has_host)
        house.wait_for_jobs(120)
    require(site.asked[-1][1], "it did not go on where the agent died")
    house.run("iso", "import", "unwanted", site.url("slow/cd.iso"), "--no-wait")
    wait_until("bytes have arrived", lambda: any(p.stat().st_size > MIB for p in house.repository.glob("assemblies/*/data")))
    house.run("job", "cancel", next(job["id"] for job in house.list("job") if job["state"] == "running"))
    house.wait_for_jobs()
    nothing_is_half_made(house, isos=["cd0", "cd1"])
    cd = house.json("iso", "show", "cd1")
    require(cd["sha256"] == hashlib.sha256((house.folder / "cd.iso").read_bytes()).hexdigest(), "the bytes differ")


def uploads_pass_through_tls(house):
    """A large one with a token, one that is refused in the middle of its body, and a viewer's."""
    state, server = house.folder / "manager", f"https://127.0.0.1:{house.port}"
    house.environment["XDG_CONFIG_HOME"] = str(house.folder / "config")
    wait_until("the first password is there", (state / "first-password").exists)
    house.run("login", server, "--name", "admin", "--password-file", state / "first-password", "--ca-file", state / "ca.pem")
    path = _filled(house, "large.raw", 100)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    house.run("template", "import", "large", path, "--format", "raw", "--sha256", checksum, "--server", server, seconds=120)
    _refused(house, "already", "template", "import", "large", path, "--format", "raw", "--server", server, status=4)
    nothing_is_half_made(house, templates=["large"])
    house.run("principal", "create", "eve", "--role", "viewer", "--password-file", "-", data="correct horse battery staple\n")
    house.run("login", server, "--name", "eve", "--password-file", "-", "--ca-file", state / "ca.pem", data="correct horse battery staple\n")
    _refused(house, "template.create", "template", "import", "hers", path, "--format", "raw", "--server", server, status=5)
    nothing_is_half_made(house, templates=["large"])


def _content_is_whole(house):
    """Store and files tell the same story of templates and ISOs; only uploads that can go on may wait."""
    problems = invariants.check(house)
    listed = {t["id"]: t for t in house.list("template") if t.get("disks")}
    stored = {p.parent.name for p in house.repository.glob("templates/*/template.json")}
    problems += [f"template {id} is in the store or in the repository, but not in both" for id in listed.keys() ^ stored]
    problems += [f"{p} has no template.json" for p in house.repository.glob("templates/*") if p.name not in stored]
    problems += [f"template {t['name']} is {t['state']}" for t in house.list("template") if t["state"] not in ("ready", "buildable")]
    for template in listed.values():
        files = [house.repository / "disks" / f"{disk['id']}.{disk['format']}" for disk in template["disks"]]
        problems += [f"template {template['name']} lacks {file}" for file in files if not file.exists()]
    isos = {iso["id"] for iso in house.list("iso")}
    problems += [f"ISO {id} has not both a definition and a file" for id in isos ^ {p.stem for p in house.repository.glob("isos/*.iso")}]
    problems += [f"{p} is left behind" for p in house.repository.glob("work/*")]
    problems += [f"{p} is left behind" for p in house.repository.glob("assemblies/*/image")]
    require(not problems, "broken:\n  " + "\n  ".join(problems))


def random_kills_leave_no_content_half_made(house, rounds=8, seed=None):
    """kill -9 of either daemon at random moments of uploads, imports and copies."""
    seed = seed if seed is not None else random.SystemRandom().randrange(2**32)
    print(f"   seed {seed}, {rounds} rounds", flush=True)
    chance = random.Random(seed)
    house.run("vm", "create", "web", "--template", "bench-boot")
    image, disc = _filled(house, "image.raw", 80), _disc(house, "cd.iso", 60)
    changes = [["template", "import", image, "--format", "raw"], ["iso", "import", disc], ["template", "create", "--from-vm", "web"]]
    for number in range(rounds):
        noun, verb, *rest = chance.choice(changes)
        child = subprocess.Popen([house.programs["lodge"], noun, verb, f"r{number}", *map(str, rest)], env=house.environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 1.2))
        house.power_cut(chance.choice(["lodged", "lodge-agent"]))
        child.wait(60)
        wait_until("the host is connected again", house.has_host)
        house.wait_for_jobs()
        try:
            _content_is_whole(house)
        except Failure as failure:
            raise Failure(f"seed {seed}, round {number}, {noun} {verb}: {failure}") from None


CONTENT_SCENARIOS = [
    uploaded_images_become_templates,
    foreign_images_are_refused_by_name,
    broken_uploads_go_on,
    uploads_outlive_dying_daemons,
    imports_end_whoever_dies,
    full_repositories_keep_nothing_half_made,
    isos_live_from_import_to_delete,
    vms_become_templates,
    urls_are_fetched_in_a_jail,
    fetches_end_whoever_dies,
    uploads_pass_through_tls,
    random_kills_leave_no_content_half_made,
]

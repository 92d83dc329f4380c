"""What the lab makes once and keeps below /var/cache/lodge-dev; all of it is made again where it is missing."""
import hashlib
import pathlib
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ROOT / "tools/apt-sources.sh"
CACHE = pathlib.Path("/var/cache/lodge-dev")
TEMPLATE_BUILD = ROOT / "build-check"  # the folder of README's test command


def packages():
    """What quickstart would install on such a machine, from its own lists."""
    script = f". {ROOT}/tools/packages.sh; echo $build_packages $run_packages $newer_packages $xen_packages"
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout.split()


def cached(name, inputs, make):
    """The folder of that name, made unless one from the same inputs is there."""
    folder = CACHE / f"{name}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    if not (folder / "complete").exists():
        for old in CACHE.glob(f"{name}-*"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        begun = time.monotonic()
        make(folder)
        print(f"made {name} in {time.monotonic() - begun:.0f} s", flush=True)
    return folder


def key():
    """The lab's own ssh key: it opens nothing but the lab's machines."""
    path = CACHE / "lab-key"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path], check=True)
    return path


def image(name):
    wanted = packages()
    inputs = (HERE / "image.sh").read_bytes() + SOURCES.read_bytes() + " ".join([name, *wanted]).encode() + key().read_bytes()
    return cached(f"lab-{name}", inputs, lambda folder: subprocess.run([HERE / "image.sh", folder, f"{key()}.pub", *wanted], check=True))


def emulator():
    return cached("lab-emulator", (HERE / "emulator.sh").read_bytes() + SOURCES.read_bytes(),
                  lambda folder: subprocess.run([HERE / "emulator.sh", folder], check=True))


def template(recipe):
    """The disk of a template in a packed file: inside the emulator its build would take half an hour."""
    files = sorted(path for path in (ROOT / "src/image").rglob("*") if path.is_file() and not path.name.startswith("test-"))
    inputs = b"".join(path.read_bytes() for path in [*files, HERE / "build-template.c"])
    return cached(f"lab-template-{recipe}", inputs, lambda folder: make_template(recipe, folder)) / "disk.qcow2"


def make_template(recipe, folder):
    with open(folder / "build.log", "wb") as log:
        def run(*words):
            subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        if not (TEMPLATE_BUILD / "build.ninja").exists():
            run("meson", "setup", TEMPLATE_BUILD, ROOT, "-Dwerror=true")
        run("ninja", "-C", TEMPLATE_BUILD, "tests/lab/build-template")
        run(TEMPLATE_BUILD / "tests/lab/build-template", recipe, folder, CACHE)
        run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", folder / "disk", folder / "disk.qcow2")
        (folder / "disk").unlink()
    (folder / "complete").touch()

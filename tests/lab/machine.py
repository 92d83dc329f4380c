"""An emulated machine that boots a hypervisor, reached by ssh over a port forwarded on loopback."""
import os
import pathlib
import socket
import subprocess
import time

POLL_SECONDS = 2


class Failure(Exception):
    pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machine:
    def __init__(self, emulator, image, folder, key, payload, overlay, memory_mib, number=1, wire=None):
        """`emulator` and `image` are folders made by the scripts beside this file; `folder` takes what changes; `payload` is
        a file that the machine sees as /dev/vdb; `overlay` is overlay.toml as read. `wire` is the path of a socket by which
        the second network cards of machines number 1 and 2 are connected."""
        self.emulator, self.image, self.folder = map(pathlib.Path, (emulator, image, folder))
        self.key, self.payload, self.overlay, self.memory_mib = key, payload, overlay, memory_mib
        self.number, self.wire = number, wire
        self.port = free_port()
        self.process = None

    def emulator_command(self):
        """Debian 13's QEMU through its own dynamic linker."""
        tree = self.emulator / "tree"
        libraries = tree / "usr/lib/x86_64-linux-gnu"
        firmware = [part for name in ("share/seabios", "share/qemu", "lib/ipxe/qemu") for part in ("-L", tree / "usr" / name)]
        return [tree / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, tree / "usr/bin/qemu-system-x86_64", *firmware]

    def kernel_arguments(self, has_hypervisor):
        """Of the emulator: the hypervisor with the kernel of its control domain, or the same kernel alone."""
        linux = "root=LABEL=root rw net.ifnames=0 panic=-1"
        if not has_hypervisor:
            return ["-kernel", self.image / "kernel", "-append", f"{linux} console=ttyS0", "-initrd", self.image / "initrd"]
        hypervisor = ["console=com1", "com1=115200,8n1", "dom0_mem=1280M,max:1280M", "loglvl=warning", "guest_loglvl=error",
                      *self.overlay["xen"]["arguments"]]
        return ["-kernel", self.image / "xen", "-append", " ".join(hypervisor),
                "-initrd", f"{self.image}/kernel {linux} console=hvc0,{self.image}/initrd"]

    def wire_arguments(self):
        if not self.wire:
            return []
        is_server = "on" if self.number == 1 else "off,reconnect-ms=1000"
        return ["-netdev", f"stream,id=wire,server={is_server},addr.type=unix,addr.path={self.wire}",
                "-device", f"virtio-net-pci,netdev=wire,romfile=,mac=52:54:00:98:00:{self.number:02}"]

    def start(self, has_hypervisor=True):
        """Its disk is what it was when the machine ended."""
        disk = self.folder / "disk.qcow2"
        if not disk.exists():
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image / "disk", disk], check=True)
        command = [
            *self.emulator_command(), *self.overlay["emulator"]["arguments"], "-nodefaults", "-no-user-config", "-display", "none",
            "-vga", "none", "-no-reboot", "-smp", "2", "-m", str(self.memory_mib),
            *self.kernel_arguments(has_hypervisor),
            "-drive", f"file={disk},format=qcow2,if=virtio,cache=unsafe",
            "-drive", f"file={self.payload},format=raw,if=virtio,readonly=on",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=net,romfile=",
            *self.wire_arguments(), "-device", "virtio-rng-pci", "-chardev", f"file,id=console,path={self.folder}/console.log,append=on", "-serial", "chardev:console",
        ]
        environment = dict(os.environ, QEMU_MODULE_DIR=str(self.emulator / "tree/usr/lib/x86_64-linux-gnu/qemu"))
        with open(self.folder / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def shut_down(self, seconds):
        """In order, as a person would."""
        subprocess.run(self.ssh("systemctl", "poweroff"), stdin=subprocess.DEVNULL, timeout=120, check=False)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the machine has not shut down within {seconds} s: see {self.folder}/console.log") from None

    def ssh(self, *words):
        return ["ssh", "-q", "-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=20",
                "-p", str(self.port), "root@127.0.0.1", *words]

    def answers(self):
        try:
            return subprocess.run(self.ssh("true"), stdin=subprocess.DEVNULL, timeout=120, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def wait_for_ssh(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failure(f"the emulator ended with status {self.process.returncode}: see {self.folder}/qemu.log")
            if self.answers():
                return
            time.sleep(POLL_SECONDS)
        raise Failure(f"no ssh after {seconds} s: see {self.folder}/console.log")

    def session(self, script, seconds, on_line):
        """Runs a shell script in one ssh session; each line that it prints goes to `on_line`. Returns its status."""
        process = subprocess.Popen(self.ssh("timeout", "--signal=INT", "--kill-after=60", str(int(seconds)), "sh", "-c", f"'{script}'"),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        for line in process.stdout:
            on_line(line.rstrip("\n"))
        return process.wait()

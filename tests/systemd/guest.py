"""A Debian machine under QEMU, commanded through its guest agent: no log-in, no network service of this machine."""
import base64
import json
import os
import pathlib
import random
import socket
import subprocess
import time

DELIMITER = b"\xff"
ANSWER_SECONDS = 120
ANSWER_BYTES = 64 << 20


class Failure(Exception):
    pass


class Guest:
    def __init__(self, image, folder, payload):
        """`image` holds disk, kernel, initrd; `folder` takes what changes; `payload` is a file the guest sees as /dev/vdb."""
        self.image, self.folder, self.payload = pathlib.Path(image), pathlib.Path(folder), pathlib.Path(payload)
        self.socket = self.folder / "agent.sock"
        self.process = None

    def start(self):
        overlay = self.folder / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.image / "disk", overlay], check=True)
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35",
            # Plain: with `max` QEMU 7.2 has calls in the guest fail at random. Without the emulated SVM: with it the guest
            # offers KVM, and the first guest on that hangs the whole machine.
            "-cpu", "qemu64,svm=off",
            "-accel", "tcg,thread=multi,tb-size=512", "-smp", "2", "-m", "2048",
            "-kernel", self.image / "kernel", "-initrd", self.image / "initrd",
            "-append", "root=LABEL=root ro console=ttyS0 panic=-1 systemd.show_status=1",
            "-drive", f"file={overlay},format=qcow2,if=virtio,cache=unsafe",
            "-drive", f"file={self.payload},format=raw,if=virtio,readonly=on",
            "-device", "virtio-rng-pci", "-serial", f"file:{self.folder}/console.log",
            "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={self.socket},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]
        with open(self.folder / "qemu.log", "wb") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask(self, command, seconds=ANSWER_SECONDS, **arguments):
        """One command of the guest agent's protocol on a connection of its own."""
        if self.process.poll() is not None:
            raise Failure(f"QEMU ended with status {self.process.returncode}: see {self.folder}/qemu.log")
        number = random.getrandbits(31)
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(seconds)
            link.connect(os.fspath(self.socket))
            greeting = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
            link.sendall(DELIMITER + json.dumps(greeting).encode() + b"\n")
            lines = self._lines(link)
            # What came before the delimiter was for somebody else, or from before a reboot.
            while json.loads(next(lines).rpartition(DELIMITER)[2] or b"{}").get("return") != number:
                pass
            link.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            answer = json.loads(next(lines))
        if "error" in answer:
            raise Failure(f"{command}: {answer['error'].get('desc')}")
        return answer["return"]

    @staticmethod
    def _lines(link):
        buffer = b""
        while len(buffer) < ANSWER_BYTES:
            line, found, rest = buffer.partition(b"\n")
            if found:
                buffer = rest
                yield line
                continue
            part = link.recv(65536)
            if not part:
                raise ConnectionError("QEMU closed the agent's channel")
            buffer += part
        raise Failure("the guest agent's answer does not end")

    def answers(self):
        try:
            self.ask("guest-ping", seconds=3)
            return True
        except (OSError, ValueError, StopIteration):
            return False

    def run(self, script, seconds=300, status=0):
        """Runs a shell script as root in the guest; returns what it printed. Fails unless it ends with the status (None: any)."""
        end = time.monotonic() + seconds
        wrapped = "exec 2>&1; cd /root; export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; " + script
        arguments = {"path": "/bin/sh", "arg": ["-c", wrapped], "capture-output": True}
        pid = self.ask("guest-exec", **arguments)["pid"]
        state = {"exited": False}
        while not state["exited"]:
            if time.monotonic() > end:
                raise Failure(f"not done after {seconds:.0f} s: {script}")
            time.sleep(0.5)
            try:
                state = self.ask("guest-exec-status", pid=pid)
            except TimeoutError:
                pass  # starved for a while by what it runs
        text = base64.b64decode(state.get("out-data", "")).decode(errors="replace")
        result = state.get("exitcode", -1)
        if status is not None and result != status:
            raise Failure(f"status {result}, expected {status}: {script}\n{text}")
        return text

    def until(self, what, script, seconds):
        """Runs the script until it succeeds; returns what it printed then."""
        end = time.monotonic() + seconds
        text = ""
        while time.monotonic() < end:
            try:
                return self.run(script, seconds=max(5, end - time.monotonic()))
            except Failure as failure:
                text = str(failure)
            time.sleep(1)
        raise Failure(f"after {seconds} s still not: {what}\n{text}")

    def wait_for_boot(self, seconds, not_id=""):
        """Until systemd has started everything, in another boot than `not_id`. Returns the boot's id."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.answers():
                text = self.run("cat /proc/sys/kernel/random/boot_id; systemctl is-system-running", seconds=60, status=None).split()
                if len(text) == 2 and text[0] != not_id and text[1] in ("running", "degraded"):
                    return text[0]
            time.sleep(1)
        raise Failure(f"the guest did not boot within {seconds} s: see {self.folder}/console.log")

    def console(self):
        """What it wrote to its serial port."""
        return (self.folder / "console.log").read_text(errors="replace")

    def reboot(self, seconds):
        before = self.run("cat /proc/sys/kernel/random/boot_id").strip()
        self.run("systemd-run --quiet --on-active=1 systemctl reboot")
        return self.wait_for_boot(seconds, not_id=before)

"""The serial console of a VM, as a user has it: `lodge vm console` in a terminal of its own."""
import os
import pty
import select
import signal
import time

MARK = "x9f3"


class ConsoleFailure(Exception):
    pass


class Console:
    def __init__(self, name):
        self.name, self.text = name, ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp("lodge", ["lodge", "vm", "console", name])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)
        self.pid = None

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if ready:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError as failure:
                raise ConsoleFailure(f"the console of {self.name} ended: {self.text[-300:]}") from failure

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, wanted, seconds, nudge=None):
        """Until one of the texts comes; which one. `nudge` is typed every few seconds."""
        end, nudged = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            for text in wanted:
                if text in self.text:
                    return text
            if nudge is not None and time.monotonic() - nudged > 10:
                self.send(nudge)
                nudged = time.monotonic()
            self.read(2)
        raise ConsoleFailure(f"{self.name}: after {seconds} s still none of {wanted}: ...{self.text[-400:]!r}")

    def log_in(self, seconds):
        if self.wait_for(["login:", "# "], seconds, nudge="\n") == "login:":
            self.text = ""
            self.send("root\n")
            self.wait_for(["# "], seconds)
        self.run("stty -echo 2>/dev/null; dmesg -n 1 2>/dev/null", seconds)

    def run(self, command, seconds=120):
        """What the guest's shell prints for the command."""
        self.text = ""
        self.send(f"echo {MARK[:2]}''{MARK[2:]}; {command}; echo {MARK[:2]}''{MARK[2:]}\n")
        end = time.monotonic() + seconds
        while self.text.count(MARK) < 2:
            if time.monotonic() > end:
                raise ConsoleFailure(f"{self.name}: {command}: no end after {seconds} s: {self.text[-400:]!r}")
            self.read(2)
        return self.text.split(MARK)[1].replace("\r", "").strip()

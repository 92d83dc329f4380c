"""A house whose agent drives a real libvirt and QEMU: inside private-libvirt.sh, which `run --real` starts."""
import os
import pathlib
import signal
import subprocess

from house import Failure, House, require, wait_until

SOCKET = "/run/libvirt/libvirt-sock"
# The first contact makes libvirt ask every QEMU binary what it can do: seconds, and on a busy machine a minute.
COLD_SECONDS = 90
COLD_TRIES = 3


def command_line(pid):
    """Of a process; nothing once it has ended, also when that happens as it is read."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class RealHouse(House):
    daemons = ("lodged", "lodge-agent", "libvirtd")

    def __init__(self, programs):
        super().__init__(programs, driver="qemu", folder=pathlib.Path(os.environ["LODGE_PRIVATE_FOLDER"]) / "house",
                         instance=os.environ["LODGE_PRIVATE_INSTANCE"])
        # QEMU's user goes through to its disks and sees nothing else.
        for folder in (self.folder, self.repository):
            folder.chmod(0o711)

    def __exit__(self, kind, error, trace):
        for name in self.domains():
            self.virsh("destroy", name)
        for name in self.networks():
            self.virsh("net-destroy", name)
        super().__exit__(kind, error, trace)

    def virsh(self, *arguments, seconds=120):
        """Standard output of virsh, or None when it failed."""
        done = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *arguments], capture_output=True, text=True, timeout=seconds, check=False)
        return done.stdout if done.returncode == 0 else None

    def domains(self):
        """Names of this instance's running domains."""
        return [name for name in (self.virsh("list", "--name") or "").split() if name.startswith(f"{self.instance}-")]

    def networks(self):
        return [name for name in (self.virsh("net-list", "--name") or "").split() if name.startswith(f"{self.instance}-")]

    def libvirtd(self):
        """The process id of libvirtd."""
        return int(pathlib.Path("/run/libvirt/libvirtd.pid").read_text())

    def cut_libvirtd(self):
        """kill -9, and a new one, as a supervisor would."""
        pid = self.libvirtd()
        os.kill(pid, signal.SIGKILL)
        # Until it is gone it holds the lock of its file.
        wait_until("libvirtd is gone", lambda: not command_line(pid))
        subprocess.run(["libvirtd", "-d", "-p", "/run/libvirt/libvirtd.pid"], check=True)

    def power_cut(self, name, **environment):
        if name == "libvirtd":
            self.cut_libvirtd()
        else:
            super().power_cut(name, **environment)

    def guest_processes(self):
        mark = f"guest={self.instance}-"
        found = {}
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            words = command_line(path.parent.name).decode(errors="replace").split("\0")
            id = next((word.removeprefix(mark).split(",")[0] for word in words if word.startswith(mark)), None)
            if id and "qemu" in words[0]:
                found.setdefault(id, []).append(int(path.parent.name))
        return found

    def guests(self):
        processes = self.guest_processes()
        listed = (self.virsh("list", "--all", "--uuid") or "").split()
        require(set(listed) == set(processes), f"libvirt lists {sorted(listed)}, but the processes are {processes}")
        return [id for id, pids in processes.items() for _ in pids]

    def wake_libvirt(self):
        """libvirt 9 was seen to hang for ever while it asks QEMU what it can do, once in some hundred starts of a daemon."""
        for _ in range(COLD_TRIES):
            try:
                wait_until("libvirt answers", lambda: self.virsh("capabilities", seconds=COLD_SECONDS), COLD_SECONDS)
                return
            except subprocess.TimeoutExpired:
                processes = subprocess.run(["ps", "-eo", "pid,ppid,stat,time,args"], capture_output=True, text=True, check=False).stdout
                print(f"   libvirt has not answered for {COLD_SECONDS} s; it is started again. What runs:\n{processes}", flush=True)
                self.cut_libvirtd()
        raise Failure(f"libvirt did not answer {COLD_TRIES} times")

    def furnish(self, has_network=True):
        self.wake_libvirt()
        super().furnish(has_network)

"""A house whose agent drives a real libvirt and QEMU: inside private-libvirt.sh, which `run --real` starts."""
import os
import pathlib
import signal
import subprocess

from house import House, require, wait_until

SOCKET = "/run/libvirt/libvirt-sock"
# The first contact makes libvirt ask every QEMU binary what it can do.
COLD_SECONDS = 180


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

    def virsh(self, *arguments):
        """Standard output of virsh, or None when it failed."""
        done = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *arguments], capture_output=True, text=True, timeout=120, check=False)
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
        wait_until("libvirtd is gone", lambda: not pathlib.Path(f"/proc/{pid}/cmdline").exists() or not pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
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
            try:
                words = path.read_bytes().decode(errors="replace").split("\0")
            except OSError:  # ended meanwhile
                continue
            id = next((word.removeprefix(mark).split(",")[0] for word in words if word.startswith(mark)), None)
            if id and "qemu" in words[0]:
                found.setdefault(id, []).append(int(path.parent.name))
        return found

    def guests(self):
        processes = self.guest_processes()
        listed = (self.virsh("list", "--all", "--uuid") or "").split()
        require(set(listed) == set(processes), f"libvirt lists {sorted(listed)}, but the processes are {processes}")
        return [id for id, pids in processes.items() for _ in pids]

    def furnish(self, has_network=True):
        wait_until("libvirt answers", lambda: self.virsh("capabilities"), COLD_SECONDS)
        super().furnish(has_network)

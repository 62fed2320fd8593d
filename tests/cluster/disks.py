"""Disks of their own for nodes, which fill up and lose power: small tmpfs and ext4 on loop devices. Root only."""
import contextlib
import fcntl
import os
import shutil
import struct
import subprocess

EXT4_IOC_SHUTDOWN, SHUTDOWN_NO_LOG_FLUSH = 0x8004587D, 2
MIB = 1 << 20


def mounts_work():
    """None, or why a test that mounts must be skipped."""
    if os.geteuid() != 0:
        return "mounting needs root"
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    return None if probe.returncode == 0 else "cannot mount here: " + probe.stderr.strip()


def loops_work():
    why = mounts_work()
    if why is None and subprocess.run(["losetup", "-f"], capture_output=True).returncode != 0:
        why = "no loop devices"
    return why


class Disk:
    """A directory of one site moves onto a file system of its own: data or repository, while the node is down, or its drops."""

    def __init__(self, cluster, site, part="data"):
        self.cluster, self.site = cluster, site
        self.data = cluster.site_dir(site) / part
        self.mounted = False

    def mount_there(self):
        raise NotImplementedError

    def move(self, change):
        """The directory's content stays, what it lies on changes."""
        old = self.data.with_name("before")
        shutil.copytree(self.data, old)
        change()
        self.data.chmod(0o700)
        for path in old.iterdir():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, self.data / path.name)
        subprocess.run(["sync", "-f", str(self.data)], check=True)  # The node synced all of it.
        shutil.rmtree(old)

    def begin(self):
        def change():
            shutil.rmtree(self.data)
            self.data.mkdir()
            self.mount_there()
            self.mounted = True
        self.move(change)

    def unmount(self):
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.data)], check=True)
            self.mounted = False

    def end(self):
        """Back to where it was."""
        if self.mounted:
            self.give_back()
            self.move(self.unmount)
            # Where a repository was mounted the node waits for that disk.
            (self.cluster.site_dir(self.site) / "data" / "repository-mount").unlink(missing_ok=True)

    def free(self):
        st = os.statvfs(self.data)
        return st.f_bavail * st.f_frsize

    def fill(self, leave):
        """Takes all room but `leave` bytes, with a file that is none of the node's."""
        size = self.free() - leave
        if size > 0:
            with open(self.data / "filler", "ab") as file:
                os.posix_fallocate(file.fileno(), file.seek(0, 2), size)

    def give_back(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.data / "filler")


class Tmpfs(Disk):
    def __init__(self, cluster, site, mib, part="data"):
        super().__init__(cluster, site, part)
        self.mib = mib

    def mount_there(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.mib}m,mode=0700", "none", str(self.data)], check=True)


class LoopExt4(Disk):
    def __init__(self, cluster, site, mib):
        super().__init__(cluster, site)
        self.image = cluster.top / f"{site}.img"
        with open(self.image, "wb") as file:
            file.truncate(mib * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", str(self.image)], check=True)

    def mount_there(self):
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.data)], check=True)
        with contextlib.suppress(OSError):
            os.rmdir(self.data / "lost+found")

    def cut_power(self):
        """What no fsync reached is lost, and every access fails from now on."""
        root = os.open(self.data, os.O_RDONLY)
        try:
            fcntl.ioctl(root, EXT4_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NO_LOG_FLUSH))
        finally:
            os.close(root)

    def power_on(self):
        """The node must be dead: its files are open no more."""
        subprocess.run(["umount", str(self.data)], check=True)
        self.mounted = False
        self.mount_there()
        self.mounted = True

    def end(self):
        super().end()
        self.image.unlink(missing_ok=True)


@contextlib.contextmanager
def disks(cluster, make, sites):
    """{site: its disk}, with the nodes running on them, and afterwards again on what they had."""
    made = {}
    try:
        for site in sites:
            cluster.stop(site)
            made[site] = make(site)
            made[site].begin()
            cluster.spawn(site)
            cluster.wait_ready([site])
        yield made
    except BaseException:
        print(cluster.logs(8))
        raise
    finally:
        for site, disk in made.items():
            cluster.kill(site)
            disk.end()
        for site in made:
            cluster.spawn(site)
        cluster.wait_ready(made)

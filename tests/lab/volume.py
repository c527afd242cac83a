"""A btrfs file system in a loop image, with subvolumes and read-only snapshots of them; an ext4 for what btrfs cannot.

    with Volume(work, size="3G") as vol:
        mail = vol.subvolume("mail")                     # a Path to work in
        argv = vol.snapshot_command([mail], "s1")        # for `writegate freeze -- ARGV`
        vol.snapshot([mail], "s1")                       # the same, at once (a control run)
        tree = vol.taken(mail, "s1")                     # where the snapshot lies
        vol.delete("s1")

Two subvolumes in one command are snapshotted one after the other, `pause_s` apart: an atomic
snapshot of one volume hides part of the problem, and real deployments have several.
Needs root, btrfs-progs and loop devices; `unavailable()` says what is missing.
"""
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path


def unavailable():
    """Why no volume can be made here, or None."""
    if os.geteuid() != 0:
        return "btrfs volumes need root"
    for tool in ("mkfs.btrfs", "btrfs", "mount", "umount"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices here"
    return None


def _run(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


class Volume:
    def __init__(self, work, size="3G", name="volume"):
        self.image = Path(work) / f"{name}.img"
        self.root = Path(work) / name
        self.size = size
        self._snapshots = {}

    def __enter__(self):
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(_bytes(self.size))
        _run("mkfs.btrfs", "-q", "-f", self.image)
        _run("mount", "-o", "loop,noatime", self.image, self.root)
        (self.root / "snapshots").mkdir()
        return self

    def __exit__(self, *_):
        # A process that is just ending may still have a file open here: try for a while, then
        # detach, which frees the loop device when the last one is gone.
        for _ in range(50):
            if subprocess.run(["umount", self.root], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", self.root], capture_output=True)
        self.image.unlink(missing_ok=True)

    def subvolume(self, name):
        path = self.root / name
        _run("btrfs", "subvolume", "create", path)
        return path

    def taken(self, subvolume, name):
        return self.root / "snapshots" / f"{name}.{Path(subvolume).name}"

    def snapshot_command(self, subvolumes, name, pause_s=0.0):
        """The argv that snapshots all of them, in this order. Run it, or hand it to a freeze."""
        targets = [self.taken(s, name) for s in subvolumes]
        self._snapshots[name] = targets
        calls = [["btrfs", "subvolume", "snapshot", "-r", str(s), str(t)]
                 for s, t in zip(subvolumes, targets)]
        if len(calls) == 1:
            return calls[0]
        between = f" && sleep {pause_s} && " if pause_s else " && "
        return ["sh", "-c", between.join(shlex.join(c) for c in calls)]

    def snapshot(self, subvolumes, name, pause_s=0.0):
        _run(*self.snapshot_command(subvolumes, name, pause_s))

    def delete(self, name):
        """Remove a snapshot; one that was never taken (a freeze that gave up) is no error."""
        for target in self._snapshots.pop(name, []):
            if target.exists():
                _run("btrfs", "subvolume", "delete", target)


class Image(Volume):
    """The same for fsfreeze: a frozen btrfs can take no snapshot of itself. An ext4 in an image that lies on a btrfs; its
    snapshot is a clone of the image, as a block device's would be."""

    def __enter__(self):
        self.outer = Volume(self.image.parent, size=self.size, name=f"{self.image.stem}-below")
        self.outer.__enter__()
        try:
            self.image = self.outer.root / "ext4.img"
            with open(self.image, "wb") as image:
                image.truncate(_bytes(self.size) // 2)
            _run("mkfs.ext4", "-q", "-F", "-E", "nodiscard", self.image)
            self.root.mkdir(parents=True, exist_ok=True)
            _run("mount", "-o", "loop,noatime", self.image, self.root)
        except BaseException:
            self.outer.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # A frozen one could not be unmounted.
        subprocess.run(["fsfreeze", "-u", self.root], capture_output=True)
        for name in list(self._snapshots):
            self.delete(name)
        super().__exit__()
        self.outer.__exit__()

    def subvolume(self, name):
        path = self.root / name
        path.mkdir()
        return path

    def _mounted(self, name):
        return self.outer.root / f"taken-{name}"

    def _clone(self, name):
        return self.outer.root / f"{name}.img"

    def taken(self, subvolume, name):
        """Mounted at the first look, with its journal played as after a restore."""
        place = self._mounted(name)
        if self._clone(name).exists() and not place.exists():
            place.mkdir()
            _run("mount", "-o", "loop,noatime", self._clone(name), place)
        return place / Path(subvolume).name

    def snapshot_command(self, subvolumes, name, pause_s=0.0):
        """All of them at one moment. The pause is kept: it is what the server is held for."""
        self._snapshots[name] = list(subvolumes)
        clone = shlex.join(["cp", "--reflink=always", str(self.image), str(self._clone(name))])
        return ["sh", "-c", f"{clone} && sleep {pause_s}" if pause_s else clone]

    def snapshot(self, subvolumes, name, pause_s=0.0):
        _run("sync", "-f", self.root)
        super().snapshot(subvolumes, name, pause_s)

    def delete(self, name):
        self._snapshots.pop(name, None)
        place = self._mounted(name)
        if place.exists():
            _run("umount", place)
            place.rmdir()
        self._clone(name).unlink(missing_ok=True)


def _bytes(size):
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[-1]]
    return int(size[:-1]) * unit

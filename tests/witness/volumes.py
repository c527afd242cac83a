"""A volume in a loop image; and `lab.volume.Volume` made of plain folders of it.

The witness judges the record and not a snapshot, so the rigs' snapshots need not be taken.
"""
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path


def _run(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip()}")


# mkfs.xfs makes nothing below 300 MiB.
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}


def unavailable(kind):
    """Why there can be no such volume here; None if there can."""
    if not shutil.which(MAKE[kind][0]):
        return f"{MAKE[kind][0]} is not there"
    known = Path("/proc/filesystems").read_text().split()
    return None if kind in known else f"this kernel has no {kind}"


@contextmanager
def volume(work, size="3G", kind="ext4"):
    """A mount point below `work`. noatime: reading is no change."""
    image, root = Path(work) / "witness.img", Path(work) / "protected"
    root.mkdir()
    _run("truncate", "-s", size, image)
    _run(*MAKE[kind], image)
    _run("mount", "-o", "loop,noatime", image, root)
    try:
        root.chmod(0o755)
        yield root
    finally:
        for _ in range(50):
            if subprocess.run(["umount", root], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", root], capture_output=True)
        image.unlink(missing_ok=True)


class Folders:
    """What a rig asks of a volume, with plain folders."""
    place = None                                        # where the volume is mounted

    def __init__(self, _work, size=None, name="volume"):
        self.root = Path(self.place) / name

    def __enter__(self):
        self.root.mkdir()
        return self

    def __exit__(self, *_):
        pass

    def subvolume(self, name):
        path = self.root / name
        path.mkdir()
        return path

    def snapshot_command(self, subvolumes, name, pause_s=0.0):
        return ["sleep", str(pause_s)] if pause_s else ["true"]

    def taken(self, subvolume, name):
        return self.root / "snapshots" / f"{name}.{Path(subvolume).name}"

    def delete(self, name):
        pass

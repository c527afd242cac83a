"""The real Timeshift (Debian's) in a root of its own, which is the subvolume @ of the case's volume, and the wrapper of contrib/timeshift.

The root borrows /usr of this machine. Timeshift passes loop devices by, and asks lsblk for what udev knows: for those two things
a stand-in of lsblk answers, and nothing else is one.
"""
import json
import os
import shlex
import shutil
import time

import bad
from rig import BIN, ROOT, need, run, whole

WRAPPER = ROOT / "contrib/timeshift/writegate-timeshift"
ENTER = r"""#!/bin/sh
case "$*" in *--"${OTHER_DISK_AT:-none}"*) export ANOTHER= ;; esac
case "$*" in *--create*) eval "${BEFORE:-}" ;; esac
exec unshare --mount --propagation private sh -c '
    root=$1; shift
    mount --bind /usr "$root/usr" && mount -o remount,bind,ro "$root/usr" || exit
    for name in dev proc sys; do mount --rbind "/$name" "$root/$name" || exit; done
    for name in run tmp; do mount -t tmpfs own "$root/$name" || exit; done
    PATH=/own:/usr/sbin:/usr/bin exec chroot "$root" timeshift "$@"' sh ROOT "$@"
"""
LSBLK = r"""#!/bin/sh
/usr/bin/lsblk "$@" | sed '/NAME="NODE"/{s/TYPE="loop"/TYPE="disk"/;s/UUID=""/UUID="'"${ANOTHER-WHICH}"'"/;s/FSTYPE=""/FSTYPE="btrfs"/}'
"""
SETTINGS = {"btrfs_mode": "true", "count_daily": "1"}


class Timeshift:
    """A system whose root is @, with the mail in it."""

    def __init__(self, rig):
        self.rig = rig
        at, self.root = rig.volume / "@", rig.folder / "root"
        run("btrfs", "-q", "subvolume", "create", at)
        rig.tree = at / "srv/mail"
        for name in ("usr", "etc/timeshift", "dev", "proc", "sys", "run", "tmp", "own", "srv/mail", "var/log", "home"):
            (at / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (at / name).symlink_to(f"usr/{name}")
        shutil.copytree("/etc/alternatives", at / "etc/alternatives", symlinks=True)
        self.root.mkdir()
        device = run("findmnt", "-no", "SOURCE", rig.volume).stdout.strip()
        # With less than 1 GB left it makes no second one.
        run("truncate", "-s", "2G", rig.image)
        run("losetup", "--set-capacity", device)
        run("btrfs", "-q", "filesystem", "resize", "max", rig.volume)
        number = run("blkid", "-s", "UUID", "-o", "value", device).stdout.strip()
        run("mount", "-o", "subvol=@,noatime", device, self.root)
        rig.mounts.append(self.root)
        (at / "etc/mtab").symlink_to("/proc/self/mounts")
        (at / "etc/fstab").write_text(f"UUID={number} / btrfs subvol=@ 0 0\n")
        (at / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        self.settings = at / "etc/timeshift/timeshift.json"
        self.settings.write_text(json.dumps({**SETTINGS, "backup_device_uuid": number}, indent=2, separators=(",", " : ")))
        self.program(at / "own/lsblk", LSBLK.replace("NODE", os.path.basename(device)).replace("WHICH", number))
        self.bin = rig.folder / "bin"
        self.bin.mkdir()
        self.program(self.bin / "timeshift", ENTER.replace("ROOT", shlex.quote(str(self.root))))
        self.made = rig.volume / "timeshift-btrfs/snapshots"
        configure = rig.configure
        # Its start, and what it looks up first, lies within the freeze: that takes some seconds on a busy machine.
        rig.configure = lambda **more: configure(**{"limit": "25s", **more})
        rig.configure()

    @staticmethod
    def program(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def call(self, *words, by=WRAPPER, **more):
        return run(by, *words, check=False, env=self.rig.environment(
            PATH=f"{self.bin}:{BIN}:{os.environ['PATH']}", TIMESHIFT_CONF=self.settings, **more))

    def names(self):
        return sorted(path.parent.name for path in self.made.glob("*/@")) if self.made.exists() else []

    def mail(self, name):
        return self.made / name / "@/srv/mail"

    def days_ago(self, name, days):
        info = self.made / name / "info.json"
        told = json.loads(info.read_text())
        told["created"] = str(int(time.time()) - days * 86400)
        info.write_text(json.dumps(told))


def test_timeshift_itself(rig):
    """What this run has made and cannot be trusted goes, and nothing else: not by Timeshift's own pruning either."""
    need("timeshift", "findmnt", "blkid")
    shift = Timeshift(rig)
    rig.write(paths=rig.tree)
    create = "--create", "--scripted", "--tags", "D", "--comments", "mail"
    done = shift.call(*create)
    assert done.returncode == 0 and len(shift.names()) == 1, f"{done.returncode}: {done.stdout}{done.stderr}"
    [good] = shift.names()
    whole(shift.mail(good))
    shift.days_ago(good, 30)
    for name, code, more in bad.wrapped(rig):
        done = shift.call(*create, **more)
        assert done.returncode == code and shift.names() == [good], f"{name}: {done.returncode}, {shift.names()}: {done.stdout}{done.stderr}"
    # It ends with 0, too, when it made nothing: then there is no snapshot that could be CONSISTENT.
    done = shift.call(*create, OTHER_DISK_AT="create")
    assert done.returncode == 1 and "made no snapshot" in done.stderr and shift.names() == [good], done.stderr
    # A list that could not be looked at is no empty one.
    done = shift.call(*create, OTHER_DISK_AT="list")
    assert done.returncode == 78 and "names no disk" in done.stderr and shift.names() == [good], done.stderr
    # What Timeshift may prune at the end of a run is not made at all, nor what is copied for minutes.
    before = rig.freezes()
    for words, code in (["--create"], 64), (["--create", "--comments", " "], 64), (["--check", *create], 64), (["--rsync", *create], 78):
        done = shift.call(*words)
        assert done.returncode == code and shift.names() == [good], f"{words}: {done.returncode}: {done.stderr}"
    shift.settings.write_text('{"btrfs_mode" : "false"}')
    done = shift.call(*create)
    assert done.returncode == 78 and "btrfs mode" in done.stderr and rig.freezes() == before, done.stderr

"""A gated writer on a volume of its own, as a backup tool's test needs it.

The writer keeps two files at the same number, under a lock, and is between the two most of the time: a copy
in which they differ was torn. `pair(tree)` reads them.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or ROOT / "target/release").resolve()

WRITER = r"""
import fcntl, os, sys, time
tree, number = sys.argv[1], 0
lock = os.open(tree + "/lock", os.O_RDWR | os.O_CREAT, 0o600)
one, two = (os.open(f"{tree}/{n}", os.O_RDWR | os.O_CREAT, 0o600) for n in "ab")
hold = float(sys.argv[2])
while True:
    number += 1
    text = b"%012d" % number
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.pwrite(one, text, 0)
    if number == 1:
        os.write(1, b".")                                # in its first section
    time.sleep(hold)
    os.pwrite(two, text, 0)
    fcntl.flock(lock, fcntl.LOCK_UN)
    time.sleep(0.0005)
"""


class Skip(Exception):
    """The case cannot be run here, and why."""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not there")


def run(*argv, check=True, env=None, timeout=120, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, env=env, timeout=timeout,
                          stdin=subprocess.DEVNULL, **more)
    if check and done.returncode:
        raise AssertionError(f"{argv[0]} ended with {done.returncode}: {done.stdout[-400:]}{done.stderr[:1500]}")
    return done


def pair(tree):
    """The two numbers in a copy of the tree."""
    return tuple((Path(tree) / name).read_bytes() for name in "ab")


def whole(tree):
    one, two = pair(tree)
    assert one == two and len(one) == 12, f"torn: {one} and {two}"


class Rig:
    """A folder with a volume, a gate, and writers; everything is taken down by close()."""

    def __init__(self, folder, kind="btrfs"):
        self.folder, self.writers, self.mounts = Path(folder), [], []
        self.dir, self.state = self.folder / "run", self.folder / "state"
        self.image, self.volume = self.folder / "image", self.folder / "vol"
        self.volume.mkdir()
        run("truncate", "-s", "300M" if kind == "btrfs" else "40M", self.image)
        run(f"mkfs.{kind}", "-q", self.image)
        self.mount(self.image, self.volume)
        self.tree = self.volume / "mail"
        if kind == "btrfs":
            run("btrfs", "-q", "subvolume", "create", self.tree)
        else:
            self.tree.mkdir()
        self.conf = self.folder / "hook.conf"
        self.configure()

    def mount(self, image, at):
        run("mount", "-o", "loop,noatime", image, at)
        self.mounts.append(at)

    def configure(self, gates="mail", limit="5s", options="--drain 3s --retries 0", last=""):
        self.conf.write_text(f'GATES="{gates}"\nLIMIT={limit}\nFREEZE_OPTIONS="{options}"\nLAST={last}\n')

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE_", "LD_"))}
        env.update(WRITEGATE_DIR=str(self.dir), WRITEGATE_HOOK_CONF=str(self.conf), HOME=str(self.folder),
                   WRITEGATE_HOOK_STATE=str(self.state), PATH=f"{BIN}:{os.environ['PATH']}",
                   WRITEGATE_AROUND=str(ROOT / "contrib/around/writegate-around"),
                   WRITEGATE_SNAPSHOT=str(ROOT / "contrib/snapshot/writegate-snapshot"),
                   WRITEGATE_ZFS_MARK=str(ROOT / "contrib/zfs/writegate-zfs-mark"))
        env.update(more)
        return {k: str(v) for k, v in env.items()}

    def write(self, hold=0.003, gate="mail", directory=None, tree=None, paths=None):
        """Starts a writer; one that holds for long never drains."""
        env = self.environment(LD_PRELOAD=BIN / "libwritegate.so", WRITEGATE_GATE=gate)
        env["WRITEGATE_DIR"] = str(directory or self.dir)
        if paths:
            env["WRITEGATE_PATHS"] = str(paths)
        tree = tree or self.tree
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tree), str(hold)], env=env,
                                   stdout=subprocess.PIPE)
        self.writers.append(process)
        assert process.stdout.read(1) == b".", "the writer has ended"
        while hold < 1 and not (tree / "b").stat().st_size:
            time.sleep(0.01)
        return process

    def hook(self, *argv, check=True, **env):
        """A file of contrib/."""
        return run(ROOT / "contrib" / argv[0], *argv[1:], check=check, env=self.environment(**env))

    def freezes(self, gate="mail"):
        """How many freezes the gate has seen."""
        done = run(BIN / "writegate", "status", "--json", "-g", gate, env=self.environment())
        return json.loads(done.stdout)["gates"][0]["freezes"]

    def is_open(self, gate="mail"):
        done = run(BIN / "writegate", "status", "--json", "-g", gate, env=self.environment())
        return json.loads(done.stdout)["gates"][0]["barrier"] != "closed"

    def stop_writers(self):
        for process in self.writers:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        self.writers = []

    def close(self):
        for mount in reversed(self.mounts):
            # A frozen file system first, or nobody who writes to it can be ended.
            subprocess.run(["fsfreeze", "-u", mount], capture_output=True)
        self.stop_writers()
        for mount in reversed(self.mounts):
            for _ in range(50):
                if subprocess.run(["umount", mount], capture_output=True).returncode == 0:
                    break
                time.sleep(0.1)

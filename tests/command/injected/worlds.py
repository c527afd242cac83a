"""Small services of which it is known what a freeze must say, whatever it can see.

    with Worlds() as worlds:
        for name in worlds.ALL: with getattr(worlds, name)() as world: world.command, world.wanted

Each world holds exactly one reason why CONSISTENT would be false, so that nothing else can make up for a look that
failed; `quiet` holds none. All processes are ended when the world is.
"""
import contextlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or ROOT / "target" / "release")
COMMAND, LIBRARY = BIN / "writegate", BIN / "libwritegate.so"
PATIENCE_S = 20
BARRIER_AT = 32

# A gated worker: idle; or for good in the middle of a set, under a lock.
WORKER = r"""
import fcntl, os, sys
how, data = sys.argv[1:]
if how == "section":
    file = open(data + "/a", "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write("half"); file.flush()
else:
    open(data + "/idle%d" % os.getpid(), "w").close()
print("ready", flush=True)
while os.read(0, 1): pass
"""
# Ungated: has a protected file open for writing; or opens it and writes when told to by a file.
WRITER = r"""
import os, sys, time
how, data, flag = sys.argv[1:]
if how == "holds": file = open(data + "/held", "ab")
print("ready", flush=True)
while how == "waits" and not os.path.exists(flag): time.sleep(0.001)
if how == "waits":
    open(data + "/new", "ab").write(b"x")
    open(flag + ".done", "w").close()
while os.read(0, 1): pass
"""
# The snapshot command that lets it write, in the window.
LET_WRITE = ": > {0}; n=0; while [ ! -e {0}.done ] && [ $n -lt 400 ]; do sleep 0.005; n=$((n+1)); done"


@dataclass
class World:
    """One of them, alive."""
    name: str
    work: Path
    # Why CONSISTENT would be a lie.
    lie: str
    # What a freeze without a fault says.
    verdict: str
    command: list = field(default_factory=lambda: ["true"])
    children: list = field(default_factory=list)

    @property
    def gates(self):
        return self.work / "gates"

    @property
    def data(self):
        return self.work / "data"

    @property
    def flag(self):
        return self.work / "flag"

    def env(self, gated=False):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE_", "LD_PRELOAD"))}
        env |= {"WRITEGATE_DIR": str(self.gates), "WRITEGATE_TEST_LOG_SOCKET": "", "LC_ALL": "C"}
        if gated:
            env |= {"LD_PRELOAD": str(LIBRARY), "WRITEGATE_GATE": "t", "WRITEGATE_PATHS": str(self.data)}
        return env

    def start(self, code, *args, gated=False):
        child = subprocess.Popen([sys.executable, "-S", "-c", code, *map(str, args)], env=self.env(gated),
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.children.append(child)
        assert child.stdout.readline() == b"ready\n", self.name
        return child

    def worker(self, how="idle"):
        return self.start(WORKER, how, self.data, gated=True)

    def again(self):
        """As before the first freeze."""
        for file in (self.flag, Path(f"{self.flag}.done"), self.data / "new"):
            file.unlink(missing_ok=True)

    def rearm(self):
        """What can be done once only is made ready again."""
        if self.name == "escape":
            self.end(self.children.pop())
            self.again()
            self.start(WRITER, "waits", self.data, self.flag)

    def deadline(self):
        """The barrier word: 0 is open."""
        return struct.unpack_from("<Q", (self.gates / "t" / "control").read_bytes(), BARRIER_AT)[0]

    @staticmethod
    def end(child):
        child.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()

    def close(self):
        for child in self.children:
            self.end(child)
        shutil.rmtree(self.work, ignore_errors=True)


def _fresh(name, lie, verdict, base):
    world = World(name, Path(tempfile.mkdtemp(prefix=f"writegate-injected-{name}-", dir=base)), lie, verdict)
    world.work.chmod(0o755)
    world.data.mkdir()
    return world


def quiet(base):
    """CONSISTENT is true."""
    world = _fresh("quiet", None, "CONSISTENT", base)
    world.worker(), world.worker()
    return world


def section(base):
    """One is in the middle of a set for good."""
    world = _fresh("section", "a process was in the middle of a set", "NOT_DRAINED", base)
    world.worker(), world.worker("section")
    return world


def ungated(base):
    """One without the library has a protected file open for writing."""
    world = _fresh("ungated", "somebody ungated had a protected file open for writing", "UNGATED", base)
    world.worker(), world.start(WRITER, "holds", world.data, world.flag)
    return world


def escape(base):
    """One without the library opens and writes a file in the window."""
    world = _fresh("escape", "a file was written in the window", "ESCAPED", base)
    world.worker(), world.start(WRITER, "waits", world.data, world.flag)
    world.command = ["sh", "-c", LET_WRITE.format(world.flag)]
    return world


def deaf(base):
    """One maps a page that was replaced: it hears no barrier."""
    world = _fresh("deaf", "a process of the service could not hear the barrier", "UNGATED", base)
    world.worker()
    page = world.gates / "t" / "control"
    content = page.read_bytes()
    page.unlink()
    page.write_bytes(content)
    page.chmod(0o644)
    world.worker()
    return world


ALL = (section, ungated, escape, deaf, quiet)


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)

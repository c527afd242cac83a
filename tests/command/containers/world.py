"""Containers made by hand: a process that is the first of its namespaces, and programs run beside it."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR", HERE.parents[2] / "target/release")).resolve()
GATE = "pod"
# One that every user may run.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
SUBUID = 231072                 # whose the root of a user namespace is outside
PATIENCE_S = 120
# Whoever comes to rest at all does so within the one on a busy machine; half a set never does.
LONG, BRIEF = "12s", "300ms"

# The first process of a container: makes its namespaces, says so, and waits for its end.
#   NAMESPACES MAP: which ones (of pid, mnt, user, none), and whose its root is outside
INIT = r"""
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
FLAGS = {"user": 0x10000000, "pid": 0x20000000, "mnt": 0x20000}
wanted, root = sys.argv[1].split(","), sys.argv[2]
def unshare(names):
    flags = sum(FLAGS[name] for name in names if name in wanted)
    if flags and libc.unshare(flags):
        sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
libc.prctl(1, 9, 0, 0, 0)                                                    # PR_SET_PDEATHSIG
if "user" in wanted:
    here, there = os.pipe(), os.pipe()
    child = os.fork()
    if child:
        os.read(here[0], 1)
        for kind in "uid", "gid":
            open(f"/proc/{child}/{kind}_map", "w").write(f"0 {root} 65536\n")
        os.write(there[1], b"x")
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    libc.prctl(1, 9, 0, 0, 0)
    unshare(["user"])
    os.write(here[1], b"x")
    os.read(there[0], 1)
    os.setgroups([]), os.setgid(0), os.setuid(0)
unshare(["pid", "mnt"])
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
libc.prctl(1, 9, 0, 0, 0)
if "mnt" in wanted:
    libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)                  # MS_REC | MS_PRIVATE
    if "pid" in wanted and libc.mount(b"proc", b"/proc", b"proc", 0, None):
        sys.exit("mount: " + os.strerror(ctypes.get_errno()))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"ready\n")
os.read(0, 1)
"""


class Skip(Exception):
    """This machine cannot show it."""


class Container:
    """Namespaces, and what is run in them. `None` for `outside`: those of this process."""

    def __init__(self, world, namespaces=("pid", "mnt"), root=0, outside=None):
        self.namespaces, self.root = namespaces, root
        argv = [PYTHON, "-c", INIT, ",".join(namespaces), str(root)]
        self.top = world.popen(argv, outside, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = self.top.stdout.readline()
        assert said == "ready\n", f"no container: {said!r}"
        self.pid = deepest_child(self.top.pid)
        world.containers.append(self)

    def enter(self, which=None):
        """What stands before a command that is to run in it (in these of its namespaces)."""
        flags = {"pid": "--pid", "mnt": "--mount", "user": "--user"}
        which = which or self.namespaces
        argv = ["nsenter", "--target", str(self.pid), *(flags[name] for name in which)]
        return argv + ["--setuid", "0", "--setgid", "0"] * ("user" in which)

    def end(self):
        # A change of the user lets go of the signal that its parent's death would send.
        for pid in (self.pid, self.top.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.top.wait()
        gone = time.monotonic() + PATIENCE_S
        while os.path.exists(f"/proc/{self.pid}") and time.monotonic() < gone:
            time.sleep(0.01)


def deepest_child(pid):
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return pid
        pid = int(children[0])


class World:
    """A gate, a protected directory, containers, and what must be undone."""

    def __init__(self, root, member, owner=0):
        self.root, self.member_program = Path(tempfile.mkdtemp(dir=root)), member
        self.root.chmod(0o755)
        self.gates, self.mail = self.root / "gates", self.root / "mail"
        for folder in (self.gates, self.mail):
            folder.mkdir()
            os.chown(folder, owner, owner)
        self.profile = self.root / "profile.conf"
        self.profile.touch()
        self.procs, self.containers = [], []

    def env(self, gated=False, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE", "LD_"))}
        env.update(WRITEGATE_DIR=str(self.gates), WRITEGATE_CONF=str(self.profile), WRITEGATE_TEST_LOG_SOCKET="")
        if gated:
            env.update(LD_PRELOAD=str(BIN / "libwritegate.so"), WRITEGATE_GATE=GATE, WRITEGATE_PATHS=str(self.mail))
        return {**env, **more}

    def gated_env(self):
        return [f"{k}={v}" for k, v in self.env(True).items() if k.startswith(("WRITEGATE", "LD_"))]

    def popen(self, argv, where=None, which=None, gated=False, **kw):
        before = where.enter(which) if where else []
        # The library is for the program alone, not for what enters the container.
        after = ["env", *self.gated_env()] * gated
        p = subprocess.Popen([*before, *after, *map(str, argv)], env=self.env(), text=True, cwd="/", **kw)
        self.procs.append(p)
        return p

    def member(self, where=None, *before):
        p = self.popen([*before, self.member_program], where, gated=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert p.stdout.readline() == "done\n", "the member did not start"
        return p

    def run(self, argv, where=None, which=None, **env):
        p = self.popen(argv, where, which, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        p.said, _ = p.communicate(timeout=PATIENCE_S)
        return p

    def freeze(self, where=None, which=None, *options, command=("true",), before=(), drain=LONG):
        return self.run([*before, BIN / "writegate", "freeze", "-g", GATE, "-t", "30s", "--drain", drain, "--retries", "0",
                         *options, "--", *command], where, which)

    def freeze_half(self, *where, **how):
        """Of a set that does not end: that is so however long it is waited for (and the next freeze waits as long)."""
        return self.freeze(*where, **how, drain=BRIEF)

    def close(self):
        for container in reversed(self.containers):
            container.end()
        for p in self.procs:
            if p.poll() is None:
                p.kill()
            p.wait()
            for stream in (p.stdin, p.stdout):
                if stream:
                    stream.close()
        shutil.rmtree(self.root, ignore_errors=True)


def tell(member, order):
    member.stdin.write(order + "\n")
    member.stdin.flush()
    assert member.stdout.readline() == "done\n", order


def whole(said, procs=None, watched=None):
    line = f"verdict=CONSISTENT coverage=full watched={watched or ''}"
    assert said.returncode == 0 and line in said.said, said.said
    assert procs is None or re.search(rf"procs={procs}\b", said.said), said.said


def refused(said, code, *words):
    assert said.returncode == code, f"exit code {said.returncode}: {said.said}"
    assert "verdict=" not in said.said, f"something was held: {said.said}"
    for word in words:
        assert word in said.said, f"{word!r} is not said: {said.said}"

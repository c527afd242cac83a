"""Ways to coordinate a snapshot with a running server, ours among them: one interface for all.

    way = ways.WAYS["sigstop"]
    target = ways.Target(work, members=..., paths=[...], mount=..., gate=..., halt=..., resume=...)
    moment = way.run(target, command)       # command: argv of the snapshot
    moment.drain_ms, moment.held_ms, moment.window, moment.exit

drain_ms is from the first thing that is done to the server until the command begins; held_ms until the server is let go:
each way has both, so they can be compared. A way undoes what it did, however it is left. Which server it is and how its
files are judged is not known here.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import gate as gates, plain, procs, volume

PATIENCE_S = 30                                         # for one snapshot, and for a server to stand still


@dataclass
class Target:
    """What is known of a server by whoever takes snapshots of it."""
    work: Path
    members: object = None                              # its processes now, by pid
    paths: list = field(default_factory=list)           # what is protected
    mount: Path = None                                  # the file system that it lies on
    gate: gates.Gate = None                             # the server runs under it
    profile: Path = None                                # shipped for this server
    halt: object = None                                 # stops the server as its admin would
    resume: object = None                               # starts it again
    freeze_options: tuple = ()
    rest_options: tuple = ()                            # of a freeze without the library
    limit: str = "5s"
    drain: str = "3s"
    retries: int = 0


@dataclass
class Moment:
    """What came of one snapshot. Times of the window are seconds of CLOCK_MONOTONIC."""
    window: tuple
    drain_ms: float = None
    held_ms: float = None
    outcome: gates.Outcome = None                       # of writegate's own ways

    @property
    def exit(self):
        return self.outcome.exit if self.outcome else None

    @property
    def verdict(self):
        return self.outcome.verdict if self.outcome else None


@dataclass
class Way:
    name: str
    title: str
    run: object                                         # (target, command) -> Moment
    gated: bool = False                                 # the server runs under the library
    volume: object = volume.Volume                      # what the store must lie on
    locks: bool = True                                  # False: the gate counts single calls alone
    slow: bool = False                                  # a snapshot takes seconds: fewer of them are enough
    unavailable: object = lambda: None
    shim: object = None                                 # (work) -> what takes the library's place
    servers: tuple = None                               # the only ones that it can be tried with


def around(hold):
    """A way made of a context manager that keeps the server still; it gives the moment at which that began."""
    def run(target, command):
        with hold(target) as begun:
            still = time.monotonic()
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        ended = time.monotonic()
        return Moment((begun, ended), (still - begun) * 1e3, (ended - begun) * 1e3)
    return run


def at_once(_target, command):
    """The server is not asked."""
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return Moment((begun, time.monotonic()))


@contextlib.contextmanager
def stopped_by_signal(target):
    """SIGSTOP for every process until none is left that runs; a fork may be under way."""
    seen, members = set(), target.members()
    begun = time.monotonic()
    try:
        end = begun + PATIENCE_S
        while running := {pid for pid in members if not _stands(pid)}:
            seen |= running
            _signal(running, signal.SIGSTOP)
            if time.monotonic() > end:
                raise TimeoutError(f"not stopped by SIGSTOP: {running}")
            time.sleep(0.001)
            members = target.members()
        yield begun
    finally:
        _signal(seen, signal.SIGCONT)


def _stands(pid):
    stat = procs.stat_of(pid)
    return stat is None or stat[2] in "TtZX"


def _signal(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _cgroup2():
    """Where the second version of control groups is mounted, or None."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(mount, os.W_OK):
            return Path(mount)
    return None


@contextlib.contextmanager
def frozen_group(target):
    """The server's processes in a control group of their own, as systemd would have them, which is frozen."""
    top = _cgroup2()
    group = top / f"writegate-lab-{os.getpid()}"
    group.mkdir(exist_ok=True)
    homes = []
    try:
        # What they start from now on is in it too; what they were just starting is not.
        while strangers := [pid for pid in target.members() if pid not in _pids(group)]:
            for pid in strangers:
                with contextlib.suppress(OSError):
                    homes.append(_group_of(pid))
                    (group / "cgroup.procs").write_text(str(pid))
            if all(procs.stat_of(pid) is None or procs.stat_of(pid)[2] in "ZX" for pid in strangers):
                break
        begun = time.monotonic()
        (group / "cgroup.freeze").write_text("1")
        end = begun + PATIENCE_S
        while "frozen 1" not in (group / "cgroup.events").read_text():
            if time.monotonic() > end:
                raise TimeoutError("the control group does not freeze")
            time.sleep(0.001)
        yield begun
    finally:
        (group / "cgroup.freeze").write_text("0")
        home = next(iter(homes), "/").lstrip("/")
        # A server forks meanwhile: until nobody is left.
        for _ in range(1000):
            if not (left := _pids(group)):
                break
            for pid in left:
                with contextlib.suppress(OSError):
                    (top / home / "cgroup.procs").write_text(str(pid))
        with contextlib.suppress(OSError):              # a zombie nobody reaps keeps it
            group.rmdir()


def _pids(group):
    return {int(word) for word in (group / "cgroup.procs").read_text().split()}


def _group_of(pid):
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


# Thaws when its standard input ends: also if whoever froze was killed.
GUARD = """
import subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
frozen = subprocess.run(["fsfreeze", "-f", sys.argv[1]]).returncode == 0
print("frozen" if frozen else "refused", flush=True)
sys.stdin.read()
if frozen:
    subprocess.run(["fsfreeze", "-u", sys.argv[1]], check=True)
"""


@contextlib.contextmanager
def frozen_file_system(target):
    """fsfreeze. A process of its own, in a session of its own, thaws: it outlives us."""
    guard = subprocess.Popen([sys.executable, "-c", GUARD, str(target.mount)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        guard.stdout.readline()
        begun = time.monotonic()
        guard.stdin.write("freeze\n")
        guard.stdin.flush()
        if guard.stdout.readline() != "frozen\n":
            raise RuntimeError(f"fsfreeze refused {target.mount}")
        yield begun
    finally:
        guard.stdin.close()
        if guard.wait(PATIENCE_S):
            raise RuntimeError(f"{target.mount} was not thawed")


@contextlib.contextmanager
def stopped_service(target):
    """Stop and start."""
    begun = time.monotonic()
    target.halt()
    try:
        yield begun
    finally:
        target.resume()


def gate(target, command):
    """Ours."""
    return _of_outcome(lambda: target.gate.freeze(
        command, limit=target.limit, drain=target.drain, retries=target.retries, extra=target.freeze_options))


def plain_gate(target, command):
    """The control: single calls are counted and held, by a shim of some 150 lines."""
    begun = time.monotonic()
    closed, drained, opened, code, said = target.gate.freeze(command)
    if code:
        verdict = "NOT_DRAINED" if code == gates.NOT_DRAINED else "FAILED"
        wall = (time.monotonic() - begun) * 1e3
        return Moment((begun, time.monotonic()), outcome=gates.Outcome(code, "", said, wall, {"verdict": verdict}))
    return Moment((closed, opened), (drained - closed) * 1e3, (opened - closed) * 1e3)


def at_rest(target, command):
    """No library: `writegate freeze --pid` of the processes that no other of the server has started."""
    members = target.members()
    roots = [pid for pid in members if (stat := procs.stat_of(pid)) and stat[0] not in members and stat[2] not in "ZX"]
    tool = gates.Gate(target.work, name="unused", paths=target.paths)
    report = target.work / "report.json"
    argv = [tool.command, "freeze", "-t", target.limit, "--drain", target.drain, "--retries", target.retries,
            "--paths", ":".join(tool.paths), "--report", report, *target.rest_options]
    for pid in roots:
        argv += ["--pid", pid]
    if target.profile:
        argv += ["--profile", target.profile]
    return _of_outcome(lambda: tool.outcome_of([str(word) for word in (*argv, "--", *command)], report))


def _of_outcome(freeze):
    begun = time.monotonic()
    outcome = freeze()
    ended = time.monotonic()
    return Moment(outcome.barrier or (begun, ended), outcome.drain_ms, outcome.held_ms, outcome)


def _no_group():
    return None if os.geteuid() == 0 and _cgroup2() else "no cgroup2 that may be written to"


def _no_ext4():
    for tool in ("mkfs.ext4", "fsfreeze"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if "\text4\n" not in Path("/proc/filesystems").read_text():
        return "no ext4 in this kernel (perhaps `modprobe ext4`)"
    return None


_ALL = [Way("none", "nothing", at_once),
        Way("sigstop", "SIGSTOP to all", around(stopped_by_signal)),
        Way("cgroup", "cgroup freezer", around(frozen_group), unavailable=_no_group),
        Way("fsfreeze", "fsfreeze", around(frozen_file_system), volume=volume.Image, unavailable=_no_ext4),
        Way("stop", "stop and start", around(stopped_service), slow=True),
        Way("calls", "gate, single calls only", gate, gated=True, locks=False),
        Way("plain", "a plain gate (control)", plain_gate, gated=True, shim=plain.PlainGate, servers=("cyrus", "toy"),
            unavailable=plain.unavailable),
        Way("rest", "writegate, at rest (no library)", at_rest),
        Way("gate", "writegate", gate, gated=True)]
WAYS = {way.name: way for way in _ALL}


def limits(options):
    """Those of a command line, for a Target; its own where there is none."""
    return {name: getattr(options, name) for name in ("limit", "drain", "retries") if options}


def usual(gate):
    """What is done where no way was asked for: the gate that is there, or whatever takes its place."""
    return WAYS["gate" if gate else "none"]


def counting_profile(work):
    """Lines by which a gate takes no lock below the work folder for a section: it counts single calls alone."""
    return {"lifetime-lock": [f"{work}/*"]}

"""Starting and stopping processes by pid, whole families of them; ports; a work folder.

    with workspace("cyrus") as work:                # a folder, removed at the end
        port = free_port()
        with Service(argv, env=..., log=work / "master.log") as s:
            wait_for_port(port, service=s)
            s.members()                             # pids of everything it started

Nothing is ever stopped by name: several of these may run on one machine. The caller's process
becomes a "child subreaper", so that a daemon's orphans come back to it and are found.
"""
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
MARK = "WRITEGATE_LAB_SERVICE"
_ROOTS = set()                                          # pids that Services started themselves


def become_subreaper():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def workspace(name, keep=None):
    """A work folder below $WRITEGATE_LAB_DIR (default /var/tmp), 0755 so that servers' own users
    can reach their files. $WRITEGATE_LAB_KEEP or keep=True leaves it there for a look."""
    become_subreaper()
    signals_raise()
    base = os.environ.get("WRITEGATE_LAB_DIR", "/var/tmp")
    work = Path(tempfile.mkdtemp(prefix=f"writegate-{name}-", dir=base))
    work.chmod(0o755)
    if keep is None:
        keep = bool(os.environ.get("WRITEGATE_LAB_KEEP"))
    try:
        yield work
    finally:
        if keep:
            print(f"kept: {work}", file=sys.stderr)
        elif any(line.split()[1].startswith(f"{work}/") for line in open("/proc/mounts")):
            print(f"not removed, something is still mounted: {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)


def signals_raise():
    """SIGTERM and SIGHUP end the program as SIGINT does: by an exception, so that clean-up runs."""
    def end(number, _frame):
        for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(n, signal.SIG_IGN)            # a second one must not cut the clean-up
        raise SystemExit(128 + number)
    for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(n, end)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, timeout_s=30.0, service=None):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if service is not None and not service.alive():
            raise RuntimeError(f"{service.argv[0]} ended; its log:\n{service.tail()}")
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {timeout_s} s")


def stat_of(pid):
    """(ppid, session, state, start time) of a pid, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            rest = f.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(rest[1]), int(rest[3]), rest[0].decode(), int(rest[19])


def process_table():
    """{pid: (ppid, session, state, start time)} of everything that runs."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (s := stat_of(entry)):
            found[int(entry)] = s
    return found


def descendants(roots, sessions=()):
    """The roots, all their descendants, and all of these sessions: {pid: start time}."""
    every = process_table()
    children = {}
    for pid, s in every.items():
        children.setdefault(s[0], []).append(pid)
    queue = [p for p in roots if p in every] + [p for p, s in every.items() if s[1] in sessions]
    found = {}
    while queue:
        pid = queue.pop()
        if pid not in found:
            found[pid] = every[pid][3]
            queue += children.get(pid, [])
    return found


def strays(mark):
    """Pids of daemons that came back to us as orphans, in sessions of their own: those that carry
    this mark in their environment, and those that carry none (set-id programs scrub it)."""
    found = []
    for pid, s in process_table().items():
        if s[0] == os.getpid() and s[1] != os.getsid(0) and pid not in _ROOTS:
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment or MARK.encode() not in environment:
                found.append(pid)
    return found


def kill_family(roots, sessions=(), grace_s=0.0, first=signal.SIGTERM, mark=None):
    """Ask the roots to end, then make the whole family end; repeat until nobody is left."""
    known = descendants(roots, sessions)
    for pid in roots:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, first)
    end = time.monotonic() + grace_s
    while True:
        # The sessions of whoever was seen catch those whose parent has died in the meantime.
        sessions = set(sessions) | {s[1] for p in known if (s := stat_of(p)) and s[3] == known[p]}
        sessions.discard(os.getsid(0))
        known.update(descendants(list(known) + (strays(mark) if mark else []), sessions))
        living = [p for p, start in known.items()
                  if (s := stat_of(p)) and s[3] == start and not _reaped(p, s)]
        if not living:
            return
        if time.monotonic() > end:
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end + 20:
            raise RuntimeError(f"still living after SIGKILL: {living}")
        time.sleep(0.02)


def _reaped(pid, stat):
    """Whether a zombie is out of the way (ours is reaped here; a foreign one is as good as gone)."""
    if stat[2] not in "ZX":
        return False
    if stat[0] == os.getpid():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return True


class Service:
    """A program with all its descendants, in a session of its own."""

    def __init__(self, argv, env=None, log=None, cwd=None, grace_s=10.0, stop_signal=signal.SIGTERM):
        self.argv, self.log, self.cwd = [str(a) for a in argv], log, cwd
        self.env = dict(os.environ) if env is None else dict(env)
        self.grace_s, self.stop_signal, self.process = grace_s, stop_signal, None
        self._sessions, self._mark = set(), uuid.uuid4().hex
        self.env[MARK] = self._mark

    def start(self):
        out = open(self.log, "ab") if self.log else subprocess.DEVNULL
        self.process = subprocess.Popen(self.argv, env=self.env, cwd=self.cwd, stdout=out,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        start_new_session=True)
        self._sessions = {self.process.pid}
        _ROOTS.add(self.process.pid)
        if self.log:
            out.close()
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def members(self):
        """{pid: start time} of everything that belongs to it now."""
        return descendants([self.process.pid, *strays(self._mark)], self._sessions)

    def stop(self):
        if self.process is not None:
            kill_family([self.process.pid], self._sessions, self.grace_s, self.stop_signal,
                        self._mark)
            self.process.poll()
            _ROOTS.discard(self.process.pid)

    def tail(self, lines=20):
        if not self.log:
            return "(no log kept)"
        return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *_):
        self.stop()

"""One Cyrus on a btrfs volume of its own under load, ready for snapshots: what every run needs.

    with rig.Rig(work, gated=True, imap=8, lmtp=2, sessions=1, seed=1) as r:
        r.server, r.gate, r.volume, r.tree, r.load
"""
import contextlib
import os
import time
from pathlib import Path

from lab import gate as lab_gate, load as lab_load, ways
from . import check, load, server

GATE = f"cyrus-{os.getpid()}"                           # two runs at once must not meet
# What idle services hold around accept.
IDLE = ("--lifetime-lock", "*/socket/*.lock")
PROFILE = Path(__file__).resolve().parents[3] / "profiles" / "cyrus.conf"


class Rig:
    def __init__(self, work, gated, imap=8, lmtp=2, sessions=1, users=8, seed=1, split_s=None,
                 profile=None, replicated=False, way=None):
        """gated: run the service under the library. imap counts sessions in all. split_s: conf and
        spool on two subvolumes that are snapshotted this many seconds apart. profile: of the gate.
        replicated: to a second server under another gate, and with a search index. way: how snapshots are taken
        (lab/ways.py); by default through the gate, or at once where there is none."""
        self.work, self.gated, self.seed = work, gated, seed
        self.imap, self.lmtp, self.sessions, self.users = imap, lmtp, sessions, users
        self._stack = contextlib.ExitStack()
        self.split_s, self.profile, self.load, self.gate = split_s, profile, None, None
        self.replicated, self.replica = replicated, None
        self.way = way
        self.moments = []                               # in order

    def __enter__(self):
        with self._stack as stack:
            self.volume = stack.enter_context((self.way or ways.usual(False)).volume(self.work))
            if self.split_s is None:
                self.tree = self.volume.subvolume("tree")
                self.subvolumes = [self.tree]
            else:
                self.tree = self.volume.root
                self.subvolumes = [self.volume.subvolume(part) for part in ("conf", "spool")]
            if self.way and self.way.shim:
                self.gate = self.way.shim(self.work)
            elif self.gated:
                self.gate = lab_gate.Gate(self.work, name=GATE, paths=self.subvolumes,
                                          profile=self.profile)
            if self.replicated:
                # Under a gate of its own: without any it would be an ungated part of the service.
                folder = self.work / "replica-gate"
                folder.mkdir(mode=0o755)
                tree = self.work / "replica"
                own = lab_gate.Gate(folder, name=GATE + "-replica", paths=[tree])
                self.replica = stack.enter_context(server.Server(
                    tree, self.work / "replica-run", self.users, own if self.gated else None))
            self.server = stack.enter_context(server.Server(
                self.tree, self.work / "run", self.users, self.gate, replica=self.replica))
            load.populate(self.server, self.seed)
            self.start_load()
            stack.callback(lambda: self.load.stop())
            self._stack = stack.pop_all()
        return self

    def programs(self):
        """How many processes of which program the server has now."""
        found = {}
        for pid in self.server.service.members():
            with contextlib.suppress(OSError):
                name = open(f"/proc/{pid}/comm", errors="replace").read().strip()
                found[name] = found.get(name, 0) + 1
        return found

    def replica_messages(self):
        """Message files that the replica has."""
        spool = self.work / "replica" / "spool"
        return sum(path.name.rstrip(".").isdigit() for path in spool.rglob("*.")) if self.replica else 0

    def start_load(self, warm_up_s=1.0):
        clients = load.make(self.server, self.imap, self.lmtp, self.sessions, self.seed)
        self.load = lab_load.Load(clients, self.work / "operations.jsonl").start()
        time.sleep(warm_up_s)

    def snapshot_command(self, name):
        return self.volume.snapshot_command(self.subvolumes, name, self.split_s or 0)

    def snapshot(self, name):
        """At once, past any gate."""
        self.volume.snapshot(self.subvolumes, name, self.split_s or 0)

    def take(self, command, options=None):
        """One snapshot, by this command, in this rig's way."""
        target = ways.Target(self.work, self.server.service.members, self.subvolumes, self.volume.root, self.gate, PROFILE,
                             self.server.stop, self.server.start, (), IDLE, **ways.limits(options))
        self.moments.append((self.way or ways.usual(self.gate)).run(target, command))
        return self.moments[-1]

    def judge(self, name):
        """The findings in a snapshot, which is deleted; None where none was taken."""
        parts = [self.volume.taken(s, name) for s in self.subvolumes]
        try:
            if not all(p.exists() for p in parts):
                return None
            return check.tree(*parts) if self.split_s is not None else check.tree(
                parts[0] / "conf", parts[0] / "spool")
        finally:
            self.volume.delete(name)

    def restart(self, gate):
        """The same tree under another (or no) gate; the load starts anew, with its own log."""
        self.load.stop()
        self.server.stop()
        self.server.gate = gate
        self.server.start()
        self.start_load()

    def __exit__(self, *exc):
        return self._stack.__exit__(*exc)

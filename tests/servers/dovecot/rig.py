"""One Dovecot under load on two subvolumes, ready for snapshots: what every run needs.

    with rig.Rig(work, "mdbox", gated=True) as r:
        r.server, r.gate, r.volume, r.mail, r.index, r.load
"""

import contextlib
import time
from pathlib import Path

from lab import gate as lab_gate, load as lab_load, ways

from . import load, server

GATE = "dovecot"
PROFILE = Path(__file__).resolve().parents[3] / "profiles" / "dovecot.conf"


class Rig:
    def __init__(self, work, fmt, gated, users=3, imap=8, lmtp=2, pop3=True, seed=1, extra=None,
                 crossing=None, rotate="256k", profile=PROFILE, warm_s=1.5, freeze_options=(), way=None):
        """extra(rig) gives more clients (slow ones, command-line tools); the load runs for warm_s
        before the first freeze. way: how snapshots are taken (lab/ways.py); by default through the gate, or at once."""
        self.freeze_options = freeze_options
        self.work, self.fmt, self.gated, self.seed = work, fmt, gated, seed
        self.users, self.imap, self.lmtp, self.pop3 = users, imap, lmtp, pop3
        self.extra, self.crossing, self.rotate, self.profile = extra, crossing, rotate, profile
        self.warm_s, self.way = warm_s, way
        self.moments = []                               # in order
        self._stack, self.gate, self.load = contextlib.ExitStack(), None, None

    def __enter__(self):
        with self._stack as stack:
            self.volume = stack.enter_context((self.way or ways.usual(False)).volume(self.work))
            self.mail, self.index = self.volume.subvolume("mail"), self.volume.subvolume("index")
            if self.gated:
                self.gate = lab_gate.Gate(self.work, name=GATE, paths=[self.mail, self.index])
                self.gate.profile = self.profile
            self.server = stack.enter_context(server.Server(
                self.fmt, self.mail, self.index, self.work / "run", self.users,
                env=self.gate.environment({}) if self.gate else None, rotate=self.rotate))
            load.open_all(self.server)
            clients = load.clients(self.server, self.seed, f"s{self.seed}", self.imap, self.lmtp, self.pop3,
                                   self.crossing)
            if self.extra:
                clients += self.extra(self)
            self.load = lab_load.Load(clients, self.work / "operations.jsonl").start()
            stack.callback(self.load.stop)
            time.sleep(self.warm_s)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        return self._stack.__exit__(*exc)

    def taken(self, name):
        return self.volume.taken(self.mail, name), self.volume.taken(self.index, name)

    def take(self, command, options=None):
        """One snapshot, by this command, in this rig's way."""
        target = ways.Target(self.work, self.server.service.members, [self.mail, self.index], self.volume.root, self.gate, PROFILE,
                             self.server.stop, self.server.start, self.freeze_options, **ways.limits(options))
        self.moments.append((self.way or ways.usual(self.gate)).run(target, command))
        return self.moments[-1]

"""Cyrus, Dovecot and Postfix under load, each behind a gate of its own, in one shape for who freezes them.

    site.name, site.gate
    site.freeze(tag)   one freeze around a real snapshot, which is read if it is called CONSISTENT: (outcome, what is wrong)
    site.rest()        the load ends; what is wrong with the store at rest, and which acknowledged messages are missing
    site.members()     its processes
"""
import contextlib
import threading
import time

from cyrus import check as cyrus_check, rig as cyrus_rig
from dovecot import checks as dovecot_checks, restore as dovecot_restore, rig as dovecot_rig
from dovecot.ledger import Ledger
from lab import load
from mta import clients, conserve, trial
from postfix import evaluate as postfix

LIMIT, LIMIT_S, DRAIN = "4s", 4, "3s"
# A database that is caught in a transaction is recovered; it is not torn by that alone (cyrus/snapshots.py).
NOT_TORN_ALONE = {"database-dirty"}
RESTS_WITHIN_S = 60


def at_rest(look):
    """What is still wrong when the server has ended all that it had begun."""
    until = time.monotonic() + RESTS_WITHIN_S
    while (found := look()) and time.monotonic() < until:
        time.sleep(0.5)
    return found


class Site:
    """What they share: one snapshot is judged at a time, its name is its own."""

    def __init__(self):
        self.number, self.judging = 0, threading.Lock()

    def next(self, tag):
        with self.judging:
            self.number += 1
            return f"c{tag}-{self.number}"

    def freeze(self, tag):
        name = self.next(tag)
        begun = time.monotonic()
        outcome = self.gate.freeze(self.command(name), limit=LIMIT, drain=DRAIN, report=False, timeout_s=120)
        try:
            with self.judging:
                wrong = self.judge(name, begun) if outcome.consistent else []
        finally:
            self.delete(name)
        return outcome, wrong


class Cyrus(Site):
    name = "cyrus"

    def __init__(self, work, seed, stack):
        super().__init__()
        self.rig = stack.enter_context(cyrus_rig.Rig(work, gated=True, imap=4, lmtp=1, users=4, seed=seed))
        self.gate = self.rig.gate

    def command(self, name):
        return self.rig.snapshot_command(name)

    def judge(self, name, _begun):
        taken = self.rig.volume.taken(self.rig.tree, name)
        found = cyrus_check.tree(taken / "conf", taken / "spool")
        return [str(f) for f in found if f.kind not in NOT_TORN_ALONE]

    def delete(self, name):
        self.rig.volume.delete(name)

    def members(self):
        return self.rig.server.service.members()

    def rest(self):
        self.rig.load.pause()

        def look():
            found = cyrus_check.tree(self.rig.tree / "conf", self.rig.tree / "spool")
            return [str(f) for f in found if f.kind not in NOT_TORN_ALONE]
        return at_rest(look)


class Dovecot(Site):
    name = "dovecot"

    def __init__(self, work, seed, stack):
        super().__init__()
        self.rig = stack.enter_context(dovecot_rig.Rig(work, "sdbox", gated=True, imap=4, lmtp=1, seed=seed))
        self.gate = self.rig.gate

    def command(self, name):
        return self.rig.volume.snapshot_command([self.rig.mail, self.rig.index], name, 0.1)

    def judge(self, name, _begun):
        mail, index = self.rig.taken(name)
        return [str(f) for f in dovecot_checks.check(self.rig.fmt, str(mail), str(index)).findings]

    def delete(self, name):
        self.rig.volume.delete(name)

    def members(self):
        return self.rig.server.pids()

    def rest(self):
        self.rig.load.pause()

        def look():
            found = dovecot_checks.check(self.rig.fmt, str(self.rig.mail), str(self.rig.index)).findings
            now = time.monotonic()
            # What IMAP does not show counts as missing; on a busy machine an answer may come too late.
            return [str(f) for f in found] or Ledger(self.rig.load.records()).compare(
                dovecot_restore.read_all(self.rig.server), now, now)
        return at_rest(look)


class Postfix(Site):
    name = "postfix"

    def __init__(self, work, seed, stack):
        super().__init__()
        options = trial.Options(gated=True, profile=str(postfix.PROFILE), seed=seed)
        self.trial = stack.enter_context(trial.Trial(postfix.SERVER, options, work))
        self.gate, server = self.trial.gate, postfix.SERVER
        shared = {"port": self.trial.running.port, "run": f"chaos-{seed}-{int(time.time())}", "recipients": list(server.recipients),
                  "most": 3, "sender": server.sender}
        self.load = load.Load([clients.Smtp(n, seed=seed * 1000 + n, **shared) for n in range(3)], log=work / "load").start()
        stack.callback(self.load.stop)

    def command(self, name):
        return self.trial.volume.snapshot_command([self.trial.store, self.trial.queue], name, pause_s=0.1)

    def judge(self, name, begun):
        # Acknowledged before the freeze was asked for: it must be in one of both.
        finding = conserve.judge(clients.acknowledged(self.load.records(), begun),
                                 postfix.SERVER.read_queue(self.trial.volume.taken(self.trial.queue, name)),
                                 postfix.SERVER.read_store(self.trial.volume.taken(self.trial.store, name)), self.trial.remote.taken())
        return [str(finding)] if finding else []

    def delete(self, name):
        self.trial.volume.delete(name)

    def members(self):
        return self.trial.running.service.members()

    def rest(self):
        self.load.pause()
        self.trial.quiesce()
        records = self.load.records()
        self.trial._must_be_exact("at the end", self.trial.queue, self.trial.store, clients.acknowledged(records, float("inf")),
                                  self.trial.remote.taken(), records)
        return list(self.trial.problems)


ALL = {"cyrus": Cyrus, "dovecot": Dovecot, "postfix": Postfix}


@contextlib.contextmanager
def start(names, work, seed):
    """These sites, alive."""
    with contextlib.ExitStack() as stack:
        sites = []
        for name in names:
            folder = work / name
            folder.mkdir(mode=0o755)
            sites.append(ALL[name](folder, seed, stack))
        yield sites

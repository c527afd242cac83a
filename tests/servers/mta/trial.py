"""One trial: a loaded server, snapshots of queue and store 0.1 s apart, each one judged.

The server's side is three things, so that Postfix and Exim share the rest:
    start(work, queue, store, gate, remote_port, name)  -> context manager with .port, .flush()
    read_queue(path) -> conserve.Queue
    recipients, sender
"""
import contextlib
import dataclasses
import itertools
import random
import time
from pathlib import Path

from lab import control, gate as gates
from lab import load, procs, stats, table, ways

from . import clients, conserve, remote, store

ORDERS = ("store-first", "queue-first")
PAUSE_S = 0.1
RESTORE_S = 180                 # for a restored server to deliver what it has


@dataclasses.dataclass
class Server:
    name: str
    start: object
    read_queue: object
    recipients: list
    sender: str                     # gets the notices; local
    read_store: object = store.read
    empties: bool = True            # may the test empty the store between batches


@dataclasses.dataclass
class Snapshot:
    name: str
    order: str
    moment: object                  # lab.ways.Moment
    finding: conserve.Finding
    window: tuple                   # CLOCK_MONOTONIC s: begin of the command, end
    acknowledged: int
    owed: int
    dotlocks: int
    remote_twice: int = 0
    notices_twice: int = 0

    @property
    def outcome(self):
        """lab.gate.Outcome, or None in a control run."""
        return self.moment.outcome

    def as_dict(self):
        return {"name": self.name, "order": self.order, "lost": len(self.finding.lost),
                "dup": len(self.finding.dup), "cut": len(self.finding.cut),
                "finding": str(self.finding), "acknowledged": self.acknowledged,
                "owed": self.owed, "dotlocks": self.dotlocks, "remote_twice": self.remote_twice,
                "notices_twice": self.notices_twice,
                **(self.outcome.as_dict() if self.outcome else {})}


@dataclasses.dataclass
class Options:
    count: int = 20
    orders: tuple = ORDERS
    gated: bool = True
    seed: int = 1
    smtp_clients: int = 6
    most: int = 3                   # recipients a message
    slow_clients: int = 0           # clients that send DATA in drops
    remote_delay_s: float = None    # a share of the mail goes to a host this slow
    remote_hang: str = None
    recipients: tuple = None        # default: the server's own
    bounces: bool = False           # a share of the mail goes to somebody who does not exist
    retries: int = 0
    batch: int = 20                 # snapshots between two full stops, which empty the store
    restores: int = 0
    profile: str = None             # a file: what is shipped for this server
    way: object = None              # lab.ways.Way; default: the gate, or at once where there is none
    limit: str = "5s"
    drain: str = "3s"
    extra_clients: object = None    # f(server, run) -> more clients
    beside: object = None           # f(server, store) -> context manager to run beside the load


class Trial:
    """`with Trial(server, options, work) as t: t.run()`; then t.problems, t.summary()."""

    def __init__(self, server, options, work, show=print, progress=None):
        """progress: whoever counts asks for just so many snapshots, also of a control."""
        self.server, self.options, self.work, self.show, self.progress = server, options, Path(work), show, progress
        self.snapshots, self.problems, self.restored = [], [], []
        self.records, self.loaded_s = [], 0.0
        self.random = random.Random(options.seed)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        o, s = self.options, self._stack
        try:
            self.work.mkdir(exist_ok=True)
            self.volume = s.enter_context((o.way or ways.usual(False)).volume(self.work, size="6G"))
            self.queue = self.volume.subvolume("queue")
            self.store = self.volume.subvolume("store")
            self.gate = self._make_gate() if o.gated else None
            self.remote = s.enter_context(remote.Remote(o.remote_delay_s or 0.0, o.remote_hang))
            self.running = s.enter_context(self.server.start(
                self.work, self.queue, self.store, self.gate, self.remote.port, "root"))
            if o.beside:
                s.enter_context(o.beside(self.running, self.store))
        except BaseException:
            s.close()
            raise
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    def _make_gate(self):
        gate = gates.Gate(self.work, paths=[self.queue, self.store])
        gate.profile = self.work / "gate.conf"
        shipped = Path(self.options.profile).read_text() if self.options.profile else ""
        gate.profile.write_text("".join("path = %s\n" % p for p in gate.paths) + shipped)
        return gate

    def run(self):
        o, batches = self.options, itertools.count(1)
        plan = [order for order in o.orders for _ in range(o.count)]
        self.random.shuffle(plan)
        label = "%s %s" % (self.server.name, "gated" if o.gated else "without the gate")
        with contextlib.nullcontext(self.progress) if self.progress else table.Progress(label, len(plan)) as progress:
            for _ in control.numbers(1, o.gated or self.progress, self._harm_seen):
                for at in range(0, len(plan), o.batch):
                    self._batch(next(batches), plan[at:at + o.batch], progress)

    def _harm_seen(self):
        """Both kinds that the two orders make: something lost, something there twice."""
        return any(s.finding.lost for s in self.snapshots) and any(s.finding.dup for s in self.snapshots)

    def _batch(self, number, orders, progress):
        o = self.options
        run = "%s-%d-%d-%d" % (self.server.name, o.seed, number, time.time())
        recipients = list(o.recipients or self.server.recipients)
        if o.remote_delay_s is not None or o.remote_hang:
            recipients += ["rem%d@remote.test" % n for n in range(2)]
        if o.bounces:
            recipients.append(conserve.BOUNCES + "-1@local.test")
        shared = {"port": self.running.port, "run": run, "recipients": recipients, "most": o.most,
                  "sender": self.server.sender}
        every = [clients.Smtp(n, seed=o.seed * 1000 + n, **shared) for n in range(o.smtp_clients)]
        every += [clients.SlowData(100 + n, seed=o.seed * 1000 + 100 + n, **shared)
                  for n in range(o.slow_clients)]
        if o.extra_clients:
            every += o.extra_clients(self.running, shared)
        with load.Load(every, log=self.work / ("load-%d" % number)) as loading:
            self.resumed = time.monotonic()
            for n, order in enumerate(orders):
                time.sleep(self.random.uniform(0.1, 0.5))
                keep = o.restores - len(self.restored) >= len(orders) - n
                self._snapshot("s%d-%d" % (number, n), order, loading, keep)
                progress.step("%d bad" % sum(bool(s.finding) for s in self.snapshots))
        self.records += loading.records()
        self.quiesce()
        acknowledged = clients.acknowledged(loading.records(), float("inf"))
        self._must_be_exact("after batch %d" % number, self.queue, self.store, acknowledged,
                            self.remote.taken(), loading.records())
        if self.server.empties:
            self._empty_store()

    def quiesce(self, limit_s=90):
        """Let the server finish everything that it can finish."""
        stays = "rem" if self.options.remote_hang else None     # for a host that never answers
        left = empty(self.server, self.running, self.queue, limit_s, stays)
        if left:
            self.problems.append("the queue did not empty in %d s: %s" % (limit_s, left))

    def _must_be_exact(self, when, queue, stored, acknowledged, taken, records):
        """Everything acknowledged is there once; nothing is there twice or cut."""
        contents = self.server.read_store(stored)
        finding = conserve.judge(acknowledged, read_living(self.server, queue), contents, taken)
        if finding:
            self.problems.append("%s: %s" % (when, finding))
        sent = {(r["number"], rcpt.partition("@")[0]) for r in records
                for rcpt in r.get("rcpts", ())}
        notices = {n: contents.bounced.get(n, 0) for n, user in acknowledged
                   if user.startswith(conserve.BOUNCES)}
        if when.startswith("after"):
            wrong = ["%s: %d" % item for item in sorted(notices.items()) if item[1] != 1]
            if wrong:
                self.problems.append("%s: not one notice: %s" % (when, wrong[:3]))
        strange = sorted(set(contents.copies) - sent)
        if strange:
            self.problems.append("%s: never sent: %s" % (when, strange[:3]))
        return finding

    def _empty_store(self):
        """The server is idle: start the next batch small, or checking grows with the square."""
        for path in self.store.rglob("*"):
            if path.is_file() and ".lock" not in path.name:
                if path.parent.name in ("new", "cur"):
                    path.unlink()
                elif path.parent.name == "mbox":
                    with open(path, "r+b") as box:
                        box.truncate(0)

    def _snapshot(self, name, order, loading, keep):
        first, second = ((self.store, self.queue) if order == "store-first"
                         else (self.queue, self.store))
        command = self.volume.snapshot_command([first, second], name, pause_s=PAUSE_S)
        stamp = self.work / "stamp"
        stamp.unlink(missing_ok=True)
        command = ["bash", "-c", 'echo "$EPOCHREALTIME" > "$0"; exec "$@"', str(stamp), *command]
        target = ways.Target(self.work, self.running.members, [self.queue, self.store], self.volume.root, self.gate,
                             self.options.profile, self.running.halt, self.running.resume, **ways.limits(self.options))
        moment = (self.options.way or ways.usual(self.gate)).run(target, command)
        outcome = moment.outcome
        ended = time.monotonic()
        if not stamp.exists():                      # the freeze gave up before its command
            self.snapshots.append(Snapshot(name, order, moment, conserve.Finding([], [], []),
                                           (ended, ended), 0, 0, 0))
            self._odd(name, outcome)
            return
        begun = float(stamp.read_text()) - time.time() + time.monotonic()
        loading.pause()
        self.loaded_s += time.monotonic() - self.resumed
        try:
            queue = self.server.read_queue(self.volume.taken(self.queue, name))
            contents = self.server.read_store(self.volume.taken(self.store, name))
            taken = self.remote.taken()
            acknowledged = clients.acknowledged(loading.records(), begun)
            finding = conserve.judge(acknowledged, queue, contents, taken)
            early = {pair for pair, times in taken.items() if min(times) < begun}
            self.snapshots.append(Snapshot(
                name, order, moment, finding, (begun, ended), len(acknowledged),
                len(queue.owed), len(contents.dotlocks),
                len(conserve.judge_remote(queue, early)),
                len(conserve.notices_twice(queue, contents))))
            if outcome is not None and (finding or not outcome.consistent):
                self._odd(name, outcome, finding)
            if keep:
                self._restore(name, acknowledged, loading.records(), early)
        finally:
            self.volume.delete(name)
            loading.resume()
            self.resumed = time.monotonic()

    def _odd(self, name, outcome, finding=None):
        detail = (outcome.stdout + outcome.stderr).strip().replace("\n", "\n    ")
        self.show("%s: %s\n    %s" % (name, finding or "no snapshot", detail))

    def _restore(self, name, acknowledged, records, taken_before):
        """Start the server on a writable copy: what was acknowledged must arrive exactly once."""
        work = self.work / ("restore-" + name)
        work.mkdir()
        queue, stored = work / "queue", work / "store"
        with contextlib.ExitStack() as undo:
            for source, target in ((self.queue, queue), (self.store, stored)):
                # Below the work folder only by name: the copies lie on the snapshot's volume.
                copy = self.volume.root / ("%s-%s" % (work.name, target.name))
                procs.subprocess.run(["btrfs", "subvolume", "snapshot",
                                      self.volume.taken(source, name), copy],
                                     check=True, capture_output=True)
                undo.callback(procs.subprocess.run, ["btrfs", "subvolume", "delete", copy],
                              capture_output=True)
                target.symlink_to(copy)
            queue, stored = queue.resolve(), stored.resolve()
            removed = remove_dotlocks(stored)
            before = len(self.problems)
            with remote.Remote() as other, self.server.start(
                    work, queue, stored, None, other.port, "restored") as server:
                left = empty(self.server, server, queue, RESTORE_S)
                taken = dict(other.taken())
                twice = sorted(set(taken) & set(taken_before))
                if left:
                    # While it delivers, store and queue read one after the other tell nothing.
                    self.problems.append("restore of %s: after %d s still in the queue: %s"
                                         % (name, RESTORE_S, left))
                else:
                    self._must_be_exact("restore of %s" % name, queue, stored, acknowledged,
                                        set(taken) | set(taken_before), records)
            self.restored.append({"name": name, "acknowledged": len(acknowledged),
                                  "dotlocks_removed": removed, "remote_twice": len(twice),
                                  "problems": self.problems[before:]})

    def summary(self):
        o = self.options
        drained = [s for s in self.snapshots if s.outcome is None or s.outcome.exit == 0]
        windows = [s.window for s in self.snapshots]
        drains = [s.outcome.drain_ms for s in self.snapshots
                  if s.outcome and s.outcome.consistent and s.outcome.drain_ms is not None]
        by_order = {order: {
            "snapshots": sum(s.order == order for s in drained),
            **{what: sum(bool(getattr(s.finding, what)) for s in drained if s.order == order)
               for what in ("lost", "dup", "cut")}} for order in o.orders}
        mail = [r for r in self.records if r["op"] == "MAIL" and not r["error"]]
        seconds = self.loaded_s
        verdicts = {}
        for s in self.snapshots:
            verdict = s.outcome.verdict if s.outcome else "none"
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
        return {"server": self.server.name, "gated": o.gated, "snapshots": len(self.snapshots),
                "taken": len(drained), "verdicts": verdicts, "by_order": by_order,
                "remote_twice": sum(s.remote_twice for s in self.snapshots),
                "notices_twice": sum(s.notices_twice for s in self.snapshots),
                "with_dotlocks": sum(bool(s.dotlocks) for s in self.snapshots),
                "drains_ms": drains, "drain_ms": stats.summary(drains),
                "client_ms_in_window": stats.summary(load.latencies_ms(self.records, windows)),
                "client_ms_outside": stats.summary(
                    load.latencies_ms(self.records, windows, outside=True)),
                "messages": len(mail),
                "messages_per_s": round(len(mail) / seconds, 1) if seconds else None,
                "errors": sum(bool(r["error"]) for r in self.records),
                "restored": self.restored, "problems": self.problems}


def read_living(server, queue):
    """The queue of a server that works on it: a file may go under our hands."""
    for _ in range(100):
        try:
            return server.read_queue(queue)
        except FileNotFoundError:
            time.sleep(0.05)
    return server.read_queue(queue)


def empty(server, running, queue, limit_s, stays=None):
    """Flush until the queue holds no complete message; what is left at the limit, else None.

    Mail for users whose name begins with `stays` may remain.  A message that was only being
    received stays in a restored queue for ever: nobody was promised anything about it.
    """
    end = time.monotonic() + limit_s
    while True:
        found = read_living(server, queue)
        owed = [p for p in sorted(found.owed) if not (stays and p[1].startswith(stays))]
        if not owed and not found.cut and (stays or not found.messages):
            return None
        if time.monotonic() > end:
            return (owed + found.cut)[:5] or "%d messages" % found.messages
        running.flush()
        time.sleep(0.5)


def remove_dotlocks(stored):
    """A restore deletes the dotlocks that lie in its snapshot: their owners are gone."""
    removed = 0
    for path in Path(stored).rglob("*.lock*"):
        if path.is_file():
            path.unlink()
            removed += 1
    return removed

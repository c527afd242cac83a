"""A series of snapshots under load, gated or not, each judged by the checker.

Snapshots are taken in batches at full load and judged while the clients rest: the checker's work
must not thin out the load, nor the load the checker. At every rest a snapshot of the quiet server
is judged as well: it must be whole, or the checker sees things.
"""
import os
import time
from collections import Counter
from dataclasses import dataclass, field

from lab import gate as lab_gate, load as lab_load, stats

# A database caught in a transaction is no contradiction between files by itself, recovery undoes
# it: an ungated snapshot is not called torn for that alone. A gated one must not even show that.
NOT_TORN_ALONE = {"database-dirty"}


@dataclass
class Series:
    taken: list = field(default_factory=list)           # a dict each, in order
    quiet_findings: int = 0                             # at the rests; must stay 0
    quiet_checks: int = 0
    seconds: float = 0.0                                # under full load
    operations: int = 0
    errors: list = field(default_factory=list)          # of clients
    latencies_held_ms: list = field(default_factory=list)
    latencies_free_ms: list = field(default_factory=list)

    @property
    def torn(self):
        return sum(t["torn"] for t in self.taken)

    @property
    def any_finding(self):
        return sum(bool(t["findings"]) for t in self.taken)

    @property
    def not_drained(self):
        return sum(t.get("exit") == lab_gate.NOT_DRAINED for t in self.taken)

    @property
    def otherwise_failed(self):
        """Neither consistent nor refused for want of draining: expired, ungated, killed ..."""
        return sum(t.get("exit") not in (None, 0, lab_gate.NOT_DRAINED) for t in self.taken)

    def values(self, key):
        return [t[key] for t in self.taken if t.get(key) is not None]

    def record(self):
        kinds = Counter(k for t in self.taken for k in t["findings"])
        return {"snapshots": len(self.taken), "torn": self.torn, "any_finding": self.any_finding,
                "not_drained": self.not_drained, "otherwise_failed": self.otherwise_failed,
                "findings_in_snapshots": dict(kinds.most_common()),
                "quiet_checks": self.quiet_checks, "quiet_findings": self.quiet_findings,
                "drain_ms": stats.summary(self.values("drain_ms")),
                "held_ms": stats.summary(self.values("held_ms")),
                "fsync_ms": stats.summary(self.values("fsync_ms")),
                "drains_ms": self.values("drain_ms"), "verdicts": dict(Counter(self.values("verdict"))),
                "client_ms_in_freezes": stats.summary(self.latencies_held_ms),
                "client_ms_all": stats.summary(self.latencies_held_ms + self.latencies_free_ms),
                "client_ms_outside": stats.summary(self.latencies_free_ms),
                "operations": self.operations, "seconds": round(self.seconds, 1),
                "operations_per_second": round(self.operations / self.seconds, 1),
                "client_errors": len(self.errors), "first_errors": self.errors[:5],
                "not_consistent": [t for t in self.taken if t.get("exit") or t["findings"]][:20]}


def take(rig, count, progress, options=None, gap_s=0.3, batch=25):
    """Take `count` snapshots of a rig, in its way."""
    series, begun_records = Series(), 0
    while len(series.taken) < count:
        started, batch_taken = time.monotonic(), []
        for _ in range(min(batch, count - len(series.taken))):
            time.sleep(gap_s)
            one = _one(rig, f"s{len(series.taken)}", options)
            batch_taken.append(one)
            series.taken.append(one)
            progress.step(_note(rig, series, len(series.taken) - len(batch_taken)))
        series.seconds += time.monotonic() - started
        rig.load.pause()
        for one in batch_taken:
            _judge(rig, one)
        _rest(rig, series)
        records = rig.load.records()
        _latencies(series, records[begun_records:], batch_taken)
        begun_records = len(records)
        rig.load.resume()
        time.sleep(0.5)
        progress.step(_note(rig, series, len(series.taken)), by=0)
    return series


def _note(rig, series, judged):
    """Snapshots are judged at the rests, later than they are taken: say of how many this is so."""
    gate = f"{series.not_drained} not drained, " if rig.gate else ""
    return f"{gate}{series.torn} torn of {judged} judged"


def _one(rig, name, options):
    one = {"name": name, "torn": False, "findings": {}, "fsync_ms": _fsync_ms(rig)}
    one["start"] = time.monotonic()
    moment = rig.take(rig.snapshot_command(name), options)
    one["window"], one["drain_ms"], one["held_ms"] = moment.window, moment.drain_ms, moment.held_ms
    if o := moment.outcome:
        one.update(exit=o.exit, verdict=o.verdict, waiters=o.number("waiters"), admitted=o.number("admitted"), line=o.line)
        if o.exit:
            one["said"] = (o.stdout + o.stderr)[-1500:]
            one["record"] = o.record
    one["end"] = time.monotonic()
    return one


def _fsync_ms(rig):
    """What one small fsync costs on this volume right now: a drain is a few of them in a row, so
    this says how much of a drain is the machine's."""
    with open(rig.volume.root / "scratch", "wb") as f:
        f.write(os.urandom(4096))
        f.flush()
        begun = time.monotonic()
        os.fsync(f.fileno())
        return (time.monotonic() - begun) * 1e3


def _judge(rig, one):
    found = rig.judge(one["name"])
    # A freeze that gave up before its command ran left nothing to judge. What a freeze itself did
    # not call consistent is counted by its verdict alone; what lies in it is kept for a look.
    if found is not None and one.get("exit"):
        one["findings_untrusted"] = dict(Counter(f.kind for f in found))
    elif found is not None:
        one["findings"] = dict(Counter(f.kind for f in found))
        one["torn"] = bool(set(one["findings"]) - NOT_TORN_ALONE)
        if found:
            one["first"] = [str(f) for f in found[:8]]


def _rest(rig, series):
    """The quiet server's tree must be whole. What a session does after its answer ends soon."""
    for _ in range(20):
        time.sleep(0.1)
        rig.snapshot("quiet")
        found = rig.judge("quiet")
        if not found:
            break
    series.quiet_checks += 1
    series.quiet_findings += len(found)


def _latencies(series, records, taken):
    windows = [t["window"] for t in taken]
    records = [r for r in records if r["end"] >= taken[0]["start"]]
    series.operations += sum(1 for r in records if not r["error"] and r["op"] != "CONNECT")
    series.errors += [r for r in records if r["error"]]
    series.latencies_held_ms += lab_load.latencies_ms(records, windows)
    series.latencies_free_ms += lab_load.latencies_ms(records, windows, outside=True)

"""A series of snapshots of a loaded Dovecot, gated or not, each judged by the checker.

Mail and index are snapshotted one after the other, in both orders, PAUSE_S apart.
Some snapshots are kept and judged a second time by a Dovecot started on a copy. At
the end the server's quiet store is judged too: it must be whole, or the checker
sees things.
"""

import random
import time
from collections import Counter

from lab import control, gate as lab_gate, load as lab_load, stats

from . import checks, restore, slow
from .ledger import Ledger

PAUSE_S = 0.1
# What Dovecot itself answers under this load, gate or none: an mbox COPY or delivery that would
# deadlock with another one (EDEADLK) is refused.
OWN_REFUSALS = {"mbox": ("SERVERBUG", "4.2.0")}


def take(rig, count, progress, options=None, restores=0, gap_s=0.25, more=True):
    """A record (dict) of `count` snapshots; more: a control goes on until it has shown the harm."""
    rng, taken, begun = random.Random(rig.seed), [], time.monotonic()
    keep = set(rng.sample(range(count), min(restores, count)))
    for n in control.numbers(count, rig.gate or not more, lambda: any(t["findings"] for t in taken)):
        time.sleep(gap_s * rng.uniform(0.5, 1.5))
        one = _one(rig, n, options)
        taken.append(one)
        progress.step(f"{sum(bool(t['findings']) for t in taken)} torn" +
                      (f", {sum(t['exit'] == lab_gate.NOT_DRAINED for t in taken)} not drained" if rig.gate else ""))
        if n not in keep or not rig.taken(one["name"])[0].exists():
            keep.discard(n)
            rig.volume.delete(one["name"])
    seconds = time.monotonic() - begun
    came_to_rest = rig.load.pause()
    quiet = _quiet(rig)
    records = rig.load.records()
    record = _summary(rig, taken, records, seconds)
    record["came_to_rest"], record["quiet_findings"] = came_to_rest, quiet
    record["restores"] = [_restore(rig, taken[n], Ledger(records)) for n in sorted(keep)]
    rig.load.resume()
    return record


def _one(rig, n, options):
    name, order = f"s{n}", [rig.mail, rig.index] if n % 2 else [rig.index, rig.mail]
    one = {"name": name, "exit": None, "findings": {}, "start": time.monotonic(),
           "order": [p.name for p in order]}
    moment = rig.take(rig.volume.snapshot_command(order, name, PAUSE_S), options)
    one["window"], one["drain_ms"], one["held_ms"] = moment.window, moment.drain_ms, moment.held_ms
    if o := moment.outcome:
        one.update(exit=o.exit, verdict=o.verdict, waiters=o.number("waiters"), admitted=o.number("admitted"))
        if o.exit:
            one["said"] = (o.stdout + o.stderr)[-1500:]
            gates = (o.record or {}).get("gates", [])
            one["blockers"] = [b["pid"] for g in gates for b in g["blockers"]]
            one["of_slow_clients"] = sorted(slow.serving(slow.SLOW, one["blockers"]))
    one["end"] = time.monotonic()
    mail, index = rig.taken(name)
    # A freeze that gave up before its command ran left nothing to judge.
    if mail.exists() and index.exists() and one["exit"] in (None, 0):
        found = checks.check(rig.fmt, str(mail), str(index))
        one["findings"], one["messages"] = found.kinds(), found.messages
        one["dotlocks"] = len(found.dotlocks)
        if found.findings:
            one["first"] = [str(f) for f in found.findings[:8]]
    return one


def _quiet(rig):
    """Findings of the store at rest; what a session does after its answer ends soon."""
    for _ in range(20):
        time.sleep(0.1)
        found = checks.check(rig.fmt, str(rig.mail), str(rig.index)).findings
        if not found:
            break
    return [str(f) for f in found]


def _restore(rig, one, ledger):
    got = restore.restore(rig.fmt, *rig.taken(one["name"]), rig.volume.root, rig.server.users,
                          ledger, (one["start"], one["end"]))
    rig.volume.delete(one["name"])
    return {"name": one["name"], **{k: v[:10] if isinstance(v, list) else v for k, v in got.items()}}


def _summary(rig, taken, records, seconds):
    windows = [(t["start"], t["end"]) for t in taken]
    own = OWN_REFUSALS.get(rig.fmt, ())
    errors = [r for r in records if r["error"]]
    foreign = [r for r in errors if not any(word in r["error"] for word in own)]
    done = [r for r in records if not r["error"] and r["op"] != "CONNECT" and r["start"] >= windows[0][0]]
    # The slow clients' own operations last for seconds, with and without a freeze.
    others = [r for r in records if not r["kind"].startswith("slow-")]
    return {"snapshots": len(taken), "judged": sum("messages" in t for t in taken),
            "torn": sum(bool(t["findings"]) for t in taken),
            "findings_in_snapshots": dict(Counter(k for t in taken for k in t["findings"]).most_common()),
            "not_drained": sum(t["exit"] == lab_gate.NOT_DRAINED for t in taken),
            "otherwise_failed": sum(t["exit"] not in (None, 0, lab_gate.NOT_DRAINED) for t in taken),
            "with_dotlocks": sum(bool(t.get("dotlocks")) for t in taken),
            "verdicts": dict(Counter(t["verdict"] for t in taken if "verdict" in t)),
            "drains_ms": [t["drain_ms"] for t in taken if t.get("drain_ms") is not None],
            "drain_ms": stats.summary([t["drain_ms"] for t in taken if t.get("drain_ms") is not None]),
            "held_ms": stats.summary([t["held_ms"] for t in taken if t.get("held_ms") is not None]),
            "admitted": sum(t.get("admitted") or 0 for t in taken),
            "client_ms_in_windows": stats.summary(lab_load.latencies_ms(others, windows)),
            "client_ms_outside": stats.summary(lab_load.latencies_ms(others, windows, outside=True)),
            "operations_per_second": round(len(done) / seconds, 1),
            "client_errors": len(foreign), "own_refusals": len(errors) - len(foreign),
            "first_errors": foreign[:5], "complaints": rig.server.complaints()[:10],
            "bad": [t for t in taken if t["findings"] or t["exit"]][:20]}

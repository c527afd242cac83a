"""One load that is not mail on two subvolumes, snapshotted under a freeze or without one."""
import contextlib
import fcntl
import os
import subprocess
import time

from lab import control, gate as lab_gate, procs, stats, volume

from . import gitrepo, rsync, shell, sqlite

PROGRAMS = {m.NAME: m for m in (sqlite, gitrepo, rsync, shell)}
PAUSE_S = 0.05


def run(program, count, gated, work, options, progress=None):
    """A record of `count` snapshots, each judged by the program's own checker."""
    taken, latencies = [], []
    with contextlib.ExitStack() as stack:
        vol = stack.enter_context(volume.Volume(work, size="1G"))
        trees = [vol.subvolume("one"), vol.subvolume("two")]
        program.prepare(trees)
        gate = lab_gate.Gate(work, name=program.NAME, paths=trees) if gated else None
        env = gate.environment() if gate else dict(os.environ)
        services = [stack.enter_context(procs.Service(argv, env=env, log=work / f"worker{n}.log", grace_s=1))
                    for n, argv in enumerate(program.workers(trees, work))]
        time.sleep(1.0)
        for n in control.numbers(count, gated, lambda: any(t["wrong"] for t in taken)):
            time.sleep(0.05 + 0.013 * (n % 7))
            one = _one(program, vol, trees, gate, n, options)
            taken.append(one)
            if progress:
                progress.step(f"{sum(bool(t['wrong']) for t in taken)} torn")
        quiet = _quiet(program, vol, trees)
        dead = [f"{s.argv[:2]}: {s.tail(3)}" for s in services if not s.alive()]
        for s in services:
            s.stop()
    return {"snapshots": len(taken), "torn": sum(bool(t["wrong"]) for t in taken),
            "not_drained": sum(t["exit"] == lab_gate.NOT_DRAINED for t in taken),
            "otherwise_failed": sum(t["exit"] not in (None, 0, lab_gate.NOT_DRAINED) for t in taken),
            "drain_ms": stats.summary([t["drain_ms"] for t in taken if t.get("drain_ms") is not None]),
            "workers_dead": dead, "quiet": quiet, "progressed": _progress(taken),
            "bad": [t for t in taken if t["wrong"] or t["exit"]][:10]}


def _quiet(program, vol, trees):
    """The checker's answer while we hold the program's own locks: it must find nothing. What works
    without them (SQLite's own transactions, git's fetching) may be caught at work."""
    with contextlib.ExitStack() as stack:
        for path in program.locks(trees):
            file = stack.enter_context(open(path, "a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        vol.snapshot(trees, "quiet")
    wrong = program.check([vol.taken(t, "quiet") for t in trees])
    vol.delete("quiet")
    return [w for w in wrong if "hot journal" not in w and "fetcher" not in w]


def _one(program, vol, trees, gate, n, options):
    name, order = f"s{n}", trees if n % 2 else trees[::-1]
    one = {"exit": None, "wrong": [], "order": [t.name for t in order]}
    if gate:
        o = gate.freeze(vol.snapshot_command(order, name, PAUSE_S), limit=options.limit,
                        drain=options.drain, retries=options.retries,
                        extra=getattr(program, "FREEZE_OPTIONS", ()))
        one.update(exit=o.exit, verdict=o.verdict, drain_ms=o.drain_ms)
        if o.exit:
            one["said"] = (o.stdout + o.stderr)[-1500:]
    else:
        vol.snapshot(order, name, PAUSE_S)
    copies = [vol.taken(t, name) for t in trees]
    if one["exit"] in (None, 0) and all(c.exists() for c in copies):
        one["wrong"] = program.check(copies)
        one["print"] = _fingerprint(copies)
    vol.delete(name)
    return one


def _fingerprint(copies):
    """Of everything in the snapshot, to see that the load moved on between two of them."""
    done = subprocess.run(["sh", "-c", 'find "$@" -type f -printf "%P %s %T@\\n" | sort | cksum', "sh",
                           *map(str, copies)], capture_output=True, text=True, timeout=60)
    return done.stdout.split()[0]


def _progress(taken):
    return len({t["print"] for t in taken if "print" in t})


def judge(gated, k):
    """Sentences about what is not as it must be."""
    said = [f"a worker ended: {d}" for d in k["workers_dead"]]
    if k["quiet"]:
        said.append(f"the checker sees things where nothing is under way: {k['quiet'][:3]}")
    if k["progressed"] < k["snapshots"] // 2:
        said.append(f"only {k['progressed']} different snapshots: the load stands still")
    if not gated:
        if not k["torn"]:
            said.append("no torn snapshot without the gate: the checker is blind or the load too light")
        return said
    if k["torn"]:
        first = next(t for t in k["bad"] if t["wrong"])
        said.append(f"{k['torn']} of {k['snapshots']} torn: {first['wrong'][:3]}")
    if k["not_drained"] or k["otherwise_failed"]:
        first = next(t for t in k["bad"] if t["exit"])
        said.append(f"{k['not_drained']} not drained, {k['otherwise_failed']} failed otherwise: {first['said'][-300:]}")
    return said

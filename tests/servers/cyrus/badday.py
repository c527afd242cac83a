"""Freezers and workers that are killed or stopped at the worst moments, under a loaded Cyrus.

Each function takes a running gated rig and returns a dict with `failures`, a list of sentences.
"""
import contextlib
import os
import random
import signal
import subprocess
import threading
import time

from lab import gate as lab_gate, probe, procs, stats

LIMIT_S = 2.0                                           # of these freezes; must be met in waits
SHORT_S = 0.2                                           # of those back to back
SLACK_MS = 50.0


def freezer_killed(rig, times, progress):
    """SIGKILL at random moments: while it drains, while it holds, after its limit."""
    rng, next_exits, failures = random.Random(rig.seed), [], []
    limit = f"{LIMIT_S:g}s"
    with _probe(rig) as writer:
        for _ in range(times):
            freezer = rig.gate.start_freeze(["sleep", "10"], limit=limit, drain=limit)
            time.sleep(rng.uniform(0, LIMIT_S * 1.2))
            _kill(freezer)
            o = rig.gate.freeze(["true"], limit=limit, drain=limit)
            next_exits.append(o.exit)
            if o.exit:
                failures.append(f"the freeze after a killed one: {(o.stdout + o.stderr)[-400:]}")
            progress.step(f"{len(failures)} failed")
        return _waits(rig, writer, LIMIT_S, {"times": times, "next_exits": _counted(next_exits),
                                             "failures": failures})


def freezer_stopped(rig, times, progress):
    """SIGSTOP while its command runs, past the limit, then SIGCONT: 124, and writers went on."""
    rng, exits, went_on, failures = random.Random(rig.seed), [], [], []
    marker = rig.work / "running"
    with _probe(rig) as writer:
        for _ in range(times):
            marker.unlink(missing_ok=True)
            begun = time.monotonic()
            freezer = rig.gate.start_freeze(["sh", "-c", f": > {marker}; sleep 0.3"],
                                            limit=f"{LIMIT_S:g}s", drain=f"{LIMIT_S:g}s")
            while not marker.exists() and freezer.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
            os.kill(freezer.pid, signal.SIGSTOP)
            # The barrier is up since before the command ran: this is past its limit.
            time.sleep(LIMIT_S + 0.3)
            past = time.monotonic()
            time.sleep(1.0)
            went_on.append(sum(1 for r in rig.load.records() if past < r["end"]))
            os.kill(freezer.pid, signal.SIGCONT)
            out, err = freezer.communicate(timeout=30)
            exits.append(freezer.returncode)
            if freezer.returncode != lab_gate.EXPIRED:
                failures.append(f"a freezer stopped for {time.monotonic() - begun:.1f} s: exit "
                                f"{freezer.returncode}: {(out + err)[-400:]}")
            if not went_on[-1]:
                failures.append("no client operation ended in 1 s after the limit")
            time.sleep(0.3)
            progress.step(f"{len(failures)} failed")
        return _waits(rig, writer, LIMIT_S, {"times": times, "exits": _counted(exits),
                                             "operations_past_the_limit": went_on,
                                             "failures": failures})


def back_to_back(rig, times, progress):
    """Three tools that freeze again and again, at once, with a limit of 200 ms: no single write
    may wait longer than that. Whether they drain in this time is not the question."""
    exits = []

    def tool():
        for _ in range(times):
            o = rig.gate.freeze(["true"], limit=f"{SHORT_S * 1e3:.0f}ms",
                                drain=f"{SHORT_S * 1e3:.0f}ms", report=False)
            exits.append(o.exit)
            progress.step(f"exit {o.exit}")

    with _probe(rig, SHORT_S) as writer:
        tools = [threading.Thread(target=tool) for _ in range(3)]
        for t in tools:
            t.start()
        for t in tools:
            t.join()
        return _waits(rig, writer, SHORT_S, {"times": times, "tools": len(tools),
                                             "exits": _counted(exits), "failures": []})


def workers_killed(rig, times, progress):
    """SIGKILL to a worker that holds a lock for writing; the next freeze must drain, at once."""
    rng, exits, drains, failures, killed = random.Random(rig.seed), [], [], [], 0
    said, refused = [], []
    for _ in range(times):
        victim = _in_section(rig, rng)
        if victim is None:
            failures.append("no worker with a write lock was found in 10 s")
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            killed += 1
        o = rig.gate.freeze(["true"], limit="5s", drain="3s")
        exits.append(o.exit)
        drains.append(o.drain_ms)
        if o.exit:
            failures.append(f"the freeze after worker {victim} was killed: "
                            f"{(o.stdout + o.stderr)[-600:]}")
            refused.append({"stdout": o.stdout, "stderr": o.stderr, "record": o.record})
        elif len(said) < 3:
            said.append({"stdout": o.stdout, "stderr": o.stderr, "record": o.record})
        progress.step(f"{len(failures)} failed")
    return {"times": times, "killed": killed, "exits": _counted(exits), "failures": failures,
            "drain_ms": stats.summary([d for d in drains if d is not None]),
            "first_reports": said, "refused": refused[:10],
            "client_errors": len(rig.load.errors())}


def _in_section(rig, rng):
    """A worker of this Cyrus that holds a write lock which is not the one around accept()."""
    idle = {os.stat(p).st_ino for p in (rig.tree / "conf" / "socket").glob("*.lock")}
    idle.add(os.stat(rig.work / "run" / "master.pid").st_ino)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        members, found = rig.server.service.members(), []
        with open("/proc/locks", encoding="ascii") as f:
            for line in f:
                parts = line.split()
                if "->" in parts or parts[3] != "WRITE":
                    continue
                pid, inode = int(parts[4]), int(parts[5].rpartition(":")[2])
                if pid in members and inode not in idle:
                    found.append(pid)
        if found:
            return rng.choice(sorted(set(found)))
        time.sleep(0.01)
    return None


def _kill(freezer):
    """The freezer first, then what it had started: the command must not outlive the test."""
    family = procs.descendants([freezer.pid])
    with contextlib.suppress(ProcessLookupError):
        os.kill(freezer.pid, signal.SIGKILL)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        freezer.communicate(timeout=10)


@contextlib.contextmanager
def _probe(rig, limit_s=LIMIT_S):
    before = len(rig.load.errors())
    with probe.Probe(rig.gate, rig.tree / "probe", rig.work / "probe.log",
                     limit_s) as writer:
        time.sleep(0.3)
        writer.errors_before = before
        yield writer


def _waits(rig, writer, limit_s, result):
    """Add what writers and clients felt, and judge it."""
    waits, late = writer.waits_ms(), writer.oversleep_ms()
    result["limit_ms"] = limit_s * 1e3
    result["writer_wait_ms"] = stats.summary(waits)
    result["plain_sleep_late_ms"] = round(late, 1)
    result["client_errors"] = len(rig.load.errors()) - writer.errors_before
    if not waits:
        result["failures"].append("the probe was never held: it was not gated")
    # On two busy cores a plain sleep of the same length is late as well: what it is late by is
    # the machine's, and shown.
    bound = limit_s * 1e3 + max(SLACK_MS, late)
    if waits and max(waits) > bound:
        result["failures"].append(f"a write was held {max(waits):.0f} ms, the bound is {bound:.0f} "
                                  f"(a plain sleep of the limit was late by {late:.0f} ms)")
    if result["client_errors"]:
        result["failures"].append(f"{result['client_errors']} client errors: "
                                  f"{rig.load.errors()[-1]['error']}")
    return result


def _counted(values):
    return {str(v): values.count(v) for v in sorted(set(values))}

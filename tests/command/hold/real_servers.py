#!/usr/bin/env python3
"""By hand: a real server that was never set up, under load, frozen by `freeze --pid`; its own checker tells whole from torn.

  real_servers.py cyrus [N]            needs root, and what tests/servers/cyrus needs

Prints how many of N freezes came to rest, how many snapshots are torn, and how long it took. WRITEGATE_BIN_DIR as ever.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab import gate as lab_gate, stats  # noqa: E402 (the path comes first)

# What idle services hold around accept.
LIFETIME = {"cyrus": ["*/socket/*.lock"]}
BATCH = 25


def freeze(rig, name, report, server):
    _, command = lab_gate.binaries()
    lifetime = [word for pattern in LIFETIME[server] for word in ("--lifetime-lock", pattern)]
    paths = ":".join(map(str, rig.subvolumes))
    run = subprocess.run([command, "freeze", "--pid", str(rig.server.service.process.pid), *lifetime, "--paths", paths, "-t", "10s", "--drain", "3s",
                          "--retries", "1", "--report", report, "--", *rig.snapshot_command(name)], capture_output=True, text=True, timeout=120)
    return run.returncode, json.loads(Path(report).read_text()), run.stderr


def cyrus(count):
    from servers.cyrus import rig as rigs, server
    if why := server.unavailable():
        sys.exit(why)
    with tempfile.TemporaryDirectory(prefix="writegate-hold-") as work:
        os.chmod(work, 0o755)
        with rigs.Rig(Path(work), gated=False) as rig:
            return series(rig, count, Path(work) / "report.json", "cyrus")


def series(rig, count, report, server):
    exits, took, torn, held, seen, short, eintr = {}, [], 0, [], 0, 0, 0
    for first in range(0, count, BATCH):
        names = []
        for number in range(first, min(count, first + BATCH)):
            time.sleep(0.3)
            code, record, said = freeze(rig, f"s{number}", report, server)
            exits[code] = exits.get(code, 0) + 1
            gate = record["gates"][0]
            if code:
                print(f"{number}: exit {code}: {said.strip()}", flush=True)
                continue
            names.append(f"s{number}")
            took.append(gate["drain_ns"] / 1e6)
            held.append(gate["at_rest"])
            short += sum(one["short"] for one in gate["held_at_rest"])
            eintr += sum(one["interrupted"] for one in gate["held_at_rest"])
        rig.load.pause()
        for name in names:
            findings = rig.judge(name)
            if findings is None:
                continue
            seen += 1
            if findings:
                torn += 1
                print(f"{name}: {findings}", flush=True)
        rig.load.resume()
    print(f"{server}: exits {exits}; {torn} torn of {seen}; at rest after, ms: {stats.summary(took)}; processes: {min(held, default=0)} to "
          f"{max(held, default=0)}; {eintr} EINTR, {short} short; load {os.getloadavg()[0]:.1f}")
    return torn > 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] != ["cyrus"]:
        sys.exit(__doc__)
    sys.exit(cyrus(int(arguments[1]) if len(arguments) > 1 else 100))

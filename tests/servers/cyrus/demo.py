"""scripts/demo cyrus: Debian's Cyrus, loaded, snapshotted without and with the gate, and behind a plain gate (tests/plain)."""
import argparse
import os
import sys

from lab import procs, table
from lab import volume, ways
from . import rig, server, snapshots


def unavailable():
    """Why it cannot run here, or None. Installs what is missing from Debian, where it may."""
    if os.geteuid() != 0:
        return "needs root: it mounts a btrfs image and runs Cyrus as its own user"
    return server.unavailable() or volume.unavailable()


def run(options, work):
    rows, last, bad = [], None, 0
    runs = [("without the gate", False, max(5, options.copies // 2), "none"),
            ("behind a plain gate", False, max(5, options.copies // 2), "plain"),
            ("with the gate", True, options.copies, "gate")]
    for label, gated, count, name in runs:
        way = ways.WAYS[name]
        if why := way.unavailable():
            print(f"{label}: left out: {why}", file=sys.stderr)
            continue
        folder = work / name
        folder.mkdir(mode=0o755)
        print(f"{label}: starting Cyrus, 8 IMAP and 2 LMTP clients", file=sys.stderr, flush=True)
        with rig.Rig(folder, gated, way=way) as r, table.Progress(f"snapshots {label}", count) as progress:
            s = snapshots.take(r, count, progress, options)
        kept = s.record()
        client = kept["client_ms_in_freezes"] if gated else kept["client_ms_all"]
        drain = kept["drain_ms"]
        rows.append([label, count, s.torn, s.not_drained + s.otherwise_failed if way.gated else None,
                     drain["p50"], drain["p99"], drain["max"], client["p50"], client["p99"],
                     kept["operations_per_second"]])
        if gated:
            last = s.taken[-1].get("line")
            bad = s.any_finding + s.not_drained + s.otherwise_failed
        elif name == "none" and s.torn < count * 0.8:
            print(f"only {s.torn} of {count} are torn: the load is too light", file=sys.stderr)
            bad += 1
        for one in s.taken:
            if one.get("exit"):
                print(one["said"], file=sys.stderr)
    print(table.render(rows, ["snapshots of a busy Cyrus", "snapshots", "torn", "refused",
                              "drain p50 ms", "p99", "max", "client p50 ms", "p99", "ops/s"]))
    print(last or "writegate printed no verdict")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo cyrus", description=__doc__)
    parser.add_argument("--copies", type=int, default=50, help="with the gate; half as many without (default 50)")
    options = parser.parse_args()
    options.limit, options.drain, options.retries = "5s", "3s", 0
    if (why := unavailable()):
        print(f"skipped: {why}")
        return 77
    with procs.workspace("demo") as work:
        return run(options, work)


if __name__ == "__main__":
    sys.exit(main())

"""scripts/evaluate general: programs that are no mail servers, to show that the rules are general."""
import os

from lab import evaluation, gate as lab_gate, table, volume

from . import trial

SUMMARY = ("SQLite, git, rsync and a shell script with flock(1) on two subvolumes: snapshots with and "
           "without the gate, judged by their own checkers. Parts: " + ", ".join(trial.PROGRAMS))
HEADER = ["run", "snapshots", "torn", "not drained", "other", "drain p50 ms", "p99", "max"]


def unavailable(options):
    if (why := volume.unavailable()):
        return why
    try:
        lab_gate.binaries()
    except FileNotFoundError as missing:
        return str(missing)
    return None


def arguments(parser):
    parser.add_argument("--snapshots", type=int, default=100, help="gated, of each program")
    parser.add_argument("--control", type=int, default=30, help="without the gate, of each program")


def run(options, work):
    rows, record, failures, notes = [], {}, [], []
    for name, program in trial.PROGRAMS.items():
        if not evaluation.wanted(options, name):
            continue
        if (why := program.unavailable()):
            notes.append(f"skipped: {name}: {why}")
            continue
        for label, count, gated in (("control", options.control, False), ("gated", options.snapshots, True)):
            if not count:
                continue
            folder = work / f"{name}-{label}"
            os.makedirs(folder, mode=0o755)
            with table.Progress(f"{name} {label}", count) as progress:
                kept = trial.run(program, count, gated, folder, options, progress)
            record[f"{name}-{label}"] = kept
            drain = kept["drain_ms"]
            rows.append([f"{name} {label}", count, kept["torn"], kept["not_drained"],
                         kept["otherwise_failed"], drain["p50"], drain["p99"], drain["max"]])
            failures += [f"{name} {label}: {said}" for said in trial.judge(gated, kept)]
    return evaluation.Result(HEADER, rows, {"parts": record}, failures, notes)

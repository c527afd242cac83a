"""scripts/evaluate dovecot: each format under load, mail and index on two subvolumes."""

import os

from lab import evaluation, gate as lab_gate, table, volume

from . import clients, rig, server, snapshots

SUMMARY = ("Debian's Dovecot under IMAP, LMTP and POP3 load, mail and index on two subvolumes: "
           "snapshots with and without the gate, judged by a checker of the files and by a "
           "Dovecot started on a copy.")
DRAIN_P99_MS = 60
SETTINGS = {"control": {"gated": False}, "load": {"gated": True},
            "contention": {"gated": True, "users": 1, "crossing": True},
            # Files that stay open for more: a slow APPEND then goes into one that exists, under its lock.
            "slow": {"gated": True, "extra": clients.slow_appends, "rotate": "8M"},
            "tools": {"gated": True, "extra": clients.tools}}


def unavailable(options):
    why = volume.unavailable()
    if why:
        return why
    if not server.install():
        return f"not installed: {' '.join(server.missing())}"
    if options.only == ["control"]:
        return None
    try:
        lab_gate.binaries()
    except FileNotFoundError as missing:
        return str(missing)
    return None


def arguments(parser):
    parser.add_argument("--formats", type=lambda s: s.split(","), default=list(server.FORMATS),
                        metavar="FORMAT,...", help="default: all of " + ", ".join(server.FORMATS))
    parser.add_argument("--snapshots", type=int, default=200, help="gated, under full load")
    parser.add_argument("--control", type=int, default=30, help="without the gate")
    parser.add_argument("--contention", type=int, default=50, help="gated, everybody uses one account")
    parser.add_argument("--slow", type=int, default=20, help="gated, while clients APPEND slowly")
    parser.add_argument("--tools", type=int, default=30, help="gated, with doveadm and dovecot-lda beside")
    parser.add_argument("--restores", type=int, default=3, help="snapshots on which a server is started")


HEADER = ["run", "snapshots", "torn", "not drained", "other", "drain p50 ms", "p99", "max",
          "client p99 in ms", "outside", "ops/s", "restores"]


def run(options, work):
    rows, failures = [], []
    record = {"packages": {p: evaluation.package_version(p) for p in ("dovecot-core", "libc6")},
              "load": {"imap": 8, "lmtp": 2, "pop3": 3, "users": 3, "seed": options.seed}, "parts": {}}
    for fmt in options.formats:
        for part in SETTINGS:
            count = options.snapshots if part == "load" else getattr(options, part)
            if not count or not evaluation.wanted(options, part):
                continue
            folder = work / f"{fmt}-{part}"
            os.makedirs(folder, mode=0o755)
            with rig.Rig(folder, fmt, seed=options.seed, **SETTINGS[part]) as r, \
                    table.Progress(f"{fmt} {part}", count) as progress:
                kept = snapshots.take(r, count, progress, options,
                                      options.restores if part in ("control", "load") else 0)
            record["parts"][f"{fmt}-{part}"] = kept
            rows.append(_row(f"{fmt} {part}", kept))
            failures += [f"{fmt} {part}: {f}" for f in judge(part, kept)]
    notes = [f"mail and index snapshotted one after the other, {snapshots.PAUSE_S} s apart, in both orders"]
    return evaluation.Result(HEADER, rows, record, failures, notes)


def _row(label, k):
    drain = k["drain_ms"]
    good = sum(not (r["wrong"] or r["complaints"] or r["repaired"]) for r in k["restores"])
    return [label, k["snapshots"], k["torn"], k["not_drained"], k["otherwise_failed"], drain["p50"],
            drain["p99"], drain["max"], k["client_ms_in_windows"]["p99"], k["client_ms_outside"]["p99"],
            k["operations_per_second"], f"{good} of {len(k['restores'])}" if k["restores"] else None]


def judge(part, k):
    """Sentences about what is not as it must be."""
    said = []
    if k["quiet_findings"]:
        said.append(f"the checker sees {k['quiet_findings'][:3]} in the quiet store")
    if not k["operations_per_second"]:
        said.append("the load did nothing")
    if part == "control":
        if not k["torn"]:
            said.append("no torn snapshot without the gate: the load is too light or the checker blind")
        return said
    if k["torn"]:
        said.append(f"{k['torn']} torn snapshots: {k['findings_in_snapshots']}")
    if k["client_errors"]:
        said.append(f"{k['client_errors']} client errors: {k['first_errors'][0]['error']}")
    if k["otherwise_failed"]:
        said.append(f"{k['otherwise_failed']} freezes failed otherwise: {k['bad'][0]}")
    for r in k["restores"]:
        said += [f"restore of {r['name']}: {what} {r[what][:3]}"
                 for what in ("wrong", "complaints", "repaired") if r[what]]
    if part == "slow":          # drained, or said so with the client's process
        said += [f"NOT_DRAINED names no process: {t['said'][-200:]}" for t in k["bad"]
                 if t["exit"] == lab_gate.NOT_DRAINED and "imap" not in t["said"]]
        return said
    if k["not_drained"] > 0.01 * k["snapshots"]:
        said.append(f"{k['not_drained']} of {k['snapshots']} not drained")
    if part == "load" and k["drain_ms"]["n"] and k["drain_ms"]["p99"] > DRAIN_P99_MS:
        said.append(f"drain p99 {k['drain_ms']['p99']} ms, the limit is {DRAIN_P99_MS}")
    return said

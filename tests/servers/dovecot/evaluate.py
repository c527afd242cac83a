"""scripts/evaluate dovecot: each format under load, mail and index on two subvolumes."""

import os

from lab import evaluation, gate as lab_gate, table, volume

from . import rig, server, slow, snapshots, tools

SUMMARY = ("Debian's Dovecot under IMAP, LMTP and POP3 load, mail and index on two subvolumes: "
           "snapshots with and without the gate, judged by a checker of the files and by a "
           "Dovecot started on a copy.")
DRAIN_P99_MS, DRAINED_SHARE, LIMIT_MS = 60, 0.99, 5_000
SETTINGS = {"control": {"gated": False}, "load": {"gated": True},
            # All deliveries and sessions go to one user.
            "contention": {"gated": True, "users": 1, "crossing": True},
            # Files that stay open for more: a slow APPEND then goes into one that exists, under its lock.
            # Others queue for that lock, in an mbox for 11 s without any freeze: what is waited for
            # in freezes is held against what was waited for before the first.
            "slow-append": {"gated": True, "extra": slow.slow_appends, "rotate": "8M", "warm_s": 12},
            "slow-lmtp": {"gated": True, "extra": slow.slow_deliveries},
            "slow-pop3": {"gated": True, "extra": slow.slow_collections},
            # doveadm and dovecot-lda through `writegate exec` beside the server. They become the mail
            # user, which is an ordinary one here: first seen as such they would be anybody's.
            "tools": {"gated": True, "extra": tools.tools,
                      "freeze_options": ("--users", f"{server.UID},dovecot,dovenull")}}
SHOWN = {"control": "without the gate", "load": "gated", "contention": "gated, one account",
         "slow-append": "gated, slow APPENDs", "slow-lmtp": "gated, slow LMTP DATA",
         "slow-pop3": "gated, slow POP3 readers", "tools": "gated, doveadm and lda"}


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
    parser.add_argument("--control", type=int, default=20, help="without the gate")
    parser.add_argument("--contention", type=int, default=20, help="gated, everybody uses one account")
    parser.add_argument("--slow", type=int, default=20,
                        help="gated, while clients are slow: as many for each of APPEND, LMTP, POP3")
    parser.add_argument("--tools", type=int, default=20, help="gated, with doveadm and dovecot-lda beside")
    parser.add_argument("--restores", type=int, default=3, help="snapshots on which a server is started")


HEADER = ["run", "snapshots", "torn", "not drained", "other", "drain p50 ms", "p99", "max",
          "client p99 in ms", "outside", "ops/s", "restores whole", "as it must be"]


def run(options, work):
    rows, failures = [], []
    record = {"packages": {p: evaluation.package_version(p) for p in ("dovecot-core", "libc6")},
              "load": {"imap": 8, "lmtp": 2, "pop3": 3, "users": 3, "seed": options.seed}}
    for fmt in options.formats:
        for part in SETTINGS:
            count = options.snapshots if part == "load" else getattr(options, part.partition("-")[0])
            if not count or not evaluation.wanted(options, part):
                continue
            folder = work / f"{fmt}-{part}"
            os.makedirs(folder, mode=0o755)
            with rig.Rig(folder, fmt, seed=options.seed, **SETTINGS[part]) as r, \
                    table.Progress(f"{fmt} {part}", count) as progress:
                kept = snapshots.take(r, count, progress, options,
                                      options.restores if part == "load" else 0)
            said = judge(part, kept)
            record[f"{fmt}-{part}"] = {**kept, "failures": said}
            label = f"{fmt}, {SHOWN[part]}"
            rows.append(_row(label, kept, said))
            failures += [f"{label}: {f}" for f in said]
    notes = [f"mail and index snapshotted one after the other, {snapshots.PAUSE_S} s apart, in both orders"]
    return evaluation.Result(HEADER, rows, record, failures, notes)


def _row(label, k, said):
    drain = k["drain_ms"]
    good = sum(not (r["wrong"] or r["complaints"] or r["repaired"]) for r in k["restores"])
    gated = drain["n"] > 0
    return [label, k["snapshots"], k["torn"], k["not_drained"] if gated else None,
            k["otherwise_failed"] if gated else None, drain["p50"], drain["p99"], drain["max"],
            k["client_ms_in_windows"]["p99"], k["client_ms_outside"]["p99"], k["operations_per_second"],
            f"{good} of {len(k['restores'])}" if k["restores"] else None, "no" if said else "yes"]


def judge(part, k):
    """Sentences about what is not as it must be."""
    said = []
    if k["quiet_findings"]:
        said.append(f"the checker sees {k['quiet_findings'][:3]} in the quiet store")
    if not k["operations_per_second"]:
        said.append("the load did nothing")
    if not k["came_to_rest"]:
        said.append("clients did not come to rest when they were asked to: somebody hangs")
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
    if k["held_ms"]["n"] and k["held_ms"]["max"] > LIMIT_MS:
        said.append(f"a barrier stood for {k['held_ms']['max']} ms, the limit is {LIMIT_MS}")
    # An operation is many calls. Where freezes that could not drain follow each other it meets several.
    inside, outside = k["client_ms_in_windows"]["max"], k["client_ms_outside"]["max"]
    if inside and not k["not_drained"] and inside > LIMIT_MS + (outside or 0):
        said.append(f"somebody waited for {inside} ms, the limit is {LIMIT_MS}; outside of freezes at most {outside}")
    if part.startswith("slow"):          # drained, or said so with the slow client's process
        said += [f"NOT_DRAINED names no slow client's process: {t['said'][-300:]}" for t in k["bad"]
                 if t["exit"] == lab_gate.NOT_DRAINED and not t["of_slow_clients"]]
        return said
    if k["not_drained"] > (1 - DRAINED_SHARE) * k["snapshots"]:
        said.append(f"{k['not_drained']} of {k['snapshots']} not drained: "
                    f"{next(t['said'] for t in k['bad'] if t['exit'] == lab_gate.NOT_DRAINED)[-300:]}")
    if part == "load" and k["drain_ms"]["n"] and k["drain_ms"]["p99"] > DRAIN_P99_MS:
        said.append(f"drain p99 {k['drain_ms']['p99']} ms, the limit is {DRAIN_P99_MS}")
    return said

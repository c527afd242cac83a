"""scripts/evaluate cyrus: everything that is claimed of the gate under a busy Cyrus 3.6."""
import os

from lab import evaluation, gate as lab_gate, table, volume, ways
from . import badday, rig, server, snapshots, throughput

SUMMARY = ("Debian's Cyrus under full load on a btrfs volume: snapshots with and without the gate, "
           "each judged by a checker of the files; killed and stopped freezers; killed workers; "
           "throughput.")

# Of a drain under this load, on the machine class of the reference figures.
DRAIN_P50_MS, DRAIN_P99_MS = 80, 125


def unavailable(options):
    why = server.unavailable() or volume.unavailable()
    if why or set(options.only or ["all"]) <= {"control", "stopped"}:
        return why
    try:
        lab_gate.binaries()
    except FileNotFoundError as missing:
        return str(missing)
    return None


def arguments(parser):
    parser.add_argument("--imap", type=int, default=8, help="IMAP clients (default 8)")
    parser.add_argument("--lmtp", type=int, default=2, help="LMTP clients (default 2)")
    parser.add_argument("--snapshots", type=int, default=500, help="gated, one session a user")
    parser.add_argument("--contention", type=int, default=200, help="gated, three sessions a user")
    parser.add_argument("--split", type=int, default=100,
                        help="gated, conf and spool on two volumes, snapshotted 0.1 s apart")
    parser.add_argument("--replicated", type=int, default=30,
                        help="gated, with sync_client to a second server, and squatter")
    parser.add_argument("--control", type=int, default=50, help="without the gate")
    parser.add_argument("--calls-only", type=int, default=25,
                        help="gated by a gate broken on purpose: it takes no lock for a section")
    parser.add_argument("--plain", type=int, default=50,
                        help="behind the plain gate (tests/plain), which counts single calls")
    parser.add_argument("--stopped", type=int, default=50,
                        help="without the gate, every process under SIGSTOP")
    parser.add_argument("--freezer-killed", type=int, default=50)
    parser.add_argument("--freezer-stopped", type=int, default=5)
    parser.add_argument("--back-to-back", type=int, default=30,
                        help="freezes of each of three tools at once, limit 200 ms")
    parser.add_argument("--workers-killed", type=int, default=200)
    parser.add_argument("--throughput", type=int, default=6, help="pairs of runs")
    parser.add_argument("--throughput-seconds", type=float, default=15, help="of each run")


HEADER = ["run", "snapshots", "torn", "any finding", "not drained", "other", "drain p50 ms", "p99",
          "max", "client p50 ms", "p99", "ops/s"]


def run(options, work):
    rows, notes, failures = [], [], []
    record = {"packages": {p: evaluation.package_version(p) for p in ("cyrus-common", "libc6")},
              "load": {"imap": options.imap, "lmtp": options.lmtp, "seed": options.seed}}

    def series(part, label, count, gated, sessions=1, split_s=None, way=None, broken=None,
               replicated=False):
        if not (count and evaluation.wanted(options, part)):
            return
        with rig.Rig(_fresh(work, part), gated, options.imap * sessions, options.lmtp, sessions,
                     seed=options.seed, split_s=split_s, profile=broken,
                     replicated=replicated, way=way) as r, \
                table.Progress(label, count) as progress:
            s = snapshots.take(r, count, progress, options)
            programs, copied = r.programs(), r.replica_messages()
        kept = record[part] = s.record()
        if replicated:
            kept["programs"], kept["replica_messages"] = programs, copied
            failures.extend(f"{label}: no {name} was running" for name in ("sync_client", "squatter")
                            if name not in programs)
            if not copied:
                failures.append(f"{label}: the replica has no message")
        rows.append(_row(label, s, kept, gated))
        single_calls = broken or (way and way.shim)
        failures.extend(_judge_broken(label, s) if single_calls else _judge(label, s, kept, gated))
        if gated and not single_calls:
            notes.append(_drain_note(label, kept))

    def scenario(part, label, count, act):
        if not (count and evaluation.wanted(options, part)):
            return
        with rig.Rig(_fresh(work, part), True, options.imap, options.lmtp, seed=options.seed) as r, \
                table.Progress(label, count) as progress:
            kept = record[part] = act(r, count, progress)
        notes.append(f"{label}, {count} times: " +
                     ", ".join(f"{k} {v}" for k, v in kept.items() if k in _SHOWN))
        failures.extend(f"{label}: {f}" for f in kept["failures"])

    series("control", "without the gate", options.control, False)
    series("stopped", "every process SIGSTOPped", options.stopped, False, way=ways.WAYS["sigstop"])
    series("calls-only", "gated, locks left out", options.calls_only, True,
           broken={"lifetime-lock": ["*.lock", "*.db", "cyrus.*", "user.*"]})
    series("plain", "behind a plain gate", options.plain, True, way=ways.WAYS["plain"])
    series("snapshots", "gated", options.snapshots, True)
    series("contention", "gated, 3 sessions a user", options.contention, True, sessions=3)
    series("split", "gated, two volumes 0.1 s apart", options.split, True, split_s=0.1)
    series("replicated", "gated, replicated and indexed", options.replicated, True, replicated=True)
    scenario("freezer-killed", "freezer killed", options.freezer_killed, badday.freezer_killed)
    scenario("freezer-stopped", "freezer stopped", options.freezer_stopped, badday.freezer_stopped)
    scenario("back-to-back", "three tools back to back", options.back_to_back,
             badday.back_to_back)
    scenario("workers-killed", "workers killed", options.workers_killed, badday.workers_killed)
    if options.throughput and evaluation.wanted(options, "throughput"):
        with table.Progress("throughput", 2 * options.throughput) as progress:
            kept = record["throughput"] = throughput.alternating(
                _fresh(work, "throughput"), options.throughput, options.throughput_seconds,
                options, progress)
        notes.append(f"throughput, library loaded and barrier down against none: ratio "
                     f"{kept['ratio']}, loaded {kept['loaded_per_second']}, "
                     f"bare {kept['bare_per_second']} operations/s; processor time of the server for "
                     f"one operation: ratio {kept['processor_ratio']}")
        failures.extend(kept["failures"])
    return evaluation.Result(HEADER, rows, record, failures, notes)


_SHOWN = ("exits", "next_exits", "killed", "writer_wait_ms", "plain_sleep_late_ms", "drain_ms",
          "client_errors")


def _fresh(work, part):
    folder = work / part
    os.makedirs(folder, mode=0o755)
    return folder


def _row(label, s, kept, gated):
    drain = kept["drain_ms"]
    client = kept["client_ms_in_freezes"] if gated else kept["client_ms_all"]
    return [label, len(s.taken), s.torn, s.any_finding, s.not_drained if gated else None,
            s.otherwise_failed if gated else None, drain["p50"], drain["p99"], drain["max"],
            client["p50"], client["p99"], kept["operations_per_second"]]


def _judge(label, s, kept, gated):
    said = []
    if s.quiet_findings:
        said.append(f"the checker found {s.quiet_findings} contradictions on a quiet server")
    if kept["client_errors"]:
        said.append(f"{kept['client_errors']} client errors: {kept['first_errors'][0]['error']}")
    if not gated:
        if s.torn < 0.9 * len(s.taken):
            said.append(f"only {s.torn} of {len(s.taken)} ungated snapshots are torn: "
                        "the load is too light or the checker blind")
        return [f"{label}: {what}" for what in said]
    if s.any_finding:
        said.append(f"{s.any_finding} inconsistent snapshots: {kept['findings_in_snapshots']}")
    if s.not_drained or s.otherwise_failed:
        said.append(f"{s.not_drained} not drained, {s.otherwise_failed} failed otherwise")
    return [f"{label}: {what}" for what in said]


def _judge_broken(label, s):
    """Held between two calls but in the middle of a set: what counting calls alone would give."""
    return [] if s.torn else [f"{label}: none of {len(s.taken)} is torn: the checker is blind to "
                              "what sections are for"]


def _drain_note(label, kept):
    """No failure: how long sections take is the disk's and the machine's, too."""
    drain, sync = kept["drain_ms"], kept["fsync_ms"]
    over = drain["n"] and (drain["p50"] > DRAIN_P50_MS or drain["p99"] > DRAIN_P99_MS)
    return (f"{label}: drain p50 {drain['p50']}, p99 {drain['p99']} ms"
            f"{', above' if over else ', within'} the reference of {DRAIN_P50_MS} and {DRAIN_P99_MS}; "
            f"one fsync of 4 KiB just before took p50 {sync['p50']}, p99 {sync['p99']} ms")

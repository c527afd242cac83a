"""What an evaluation of an MTA shows: the parts it runs, the table, what must hold.

A server's evaluate.py gives its trial.Server, its profile and its parts; this file runs them one
after the other, each on volumes of its own.
"""
import dataclasses
import os
from pathlib import Path

from lab import evaluation, volume

from . import root, trial

PROFILES = Path(__file__).resolve().parents[3] / "profiles"


@dataclasses.dataclass
class Part:
    """One row.  `must`: what is held against it (see `judge`)."""
    name: str
    options: trial.Options
    # conserve (and half of them taken) | drain (all) | red | shown (what is known not to hold)
    must: str = "conserve"
    p99_ms: float = None
    server: object = None           # another trial.Server than the evaluation's


def without_order(profile, work):
    """A profile without its `first` lines: what locks and single calls alone give."""
    file = Path(work) / "unordered.conf"
    file.write_text("".join(line for line in profile.read_text().splitlines(True)
                            if not line.startswith("first")))
    return str(file)


def unavailable(_options=None):
    if os.geteuid():
        return "needs root (overlay and btrfs mounts)"
    return volume.unavailable()


def arguments(parser):
    parser.add_argument("--count", type=int, default=200, metavar="N",
                        help="snapshots in each of the two orders (default %(default)s)")
    parser.add_argument("--control", type=int, default=30, metavar="N",
                        help="snapshots without the gate, in each order (default %(default)s)")
    parser.add_argument("--restores", type=int, default=3, metavar="N",
                        help="snapshots on which the server is started (default %(default)s)")


def run(server, parts, options, work):
    rows, record, failures = [], {}, []
    for part in parts:
        if not evaluation.wanted(options, part.name):
            continue
        trial_options = dataclasses.replace(
            part.options, seed=options.seed, retries=options.retries, limit=options.limit,
            drain=options.drain)
        folder = Path(work) / part.name
        try:
            with trial.Trial(part.server or server, trial_options, folder) as t:
                t.run()
                summary = t.summary()
                summary["bad"] = [s.as_dict() for s in t.snapshots
                                  if s.finding or (s.outcome and not s.outcome.consistent)]
        except root.Unavailable as why:
            failures.append("%s: could not run: %s" % (part.name, why))
            continue
        failures += ["%s: %s" % (part.name, f) for f in judge(part, summary)]
        record[part.name] = summary
        rows.append(row(part.name, summary))
    header = ["part", "snapshots", "taken", "LOST", "DUP", "CUT", "drain p50", "p99", "max ms",
              "client p99 in", "outside ms", "messages/s", "restores"]
    notes = ["LOST, DUP, CUT: snapshots with at least one such message, of those taken; "
             "queue and store lie on two subvolumes, snapshotted %.1f s apart in both orders."
             % trial.PAUSE_S]
    for name, summary in record.items():
        if summary["remote_twice"]:
            notes.append("%s: %d messages were still owed to another host that had already taken "
                         "them" % (name, summary["remote_twice"]))
        if summary["notices_twice"]:
            notes.append("%s: %d messages would be bounced a second time"
                         % (name, summary["notices_twice"]))
    return evaluation.Result(header, rows, {"parts": record}, failures, notes)


def totals(summary):
    return {what: sum(order[what] for order in summary["by_order"].values())
            for what in ("lost", "dup", "cut")}


def row(name, s):
    t, drain = totals(s), s["drain_ms"]
    good = sum(not r["problems"] for r in s["restored"])
    return [name, s["snapshots"], s["taken"], t["lost"], t["dup"], t["cut"], drain["p50"],
            drain["p99"], drain["max"], s["client_ms_in_window"]["p99"],
            s["client_ms_outside"]["p99"], s["messages_per_s"],
            "%d of %d" % (good, len(s["restored"])) if s["restored"] else None]


def judge(part, s):
    """Sentences about what is not as it must be."""
    wrong = []
    if part.must == "shown":
        return wrong
    t = totals(s)
    if part.must == "red":
        # A checker that cannot see the harm proves nothing about its absence.
        if not t["lost"]:
            wrong.append("no loss was seen without the gate")
        if not t["dup"]:
            wrong.append("nothing was doubled without the gate")
        return wrong
    wrong += ["%s in %d snapshots" % (what.upper(), n) for what, n in t.items() if n]
    wrong += s["problems"]
    if s["errors"]:
        wrong.append("%d operations of clients failed" % s["errors"])
    if s["taken"] * 2 < s["snapshots"]:
        # Nothing is conserved in a snapshot that was never taken.
        wrong.append("only %d of %d snapshots were taken: %s"
                     % (s["taken"], s["snapshots"], s["verdicts"]))
    if part.must == "drain" or part.p99_ms:
        share = s["verdicts"].get("CONSISTENT", 0) / max(1, s["snapshots"])
        if share < 0.99:
            wrong.append("only %.1f %% were CONSISTENT at the first try: %s"
                         % (share * 100, s["verdicts"]))
    if part.p99_ms and s["drain_ms"]["p99"] and s["drain_ms"]["p99"] > part.p99_ms:
        wrong.append("drain p99 is %s ms, more than %s" % (s["drain_ms"]["p99"], part.p99_ms))
    return wrong

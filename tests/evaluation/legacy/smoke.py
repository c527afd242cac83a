#!/usr/bin/env python3
"""The short run for `scripts/test`: Debian 11's Cyrus, the oldest that can be had, as its package configures it: snapshots
without the gate, set up by our package, freezes. And the parts that need no server: the checkers of other versions, the tables.

    tests/evaluation/legacy/smoke.py [--only PATTERN] [--system bullseye] [--server cyrus] [--packages DIR]
"""
import sys
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS), str(TESTS / "servers")]

from evaluation import legacy  # noqa: E402, F401 (the path comes first; it brings the systems)
from evaluation.legacy import cell, main, mail  # noqa: E402
from lab import procs, suite  # noqa: E402

import built  # noqa: E402
import machine as machines  # noqa: E402

SNAPSHOTS = 6
# Other parts may keep the machine busy: what is asked here is whether it is whole, not how fast.
LIMITS = {"limit": "20s", "drain": "10s"}
UNITS = ("cyrus.test_check", "cyrus.test_older", "exim.test_spool", "evaluation.legacy.test_page")
CASES = ("quiet", "control", "set-up", "trusted", "whole", "clients")


def judged(record):
    """(case, what is wrong or None) each."""
    ungated, setup, gated = record["ungated"], record["setup"], record["gated"]
    quiet = [*ungated["quiet"], *(gated["quiet"] if gated else ())]
    yield "quiet", f"at rest: {quiet}" if quiet else None
    yield "control", None if ungated["torn"] else "without the gate nothing was torn"
    good = setup["exit"] == 0 and setup["verdict"] == "CONSISTENT" and setup["doctor_after"] == 0 != setup["doctor_before"]
    yield "set-up", None if good else str(setup)
    if not gated:
        return
    yield "trusted", None if gated["taken"] == gated["snapshots"] else f"{gated['verdicts']}: {gated['said']}"
    yield "whole", f"{gated['torn']} of {gated['taken']} torn: {gated['first_wrong']}" if gated["torn"] else None
    failed = ungated["clients_failed"] + gated["clients_failed"]
    yield "clients", f"{failed} failed: {ungated['first_errors'] + gated['first_errors']}" if failed else None


def with_a_server(options):
    """(passed, failed, skipped)"""
    wanted = [name for name in CASES if suite.fits(name, options.only)]
    if not wanted:
        return 0, 0, 0
    try:
        debs = built.packages(options.packages)
        with procs.workspace("legacy-smoke") as work:
            record = {"system": options.system, "server": options.server,
                      **cell.measure(options.system, options.server, SNAPSHOTS, 1, debs, work, limits=LIMITS)}
    except machines.Unavailable as why:
        print(f"skipped: {options.system}, {options.server}: {why}", flush=True)
        return 0, 0, len(wanted)
    print(f"  {record['environment']['package']} on {record['environment']['name']}: {main.shown(record)}")
    found = dict(judged(record))
    passed = failed = 0
    for name in wanted:
        wrong = found.get(name, "it did not come to that")
        said = f"{'FAILED' if wrong else 'ok'}: {options.system}, {options.server}: {name}"
        print(f"{said}: {wrong}" if wrong else said, flush=True)
        passed, failed = passed + (not wrong), failed + bool(wrong)
    return passed, failed, 0


def run():
    parser = suite.parser(__doc__)
    parser.add_argument("--system", default="bullseye", choices=[s for s in main.SYSTEMS if s != main.musl.NAME])
    parser.add_argument("--server", default="cyrus", choices=mail.KINDS)
    parser.add_argument("--packages", type=Path)
    options = parser.parse_args()
    units = suite.count(unittest.defaultTestLoader.loadTestsFromNames(UNITS), options.only, verbosity=0) or (0, 0, 0)
    numbers = [sum(column) for column in zip(units, with_a_server(options))]
    if not any(numbers):
        return suite.nothing(options.only, CASES)
    print("{} passed, {} failed, {} skipped".format(*numbers))
    return 1 if numbers[1] else 0


if __name__ == "__main__":
    sys.exit(run())

"""A short slice of an MTA's evaluation, for scripts/test: a minute, and a closing count.

Each check is one line; the last line reads `N passed, N failed, N skipped`.
"""
import dataclasses
import sys
import unittest

from lab import gate as gates
from lab import procs

from . import report, root, trial


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, wrong):
        """`wrong`: sentences; empty when all is as it must be."""
        for sentence in wrong:
            print("  %s" % sentence)
        print("%s: %s" % ("FAILED" if wrong else "ok", name), flush=True)
        self.failed += bool(wrong)
        self.passed += not wrong

    def skip(self, name, why):
        print("skipped: %s: %s" % (name, why), flush=True)
        self.skipped += 1

    def close(self):
        print("%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped))
        return 1 if self.failed else 0


def unit_tests(count, *files):
    for file in files:
        module = file.removesuffix(".py").replace("/", ".")
        suite = unittest.defaultTestLoader.loadTestsFromName(module)
        result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
        wrong = [str(test) for test, _ in result.failures + result.errors]
        if not result.testsRun:
            wrong = ["no test in %s" % file]
        count.check("%s (%d tests)" % (file, result.testsRun), wrong)


def trials(count, server, slices):
    """`slices`: report.Part each, small."""
    if (why := report.unavailable()):
        for part in slices:
            count.skip(part.name, why)
        return
    for part in slices:
        if part.options.gated:
            try:
                gates.binaries()
            except FileNotFoundError as why:
                count.skip(part.name, why)
                continue
        try:
            with procs.workspace(server.name) as work, \
                    trial.Trial(part.server or server, dataclasses.replace(part.options),
                                work / "trial") as t:
                t.run()
                summary = t.summary()
        except root.Unavailable as why:
            count.skip(part.name, why)
            continue
        print("  %s" % {k: summary[k] for k in ("snapshots", "verdicts", "by_order", "drain_ms")})
        count.check(part.name, report.judge(part, summary))

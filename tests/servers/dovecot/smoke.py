#!/usr/bin/env python3
"""The short slice of scripts/evaluate dovecot, for scripts/test.

    tests/servers/dovecot/smoke.py          WRITEGATE_BIN_DIR names the binaries if not target/release

A minute or two; one line a check; the last line reads `N passed, N failed, N skipped`.
"""
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from dovecot import evaluate, rig, server, snapshots            # noqa: E402
from lab import gate as lab_gate, procs, table, volume          # noqa: E402

FREEZE = SimpleNamespace(limit="5s", drain="3s", retries=0)
SLICES = [("mdbox", "control", 3), ("mdbox", "load", 3), ("sdbox", "load", 3),
          ("maildir", "load", 3), ("mbox", "load", 3), ("maildir", "tools", 3),
          ("mdbox", "slow-append", 3), ("maildir", "slow-lmtp", 3)]
# Until its slow clients are in the middle of a message (in an mbox, which is not among these, it takes 12 s).
WARM_S = {"slow-append": {"warm_s": 4}}


class Count:
    passed = failed = skipped = 0

    def check(self, name, wrong):
        for sentence in wrong:
            print(f"  {sentence}")
        print(f"{'FAILED' if wrong else 'ok'}: {name}", flush=True)
        self.failed += bool(wrong)
        self.passed += not wrong

    def skip(self, name, why):
        print(f"skipped: {name}: {why}", flush=True)
        self.skipped += 1


def reason(gated):
    why = volume.unavailable()
    if why or not gated:
        return why
    try:
        lab_gate.binaries()
    except FileNotFoundError as missing:
        return str(missing)
    return None


def main():
    count = Count()
    if not server.install():
        count.skip("dovecot", f"not installed: {' '.join(server.missing())}")
    else:
        suite = unittest.defaultTestLoader.loadTestsFromName("dovecot.test_reader")
        result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
        wrong = [str(test) for test, _ in result.failures + result.errors]
        if result.testsRun:
            count.check(f"the checker sees what is damaged ({result.testsRun} tests)", wrong)
        else:
            count.skip("the checker's tests", "; ".join(why for _, why in result.skipped) or "none ran")
        for fmt, part, snaps in SLICES:
            name = f"{fmt} {part}, {snaps} snapshots"
            if (why := reason(part != "control")):
                count.skip(name, why)
                continue
            with procs.workspace("dovecot") as work, \
                    rig.Rig(work, fmt, seed=1, **{**evaluate.SETTINGS[part], **WARM_S.get(part, {})}) as r, \
                    table.Progress(name, snaps) as progress:
                kept = snapshots.take(r, snaps, progress, FREEZE, restores=part == "load")
            # No timing is judged here, other tests share the machine: a drain that took too long
            # and says so is a note, unless there are many. scripts/evaluate is strict.
            lenient = kept["not_drained"] <= snaps // 2
            wrong = [w for w in evaluate.judge(part, kept)
                     if "drain p99" not in w and not (lenient and " not drained: " in w)]
            if kept["not_drained"]:
                print(f"  note: {kept['not_drained']} not drained")
            count.check(name, wrong)
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped")
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())

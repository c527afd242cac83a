#!/usr/bin/env python3
"""Bad input and bad days of the servers: full volumes, quotas, stale locks, broken profiles.

    tests/servers/adversity/run.py [MODULE...]      test_lock_files, test_fuse, ...; all by default

A minute or so; the last line reads `N passed, N failed, N skipped`.
"""
import sys
import unittest
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]


def main():
    names = sys.argv[1:] or sorted(p.stem for p in HERE.glob("test_*.py"))
    warnings.simplefilter("ignore", ResourceWarning)
    suite = unittest.defaultTestLoader.loadTestsFromNames([f"adversity.{n}" for n in names])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, warnings="ignore").run(suite)
    bad = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    failed, skipped = len(bad), len(result.skipped)
    for test, why in result.skipped:
        print(f"skipped: {test}: {why}")
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())

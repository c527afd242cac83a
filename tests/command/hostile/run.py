#!/usr/bin/env python3
"""What a local user may do to root's freezer, one attack after the other: `tests/command/hostile/run.py [NAME ...]`.

Beside each attack runs a small honest service: the freezer must end in time, with the right verdict
on that. Needs root (to become nobody), gcc, and a built command and library.
"""
import os
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import rig  # noqa: E402


def main():
    if os.geteuid() != 0:
        print("needs root: the attacker is another user")
        return 77
    names = sys.argv[1:] or sorted(p.stem for p in HERE.glob("test_*.py"))
    if unknown := [name for name in names if not (HERE / f"{name.split('.')[0]}.py").exists()]:
        print(f"no such test: {' '.join(unknown)}", file=sys.stderr)
        return 64
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromName(name) for name in names)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    rig.forget_built()
    failed = len(result.failures) + len(result.errors)
    for test, why in result.skipped:
        print(f"skipped: {test.id()}: {why}")
    print(f"{result.testsRun - failed - len(result.skipped)} passed, {failed} failed, "
          f"{len(result.skipped)} skipped")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())

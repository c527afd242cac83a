#!/usr/bin/env python3
"""The witness's tests: its rules and its own faults on records made by hand; then small programs behind a liar (each
lie must be found) and behind writegate (no lie, and none is found); a slice of the generated programs behind both. Ends with a line "N passed, N failed, N skipped".
"""
import re
import subprocess
import sys
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
SKIPPED = 77
LIMIT_S = 400                                           # of one run, on a busy machine; usual: 15 to 40
LAST = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)


def witness(*arguments):
    """(passed, failed, skipped) of one run of scripts/witness."""
    with subprocess.Popen([sys.executable, str(TESTS.parent / "scripts/witness"), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        try:
            said, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.terminate()                         # it cleans up: mounts, its instance of tracefs
            said, _ = process.communicate()
            said += f"\nFAIL  not done after {LIMIT_S} s\n0 passed, 1 failed\n"
    print(said, flush=True)
    if process.returncode == SKIPPED:
        return 0, 0, 1
    found = LAST.findall(said)
    return (*map(int, found[-1]), 0) if found else (0, 1, 0)


def main():
    suite = unittest.defaultTestLoader.loadTestsFromName("witness.test_witness")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0).run(suite)
    bad = len(result.failures) + len(result.errors) + (result.testsRun == 0)
    counts = [(result.testsRun - bad, bad, 0), witness("programs", "--liar", "--expect", "lies"), witness("programs", "--expect", "true"),
              witness("generated", "--sample", "41", "--seconds", "25"),
              witness("generated", "--sample", "41", "--seconds", "5", "--liar")]
    passed, failed, skipped = map(sum, zip(*counts))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

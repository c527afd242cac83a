#!/usr/bin/env python3
"""The witness's tests: its rules and its own faults on records made by hand; then small programs behind a liar (each lie
must be found) and behind writegate (no lie, and none is found); a slice of the generated programs behind both. Ends with a line "N passed, N failed, N skipped".
"""
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from lab import suite  # noqa: E402

SKIPPED = 77
LIMIT_S = 400                                           # of one run, on a busy machine; usual: 15 to 40
LAST = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)


def witness(*arguments):
    """(passed, failed, skipped) of one run of scripts/witness."""
    # Into a file: a pipe would be held open by whatever is left behind.
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, str(TESTS.parent / "scripts/witness"), *arguments], stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT)
        try:
            process.wait(LIMIT_S)
            late = ""
        except subprocess.TimeoutExpired:
            process.terminate()                         # it cleans up: mounts, its instance of tracefs
            late = f"\nFAIL  not done after {LIMIT_S} s\n0 passed, 1 failed\n"
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        out.seek(0)
        said = out.read().decode(errors="replace") + late
    print(said, flush=True)
    if process.returncode == SKIPPED:
        return 0, 0, 1
    found = LAST.findall(said)
    return (*map(int, found[-1]), 0) if found else (0, 1, 0)


def rules():
    """(passed, failed, skipped) of the rules on records made by hand."""
    return suite.count(unittest.defaultTestLoader.loadTestsFromName("witness.test_witness"), "*", verbosity=0)


# Of each kind of change one; what xfs's events cannot tell is in events.py.
ON_XFS = [f"window:{name}" for name in ("raw_write", "raw_truncate", "raw_rename", "raw_unlink", "raw_create", "raw_link", "raw_chmod",
                                        "raw_mkdir", "mapping", "nothing")] + ["holders:raw_posix", "holders:dup_of_dup"]


RUNS = {"rules": rules,
        "programs-behind-a-liar": lambda: witness("programs", "--liar", "--expect", "lies"),
        "programs": lambda: witness("programs", "--expect", "true"),
        "xfs-behind-a-liar": lambda: witness("programs", "--file-system", "xfs", "--liar", *ON_XFS),
        "generated": lambda: witness("generated", "--sample", "41", "--seconds", "15"),
        "generated-behind-a-liar": lambda: witness("generated", "--sample", "41", "--seconds", "5", "--liar")}


def main():
    pattern = suite.parser(__doc__).parse_args().only
    chosen = [run for name, run in RUNS.items() if suite.fits(name, pattern)]
    if not chosen:
        return suite.nothing(pattern, RUNS)
    passed, failed, skipped = map(sum, zip(*(run() for run in chosen)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Bad input and bad days of the servers: full volumes, quotas, stale locks, broken profiles.

    tests/servers/adversity/run.py [--only PATTERN] [--mta | --others]      test_lock_files, test_fuse, ...; all by default

--mta: those of Exim and Postfix alone; --others: all but these. (Each half takes a minute or two, nearly all of it sleep.) The last line reads `N passed, N failed, N skipped`.
"""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
from lab import suite  # noqa: E402


def main():
    parser = suite.parser(__doc__)
    half = parser.add_mutually_exclusive_group()
    half.add_argument("--mta", action="store_true")
    half.add_argument("--others", action="store_true")
    options = parser.parse_args()
    tests = [test for test in suite.tests_of(suite.of_folder(HERE, "adversity."))
             if not (options.mta or options.others) or (".test_mta" in test.id()) == options.mta]
    return suite.run(tests, options.only)


if __name__ == "__main__":
    sys.exit(main())

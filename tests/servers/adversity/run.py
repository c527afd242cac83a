#!/usr/bin/env python3
"""Bad input and bad days of the servers: full volumes, quotas, stale locks, broken profiles.

    tests/servers/adversity/run.py [--only PATTERN]      test_lock_files, test_fuse, ...; all by default

A minute or so; the last line reads `N passed, N failed, N skipped`.
"""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
from lab import suite  # noqa: E402


def main():
    pattern = suite.parser(__doc__).parse_args().only
    return suite.run(suite.of_folder(HERE, "adversity."), pattern)


if __name__ == "__main__":
    sys.exit(main())

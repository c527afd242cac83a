#!/usr/bin/env python3
"""What a local user may do to root's freezer, one attack after the other: `tests/command/hostile/run.py [--only PATTERN]`.

Beside each attack runs a small honest service: the freezer must end in time, with the right verdict
on that. Needs root (to become nobody), gcc, and a built command and library.
"""
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
import rig  # noqa: E402
from lab import suite  # noqa: E402


def main():
    pattern = suite.parser(__doc__).parse_args().only
    if os.geteuid() != 0:
        print("needs root: the attacker is another user")
        return 77
    code = suite.run(suite.of_folder(HERE), pattern)
    rig.forget_built()
    return code


if __name__ == "__main__":
    sys.exit(main())

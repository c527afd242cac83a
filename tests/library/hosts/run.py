#!/usr/bin/env python3
"""Unusual hosts for the library: system call filters, memcheck, the sanitizers, a libc with old versions.

    run.py [filters|checkers|old_version ...] [--only PATTERN] [--library F] [--command F] [--work DIR]
"""
import argparse
import fnmatch
import importlib
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "calls")]
import gate as gates                                     # noqa: E402

PARTS = ("old_version", "filters", "checkers")


def main():
    a = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    a.add_argument("parts", nargs="*", default=PARTS)
    a.add_argument("--only", default="*", metavar="PATTERN", help="judge only the cases with such a name")
    a.add_argument("--library")
    a.add_argument("--command")
    a.add_argument("--work", default="/var/tmp")
    o = a.parse_args()
    library, command = gates.binary("libwritegate.so", o.library), gates.binary("writegate", o.command)
    if not (library and command):
        print("skip: no binaries\n0 passed, 0 failed, 1 skipped")
        return 0
    passed = failed = skipped = 0
    for part in o.parts:
        work = tempfile.mkdtemp(prefix="writegate-hosts-", dir=o.work)
        gate = gates.Gate(library, command, os.path.join(work, "protected"), "hosts")
        try:
            for name, problem in importlib.import_module(part).cases(work, gate):
                if not fnmatch.fnmatch(name, o.only):
                    continue
                if problem and problem.startswith("skip"):
                    skipped += 1
                    print(f"skip {name}: {problem[6:]}")
                elif problem:
                    failed += 1
                    print(f"FAIL {name}: {problem}")
                else:
                    passed += 1
                    print(f"ok   {name}")
                sys.stdout.flush()
        finally:
            gate.close()
            shutil.rmtree(work, ignore_errors=True)
    if not passed + failed + skipped:
        print(f"no case matches {o.only!r}: nothing was run", file=sys.stderr)
        return 64
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

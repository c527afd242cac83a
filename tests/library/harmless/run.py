#!/usr/bin/env python3
"""The library does its program no harm: whatever its start meets, whatever a filter forbids, however many libraries.

    run.py [page|libraries|filters|clocks|steps|children|stack|inject|programs ...] [--all] [--only PATTERN]

Each case runs a program bare and with the library. --all: the whole of what otherwise is a slice.
"""
import argparse
import fnmatch
import importlib
import os
import subprocess
import sys

PARTS = ("page", "libraries", "filters", "clocks", "steps", "children", "stack", "inject", "programs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS)
    parser.add_argument("--all", action="store_true", help="not a slice of it")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="judge only the cases with such a name")
    options = parser.parse_args()
    if os.geteuid():
        print("skip: needs root for mounts of its own\n0 passed, 0 failed, 1 skipped")
        return 77
    if os.environ.get("HARMLESS_NAMESPACE") != "1":
        # Mounts of the cases end with this namespace.
        os.environ["HARMLESS_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    import rig
    if not (rig.LIBRARY.exists() and rig.COMMAND.exists()):
        print("skip: no binaries\n0 passed, 0 failed, 1 skipped")
        return 77
    rig.ALL = options.all
    passed = failed = skipped = 0
    for part in options.parts:
        with rig.Work() as work:
            for name, problem in importlib.import_module(part).cases(work):
                if not fnmatch.fnmatch(name, options.only):
                    continue
                if problem is None:
                    passed += 1
                    print(f"ok   {part}: {name}", flush=True)
                elif str(problem).startswith("skip"):
                    skipped += 1
                    print(f"skip {part}: {name}: {problem[5:]}", flush=True)
                else:
                    failed += 1
                    print(f"FAIL {part}: {name}: {problem}", flush=True)
    if not passed + failed + skipped:
        print(f"no case matches {options.only!r}: nothing was run", file=sys.stderr)
        return 64
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

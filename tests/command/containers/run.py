#!/usr/bin/env python3
"""Containers and pods: whoever is behind the gate is seen, or the freeze is refused at once with its cure.
Ends with a line "N passed, N failed, N skipped".

  run.py [PATTERN...]     only these cases (exit 64 if there is none)

WRITEGATE_BIN_DIR: where writegate and libwritegate.so lie (target/release). Needs root.
"""
import fnmatch
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import kernels                                                                                          # noqa: E402
import paths                                                                                            # noqa: E402
import pid_namespaces                                                                                   # noqa: E402
import user_namespaces                                                                                  # noqa: E402
from world import World                                                                                 # noqa: E402

CASES = {case.__name__: case for part in (pid_namespaces, user_namespaces, kernels, paths) for case in part.CASES}


def main():
    if os.geteuid():
        print("skipped: all: needs root\n0 passed, 0 failed, 1 skipped")
        return 0
    patterns = sys.argv[1:]
    chosen = [name for name in CASES if not patterns or any(fnmatch.fnmatch(name, p) for p in patterns)]
    if not chosen:
        print("no such case; there are: " + " ".join(CASES))
        return 64
    work = Path(tempfile.mkdtemp(prefix="writegate-containers-", dir="/var/tmp"))
    work.chmod(0o755)
    passed = failed = 0
    try:
        program = work / "member"
        subprocess.run(["gcc", "-O1", "-o", program, HERE.parent / "places" / "member.c"], check=True)
        for name in chosen:
            world = World(work, program)
            try:
                CASES[name](world)
                passed += 1
                print(f"ok   {name}", flush=True)
            except Exception as why:
                failed += 1
                print(f"FAIL {name}: {why!r}", flush=True)
            finally:
                world.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

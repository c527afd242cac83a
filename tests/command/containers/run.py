#!/usr/bin/env python3
"""Containers and pods, kernels and rights: whoever is behind the gate is seen, or the freeze is refused at once with
its cure. Ends with a line "N passed, N failed, N skipped".

  run.py [--only PATTERN]     only these cases
  run.py --table              what each kernel and right came to, for docs/admin/systems.md and docs/admin/containers.md

WRITEGATE_BIN_DIR: where writegate and libwritegate.so lie (target/release). Needs root.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
import docker                                            # noqa: E402
import kernels                                           # noqa: E402
import paths                                             # noqa: E402
import pid_namespaces                                    # noqa: E402
import podman                                            # noqa: E402
import systemd_units                                     # noqa: E402
import units                                             # noqa: E402
import user_namespaces                                   # noqa: E402
from lab import suite                                    # noqa: E402
from world import Skip, World                                # noqa: E402

CASE_S = 240                    # one that waits for an answer that never comes
NOBODYS_S = 20                  # until a lock is gone that lay in a socket of a system that was ended
CASES = {case.__name__: case for part in (pid_namespaces, user_namespaces, paths, kernels, units,
                                                        systemd_units, docker, podman) for case in part.CASES}


def run(name, work, program):
    """What it came to, in a line."""
    world = World(work, program)
    signal.signal(signal.SIGALRM, too_long)
    until = time.monotonic() + NOBODYS_S
    while nobodys_locks() and time.monotonic() < until:
        time.sleep(0.1)
    try:
        signal.alarm(CASE_S)
        begun = time.monotonic()
        CASES[name](world)
        return f"ok   {name} ({time.monotonic() - begun:.1f} s)"
    except Skip as why:
        return f"skip {name}: {why}"
    except Exception as why:                             # noqa: BLE001: one case must not hide the others
        return f"FAIL {name}: {why!r}; locks of which the kernel names no owner now: {nobodys_locks()}"
    finally:
        signal.alarm(0)
        world.close()


def nobodys_locks():
    """The machine's open-file locks for writing, whoever has them: a freezer in a container cannot know whose they are, and
    trusts no snapshot beside one. systemd keeps such a lock in a socket, and the kernel clears that away some time later."""
    return [line for line in Path("/proc/locks").read_text().splitlines() if " OFDLCK " in line and " WRITE " in line and "->" not in line]


def too_long(*_):
    raise TimeoutError(f"not over after {CASE_S} s")


def main():
    options = suite.parser(__doc__)
    options.add_argument("--table", action="store_true")
    options = options.parse_args()
    chosen = [name for name in CASES if suite.fits(name, options.only)]
    if options.table:
        chosen = [*kernels.TABLE, *units.TABLE, "docker_sidecars", "podman_sidecars"]
    if not chosen:
        return suite.nothing(options.only, CASES)
    if os.geteuid():
        print("skipped: all: needs root\n0 passed, 0 failed, 1 skipped")
        return 77
    work = Path(tempfile.mkdtemp(prefix="writegate-containers-", dir="/var/tmp"))
    work.chmod(0o755)
    lines = []
    try:
        program = work / "member"
        subprocess.run(["gcc", "-O1", "-o", program, HERE.parent / "places" / "member.c"], check=True)
        for name in chosen:
            lines.append(run(name, work, program))
            print(lines[-1], flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if options.table:
        print(kernels.table(), kernels.table(units.TABLE, "a unit's option"), sep="\n\n")
        for seen in filter(None, (docker.SEEN, podman.SEEN)):
            print("\n" + docker.table(seen))
    passed, failed, skipped = (sum(line.startswith(word) for line in lines) for word in ("ok", "FAIL", "skip"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

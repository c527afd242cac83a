#!/usr/bin/env python3
"""The hooks of contrib/ in the real programs, as far as this machine has them. Needs root (loop mounts).

    run.py [--only PATTERN]

Debian packages: bacula-* qemu-guest-agent borgmatic borgbackup restic btrbk rsnapshot snapper sanoid timeshift zfs-fuse
btrfs-progs.
ansible-core and borgmatic 2 come from PyPI into a folder under /var/tmp. What is not there is skipped aloud. Each
hook has a good run whose copy must be whole, and the bad ones of bad.py, which must be seen where that tool shows
it and must leave the good copy where it is.
"""
import argparse
import fnmatch
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import agent                                             # noqa: E402
import bacula                                            # noqa: E402
import harm                                              # noqa: E402
import prepost                                           # noqa: E402
import playbook                                          # noqa: E402
import scripts                                           # noqa: E402
import steps                                             # noqa: E402
import timeshift                                         # noqa: E402
import tools                                             # noqa: E402
from rig import BIN, Rig, Skip                           # noqa: E402


PACKAGES = {"qemu-ga": "qemu-guest-agent", "borgmatic": "borgmatic", "borg": "borgbackup", "restic": "restic",
            "btrbk": "btrbk", "rsnapshot": "rsnapshot", "mkfs.btrfs": "btrfs-progs", "rsync": "rsync",
            "snapper": "snapper", "sanoid": "sanoid", "zfs-fuse": "zfs-fuse"}


# What cannot be had hides nothing else.
ALONE = {"bacula-dir": ["bacula-director-sqlite3", "bacula-director", "bacula-sd", "bacula-fd", "bacula-console", "sqlite3"],
         "timeshift": ["timeshift"]}


def install():
    """What is missing, where that is possible; what stays missing is skipped case by case."""
    missing = [[package for program, package in PACKAGES.items() if not shutil.which(program)],
               *(packages for program, packages in ALONE.items() if not shutil.which(program))]
    missing = [packages for packages in missing if packages]
    if missing and shutil.which("apt-get"):
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for argv in ["update", "-qq"], *(["install", "-y", "-qq", "--no-install-recommends", *packages] for packages in missing):
            subprocess.run(["apt-get", *argv], env=env, timeout=400, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="*")
    only = parser.parse_args().only
    cases = [(name, case) for module in (scripts, harm, steps, agent, tools, playbook, prepost,
                                                   bacula, timeshift)
             for name, case in inspect.getmembers(module, inspect.isfunction)
             if name.startswith("test_") and fnmatch.fnmatch(name[5:], only)]
    if not cases:
        print(f"no case matches {only!r}: nothing was run", file=sys.stderr)
        return 64
    if os.geteuid() != 0:
        print("SKIPPED: needs root for its loop mounts")
        return 77
    for name in "libwritegate.so", "writegate":
        if not (BIN / name).exists():
            sys.exit(f"{BIN / name} is missing: cargo build --release, or set WRITEGATE_BIN_DIR")
    install()
    passed = failed = skipped = 0
    for name, case in cases:
        with tempfile.TemporaryDirectory(prefix="wg-hooks-", ignore_cleanup_errors=True) as folder:
            rig = None
            try:
                rig = Rig(folder, getattr(case, "volume", "btrfs"))
                case(rig)
            except Skip as why:
                print(f"SKIPPED {name[5:]}: {why}", flush=True)
                skipped += 1
            except Exception as error:               # noqa: BLE001: one case must not hide the others
                print(f"FAILED  {name[5:]}: {type(error).__name__}: {error}", flush=True)
                failed += 1
            else:
                print(f"ok      {name[5:]}", flush=True)
                passed += 1
            finally:
                if rig:
                    rig.close()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())

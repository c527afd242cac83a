#!/usr/bin/env python3
"""The packages in clean Debian systems; by hand also `setup --install --apply` on stock servers under their own systemd.

    run.py [--only PATTERN] [--all] [--packages DIR]

Without --all a slice: the package's life on Debian 11, the oldest. With it on Debian 11, 12 and 13, on each Postfix,
Dovecot, Exim and Cyrus, the .rpm, and what happens at night (test_night.py). (By hand, alone on a machine: no directory is named, so anybody's lock there may be the server's.)
--packages takes what scripts/package has made instead of making it.
Needs root, debootstrap and a mirror of Debian; what cannot be done here is skipped, with the reason.
"""
import argparse
import fnmatch
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE)]

import built  # noqa: E402 (the path comes first)
import machine as machines  # noqa: E402
import stock  # noqa: E402
import test_night  # noqa: E402
import test_package  # noqa: E402
import test_rpm  # noqa: E402
import test_stock  # noqa: E402


def lintian(debs, _work):
    """Nothing that Debian's own checker would refuse."""
    try:
        done = subprocess.run(["lintian", "--fail-on", "error,warning", *debs], capture_output=True, text=True, timeout=300)
    except FileNotFoundError:
        raise machines.Unavailable("lintian is not there (Debian: lintian)") from None
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)


def every_kind_twice(_debs, work):
    """The other kinds too: at two moments, the same bytes."""
    binaries = ROOT / "target/portable-build"
    if not binaries.exists():
        raise machines.Unavailable("no portable build is there to be packed")
    for out in "ab":
        subprocess.run([ROOT / "scripts/package", "--out", work / out, "--binaries", binaries], check=True, capture_output=True)
    names = sorted(path.name for path in (work / "a").iterdir())
    different = [name for name in names if (work / "a" / name).read_bytes() != (work / "b" / name).read_bytes()]
    if different:
        raise AssertionError(f"another file the second time: {different} of {names}")


def twice(debs, work):
    """Packed a second time, the same bytes."""
    binaries = ROOT / "target/portable-build"
    if not binaries.exists():
        raise machines.Unavailable("no portable build is there to be packed again")
    subprocess.run([ROOT / "scripts/package", "deb", "--out", work, "--binaries", binaries], check=True, capture_output=True)
    for deb in debs:
        if deb.read_bytes() != (work / deb.name).read_bytes():
            raise AssertionError(f"{deb.name} is another file the second time")


def on(release, test):
    def run(debs, work):
        with machines.Machine(release, work) as machine:
            test(machine, debs, work)
    return run


def cases(everything):
    yield "lintian", lintian
    yield "packed-twice", twice
    if everything:
        yield "every-kind-twice", every_kind_twice
    for release in machines.RELEASES if everything else ["bullseye"]:
        yield f"{release}-life", on(release, test_package.life)
    yield "bullseye-wrong-libraries", on("bullseye", test_package.wrong_libraries)
    for release in machines.RELEASES if everything else ():
        for server in stock.SERVERS:
            yield f"{release}-{server}", test_stock.case(release, server)
    if everything:
        yield "bookworm-rpm", test_rpm.life("bookworm")
    for what in ("timers", "restarted", "unattended", "needrestart", "stopped", "lost") if everything else ():
        yield f"bookworm-{what}", getattr(test_night, what)("bookworm")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--packages", type=Path)
    args = parser.parse_args()
    wanted = [(name, test) for name, test in cases(args.all) if fnmatch.fnmatch(name, args.only)]
    if not wanted:
        print(f"no case matches {args.only!r}: nothing was run", file=sys.stderr)
        return 64
    if os.geteuid() != 0:
        print("SKIPPED: needs root for systems of its own")
        return 77
    passed = failed = skipped = 0
    try:
        debs = built.packages(args.packages)
    except machines.Unavailable as why:
        print(f"SKIPPED: {why}")
        return 77
    for name, test in wanted:
        with tempfile.TemporaryDirectory(prefix="writegate-packages-", dir="/var/tmp", ignore_cleanup_errors=True) as work:
            os.chmod(work, 0o755)
            try:
                test(debs, Path(work))
            except machines.Unavailable as why:
                print(f"SKIPPED {name}: {why}", flush=True)
                skipped += 1
            except Exception as error:                   # noqa: BLE001: one must not hide the others
                print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
                failed += 1
            else:
                print(f"ok      {name}", flush=True)
                passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Third-party test suites bare, under the library with the barrier down, and with it going up and down; and without the
library, stopped at rest (`freeze --pid`) every 200 ms.

    compat-suites cpython [test_os ...]        CPython's own tests (default: os io fcntl subprocess mailbox shutil sqlite3)
    compat-suites sqlite                       sqlite3 shell: write, vacuum, WAL, integrity check
    compat-suites pjdfstest FOLDER             a built pjdfstest (its tests/ and binary)
    compat-suites ltp FOLDER [NAME ...]        a built LTP: the file-system system call tests of runtest/syscalls
                                               (--devices: also those that make and mount file systems of their own)
    compat-suites git FOLDER [t1* ...]         a built git source tree: its t/*.sh (default: parts of t0 to t3)
    compat-suites coreutils FOLDER [cp ...]    a built coreutils source tree: its tests/*/*.sh

    --modes bare,gated,cycling   which runs (these; held is stopped at rest)      --work DIR   on a disk (default /var/tmp)
    --library F --command F      the two binaries (default: $WRITEGATE_BIN_DIR, target/release)
    --python EXE                 whose tests (cpython)          --timeout S  for one test program (120; ltp 20, pjdfstest 300)
    --record FILE.json           puts the outcome there, and as text beside it

Every test's result must be the same as bare. What is not: a program over its time limit when bare is left out of
the other runs and listed; one whose result changes from one bare run to the next (a second bare run of all that
differed says which) is listed as unsteady. Needs root.
"""
import argparse
import os
import shlex
import shutil
import signal
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import record                                            # noqa: E402
import runner                                            # noqa: E402
import suites                                            # noqa: E402


def differences(bare, other):
    """[(job, test, bare's result, the other's)]; a program that was cut short stands for its tests."""
    found = []
    for job in sorted(bare.tests.keys() | other.tests.keys()):
        a, b = bare.tests.get(job, {}), other.tests.get(job, {})
        if a.get("") != b.get(""):
            found.append((job, "", a.get("", "absent"), b.get("", "absent")))
        if "timeout" in (a.get(""), b.get("")):
            continue
        found += [(job, t, a.get(t, "absent"), b.get(t, "absent")) for t in sorted(a.keys() | b.keys())
                  if t and a.get(t) != b.get(t)]
    return found


def command_of(o):
    """To repeat it elsewhere: folders by their last name only."""
    rest = [os.path.basename(os.path.abspath(o.rest[0])), *o.rest[1:]] if o.suite in suites.NEEDS_FOLDER else o.rest
    more = ["--devices"] * o.devices + (["--only", o.only] if o.only else []) + ["--timeout", f"{o.timeout:g}"]
    return " ".join(map(shlex.quote, [o.suite, *rest, *more]))


def stop(number, frame):
    raise SystemExit(128 + number)


def main():
    signal.signal(signal.SIGTERM, stop)         # so that folders and mounts are cleaned up
    a = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    a.add_argument("suite", choices=sorted(suites.ALL))
    a.add_argument("rest", nargs="*")
    a.add_argument("--modes", default="bare,gated,cycling")
    a.add_argument("--work", default="/var/tmp")
    a.add_argument("--library")
    a.add_argument("--command")
    a.add_argument("--python", default=sys.executable)
    a.add_argument("--timeout", type=float)
    a.add_argument("--devices", action="store_true")
    a.add_argument("--only", help="a pattern for the test programs' names")
    a.add_argument("--record")
    a.add_argument("--verbose", action="store_true", help="each program as it ends")
    o = a.parse_args()
    o.timeout = o.timeout or {"ltp": 20, "pjdfstest": 300}.get(o.suite, 120)
    if o.suite in suites.NEEDS_FOLDER and not o.rest:
        a.error(f"{o.suite} needs the folder in which it was built")
    library, command = runner.gates.binary("libwritegate.so", o.library), runner.gates.binary("writegate", o.command)
    keep = tempfile.TemporaryDirectory(prefix="writegate-suite-bin-", dir=o.work)
    os.chmod(keep.name, 0o755)
    if library and command:
        # A build in the middle of a long run must not change what is tried.
        library, command = shutil.copy2(library, keep.name), shutil.copy2(command, keep.name)
    modes = o.modes.split(",")
    results, left_out, report = {}, [], {}
    for mode in modes:
        if mode != "bare" and not (library and command):
            print(f"skip {mode}: no binaries")
            continue
        r = results[mode] = runner.run(o.suite, mode, o, library, command, left_out)
        count = sum(len(t) for t in r.tests.values())
        good = sum(t[""] == "0" for t in r.tests.values())
        print(f"{mode}: {len(r.tests)} programs, {good} ended well, {count} results, in {r.span:.0f} s", flush=True)
        report[mode] = {"programs": len(r.tests), "ended well": good, "results": count, "seconds": round(r.span)}
        if mode == "bare":
            left_out = sorted(j for j, t in r.tests.items() if t[""] == "timeout")
            for j in left_out:
                print(f"skip {j}: over {o.timeout:g} s bare")
            report[mode]["left out"] = left_out
        if mode in ("cycling", "held"):
            report[mode]["freezes"] = {str(c): n for c, n in r.codes.items()}
            if r.seen:
                report[mode]["seen"] = r.seen
                print(f"{mode}: {r.seen}")
            print(f"{mode}: freezes " + " ".join(f"{n} x exit {c}" for c, n in r.codes.items()))
            for text in r.odd[:20]:
                print("     " + text.replace("\n", "\n     ")[:600])
            report[mode]["odd freezes"] = [t[:600] for t in r.odd[:20]]
    if o.only and results and not any(r.tests for r in results.values()):
        print(f"no program matches {o.only!r}: nothing was run", file=sys.stderr)
        return 64
    bad = unsteady = total = 0
    if "bare" in results:
        for j in left_out:
            results["bare"].tests.pop(j, None)
        for mode in [m for m in results if m != "bare"]:
            found = differences(results["bare"], results[mode])
            total += report[mode]["results"]
            real, shaky = judge(o, library, command, mode, found, results)
            bad, unsteady = bad + len(real), unsteady + len(shaky)
            report[mode]["different"] = [" ".join(map(str, x)) for x in real]
            report[mode]["unsteady"] = [" ".join(map(str, x)) for x in shaky]
    if o.record:
        record.put(o.record, o.suite, command_of(o), report)
    print(f"{total - bad - unsteady} passed, {bad} failed, {unsteady + len(left_out)} skipped")
    return 1 if bad else 0


def judge(o, library, command, mode, found, results):
    """Once more, bare and in that mode, what differed: (differs again, was chance)."""
    if not found:
        return [], []
    import re
    only, o.only = o.only, "^(" + "|".join(re.escape(j) for j in sorted({f[0] for f in found})) + ")$"
    again = {m: [runner.run(o.suite, m, o, library, command) for _ in range(2)] for m in ("bare", mode)}
    o.only = only
    real, shaky = [], []
    for job, test, x, y in found:
        bares = {x} | {r.tests.get(job, {}).get(test, "absent") for r in again["bare"]}
        others = {y} | {r.tests.get(job, {}).get(test, "absent") for r in again[mode]}
        chance = y in bares or x in others
        (shaky if chance else real).append((job, test, x, y))
        print(f"{'unsteady' if chance else 'FAIL'} {mode} {job} {test}: bare {sorted(bares)}, {mode} {sorted(others)}")
        if not chance and not test:
            print("     " + results[mode].output.get(job, "").strip().replace("\n", "\n     ")[-900:])
    return real, shaky


if __name__ == "__main__":
    sys.exit(main())

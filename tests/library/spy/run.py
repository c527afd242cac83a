#!/usr/bin/env python3
"""What the library lets through to libc, seen by a spy that is loaded behind it (tests/library/calls/spy.py).

    run.py [--only PATTERN] [-v]

 - every: each hook of the table once, with a libc behind it that only answers: it is called once, with the arguments that came in, and
   its answer comes back. A variadic function goes out by its va_list sibling, execl and its kin by their array siblings.
 - ways: every way of changing a file (calls/run.py --spy): what is held has not been called; each call that came in went out, once.
   Not the ways that are known to get past: no hook sees them, and the part `calls` shows what becomes of them.
 - broken: a hook that calls twice, and one that does not call, made on purpose: found.
"""
import argparse
import fnmatch
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CALLS = HERE.parent / "calls"
sys.path.insert(0, str(CALLS))

import gate as gates                                     # noqa: E402 (the path comes first)
import spy                                               # noqa: E402

# They do not come back from libc, so no answer can.
NO_ANSWER = {"verr", "verrx", "err", "errx"}
# Answers with a pointer: what comes back is looked into.
POINTERS = {"fopen", "setmntent", "freopen", "tmpfile", "popen", "mkdtemp", "pututline", "_IO_file_open", "_IO_file_fopen",
            "_IO_file_setbuf", "fgets", "gets", "fgetws", "__fgets_chk", "__gets_chk", "__fgetws_chk", "fgetln"}
ROW = re.compile(r"^            (call|variadic|listed) (\w+) \[([^\]]*)\] \(([^;]*)\) \"", re.M)


def shapes():
    """{call: (six kinds of argument, how many of them go out unchanged)}, by its rule."""
    found = {}
    for kind, name, _, body in ROW.findall(Path(spy.TABLE).read_text()):
        arguments, same = ["page"] * 6, 6
        if kind == "variadic":
            named = int(body.split(",")[1])
            arguments, same = _stream_first(body, arguments), named
        elif kind == "listed":
            arguments, same = ["path", "path", "null", "null", "null", "null"], 1
        else:
            rule, *numbers = re.findall(r"\w+", body)
            at = [int(n) if n != "CWD" else None for n in numbers]
            if rule in ("Fd", "Attributes", "Send", "Sync", "WaitFd", "Close"):
                arguments[at[0]] = "fd"
            elif rule in ("Path", "Make", "Unlink"):
                _place(arguments, at[:2])
            elif rule in ("Paths", "Link"):
                _place(arguments, at[:2])
                _place(arguments, at[2:])
            elif rule == "Open":
                _place(arguments, at[:2])
                arguments[at[2]] = "null"
            elif rule == "OpenMode":
                arguments[at[0]], arguments[at[1]] = "path", "mode"
            elif rule in ("Stream", "StreamRead", "StreamClose", "Flush"):
                arguments[at[0]] = "stream"
            elif rule == "Freopen":
                arguments[:3] = ["path", "mode", "stream"]
            elif rule in ("Exec", "Spawn", "Chroot"):
                arguments = ["path"] + arguments[1:]
        found[name] = arguments, same
    return found


def _stream_first(body, arguments):
    """The va_list siblings of what writes to, or reads from, a stream that is named."""
    named = re.match(r"_*(?:isoc\d+_)?(vf|vd)", body)
    if named:
        arguments[0] = "stream" if named[1] == "vf" else "fd"
    return arguments


def _place(arguments, at):
    directory, path = at
    if directory is not None:
        arguments[directory] = "cwd"
    arguments[path] = "path"


def once(name, number, answer, arguments, programs, env):
    """What went out of one hook, or why that cannot be told."""
    argv = [programs / "every", name, answer, *arguments]
    done = subprocess.run([str(word) for word in argv], env={**env, "SPY_ANSWERS": str(number)}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=20)
    words = done.stdout.split()
    if done.returncode or len(words) != 8:
        return None, f"exit {done.returncode} {done.stdout.strip()} {done.stderr.strip()[-200:]}"
    return [int(word) for word in words], None


def wrong_with(said, answer, same):
    times, came_back, *kept = said
    if times != 1:
        return f"it went out {times} times"
    changed = [str(n) for n in range(same) if not kept[n]]
    if changed:
        return f"arguments {', '.join(changed)} went out as others"
    if came_back & 0xFFFFFFFF != answer & 0xFFFFFFFF:
        return f"libc's answer was {answer}, and {came_back} came back"
    return None


def every(programs, broken=None):
    """[(name, what is wrong or None)]; broken: NAME=TIMES, of a hook that is looked at alone."""
    made, shape = spy.Spy(str(programs), broken), shapes()
    subprocess.run(["gcc", "-O1", "-fno-builtin", "-w", "-o", programs / "every", HERE / "every.c", "-ldl"], check=True)
    gate = gates.Gate(gates.binary("libwritegate.so"), gates.binary("writegate"), str(programs))
    env = gate.environment()
    env["LD_PRELOAD"] = ":".join([env["LD_PRELOAD"], *([made.broken] if broken else []), made.libraries["back"]])
    found = []
    try:
        for row, names in made.names.items():
            if row in NO_ANSWER or broken and row != broken.partition("=")[0]:
                continue
            answer, (arguments, same) = 0 if row in POINTERS else -1, shape[row]
            for name in names:
                said, why = once(name, made.flat.index(made.out[row]), answer, arguments, programs, env)
                found.append((name, wrong_with(said, answer, same) if said else why))
    finally:
        gate.close()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    cases = [case for case in ("every", "ways", "broken") if fnmatch.fnmatch(case, options.only)]
    if not cases:
        print(f"nothing matches {options.only!r}", file=sys.stderr)
        return 64
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix="writegate-spy-", dir="/var/tmp") as work:
        if "every" in cases:
            for name, wrong in every(Path(work)):
                passed, failed = passed + (not wrong), failed + bool(wrong)
                if wrong or options.v:
                    print("FAIL" if wrong else "ok  ", f"every {name}: {wrong or 'once, as it came in'}", flush=True)
    built = tempfile.TemporaryDirectory(prefix="writegate-spy-", dir="/var/tmp")
    os.chmod(built.name, 0o755)
    run = [sys.executable, str(CALLS / "run.py"), "--spy", "--programs", built.name]
    if "ways" in cases:
        done = subprocess.run([*run, "--kind", "holds,passes,either,same"], capture_output=True, text=True)
        print(done.stdout + done.stderr, end="")
        counted = re.findall(r"(\d+) passed, (\d+) failed, (\d+) skipped", done.stdout)
        good, bad, left = map(int, counted[-1]) if counted else (0, 1, 0)
        passed, failed, skipped = passed + good, failed + bad, skipped + left
    if "broken" in cases:
        with tempfile.TemporaryDirectory(prefix="writegate-spy-", dir="/var/tmp") as work:
            (_, wrong), = every(Path(work), "fsync=2")
        found = bool(wrong)
        passed, failed = passed + found, failed + (not found)
        print("ok  " if found else "FAIL", f"broken fsync=2, once: {wrong}", flush=True)
    for how, ways in (("fsync=2", "meta.fsync"), ("rename=0", "names.rename")) if "broken" in cases else ():
        done = subprocess.run([*run, "--broken", how, "--only", ways], capture_output=True, text=True)
        found = done.returncode == 1 and "spy: " in done.stdout
        passed, failed = passed + found, failed + (not found)
        print("ok  " if found else "FAIL", f"broken {how}: {'found' if found else 'not found: ' + done.stdout[-300:]}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())

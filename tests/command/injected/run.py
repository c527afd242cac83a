#!/usr/bin/env python3
"""One system call after the other of the freezer and of all that it starts fails, or is where it is killed or stopped.

    run.py [--seconds 90] [--seed 1] [--only WORLD] [--errors E,E] [--all] [--results FILE] [-v]

The worlds (worlds.py) are such that what a freeze must say is known: exit 0 would be a lie in each but `quiet`. inject.c
makes the n-th call of one task fail with one of ERRORS, or sends it SIGKILL or SIGSTOP there; or what it reads next of a
file is nothing, half of it, or no text (CONTENTS), once or always. Then
 - exit 0, or CONSISTENT with coverage=full and watched=full, is a failure, unless CONSISTENT is true;
 - a gate that is closed beyond the limit, or that is left closed by a freezer that ended by itself, is a failure;
 - a freeze that does not end, or dies of the fault, is a failure (the C library's own aborts are counted);
 - what a world's freeze says without a fault must be the truth.
Without --all: so many seconds, chosen by the seed, each call's name before any comes again. With --all: every n.
In a process namespace of its own, where there are few others to look at. Needs root and gcc.
"""
import argparse
import collections
import contextlib
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import worlds

HERE = Path(__file__).resolve().parent
ERRORS = ("EMFILE", "EACCES", "ENOMEM", "ENOENT", "EINTR", "ENOSPC", "EIO")
SIGNALS = ("SIGKILL", "SIGSTOP")
ALWAYS = 4
CONTENTS = {"EMPTY": 1, "HALF": 2, "NO_TEXT": 3, "ALWAYS_EMPTY": ALWAYS + 1, "ALWAYS_NO_TEXT": ALWAYS + 3}
READS = {"read", "pread64"}
LIMIT_S, STOP_MS = 2, 300
FREEZE = ("freeze", "-g", "t", "--retries", "0")
FAULTED = ("-t", f"{LIMIT_S}s", "--drain", "1s")
# What a freeze says without a fault is its word on the world, not on a busy machine.
AMPLE = ("-t", "30s", "--drain", "1s")
ENDS_WITHIN_S = 60
UNTOUCHED = 0
PANIC = re.compile(r"panicked at ([^\s:]+)")
# The runtime's own assertions on the system's answers; `expect` and the like of ours name files of ours, or other ones of std.
RUNTIME = "/library/std/src/sys/"


class Run:
    """What one freeze with one fault came to."""

    def __init__(self, world, injector, role, at, how):
        log = world.work / "log"
        log.unlink(missing_ok=True)
        kind = "signal" if how in SIGNALS else "content" if how in CONTENTS else "errno"
        number = {"signal": getattr(signal, how, 0), "content": CONTENTS.get(how, 0), "errno": getattr(errno, how, 0)}[kind]
        argv = [injector, log, role, at, kind, int(number), STOP_MS if how == "SIGSTOP" else 0, "--", worlds.COMMAND, *FREEZE,
                *(AMPLE if at == UNTOUCHED else FAULTED), "--", *world.command]
        with subprocess.Popen(list(map(str, argv)), env=world.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, start_new_session=True) as child:
            try:
                _, err = child.communicate(timeout=ENDS_WITHIN_S)
                self.hung = False
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                _, err = child.communicate()
                self.hung = True
        self.ended_ns = worlds.now_ns()
        self.said = err.decode(errors="replace")
        lines = [line for line in self.said.splitlines() if line.startswith("writegate: gate=")]
        self.fields = dict(part.split("=", 1) for part in lines[-1].split()[1:]) if lines else {}
        self.tasks, self.calls, self.hit, self.file, self.status = {}, {}, None, "", None
        for line in log.read_text().splitlines() if log.exists() else []:
            what, *rest = line.split()
            if what == "task":
                self.tasks[int(rest[0])] = (int(rest[1]), rest[2], int(rest[3]))
            elif what == "calls":
                self.calls[int(rest[0])] = [int(number) for number in rest[1:]]
            elif what == "hit":
                self.hit, self.file = int(rest[1]), " ".join(rest[2:])
            else:
                self.status = int(rest[0])

    @property
    def code(self):
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    @property
    def panics(self):
        """Where it panicked."""
        return PANIC.findall(self.said)

    def __str__(self):
        panics = "".join(f" panicked at {place}" for place in self.panics)
        return f"exit {self.code} {self.fields.get('verdict', '')}{panics} {self.said.strip()[-300:]!r}"


def is_crash(run, how):
    """It died of the fault itself, by a panic of ours or worse. (The C library and Rust's runtime abort by themselves where
    the kernel refuses them what they ask for at the start of a process or thread, or memory, or where closedir(3) fails:
    that is counted.)"""
    if run.code is None or run.code >= 0 or how == "SIGKILL":
        return False
    return run.code != -signal.SIGABRT or any(RUNTIME not in place for place in run.panics)


def wrong_with(world, run, how):
    """What must not be, or None."""
    if run.hung or run.code is None:
        return f"it did not end within {ENDS_WITHIN_S} s"
    if is_crash(run, how):
        return f"it died of {signal.Signals(-run.code).name}"
    fields = run.fields
    if how is None:
        return None if fields.get("verdict") == world.verdict else f"without a fault it says not {world.verdict}"
    good = fields.get("verdict") == "CONSISTENT"
    full = good and fields.get("coverage") == "full" and fields.get("watched") == "full"
    # Where the watch itself was refused, that is said in the line; nobody looked, and nothing more is claimed.
    refused = world.name == "escape" and good and fields.get("watched") != "full"
    if world.lie and (full or (good or run.code == 0) and not refused):
        return f"{world.lie}: a false CONSISTENT"
    word = world.deadline()
    if word and run.code >= 0 and word > run.ended_ns:
        return "it ended by itself and left the gate closed"
    if word > run.ended_ns + LIMIT_S * 10**9:
        return "the gate is closed for longer than the limit"
    return None


def open_again(world):
    """Waits until a gate that a killed freezer has left is open."""
    wait = (world.deadline() - worlds.now_ns()) / 1e9
    if wait > 0:
        time.sleep(min(wait, LIMIT_S) + 0.01)


class Board:
    """Counts, by what was done to which call."""

    def __init__(self, verbose):
        self.verbose, self.runs, self.reached, self.bad, self.died = verbose, 0, 0, [], collections.Counter()
        self.outcomes = collections.defaultdict(collections.Counter)

    def put(self, world, run, what, how):
        self.runs += 1
        self.reached += run.hit is not None
        outcome = run.fields.get("verdict") or f"exit {run.code}"
        self.outcomes[f"{world.name} {how or 'untouched'}"][outcome] += 1
        if run.code is not None and run.code < 0 and how != "SIGKILL":
            self.died[f"{signal.Signals(-run.code).name}: {CALLS.get(run.hit, run.hit)} {how}"] += 1
        if wrong := wrong_with(world, run, how):
            self.bad.append(f"{world.name}, {what}: {wrong}: {run}")
            print(f"FAIL {self.bad[-1]}", flush=True)
        elif self.verbose:
            print(f"     {world.name}, {what}: {run}", flush=True)


def names_of_calls():
    """Number -> name, as the compiler's header has them."""
    listed = subprocess.run(["gcc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"], capture_output=True,
                            text=True, check=True).stdout
    return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)\n", listed)}


CALLS = {}


def one(world, injector, board, role, at, how):
    world.rearm()
    run = Run(world, injector, role, at, how)
    what = f"call {at} of task {role}" + (f" ({CALLS.get(run.hit, run.hit)}{run.file and ' of '}{run.file})" if run.hit is not None else ", not reached") + f": {how}"
    board.put(world, run, what, how)
    open_again(world)
    return run


def every(world, injector, board, hows):
    """All calls of all tasks, one after the other."""
    untouched = Run(world, injector, 0, UNTOUCHED, hows[0])
    for how in hows:
        for role, (_, _, calls) in sorted(untouched.tasks.items()):
            for at in range(1, calls + 1):
                one(world, injector, board, role, at, how)


def by_name(calls, rng):
    """(task, n) by lot: of each task's calls each name once, and as many of all alike."""
    chosen = []
    for role, numbers in sorted(calls.items()):
        places = collections.defaultdict(list)
        for at, number in enumerate(numbers, 1):
            places[number].append(at)
        chosen += [(role, rng.choice(at)) for _, at in sorted(places.items())]
        chosen += [(role, rng.randint(1, len(numbers))) for _ in places]
    rng.shuffle(chosen)
    return chosen


def slice_of(made, injector, board, hows, until, rng):
    """Calls chosen by lot, each world in turn, until the time is up."""
    todo, calls_of = {}, {}
    while time.monotonic() < until:
        for world in made:
            if time.monotonic() >= until:
                return
            if not todo.get(world.name):
                world.rearm()
                calls_of[world.name] = Run(world, injector, 0, UNTOUCHED, hows[0]).calls
                open_again(world)
                todo[world.name] = by_name(calls_of[world.name], rng)
            how = rng.choice(hows)
            if how in CONTENTS:
                reads = [(role, at) for role, numbers in calls_of[world.name].items()
                         for at, number in enumerate(numbers, 1) if CALLS.get(number) in READS]
                role, at = rng.choice(reads)
            else:
                role, at = todo[world.name].pop()
            one(world, injector, board, role, at, how)


def self_check(world, injector):
    """A fault that is known to show is seen to: the first call of all fails."""
    run = Run(world, injector, 0, 1, "ENOMEM")
    assert run.hit is not None, "the injector reached nothing"
    open_again(world)
    world.rearm()
    run = Run(world, injector, 0, UNTOUCHED, "ENOMEM")
    assert len(run.tasks) >= 3 and run.hit is None and run.code is not None, run.tasks
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="WORLD", help="one of them, by name")
    parser.add_argument("--errors", default=",".join([*ERRORS, *SIGNALS, *CONTENTS]))
    parser.add_argument("--all", action="store_true", help="every call, however long that takes")
    parser.add_argument("--results", type=Path, help="write the counts there, as JSON")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    chosen = [make for make in worlds.ALL if options.only in (None, make.__name__)]
    if not chosen:
        print(f"no world matches {options.only!r}", file=sys.stderr)
        return 64
    if os.geteuid() != 0:
        print("skip: needs root\n0 passed, 0 failed, 1 skipped")
        return 77
    if os.environ.get("INJECTED_NAMESPACE") != "1":
        os.environ["INJECTED_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv])
    hows, begun = options.errors.split(","), time.monotonic()
    CALLS.update(names_of_calls())
    board, made = Board(options.v), []
    with tempfile.TemporaryDirectory(prefix="writegate-injected-", dir="/var/tmp") as base:
        injector = Path(base) / "inject"
        subprocess.run(["gcc", "-O2", "-Wall", "-o", injector, HERE / "inject.c"], check=True)
        try:
            for make in chosen:
                made.append(make(base))
                untouched = self_check(made[-1], injector)
                open_again(made[-1])
                board.put(made[-1], untouched, "untouched", None)
                print(f"     {made[-1].name}: {untouched.fields.get('verdict')}; " + ", ".join(
                    f"task {role} {comm} {calls} calls" for role, (_, comm, calls) in sorted(untouched.tasks.items())), flush=True)
            if options.all:
                for world in made:
                    every(world, injector, board, hows)
            else:
                slice_of(made, injector, board, hows, begun + options.seconds, random.Random(options.seed))
        finally:
            for world in made:
                world.close()
    for name, seen in sorted(board.outcomes.items()):
        print(f"     {name}: {' '.join(f'{verdict} {n}' for verdict, n in seen.most_common())}")
    if board.died:
        print(f"     died of it: {', '.join(f'{what} ({n})' for what, n in board.died.most_common())}")
    print(f"{board.runs} freezes, {board.reached} with a fault, {len(board.bad)} wrong, seed {options.seed}, "
          f"{time.monotonic() - begun:.0f} s")
    if options.results:
        found = {"command": " ".join(["tests/command/injected/run.py", *sys.argv[1:]]), "freezes": board.runs,
                 "with_a_fault": board.reached, "wrong": board.bad, "outcomes": board.outcomes, "died": board.died}
        options.results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"{board.runs - len(board.bad)} passed, {len(board.bad)} failed, 0 skipped")
    return 1 if board.bad or not board.reached else 0


if __name__ == "__main__":
    sys.exit(main())

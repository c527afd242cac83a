#!/usr/bin/env python3
"""Hard cases for the library's host process, with the barrier going up and down all the time.

Each case runs bare first, then gated with the barrier cycling (up 30 to 60 ms, ten times a second), and must
check itself, end by itself and leave nothing in flight: when it says "idle" one more freeze must drain at once.
Some cases run side by side, each with a gate of its own.

    run.py [--only PATTERN] [--ms N] [--library F] [--command F] [--bare] [--under valgrind|tsan] [-v]
"""
import argparse
import fnmatch
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "calls"))
import gate as gates                                     # noqa: E402

FLAGS = "-std=gnu11 -O1 -g -w -fno-builtin -pthread".split()
LIMIT_S = 90
BARE_MS = 500
SIDE_BY_SIDE = 3                     # they mostly sleep


def build(out):
    os.makedirs(out)
    lib = os.path.join(out, "libearly.so")
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", "-DEARLY_LIBRARY", "-o", lib, os.path.join(HERE, "early.c")], check=True)
    cases = []
    for source in sorted(f for f in os.listdir(HERE) if f.endswith(".c")):
        program = os.path.join(out, source[:-2])
        extra = ["-L" + out, "-learly", "-Wl,-rpath," + out] if source == "early.c" else []
        subprocess.run(["gcc", *FLAGS, "-o", program, os.path.join(HERE, source), *extra], check=True)
        listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        cases += [(source[:-2], program, c) for c in listed]
    return cases


# A handler that waits for its child, come between a call's announcement and its look at the barrier, keeps
# that announcement up: the freeze takes it for a call that passed. On the safe side, and rare.
MAY_SAY_ESCAPED = {"fork-in-handler"}
# Left by a jump every 0.2 ms, such announcements are not rare: what the case shows needs no barrier.
WITHOUT_FREEZES = {"siglongjmp-names"}


# A thread that gets no processor for longer than a freeze's limit, from the barrier that it met first, passes the
# next one: that freeze says ESCAPED, and is right. No busy machine may bring that about here.
LIMIT = "20s"


class Cycler(threading.Thread):
    """Raises and lowers the barrier through the command until told to stop; keeps what it answered."""

    def __init__(self, gate, idle_ms=60):
        super().__init__(daemon=True)
        self.gate, self.stop, self.codes, self.odd = gate, threading.Event(), {}, []
        self.idle_ms = idle_ms

    def run(self):
        rng = random.Random(7)
        while not self.stop.is_set():
            hold = rng.uniform(0.03, 0.06)
            r = self.gate.run("freeze", "-g", self.gate.name, "-t", LIMIT, "--drain", "1s", "--retries", "0",
                              "--", "sleep", f"{hold:.3f}")
            self.codes[r.returncode] = self.codes.get(r.returncode, 0) + 1
            if r.returncode not in (0, 69, 75):          # 69: not started yet or over; 75: a case that never rests
                self.odd.append((r.stdout.strip().splitlines() or [""])[-1] + " " + r.stderr.strip()[-1000:])
            time.sleep(self.idle_ms / 1000)


def collect(p, text, until, seconds):
    end = time.monotonic() + seconds
    while until not in text:
        left = end - time.monotonic()
        if left <= 0 or not select.select([p.stdout], [], [], left)[0]:
            return text, False
        piece = os.read(p.stdout.fileno(), 65536)
        if not piece:
            return text, False
        text += piece
    return text, True


def stacks(pid):
    """Where a hanging process hangs."""
    r = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"], capture_output=True, text=True, timeout=60)
    keep = [x for x in r.stdout.splitlines() if x.startswith(("#", "Thread"))]
    return "\n          ".join(keep[:60])


def one(program, case, top, env, ms, gate, prefix=()):
    """Runs a case; returns (problem or None, last line, the cycler's answers)."""
    d = os.path.join(top, case)
    os.makedirs(d)
    p = subprocess.Popen([*prefix, program, case, d, str(ms)], env=dict(env, EARLY_DIR=d), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    cycler = None
    if gate:
        cycler = Cycler(gate)
        cycler.start()
    text, idle = collect(p, b"", b"idle\n", LIMIT_S)
    if cycler:
        # A short case may be over before the first freeze finds it: one more, while it is idle.
        until = time.monotonic() + 10
        while idle and not cycler.codes.get(0) and time.monotonic() < until:
            time.sleep(0.05)
        cycler.stop.set()
        cycler.join(30)
    problem = None
    if not idle and p.poll() is None and not select.select([p.stdout], [], [], 0)[0]:
        problem = f"hangs (barrier down now):\n          {stacks(p.pid)}"
        os.killpg(p.pid, signal.SIGKILL)
    # Under an emulator the kernel knows another stack than the program's, and so nobody can tell that a
    # call was left by siglongjmp: it is in flight until the thread's next one.
    elif idle and gate and not (prefix and case.startswith("siglongjmp")):
        time.sleep(0.1)
        r = gate.run("freeze", "-g", gate.name, "-t", LIMIT, "--drain", "1s", "--retries", "0", "--", "true")
        if r.returncode:
            problem = f"something stays in flight: exit {r.returncode}: {(r.stdout + r.stderr).strip()[-600:]}"
    try:
        out, err = p.communicate(b"\n", timeout=30)
    except subprocess.TimeoutExpired:
        problem = problem or f"does not exit:\n          {stacks(p.pid)}"
        os.killpg(p.pid, signal.SIGKILL)
        out, err = p.communicate()
    except BrokenPipeError:
        out, err = p.communicate()
    text = (text + out).decode(errors="replace")
    if not problem and p.returncode:
        problem = f"exit {p.returncode}: {text.strip()[-300:]} {err.decode(errors='replace').strip()[-600:]}"
    if not problem and "\nok " not in "\n" + text:
        problem = "no ok: " + text.strip()[-300:]
    if not problem and case == "early-and-late" and not os.path.exists(os.path.join(d, "library-destructor")):
        problem = "the library's destructor left nothing"
    if not problem and prefix and b"ERROR SUMMARY: 0" not in err and b"WARNING: ThreadSanitizer" in err:
        problem = err.decode(errors="replace")[-2000:]
    return problem, text.strip().splitlines()[-1] if text.strip() else "", cycler


def judged(family, program, case, work, library, command, o):
    """A case bare, then gated: ok, FAIL or skip, and the line that says why."""
    # A file of its own: who runs a member's program outside of its gate speaks against that gate's freezes.
    own = os.path.join(work, "bin", f"{family}-{case}")
    program = shutil.copy2(program, own)
    problem, _, _ = one(program, case, os.path.join(work, "bare-" + family), os.environ, min(o.ms, BARE_MS), None)
    if problem:
        return "FAIL", f"{case} bare: {problem}"
    if o.bare or not (library and command):
        return "skip", f"{case} gated: {'--bare' if o.bare else 'no binaries'}"
    protected = os.path.join(work, f"gated-{family}-{case}")
    gate = gates.Gate(library, command, protected, "robust")
    try:
        problem, last, cycler = one(program, case, protected, gate.environment(), o.ms, None if case in WITHOUT_FREEZES else gate)
    finally:
        gate.close()
    answers = " ".join(f"{n} x exit {c}" for c, n in sorted(cycler.codes.items())) if cycler else "no freezes"
    if cycler and not problem and cycler.odd and not (case in MAY_SAY_ESCAPED and len(cycler.odd) == 1):
        problem = f"the freeze answered: {cycler.odd[0]}"
    if cycler and not problem and not cycler.codes.get(0):
        problem = f"no freeze succeeded, so nothing was shown ({answers})"
    return ("FAIL", f"{case}: {problem} ({answers})") if problem else ("ok", f"{case}: {last} ({answers})")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--only", default="*")
    a.add_argument("--ms", type=int, default=3000)
    a.add_argument("--library")
    a.add_argument("--command")
    a.add_argument("--work", default="/var/tmp")
    a.add_argument("--bare", action="store_true")
    a.add_argument("-v", action="store_true")
    o = a.parse_args()
    library, command = gates.binary("libwritegate.so", o.library), gates.binary("writegate", o.command)
    work = tempfile.mkdtemp(prefix="writegate-robust-", dir=o.work)
    os.chmod(work, 0o755)
    passed = failed = skipped = 0
    try:
        cases = [c for c in build(os.path.join(work, "bin")) if fnmatch.fnmatch(c[2], o.only) or c[0] == o.only]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for word, line in pool.map(lambda case: judged(*case, work, library, command, o), cases):
                passed, failed, skipped = passed + (word == "ok"), failed + (word == "FAIL"), skipped + (word == "skip")
                if word != "ok" or o.v:
                    print(f"{word:4} {line}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not passed + failed + skipped:
        print(f"no case matches {o.only!r}: nothing was run", file=sys.stderr)
        return 64
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

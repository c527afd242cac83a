#!/usr/bin/env python3
"""What becomes of the machine during a freeze: a clock that is set, process ids that begin anew, a /run that goes away,
programs that come and go without end, everything stopped at once.

A small service (service.c) changes two files under one lock; the snapshot command reads both. CONSISTENT with two numbers is a
false word; so is one of a freeze of which the truth is known to be another. `run.py [--only PATTERN]`; root.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from lab import suite                                                   # noqa: E402
from lab.gate import NO_PROCESS, Gate, Outcome, parse                            # noqa: E402

SKIPPED = 77
FLAGS = "-std=gnu11 -O2 -Wall -Wextra -Werror".split()
PIDS = 400                                               # in a namespace of its own; the kernel takes none below 301
# Of a freeze whose time is no case's matter: a busy machine gives a process its turn late.
AMPLE = {"limit": "30s", "drain": "20s"}
SLACK_MS = 2000                                          # of a writer that is let go, on a busy machine


# Makes processes until there is room for so many, then becomes the program that follows (and makes them end with it).
FULL = """
import os, signal, sys, time
made = []
try:
    while True:
        child = os.fork()
        if child == 0:
            signal.alarm(100)
            while True: signal.pause()
        made.append(child)
except BlockingIOError:
    pass
for child in made[:int(sys.argv[1])]:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
made = made[int(sys.argv[1]):]
code = 0
try:
    code = os.waitstatus_to_exitcode(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ) and os.wait()[1])
except OSError as error:
    print("no process for the freezer itself:", error, file=sys.stderr)
    code = 71
for child in made:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
sys.exit(code)
"""


def built(folder):
    subprocess.run(["gcc", *FLAGS, "-o", str(folder / "service"), str(HERE / "service.c")], check=True)
    subprocess.run(["gcc", *FLAGS, "-shared", "-fPIC", "-o", str(folder / "clock.so"), str(HERE / "clock.c")], check=True)


def family(pid):
    """This process and all that descends from it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                found += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
    return found


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Machine(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="writegate-machine-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.work.chmod(0o755)
        self.data, self.run_folder = self.work / "data", self.work / "run"
        for folder in (self.data, self.run_folder):
            folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "writegate-machine", self.run_folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.run_folder], capture_output=True)
        built(self.work)
        self.gate = Gate(self.work, name="machine", paths=[self.data])
        self.gate.directory = self.run_folder / "gate"
        self.gate.directory.mkdir(exist_ok=True)

    def service(self, how, before=(), preload=""):
        env = self.gate.environment()
        env["LD_PRELOAD"] += preload
        # The variables are the service's alone: what is run before it is not behind the gate.
        inner = [f"{name}={env.pop(name)}" for name in ("LD_PRELOAD", "WRITEGATE_GATE", "WRITEGATE_PATHS")]
        argv = [*before, "env", *inner, str(self.work / "service"), how, str(self.data)]
        child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, child)
        self.assertEqual(child.stdout.readline(), "ready\n")
        return child

    def in_a_small_namespace(self, how):
        """The service, where there are PIDS process ids."""
        outside = Path("/proc/sys/kernel/pid_max").read_text()
        script = f'echo {PIDS} > /proc/sys/kernel/pid_max && exec "$0" "$@"'
        child = self.service(how, before=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script])
        if Path("/proc/sys/kernel/pid_max").read_text() != outside:
            Path("/proc/sys/kernel/pid_max").write_text(outside)
            self.skipTest("this kernel has one highest process id for all namespaces")
        return child

    @staticmethod
    def end(child):
        signal_all(family(child.pid)[1:], signal.SIGKILL)
        child.kill()
        child.wait()
        child.stdout.close()

    def reads(self, *more):
        """A snapshot command: what it reads of both files, and whatever else it does first."""
        return ["sh", "-c", f"{'; '.join([*more, ''])}cat {self.data}/a && sleep 0.02 && cat {self.data}/b"]

    def judged(self, outcome):
        """Whole, if it says so."""
        numbers = [line for line in outcome.stdout.split("\n") if line.isdigit()]
        if outcome.verdict == "CONSISTENT":
            self.assertEqual(len(numbers), 2, outcome)
            self.assertEqual(numbers[0], numbers[1], f"a set cut in two: {outcome}")
        return outcome

    def consistent(self, outcome):
        self.judged(outcome)
        self.assertEqual((outcome.verdict, outcome.exit), ("CONSISTENT", 0), outcome)

    def goes_on(self):
        """The gate is open: the service does what it did."""
        before, until = (self.data / "b").read_text(), time.monotonic() + 20
        while (self.data / "b").read_text() == before:
            self.assertLess(time.monotonic(), until, "the service stands still after the freeze")
            time.sleep(0.01)

    def test_without_any_of_this(self):
        self.service("steady")
        self.consistent(self.gate.freeze(self.reads(), **AMPLE))

    def test_the_clock_of_the_day_is_set_again_and_again(self):
        """Only the monotonic clock counts: neither a limit nor a verdict knows the day."""
        clock = self.work / "clock.so"
        child = self.service("steady", preload=f":{clock}")
        for command, limit, code in ((["sleep", "0.2"], "20s", 0), (["sleep", "0.8"], "500ms", 124)):
            argv = self.gate.freeze_argv(command, limit, limit)
            begun = time.monotonic()
            done = subprocess.run(argv, env={**os.environ, **self.gate.settings(), "LD_PRELOAD": str(clock)}, capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, code, done)
            self.assertLess(time.monotonic() - begun, 25)
            self.goes_on()
        signal_all([child.pid], signal.SIGTERM)
        self.assertLess(int(child.stdout.readline()), 500 + SLACK_MS, "a writer was held too long")

    def test_process_ids_begin_anew(self):
        """A parent holds the lock, a child for each file writes; each id is used again many times."""
        child = self.in_a_small_namespace("forks")
        first, verdicts = int((self.data / "b").read_text()), []
        until = time.monotonic() + 60
        while time.monotonic() < until and (len(verdicts) < 8 or int((self.data / "b").read_text()) - first < 3 * PIDS // 2):
            verdicts.append(self.judged(self.gate.freeze(self.reads(), **AMPLE)).verdict)
            time.sleep(0.1)
        used = 2 * (int((self.data / "b").read_text()) - first)
        self.assertGreater(used, 2 * PIDS, f"its ids were not used again: {used} of {PIDS}, {verdicts}")
        self.assertGreaterEqual(verdicts.count("CONSISTENT"), len(verdicts) - 1, verdicts)
        self.assertIsNone(child.poll())

    def test_programs_that_come_and_go_without_end(self):
        """Each set is a program's of its own, which locks, writes and is gone."""
        self.service("execs")
        verdicts = [self.judged(self.gate.freeze(self.reads(), **AMPLE)).verdict for _ in range(6)]
        self.assertGreaterEqual(verdicts.count("CONSISTENT"), 5, verdicts)
        self.goes_on()

    def test_no_process_can_be_made(self):
        """The table of processes is full but for a few: the freezer has its helpers, or holds nobody."""
        child = self.in_a_small_namespace("steady")
        service = family(child.pid)[-1]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WRITEGATE")}
        seen = {}
        for free in (0, 1, 2, 3, 4, 6, 12, 30):
            argv = [sys.executable, "-S", "-c", FULL, str(free), *self.gate.freeze_argv(self.reads(), **AMPLE)]
            begun = time.monotonic()
            done = subprocess.run(["nsenter", f"--target={service}", "--pid", "--mount", *argv], env={**kept, **self.gate.settings()},
                                  capture_output=True, text=True, timeout=120, check=False)
            outcome = Outcome(done.returncode, done.stdout, done.stderr, (time.monotonic() - begun) * 1e3, parse(done.stderr))
            if done.returncode == 0:
                self.consistent(outcome)
            else:
                self.assertRegex(done.stderr, "ulimit -u|annot fork|no process for the freezer", outcome)
            self.goes_on()
            seen[free] = (done.returncode, outcome.verdict)
        self.assertNotEqual(seen[0][0], 0, seen)
        self.assertEqual(seen[30], (0, "CONSISTENT"), seen)

    def test_run_becomes_read_only(self):
        self.service("steady")
        self.judged(self.gate.freeze(self.reads(f"mount -o remount,ro {self.run_folder}"), **AMPLE))
        self.goes_on()
        self.judged(self.gate.freeze(self.reads(), **AMPLE))
        self.goes_on()
        subprocess.run(["mount", "-o", "remount,rw", self.run_folder], check=True)
        self.consistent(self.gate.freeze(self.reads(), **AMPLE))

    def test_run_is_filled_up(self):
        self.service("steady")
        fill = f"dd if=/dev/zero of={self.run_folder}/filler bs=64k 2>/dev/null"
        self.judged(self.gate.freeze(self.reads(fill), **AMPLE))
        self.goes_on()
        self.judged(self.gate.freeze(self.reads(), **AMPLE))
        self.goes_on()
        (self.run_folder / "filler").unlink()
        self.consistent(self.gate.freeze(self.reads(), **AMPLE))

    def test_run_is_gone(self):
        """Taken away during a freeze, and a new one in its place: whoever hears the old page is not held by another."""
        self.service("steady")
        self.judged(self.gate.freeze(self.reads(f"umount -l {self.run_folder}"), **AMPLE))
        self.goes_on()
        without = self.gate.freeze(self.reads(), **AMPLE)
        self.assertEqual(without.exit, NO_PROCESS, without)
        self.gate.directory.mkdir(exist_ok=True)
        subprocess.run([str(self.gate.command), "exec", "-g", "machine", "--library", str(self.gate.library), "--", "true"],
                       env={**os.environ, **self.gate.settings()}, check=False, capture_output=True, timeout=60)
        another = self.gate.freeze(self.reads(), limit="5s", drain="2s")
        self.assertEqual(another.exit, NO_PROCESS, f"nobody hears the new page: {another}")
        self.goes_on()
        shutil.rmtree(self.gate.directory)

    def test_everything_is_stopped_past_the_limit(self):
        """As by a suspended machine: freezer, helper, command and service, and all go on together."""
        child = self.service("steady")
        process = self.gate.start_freeze(["sleep", "0.3"], limit="1s", drain="900ms")
        try:
            until = time.monotonic() + 20
            while not any("sleep" in self.name(pid) for pid in family(process.pid)) and process.poll() is None:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.005)
            everybody = [*family(process.pid), *family(child.pid)]
            signal_all(everybody, signal.SIGSTOP)
            time.sleep(1.2)
            signal_all(everybody, signal.SIGCONT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        outcome = Outcome(process.returncode, out, err, 0, parse(err))
        self.assertNotEqual((outcome.verdict, outcome.exit), ("CONSISTENT", 0), outcome)
        self.assertIn(outcome.exit, (75, 124), outcome)
        self.goes_on()
        self.consistent(self.gate.freeze(self.reads(), **AMPLE))

    @staticmethod
    def name(pid):
        try:
            return Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            return ""


def main():
    pattern = suite.parser(__doc__).parse_args().only
    if os.geteuid() != 0:
        print("skipped: needs root\n0 passed, 0 failed, 1 skipped")
        return SKIPPED
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return suite.run(suite.of_main(), pattern)


if __name__ == "__main__":
    sys.exit(main())

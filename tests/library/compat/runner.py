"""Runs a suite's jobs in one mode: bare, gated (barrier down), cycling (a freezer raises and lowers it), or held (without the
library, stopped at rest again and again)."""
import collections
import json
import os
import re
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
import suites                                            # noqa: E402


class Cycler(threading.Thread):
    """Barrier up for 20 ms, every 100 ms, through the command. Keeps what it answered: {exit code: count}, and
    what it said when it was neither content nor without a process nor unable to drain."""

    def __init__(self, gate):
        super().__init__(daemon=True)
        self.gate, self.over, self.codes, self.odd = gate, threading.Event(), {}, []

    def run(self):
        while not self.over.wait(0.08):
            r = self.gate.run("freeze", "-g", self.gate.name, "-t", "2s", "--drain", "500ms", "--retries", "0", "--", "sleep", "0.02")
            self.codes[r.returncode] = self.codes.get(r.returncode, 0) + 1
            if r.returncode not in (0, 69, 75):
                self.odd.append((r.stdout + r.stderr).strip())


class Holder(threading.Thread):
    """All jobs that run are stopped at rest for 20 ms, every 200 ms. Keeps the exit codes, and what the stops did to whom:
    {what: {program: how often}}."""

    def __init__(self, command, work):
        super().__init__(daemon=True)
        self.command, self.report, self.running = command, os.path.join(work, "report.json"), set()
        self.over, self.codes, self.odd = threading.Event(), {}, []
        self.seen = {"interrupted": collections.Counter(), "short": collections.Counter()}

    def run(self):
        while not self.over.wait(0.18):
            whom = [arg for pid in list(self.running) for arg in ("--pid", str(pid))]
            if not whom:
                continue
            argv = [self.command, "freeze", *whom, "-t", "2s", "--drain", "500ms", "--retries", "0", "--report", self.report, "--", "sleep", "0.02"]
            r = subprocess.run(argv, capture_output=True, text=True, timeout=60, errors="replace")
            self.codes[r.returncode] = self.codes.get(r.returncode, 0) + 1
            if r.returncode not in (0, 69, 75):
                self.odd.append((r.stdout + r.stderr).strip())
            self.count()

    def count(self):
        try:
            with open(self.report) as f:
                held = json.load(f)["gates"][0]["held_at_rest"]
            os.unlink(self.report)
        except (OSError, ValueError, LookupError):
            return
        for one in held:
            for what, counted in self.seen.items():
                if one[what]:
                    counted[one["program"]] += one[what]


MARK = "WRITEGATE_SUITE"


def leftovers(work):
    """Ends what a program that was cut short has left: some make process groups of their own."""
    mark = f"{MARK}={work}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if mark in f.read().split(b"\0"):
                    os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass                                         # gone, or not a process of ours


class Result:
    """{job: {test: result}} of one mode; the job itself is the test ''."""

    def __init__(self):
        self.tests, self.output, self.seconds, self.span = {}, {}, {}, 0.0
        self.codes, self.odd, self.seen = {}, [], {}


def shell(job, env, running):
    """(exit code or 'timeout', output)."""
    p = subprocess.Popen(job.command, env=dict(env, **job.env), cwd=job.cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         stdin=subprocess.PIPE if job.input else subprocess.DEVNULL, start_new_session=True)
    data = job.input.encode() if job.input else None
    running.add(p.pid)
    try:
        out, _ = p.communicate(data, timeout=job.seconds)
        code = str(p.returncode)
    except subprocess.TimeoutExpired:
        code = "timeout"
        # Whoever left the group may hold the pipe: it is not waited for.
        os.killpg(p.pid, signal.SIGKILL)
        try:
            out, _ = p.communicate(timeout=5)
        except subprocess.TimeoutExpired as e:
            out = e.output or b""
    finally:
        running.discard(p.pid)
    return code, out.decode(errors="replace")


def run(suite, mode, o, library, command, leave_out=()):
    """One suite in one mode."""
    work = tempfile.mkdtemp(prefix="writegate-suite-", dir=o.work)
    os.chmod(work, 0o755)
    gate = cycler = None
    result = Result()
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    try:
        jobs = [j for j in suites.ALL[suite](o, work) if j.name not in leave_out and (not o.only or re.search(o.only, j.name))]
        if mode in ("gated", "cycling"):
            gate = gates.Gate(library, command, work, "suite")
            env = gate.environment()
        env[MARK] = work
        if mode == "cycling":
            cycler = Cycler(gate)
            cycler.start()
        if mode == "held":
            cycler = Holder(command, work)
            cycler.start()
        running = cycler.running if mode == "held" else set()
        start = time.monotonic()

        def one(job):
            began = time.monotonic()
            code, out = shell(job, env, running)
            result.seconds[job.name] = time.monotonic() - began
            result.tests[job.name] = {"": code, **(job.parse(code, out) if code != "timeout" else {})}
            result.output[job.name] = out[-1500:]
            if o.verbose:
                print(f"  {mode} {job.name}: {code} {result.seconds[job.name]:.1f} s", flush=True)

        with ThreadPoolExecutor(suites.PARALLEL[suite]) as pool:
            list(pool.map(one, jobs))
        result.span = time.monotonic() - start
    finally:
        if cycler:
            cycler.over.set()
            cycler.join(30)
            result.codes, result.odd = dict(sorted(cycler.codes.items())), cycler.odd
            result.seen = {what: dict(counted) for what, counted in getattr(cycler, "seen", {}).items()}
        leftovers(work)
        if gate:
            gate.close()
        # What a test that was killed left mounted.
        with open("/proc/mounts") as f:
            for m in [x.split()[1] for x in f if work in x]:
                subprocess.run(["umount", "-l", m], check=False)
        shutil.rmtree(work, ignore_errors=True)
    return result

#!/usr/bin/env python3
"""Processes that no preload reaches, held at rest: `freeze --pid` and its kin. Ends with "N passed, N failed".

  run.py [--only PATTERN] [--freezes N]        run.py --costs [PROCESSES...]

The victims are static (victim.c): they append to two files under a lock. The snapshot command (look.c) counts pairs
of two lengths, and what changes while all are held. WRITEGATE_BIN_DIR: where writegate lies (target/release).
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import beside
import steps

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from lab import suite  # noqa: E402 (the path comes first)

BIN = Path(os.environ.get("WRITEGATE_BIN_DIR", HERE.parents[2] / "target/release")).resolve()
CONSISTENT, UNGATED, NO_PROCESS, NOT_DRAINED, EXPIRED = 0, 65, 69, 75, 124
# What a victim ends with that cannot do its work here.
ABSENT = 77
PAIRS = 2
TEARS_WITHIN = 500
MODES = ["fcntl", "flock", "ofd", "shared", "threads", "nested", "spawn", "fork", "vfork", "pass", "exec", "pipe", "manager"]
PAST = ["uring", "uring-aside", "inline", "dlmopen"]
SIGNAL = signal.SIGRTMIN + 3
# Nobody is held so much longer than the limit, whatever has become of freezer and tracer.
LATE_S = 0.05


class Lab:
    """A folder whose pairs are watched, one beside it, and the victims."""

    programs = None

    def __init__(self, root):
        self.root = Path(tempfile.mkdtemp(dir=root))
        self.mail = self.root / "mail"
        self.mail.mkdir()
        self.victims = []

    @classmethod
    def build(cls, root):
        cls.programs = {}
        for name in ("victim", "look", "past"):
            cls.programs[name] = Path(root) / name
            subprocess.run(["cc", "-O1", "-Wall", "-static", "-o", cls.programs[name], HERE / f"{name}.c", "-lpthread"],
                           check=True)
        cls.programs["past_dynamic"] = Path(root) / "past_dynamic"
        subprocess.run(["cc", "-O1", "-Wall", "-DBY_DLMOPEN", "-o", cls.programs["past_dynamic"], HERE / "past.c", "-ldl"], check=True)
        cls.programs["dynamic"] = Path(root) / "dynamic"
        subprocess.run(["cc", "-O1", "-Wall", "-o", cls.programs["dynamic"], HERE / "victim.c", "-lpthread"], check=True)

    def start(self, mode, count=1, pairs=PAIRS):
        started = [subprocess.Popen([self.programs["victim"], mode, self.mail, str(pairs)], stdout=subprocess.PIPE,
                                    start_new_session=True) for _ in range(count)]
        self.victims += started
        return started

    def freeze(self, *command, of=None, limit="10s", drain="5s", pairs=PAIRS, extra=(), before=(), retries="1"):
        report = self.root / "report.json"
        report.unlink(missing_ok=True)
        who = [arg for victim in (of or self.victims) for arg in ("--pid", str(victim.pid))]
        command = command or (self.programs["look"], self.mail, str(pairs))
        run = subprocess.run(
            [*before, BIN / "writegate", "freeze", *who, "-t", limit, "--drain", drain, "--retries", retries, "--paths",
             self.mail, "--report", report, *extra, "--", *command], capture_output=True, text=True, timeout=60)
        record = json.loads(report.read_text()) if report.exists() else None
        return run.returncode, record, run.stdout + run.stderr

    def close(self):
        for victim in self.victims:
            try:
                os.killpg(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            victim.wait()
            victim.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def looked(said):
    """(torn, moved, bytes) as the snapshot command saw it."""
    found = re.search(r"^LOOK (\d+) (\d+) (\d+)$", said, re.M)
    check(found, f"the command did not run: {said}")
    return tuple(map(int, found.groups()))


def state(pid):
    """State and tracer of a process's threads."""
    seen = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            text = Path(f"/proc/{pid}/task/{task}/status").read_text()
            seen.append((re.search(r"State:\t(\w)", text)[1], int(re.search(r"TracerPid:\t(\d+)", text)[1])))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return seen


def all_run(victims):
    for victim in victims:
        seen = state(victim.pid)
        check(seen and all(tracer == 0 and what not in "tT" for what, tracer in seen), f"{victim.pid}: {seen}")


def whole(lab, mode, freezes):
    # A set that is handed on by its lock's last descriptor and one that is shared have one writer a pair.
    lab.start(mode, 1 if mode in ("shared", "manager") else 4, 4 if mode == "manager" else PAIRS)
    time.sleep(0.3)
    return rests(lab, freezes, 4 if mode == "manager" else PAIRS)


def rests(lab, freezes, pairs=PAIRS):
    held = worked = 0
    for _ in range(freezes):
        # With one retry all 520 came to rest (13 kinds, 40 each, load 10 to 18).
        code, record, said = lab.freeze(pairs=pairs, retries="3")
        check(code == CONSISTENT, f"exit {code}: {said}")
        torn, moved, size = looked(said)
        check((torn, moved) == (0, 0), f"{torn} torn, {moved} changed while all were held: {record}")
        check(record["gates"][0]["at_rest"] >= 1, record)
        held += 1
        worked += size > 0
    check(worked, f"the victims wrote nothing: {said}")
    all_run(lab.victims)
    check(growth(lab), "they do not go on")
    return f"{held} of {freezes}, 0 torn"


def until_torn(lab):
    """How many sets were torn by the freeze of that number: the first that shows that these victims can be. Chance
    decides when; only victims that never can be need so many."""
    for number in range(1, TEARS_WITHIN + 1):
        torn = looked(lab.freeze()[2])[0]
        if torn:
            return torn, number
    raise AssertionError(f"nothing was torn in {TEARS_WITHIN} freezes: the victims prove nothing")


def dotlock(lab, freezes):
    """A lock that is only a file: torn where it is not named, whole where it is."""
    lab.start("dotlock", 2)
    time.sleep(0.3)
    torn, of = until_torn(lab)
    held = 0
    for _ in range(freezes):
        code, record, said = lab.freeze(extra=["--lock-file", f"{lab.mail}/*.lock"])
        if code == NOT_DRAINED:
            continue
        check(code == CONSISTENT, f"exit {code}: {said}")
        check(looked(said)[:2] == (0, 0), f"{said} {record}")
        held += 1
    check(held >= 0.8 * freezes, f"{held} of {freezes} brought to rest")
    for victim in lab.victims:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
    lab.victims.clear()
    for left in lab.mail.glob("*.lock"):
        left.unlink()
    lab.start("idle")
    (lab.mail / "p9.lock").write_text("1 left over")
    code, record, said = lab.freeze(extra=["--lock-file", f"{lab.mail}/*.lock"], drain="1s", retries="0")
    check(code == NOT_DRAINED and record["gates"][0]["blockers"][0]["path"] == f"{lab.mail}/p9.lock", f"exit {code}: {said}")
    return f"{torn} torn without its name by the freeze no. {of}; with it {held} of {freezes}, 0 torn"


def until_wait(lab, freezes):
    """Sets without a lock that last until the program waits: torn where the profile does not say so."""
    lab.start("until-wait", 2)
    time.sleep(0.3)
    profile = lab.root / "profile.conf"
    profile.write_text(f"until-wait = {lab.programs['victim']}\n")
    torn = tried = 0
    while not torn and tried < 500:
        torn, tried = torn + looked(lab.freeze()[2])[0], tried + 1
    check(torn > 0, "without the line nothing was torn: the case proves nothing")
    held = 0
    for _ in range(max(freezes, 8)):
        code, record, said = lab.freeze(extra=["--profile", profile])
        if code == NOT_DRAINED:
            continue
        check(code == CONSISTENT, f"exit {code}: {said}")
        check(looked(said)[:2] == (0, 0), f"{said} {record}")
        held += 1
    check(held >= 0.8 * max(freezes, 8), f"{held} of {freezes} brought to rest")
    all_run(lab.victims)
    check(growth(lab), "they do not go on")
    return f"torn in {tried} freezes without the line; with it {held} of {max(freezes, 8)}, 0 torn"


def by_profile(lab, freezes, lines, without=""):
    """Torn by a profile that says less, whole by these lines."""
    profile, less = lab.root / "profile.conf", lab.root / "less.conf"
    profile.write_text(lines)
    less.write_text(without)
    time.sleep(0.3)
    for number in range(1, TEARS_WITHIN + 1):
        if torn := looked(lab.freeze(extra=["--profile", less])[2])[0]:
            break
    check(torn, f"without the line nothing was torn in {TEARS_WITHIN} freezes: the case proves nothing")
    held = 0
    for _ in range(max(freezes, 8)):
        code, record, said = lab.freeze(extra=["--profile", profile])
        if code == NOT_DRAINED:
            continue
        check(code == CONSISTENT, f"exit {code}: {said}")
        check(looked(said)[:2] == (0, 0), f"{said} {record}")
        held += 1
    check(held >= 0.8 * max(freezes, 8), f"{held} of {max(freezes, 8)} brought to rest: {said}")
    all_run(lab.victims)
    check(growth(lab), "they do not go on")
    return f"torn by freeze no. {number} without the line; with it {held} of {max(freezes, 8)}, 0 torn"


def agent_of(lab):
    """A program of its own that does what a victim does."""
    agent = lab.root / "agent"
    shutil.copy(lab.programs["victim"], agent)
    return agent


def first(lab, freezes):
    """Sets that travel by message: their makers come to rest first, and those that hear of it have time to finish."""
    agent = agent_of(lab)
    said = f"{agent} tells {lab.mail} {PAIRS} | {lab.programs['victim']} hears {lab.mail} {PAIRS}"
    lab.victims.append(subprocess.Popen(["sh", "-c", said], stdout=subprocess.PIPE, start_new_session=True))
    waits = "until-wait = agent\n"
    return by_profile(lab, freezes, waits + "first = agent\nfirst-wait = 200ms\n", waits)


def until_exit(lab, freezes):
    """Sets without a lock that last until their makers end, which are made again and again."""
    agent = agent_of(lab)
    lab.victims.append(subprocess.Popen([lab.programs["victim"], "sends-off", lab.mail, str(PAIRS)], stdout=subprocess.PIPE, start_new_session=True,
                                        env={**os.environ, "AGENT": str(agent)}))
    return by_profile(lab, freezes, "until-exit = agent\n")


def stopped_before(lab, freezes):
    """A sleep that a stop has interrupted goes on by another system call, and is a wait all the same the next time."""
    lab.start("sleeps")
    time.sleep(0.2)
    profile = lab.root / "profile.conf"
    profile.write_text(f"until-wait = {lab.programs['victim']}\n")
    for number in range(max(freezes // 2, 3)):
        code, _, said = lab.freeze(extra=["--profile", profile], drain="1s", retries="0")
        check(code == CONSISTENT, f"freeze no. {number + 1}: exit {code}: {said}")


def settled(lab, freezes):
    """A lock that its owner keeps while its child sleeps: by the profile's word nothing is half-done, unless the child has
    begun something."""
    profile, brief = lab.root / "profile.conf", {"drain": "700ms", "retries": "0"}
    profile.write_text(f"settled = {lab.programs['victim']}\n")
    said, many = {}, max(freezes, 6)
    for mode in ("settled", "begun"):
        lab.start(mode, 2)
        time.sleep(0.3)
        for name, extra in (("without", []), ("with", ["--profile", profile])):
            codes = []
            for _ in range(many):
                code, record, text = lab.freeze(extra=extra, **brief)
                check(code in (CONSISTENT, NOT_DRAINED), f"{mode}: exit {code}: {text}")
                check(code != CONSISTENT or looked(text)[:2] == (0, 0), f"{mode}, {name} the line: {text} {record}")
                codes.append(code)
            said[mode, name] = codes.count(CONSISTENT)
        all_run(lab.victims)
        check(growth(lab), "they do not go on")
        for victim in lab.victims:
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()
        lab.victims.clear()
    check(said["settled", "with"] >= 0.8 * many > said["settled", "without"], said)
    check(said["begun", "with"] < 0.8 * many, said)
    return f"at rest within 0.7 s, of {many}: " + ", ".join(f"{mode} {name} the line {n}" for (mode, name), n in said.items())


def lock_elsewhere(lab, _):
    """A lock file that only the held ones see: in a mount namespace of theirs, below a root of theirs. One that cannot
    be looked for may be there."""
    private, root = lab.root / "private", lab.root / "root"
    private.mkdir()
    (root / "private").mkdir(parents=True)
    shutil.copy(lab.programs["victim"], root)
    (root / "mail").mkdir()
    said = []
    for name, before, victim, mail in (
            ("mount namespace", f"mount -t tmpfs none {private}; echo 1 > {private}/p9.lock; exec",
             lab.programs["victim"], lab.mail),
            ("root", f"echo 1 > {root}/private/p9.lock; exec chroot {root}", "/victim", "/mail")):
        pattern = f"{private}/*.lock" if name == "mount namespace" else "/private/*.lock"
        started = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                                    f"{before} {victim} idle {mail} {PAIRS}"], stdout=subprocess.PIPE,
                                   start_new_session=True)
        lab.victims.append(started)
        until = time.monotonic() + 10
        while Path(f"/proc/{started.pid}/exe").resolve().name != "victim":
            check(time.monotonic() < until, f"{name}: the victim did not start")
            time.sleep(0.01)
        freeze = lambda lock: lab.freeze(of=[started], extra=["--lock-file", lock], drain="1s", retries="0")
        code, record, text = freeze(pattern)
        check(code == NOT_DRAINED, f"{name}: exit {code}: {text}")
        blockers = record["gates"][0]["blockers"]
        check(blockers[0]["path"] == pattern.replace("*", "p9"), f"{name}: {blockers}")
        code, _, text = freeze(pattern.replace("lock", "none"))
        check(code == CONSISTENT, f"{name}, no such file: exit {code}: {text}")
        said.append(name)
    (lab.root / "loop").symlink_to("loop")
    lab.start("idle")
    code, record, text = lab.freeze(of=lab.victims[-1:], extra=["--lock-file", f"{lab.root}/loop/*.lock"], drain="1s",
                                    retries="0")
    check(code == NOT_DRAINED and "could not be looked at" in record["gates"][0]["blockers"][0]["why"],
          f"not to be looked for: exit {code}: {text}")
    return f"found by {' and '.join(said)}; one that cannot be looked for is not taken for absent"


def past(lab, mode, freezes):
    """Ways past libc, by programs that no gate holds: stopped at rest they are whole."""
    program = lab.programs["past_dynamic" if mode == "dlmopen" else "past"]
    lab.victims += [subprocess.Popen([program, mode, lab.mail, str(PAIRS)], stdout=subprocess.PIPE, start_new_session=True) for _ in range(4)]
    time.sleep(0.3)
    if lab.victims[0].poll() == ABSENT:
        return "not to be had here: not tried"
    return f"{torn_unheld(lab)} torn where nobody is held; {rests(lab, freezes)}"


def go(lab, freezes):
    """A static Go program: its runtime makes the system calls, on threads that it makes and ends as it likes."""
    compiler = shutil.which("go")
    if not compiler:
        return "no Go compiler here: not tried"
    program = lab.root / "writer"
    subprocess.run([compiler, "build", "-o", program, HERE / "writer.go"], check=True,
                   env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(lab.root / "cache"), "GOFLAGS": ""})
    lab.victims.append(subprocess.Popen([program, lab.mail, str(PAIRS)], stdout=subprocess.PIPE, start_new_session=True))
    time.sleep(0.3)
    return f"{torn_unheld(lab)} torn where nobody is held; {rests(lab, freezes)}"


def torn_unheld(lab):
    """How many sets are torn for who looks without holding anybody: if none ever is, these victims prove nothing."""
    for _ in range(TEARS_WITHIN):
        torn = looked(subprocess.run([lab.programs["look"], lab.mail, str(PAIRS)], capture_output=True, text=True).stdout)[0]
        if torn:
            return torn
    raise AssertionError(f"nothing was torn in {TEARS_WITHIN} looks")


def growth(lab):
    size = lambda: sum(f.stat().st_size for f in lab.mail.glob("*.a"))
    begun, until = size(), time.monotonic() + 5
    while time.monotonic() < until:
        if size() > begun:
            return True
        time.sleep(0.01)
    return False


def control(lab, freezes):
    """Stopped anywhere they are torn: without a lock the kernel shows nothing that could be waited for."""
    lab.start("free", 4)
    time.sleep(0.3)
    torn, of = until_torn(lab)
    return f"{torn} torn by the freeze no. {of}"


def held_for_life(lab, _):
    """A lock for life keeps all from being at rest, and is named; with its line it does not."""
    victim, = lab.start("idle")
    code = "import fcntl,sys\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('READY',flush=True)\nsys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-S", "-c", code, lab.mail / "master.lock"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, start_new_session=True)
    lab.victims.append(holder)
    holder.stdout.readline()
    code, record, said = lab.freeze(drain="300ms", retries="0")
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    named = [b for b in record["gates"][0]["blockers"] if b["pid"] == holder.pid]
    check(named and named[0]["path"] == str(lab.mail / "master.lock"), record)
    all_run([victim, holder])
    code, _, said = lab.freeze(extra=["--lifetime-lock", "*/master.lock"])
    check(code == CONSISTENT, f"exit {code}: {said}")


def traced_already(lab, _):
    victim, other = lab.start("idle", 2)
    strace = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(victim.pid)])
    try:
        until = time.monotonic() + 10
        while all(tracer == 0 for _, tracer in state(victim.pid)) and time.monotonic() < until:
            time.sleep(0.01)
        code, record, said = lab.freeze("touch", lab.root / "ran")
        check(code == UNGATED and str(strace.pid) in said, f"exit {code}: {said}")
        check(not (lab.root / "ran").exists(), "the command was run")
        all_run([other])
    finally:
        strace.terminate()
        strace.wait()


def nobody_there(lab, _):
    victim, = lab.start("idle")
    victim.kill()
    victim.wait()
    code, _, said = lab.freeze()
    check(code == NO_PROCESS, f"exit {code}: {said}")


def limit_passes(lab, _):
    lab.start("fcntl", 2)
    time.sleep(0.2)
    code, _, said = lab.freeze("sleep", "1", limit="300ms", drain="250ms")
    check(code in (EXPIRED, NOT_DRAINED), f"exit {code}: {said}")
    all_run(lab.victims)


def job_control(lab, _):
    """A process that job control has stopped stays so, over the hold and after it, and is continued by SIGCONT."""
    stopped, other = lab.start("idle", 2)
    os.kill(stopped.pid, signal.SIGSTOP)
    until = time.monotonic() + 10
    while state(stopped.pid)[0][0] != "T" and time.monotonic() < until:
        time.sleep(0.01)
    for _ in range(5):
        code, _, said = lab.freeze()
        check(code == CONSISTENT, f"exit {code}: {said}")
        check([what for what, _ in state(stopped.pid)] == ["T"], f"it was woken: {state(stopped.pid)}")
    # While it is held.
    code, _, said = lab.freeze("kill", "-CONT", str(stopped.pid))
    check(code == CONSISTENT, f"exit {code}: {said}")
    time.sleep(0.1)
    all_run(lab.victims)
    code, _, said = lab.freeze("kill", "-STOP", str(other.pid))
    check(code == CONSISTENT, f"exit {code}: {said}")
    time.sleep(0.1)
    check([what for what, _ in state(other.pid)] == ["T"], f"SIGSTOP was lost: {state(other.pid)}")


def send(victim, sent):
    """One of each; a plain signal only when the last one was taken, for two of them are one."""
    text = Path(f"/proc/{victim.pid}/status").read_text()
    pending = int(re.search(r"ShdPnd:\t(\w+)", text)[1], 16) | int(re.search(r"SigPnd:\t(\w+)", text)[1], 16)
    if not pending & 1 << (signal.SIGUSR1 - 1):
        os.kill(victim.pid, signal.SIGUSR1)
        sent[0] += 1
    os.kill(victim.pid, SIGNAL)
    sent[1] += 1


def signals(lab, freezes):
    """No real-time signal is lost, whether it comes before, while or after the process is stopped."""
    victim, = lab.start("signals")
    victim.stdout.readline()
    sent = [0, 0]
    for _ in range(freezes):
        freeze = subprocess.Popen([BIN / "writegate", "freeze", "--pid", str(victim.pid), "-t", "5s", "--", "sleep", "0.02"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while freeze.poll() is None:
            send(victim, sent)
            time.sleep(0.0007)
    count_signals(victim, sent)
    return f"{sent[1]} sent"


def count_signals(victim, sent):
    victim.terminate()
    out = victim.stdout.read().split()
    check(victim.wait() == 0 and len(out) == 2, f"it died: {victim.returncode} {out}")
    check(int(out[1]) == sent[1], f"real-time signals: {sent[1]} sent, {out[1]} came")
    check(0 < int(out[0]) <= sent[0], f"SIGUSR1: {sent[0]} sent, {out[0]} came")


@contextlib.contextmanager
def in_time():
    """What we see we see when it is so, also on a busy machine: before all that is not real-time. Whom we start is not."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        yield
    finally:
        os.sched_setscheduler(0, *before)


def tracer_of(victim):
    return next((tracer for _, tracer in state(victim.pid) if tracer), 0)


def deaths(lab, freezes, who, how):
    """Freezer or tracer killed or stopped at some moment: all run at the limit, none is left traced, no signal is lost."""
    watched, = lab.start("signals")
    watched.stdout.readline()
    lab.start("threads")
    lab.start("fork", 3)
    time.sleep(0.2)
    with in_time():
        return deaths_seen(lab, freezes, who, how, watched)


def deaths_seen(lab, freezes, who, how, watched):
    limit, sent, worst, hit = 0.4, [0, 0], 0, 0
    for number in range(freezes):
        args = [arg for victim in lab.victims for arg in ("--pid", str(victim.pid))]
        begun = time.monotonic()
        freeze = subprocess.Popen([BIN / "writegate", "freeze", *args, "-t", f"{limit}s", "--drain", "350ms", "--", "sleep", "1"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        first = tracer = None
        # A moment of its own each time: from the first seize on, and in the end when all are at rest.
        delay = 0.0004 * number if number < 40 else 0.05
        while time.monotonic() < begun + 5 and freeze.poll() is None:
            send(watched, sent)
            tracer = tracer_of(watched)
            if tracer:
                first = first or time.monotonic()
                if time.monotonic() >= first + delay:
                    break
        if tracer:
            hit += 1
            try:
                os.kill(tracer if who == "tracer" else freeze.pid, how)
            except ProcessLookupError:
                pass
        # The lease was given at most when its first victim was seized.
        end = (first or begun) + limit
        while any(what in "t" or by for victim in lab.victims for what, by in state(victim.pid)):
            check(time.monotonic() < end + 5, f"still held: {[state(v.pid) for v in lab.victims]}")
            time.sleep(0.001)
        worst = max(worst, time.monotonic() - end)
        for end_it in (freeze.pid, tracer):
            try:
                if end_it:
                    os.kill(end_it, signal.SIGKILL)
            except ProcessLookupError:
                pass
        freeze.wait()
        # Whom a SIGKILL leaves: the snapshot command.
        try:
            os.killpg(freeze.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    check(hit >= freezes * 0.8, f"only {hit} of {freezes} were seen while they held")
    check(worst <= LATE_S, f"held {worst * 1000:.0f} ms beyond the limit")
    all_run(lab.victims)
    check(growth(lab), "they do not go on")
    count_signals(watched, sent)
    return f"{hit} times; at most {worst * 1000:.0f} ms after the limit; {sent[1]} signals"


def cgroup(lab, freezes):
    """By a control group, of which the freezer itself is a member."""
    mounts = [Path(p) for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd") if Path(p, "cgroup.procs").exists()]
    check(mounts, "no control groups here")
    group = mounts[0] / f"writegate-test-{os.getpid()}"
    group.mkdir()
    try:
        lab.start("fork", 3)
        for victim in lab.victims:
            (group / "cgroup.procs").write_text(str(victim.pid))
        script = f"echo $$ > {group}/cgroup.procs; exec \"$@\""
        report = lab.root / "r.json"
        for _ in range(max(freezes // 2, 3)):
            run = subprocess.run(["sh", "-c", script, "sh", BIN / "writegate", "freeze", "--cgroup", group, "--paths", lab.mail, "-t", "10s",
                                  "--report", report, "--", lab.programs["look"], lab.mail, str(PAIRS)], capture_output=True, text=True, timeout=60)
            said = run.stdout + run.stderr
            check(run.returncode == CONSISTENT, f"exit {run.returncode}: {said}")
            check(looked(said)[:2] == (0, 0), said)
    finally:
        for victim in lab.victims:
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)


def came_late(lab, _):
    """One that enters the group while the others are held was not held, and that is said."""
    mounts = [Path(p) for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd") if Path(p, "cgroup.procs").exists()]
    group = mounts[0] / f"writegate-test-late-{os.getpid()}"
    group.mkdir()
    try:
        victim, late = lab.start("idle", 2)
        (group / "cgroup.procs").write_text(str(victim.pid))
        run = subprocess.run([BIN / "writegate", "freeze", "--cgroup", group, "--", "sh", "-c", f"echo {late.pid} > {group}/cgroup.procs"],
                             capture_output=True, text=True, timeout=60)
        check(run.returncode == UNGATED and f"pid {late.pid}" in run.stderr, f"exit {run.returncode}: {run.stdout}{run.stderr}")
    finally:
        for victim in lab.victims:
            victim.kill()
            victim.wait()
        time.sleep(0.1)
        group.rmdir()


def interrupted_waits(lab, _):
    """A wait that ends with EINTR is counted."""
    lab.start("wait")
    time.sleep(0.2)
    code, record, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")
    check(record["gates"][0]["held_at_rest"][0]["interrupted"] == 1, record["gates"][0]["held_at_rest"])


def costs(root, crowds, freezes):
    """Stops of as many processes, by their lock, ms."""
    for crowd in crowds:
        lab = Lab(root)
        try:
            pairs = max(PAIRS, crowd // 10)
            lab.start("fcntl", crowd, pairs)
            time.sleep(1)
            took, torn, failed = [], 0, 0
            for _ in range(freezes):
                code, record, said = lab.freeze(limit="20s", drain="15s", pairs=pairs, retries="0")
                if code == NOT_DRAINED:
                    failed += 1
                    continue
                torn += looked(said)[0]
                took.append(record["gates"][0]["drain_ns"] / 1e6)
            took.sort()
            at = lambda share: took[min(len(took) - 1, int(len(took) * share))] if took else float("nan")
            print(f"{crowd} processes: {len(took)} stops, {failed} not at rest, {torn} torn; p50 {at(0.5):.1f} ms, p90 {at(0.9):.1f} ms, "
                  f"p99 {at(0.99):.1f} ms; load {os.getloadavg()[0]:.1f}", flush=True)
        finally:
            lab.close()


CASES = {**{f"past_{mode.replace('-', '_')}": lambda lab, n, mode=mode: past(lab, mode, n) for mode in PAST}, "go": go,
         **{mode: lambda lab, n, mode=mode: whole(lab, mode, n) for mode in MODES},
         "control": control, "held_for_life": held_for_life, "traced_already": traced_already, "nobody_there": nobody_there,
         "limit_passes": limit_passes, "job_control": job_control, "signals": signals, "interrupted_waits": interrupted_waits,
         "dotlock": dotlock, "until_wait": until_wait, "first": first, "until_exit": until_exit, "stopped_before": stopped_before, "settled": settled, "lock_elsewhere": lock_elsewhere, "cgroup": cgroup, "came_late": came_late,
         **{name: lambda lab, n, case=case: case(lab, n, BIN) for name, case in beside.CASES.items()},
         **{name: lambda lab, n, case=case: case(lab, n, BIN, sys.modules[__name__]) for name, case in steps.CASES.items()},
         **{f"{who}_{name}": lambda lab, n, who=who, how=how: deaths(lab, n, who, how)
            for who in ("tracer", "freezer") for name, how in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP))}}


def main():
    options = suite.parser(__doc__)
    options.add_argument("--freezes", type=int, metavar="N", help="of each case (8); of each crowd (60)")
    options.add_argument("--costs", type=int, nargs="*", metavar="PROCESSES", help="how long stops take, of so many processes")
    options = options.parse_args()
    chosen = [name for name in CASES if suite.fits(name, options.only)]
    if not chosen:
        return suite.nothing(options.only, CASES)
    root, failed = tempfile.mkdtemp(prefix="writegate-hold-"), 0
    try:
        Lab.build(root)
        if options.costs is not None:
            return costs(root, options.costs or [40, 200, 1000], options.freezes or 60)
        for name in chosen:
            lab, begun = Lab(root), time.monotonic()
            try:
                what = CASES[name](lab, options.freezes or 8)
                print(f"ok    {name}: {what or 'as it must be'} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAIL  {name}: {error} ({time.monotonic() - begun:.1f} s)", flush=True)
            finally:
                lab.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{len(chosen) - failed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

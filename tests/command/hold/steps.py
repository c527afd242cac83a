"""Freezer or tracer killed or stopped at its n-th system call, for n after n: nobody is held beyond the limit, none is left
traced or stopped, no signal is lost. `run.py` runs them; ../injected/inject.c does it."""
import os
import signal
import subprocess
import time
from pathlib import Path

INJECTOR = Path(__file__).resolve().parents[1] / "injected" / "inject.c"
SYS_PTRACE = 101
LIMIT_S = 0.5
# Until a freezer, each of whose system calls is traced, has begun to hold; it may never, where it is stopped before.
BEGINS_WITHIN_S = 1.5
# Nobody is held so much longer than the limit.
LATE_S = 0.05


class Steps:
    """Runs of one freeze, by the number of the call at which something becomes of it."""

    def __init__(self, lab, binaries, helpers):
        self.lab, self.bin, self.helpers, self.worst, self.held = lab, binaries, helpers, 0, 0
        self.log, self.inject = lab.root / "log", lab.root / "inject"
        subprocess.run(["cc", "-O1", "-o", self.inject, INJECTOR], check=True)
        self.watched, = lab.start("signals")
        self.watched.stdout.readline()
        lab.start("threads")
        lab.start("fork", 2)
        self.sent = [0, 0]
        time.sleep(0.2)

    def run(self, role, at, number=0):
        self.log.unlink(missing_ok=True)
        whom = [arg for victim in self.lab.victims for arg in ("--pid", str(victim.pid))]
        argv = [self.inject, self.log, role, at, "signal", int(number), 0, "--", self.bin / "writegate", "freeze", *whom,
                "-t", f"{int(LIMIT_S * 1000)}ms", "--drain", "400ms", "--retries", "0", "--", "sleep", "0.02"]
        begun, first, last = time.monotonic(), None, None
        freeze = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  start_new_session=True)
        while freeze.poll() is None and time.monotonic() < (first or begun + BEGINS_WITHIN_S) + LIMIT_S + LATE_S:
            self.helpers.send(self.watched, self.sent)
            if self.are_held():
                last = time.monotonic()
                first = first or last
            time.sleep(0.0005)
        if first:
            self.held += 1
            while self.are_held():
                over = time.monotonic() - first - LIMIT_S
                last = time.monotonic()
                self.helpers.check(over < 5, f"call {at}: still held: {[self.helpers.state(v.pid) for v in self.lab.victims]}")
            self.worst = max(self.worst, last - first - LIMIT_S)
        for kill in (freeze.kill, lambda: os.killpg(freeze.pid, signal.SIGKILL)):
            try:
                kill()
            except ProcessLookupError:
                pass
        freeze.wait()
        self.helpers.all_run(self.lab.victims)

    def are_held(self):
        return any(what == "t" for victim in self.lab.victims for what, _ in self.helpers.state(victim.pid))

    def calls(self):
        """{role: how many system calls} of the freezer and of the tracer, without a fault."""
        self.run(0, 0)
        found = {int(words[1]): words[2:] for words in map(str.split, self.log.read_text().splitlines()) if words[0] == "calls"}
        tracer = max(found, key=lambda role: found[role].count(str(SYS_PTRACE)))
        self.helpers.check(found[tracer].count(str(SYS_PTRACE)) > 5, "no tracer was seen")
        return {"freezer": (0, len(found[0])), "tracer": (tracer, len(found[tracer]))}


def case(who, how):
    def steps(lab, freezes, binaries, helpers):
        runs = Steps(lab, binaries, helpers)
        role, calls = runs.calls()[who]
        many = min(calls, freezes * 2)
        # Evenly over all, each time at other ones.
        shift = os.getpid() % max(1, calls // many)
        with helpers.in_time():
            for number in range(many):
                runs.run(role, 1 + (number * calls // many + shift) % calls, how)
        helpers.check(runs.worst <= LATE_S, f"held {runs.worst * 1000:.0f} ms beyond the limit")
        helpers.check(runs.held, "nobody was ever held")
        helpers.check(helpers.growth(lab), "they do not go on")
        helpers.count_signals(runs.watched, runs.sent)
        return (f"at {many} of {calls} calls, {runs.held} times while it held; at most {max(0, runs.worst) * 1000:.0f} ms after the limit; "
                f"{runs.sent[1]} signals")
    return steps


CASES = {f"step_{who}_{name}": case(who, how) for who in ("tracer", "freezer") for name, how in
         (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP))}

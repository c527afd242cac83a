"""scripts/demo without arguments: the built-in workload, copied live without and with the gate.

Needs no root. Under Yama's default (ptrace_scope 1) a freezer may look only into processes that
descend from it. Every `writegate freeze` of this demo is therefore an ancestor of the workers: a
chain of processes is made first, with the workers as its last link, and each link, the outermost
first, turns itself (exec) into one freeze when its turn comes.
"""
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from lab import gate as lab_gate, procs, stats, table

HERE = Path(__file__).resolve().parent
BOXES, PROCESSES = 4, 8


def unavailable():
    """Why it cannot run here, or None."""
    with contextlib.suppress(OSError):
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
        if scope > 1 and os.geteuid() != 0:
            return (f"kernel.yama.ptrace_scope is {scope}: only root may look into other "
                    "processes; run it as root")
    return None


class Workload:
    """The workload's processes in a tree of their own, bare or under a gate."""

    def __init__(self, program, tree, gate=None, seconds=0):
        self.argv = [str(program), "run", str(tree), str(BOXES), str(PROCESSES), str(seconds)]
        self.env = gate.environment() if gate else dict(os.environ)

    def rate(self):
        """Run for its seconds; deliveries per second."""
        done = subprocess.run(self.argv, env=self.env, capture_output=True, text=True, check=True,
                              timeout=60)
        words = done.stdout.split()
        return int(words[0]) / float(words[3])


class Chain:
    """Freezes that are the workers' ancestors. start(), then freeze() up to `links` times."""

    def __init__(self, gate, workload, work, links):
        self.gate, self.workload, self.work, self.links = gate, workload, work, links
        self.turn, self.ends, self.first = 0, [os.pipe() for _ in range(links)], None

    def start(self):
        sys.stdout.flush()
        sys.stderr.flush()
        self.first = os.fork()
        if self.first == 0:
            try:
                os.setsid()
                self._link(0)
            finally:
                os._exit(70)
        for read, _ in self.ends:
            os.close(read)

    def _link(self, n):
        """In the child: wait for the turn, or be the workers."""
        while n < self.links:
            if os.fork():
                self._freeze_when_told(n)               # never returns
            n += 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # its own summary is not for this demo
        os.execve(self.workload.argv[0], self.workload.argv, self.workload.env)

    def _freeze_when_told(self, n):
        for i, (read, write) in enumerate(self.ends):
            os.close(write)
            if i != n:
                os.close(read)
        if not os.read(self.ends[n][0], 1):             # the demo ended before this turn came
            os._exit(0)
        out = os.open(self.work / f"freeze.{n}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        argv = self.gate.freeze_argv(["cp", "-a", self.work / "tree", self.work / f"copy.{n}"])
        os.execve(argv[0], argv, {**os.environ, **self.gate.settings()})

    def freeze(self):
        """The next link's freeze; its outcome as lab.gate has it."""
        n, self.turn = self.turn, self.turn + 1
        # Links are told apart by their own pipes; the pid of the outermost living one is the
        # child of this process, since it comes back here (subreaper) when its parent has ended.
        pid = self.first if n == 0 else self._outermost()
        begun = time.monotonic()
        os.write(self.ends[n][1], b"x")
        _, status = os.waitpid(pid, 0)
        out = (self.work / f"freeze.{n}").read_text(errors="replace")
        return lab_gate.Outcome(os.waitstatus_to_exitcode(status), out, "",
                                (time.monotonic() - begun) * 1e3, lab_gate.parse(out))

    def _outermost(self):
        me = os.getpid()
        for pid, s in procs.process_table().items():
            if s[0] == me and s[2] != "Z" and s[1] == self.first:
                return pid
        raise RuntimeError("the chain of freezers is gone")

    def stop(self):
        if self.first:
            with contextlib.suppress(RuntimeError):
                procs.kill_family([self._outermost()], {self.first}, grace_s=0.5)


def build(work):
    """The workload's program, compiled into the work folder."""
    program = work / "workload"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, HERE / "workload.c"],
                   check=True, timeout=120)
    return program


def torn(program, copy):
    return subprocess.run([program, "check", copy], capture_output=True, timeout=60).returncode != 0


def fill(program, work):
    """A tree with full boxes, so that a copy takes as long from the first one on."""
    (work / "tree").mkdir()
    Workload(program, work / "tree", seconds=1).rate()


def without_gate(program, work, count, progress):
    bad = 0
    running = procs.Service(Workload(program, work / "tree").argv, grace_s=2)
    with running:
        time.sleep(0.3)
        for _ in range(count):
            time.sleep(0.05)
            subprocess.run(["cp", "-a", work / "tree", work / "copy"], capture_output=True)
            bad += torn(program, work / "copy")
            subprocess.run(["rm", "-rf", work / "copy"], check=True)
            progress.step(f"{bad} torn")
    return bad


def with_gate(program, work, gate, count, progress):
    """(torn, outcomes)"""
    bad, outcomes = 0, []
    chain = Chain(gate, Workload(program, work / "tree", gate), work, count)
    chain.start()
    try:
        time.sleep(0.5)
        for n in range(count):
            time.sleep(0.05)
            outcome = chain.freeze()
            outcomes.append(outcome)
            copy = work / f"copy.{n}"
            if copy.exists():
                bad += torn(program, copy)
                subprocess.run(["rm", "-rf", copy], check=True)
            progress.step(f"{bad} torn")
    finally:
        chain.stop()
    return bad, outcomes


def throughput(program, work, gate, pairs, progress, seconds=2):
    ratios, rates = [], []
    for pair in range(pairs):
        bare, loaded = (Workload(program, work / "tree", g, seconds) for g in (None, gate))
        # Alternating, and turned: a machine that warms up or is busy by turns favours neither.
        if pair % 2:
            second, first = loaded.rate(), bare.rate()
        else:
            first, second = bare.rate(), loaded.rate()
        ratios.append(second / first)
        rates.append(second)
        progress.step(f"{ratios[-1]:.3f}")
    return stats.spread(ratios), stats.spread(rates)


def run(options, work):
    """Print the table; the exit code."""
    program = build(work)
    fill(program, work)
    gate = lab_gate.Gate(work, name="demo", paths=[work / "tree"])
    with table.Progress("copies without the gate", options.copies) as p:
        control = without_gate(program, work, options.copies, p)
    with table.Progress("copies with the gate", options.copies) as p:
        bad, outcomes = with_gate(program, work, gate, options.copies, p)
    with table.Progress("throughput, pairs of runs", options.pairs) as p:
        ratio, rate = throughput(program, work, gate, options.pairs, p)
    drain = stats.summary([o.drain_ms for o in outcomes if o.drain_ms is not None])
    held = stats.summary([o.held_ms for o in outcomes if o.held_ms is not None])
    failed = [o for o in outcomes if not o.consistent]
    print(table.render(
        [["without the gate", options.copies, control, None, None, None, None, None],
         ["with the gate", options.copies, bad, len(failed), drain["p50"], drain["p99"],
          drain["max"], held["p50"]]],
        ["copies of a live tree", "copies", "torn", "refused", "drain p50 ms", "p99", "max",
         "held p50 ms"]))
    print(f"throughput with the library and no freeze, against none: median ratio "
          f"{ratio['median']}, from {ratio['low']} to {ratio['high']} in {ratio['n']} pairs "
          f"({rate['median']:.0f} deliveries/s)")
    for outcome in failed[:3]:
        print(outcome.stderr.strip(), file=sys.stderr)
    print(outcomes[-1].line or "writegate printed no verdict")
    if control < options.copies // 2:
        print(f"only {control} copies without the gate are torn: this demo shows nothing",
              file=sys.stderr)
        return 1
    return 1 if bad or failed else 0

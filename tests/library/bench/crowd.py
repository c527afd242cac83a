"""scripts/bench --crowd N: what a freeze of a thousand gated processes costs, and what its evidence does.

Three kinds of runs in turn, so that the machine's moods meet all alike:

  held      a freeze of 0.5 s with --report: everybody comes to the barrier; scan, drain, thaw, and how long after
            the barrier was down the last of those who waited was awake
  evidence  a freeze around `true` with --report: raised to lowered, less drain and command
  bare      `rehearse`, which gathers no evidence: raised to lowered, less drain

With descriptors each process has so many files open, and locks, writes and unlocks: at the end of a drain all those are
looked at that have locked since its begin. With a storm two gated shells fork meanwhile as fast as they can. The command
runs under `ulimit -Sn 1024`, as cron and systemd start it.

--json FILE: runs with other settings that are there are kept.
"""
import contextlib
import json
import mmap
import os
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lab import volume  # noqa: E402 (the path comes first)

RECORD = struct.Struct("=QQQQ")
EVERY_MS = 250
# So that two cores have time for more than the crowd.
EVERY_MS_OF_ONE = 0.25
HOLD_S = 0.5
OPEN_FILES = 1024
STORM = "while :; do (:); /bin/true; done"


def percentiles(values):
    """p50, p99 and max."""
    values = sorted(values) or [0]
    at = lambda share: values[max(0, -(-len(values) * share // 100) - 1)]          # noqa: E731
    return {"p50": round(at(50), 3), "p99": round(at(99), 3), "max": round(values[-1], 3), "n": len(values)}


class Crowd:
    """So many gated processes, and the gate that they are under."""

    def __init__(self, count, root, binaries, descriptors=0, storm=False):
        self.count, self.binaries = count, binaries
        every_ms = max(EVERY_MS, int(count * EVERY_MS_OF_ONE))
        if descriptors:
            every_ms = max(10, int(count * EVERY_MS_OF_ONE))        # most have moved in a drain
        # Everybody who waited has come to the barrier, and said so, within that.
        self.hold_s, self.said_s = max(HOLD_S, 1.2 * every_ms / 1000), max(1, 3 * every_ms / 1000)
        with contextlib.ExitStack() as stack:
            self.work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crowd-", dir=root / "target")))
            # Of its own: what others change on a shared one has to be looked at too.
            data = stack.enter_context(volume.Volume(self.work)).subvolume("data")
            program = self.work / "crowd"
            subprocess.run(["cc", "-O2", "-o", program, root / "tests/library/bench/crowd.c"], check=True)
            self.env = dict(os.environ, WRITEGATE_DIR=f"{self.work}/gates", WRITEGATE_GATE="crowd",
                            WRITEGATE_PATHS=str(data), WRITEGATE_TEST_LOG_SOCKET="")
            fd = os.memfd_create("crowd")
            stack.callback(os.close, fd)
            os.ftruncate(fd, RECORD.size * count)
            self.map = mmap.mmap(fd, RECORD.size * count)
            os.dup2(fd, 9, inheritable=True)
            stack.callback(os.close, 9)
            env = dict(self.env, LD_PRELOAD=str(binaries / "libwritegate.so"))
            argv = [program, str(count), data, str(every_ms), *([str(descriptors)] if descriptors else [])]
            crowd = subprocess.Popen(argv, env=env, text=True, stdout=subprocess.PIPE, pass_fds=[9])
            stack.callback(self.end, crowd)
            if crowd.stdout.readline() != "ready\n":
                raise SystemExit("the crowd did not come together")
            for _ in range(2 if storm else 0):
                stack.callback(self.end, subprocess.Popen(["sh", "-c", STORM], env=env))
            self.close = stack.pop_all().close

    @staticmethod
    def end(process):
        process.kill()
        process.wait()

    def command(self, *arguments):
        def few_files():
            resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return subprocess.run([self.binaries / "writegate", *arguments], env=self.env, text=True, timeout=120,
                              capture_output=True, preexec_fn=few_files)

    def freeze(self, *command):
        report = self.work / "report.json"
        report.unlink(missing_ok=True)
        done = self.command("freeze", "-g", "crowd", "-t", "20s", "--drain", "10s", "--report", str(report), "--", *command)
        if done.returncode:
            raise SystemExit(f"exit {done.returncode}: {done.stdout}{done.stderr[-2000:]}")
        return json.loads(report.read_text())

    def waits(self, opened):
        """ms from the opening until each of those who waited for it was awake."""
        rows = (RECORD.unpack_from(self.map, RECORD.size * n) for n in range(self.count))
        return [(returned - opened) / 1e6 for _, began, returned, _ in rows if began < opened <= returned]


def ms(record, a, b):
    return (b["monotonic_ns"] - a["monotonic_ns"]) / 1e6


def measure(count, rounds, root, binaries, descriptors, storm):
    crowd = Crowd(count, root, binaries, descriptors, storm)
    figures = {name: [] for name in ("list", "gather", "drain", "look", "tables", "listing", "tail", "thaw", "awake_last", "awake_p50", "waiters",
                                     "with_evidence", "without_evidence")}
    try:
        for _ in range(rounds):
            for command in (["sleep", str(crowd.hold_s)], ["true"]):
                record = crowd.freeze(*command)
                gate, ran = record["gates"][0], record["command"]
                if gate["procs"] < count:
                    raise SystemExit(f"only {gate['procs']} of {count} were seen")
                rest = gate["held_ns"] / 1e6 - gate["drain_ns"] / 1e6 - ms(record, ran["started"], ran["ended"])
                figures["with_evidence"].append(rest)
                figures["list"].append(ms(record, record["locked"], record["listed"]))
                figures["gather"].append(ms(record, record["listed"], gate["closed"]))
                figures["drain"].append(gate["drain_ns"] / 1e6)
                for name, part in (("look", "last_locks_ns"), ("listing", "listing_ns"), ("tail", "tail_ns")):
                    figures[name].append(gate["drain_parts"][part] / 1e6)
                figures["tables"].append(gate["drain_parts"]["tables"])
                figures["thaw"].append(ms(record, ran["ended"], gate["opened"]))
                if command[0] == "sleep":
                    subprocess.run(["sleep", str(crowd.said_s)], check=True)
                    awake = crowd.waits(gate["opened"]["monotonic_ns"])
                    figures["waiters"].append(len(awake))
                    if awake:
                        figures["awake_last"].append(max(awake))
                        figures["awake_p50"].append(statistics.median(awake))
            done = crowd.command("rehearse", "-g", "crowd", "-n", "2", "--every", "50ms", "--json")
            value = json.loads(done.stdout)
            if done.returncode:
                raise SystemExit(f"rehearse: exit {done.returncode}: {done.stdout}{done.stderr[-2000:]}")
            figures["without_evidence"] += [h - d for h, d in zip(value["helds_ms"], value["drains_ms"])]
    finally:
        crowd.close()
    return figures


def main(count, rounds, root, binaries, target, descriptors=0, storm=False):
    figures = measure(count, rounds, root, binaries, descriptors, storm)
    results = {name: percentiles(values) for name, values in figures.items()}
    cost = results["with_evidence"]["p99"] - results["without_evidence"]["p99"]
    what = {"list": "ms, listing all processes and mapping their regions, before anybody is held",
            "gather": "ms, evidence gathered and the gate's rest, before anybody is held",
            "drain": "ms, from raising the barrier to nothing in flight",
            "look": "ms of the drain, the regions held against the kernel's locks at its end",
            "tables": "descriptor tables that were read in the drain",
            "listing": "ms of the drain, looking for processes that were born since",
            "tail": "ms of the drain, since something was last seen in flight",
            "thaw": "ms, from the command's end to the barrier down",
            "awake_last": "ms, from the barrier down to the last waiter's call returned",
            "awake_p50": "ms, the same for the median waiter", "waiters": "who waited",
            "with_evidence": "ms, window less drain and command, with evidence",
            "without_evidence": "ms, window less drain, without (rehearse)"}
    settings = [f"--crowd {count}", *([f"--descriptors {descriptors}"] if descriptors else []), *(["--storm"] if storm else [])]
    print(f"{count} gated processes, {rounds} rounds{f', {descriptors} descriptors each' if descriptors else ''}"
          f"{', a fork storm meanwhile' if storm else ''}; every freeze was CONSISTENT")
    for name, row in results.items():
        print(f"{name:18} p50 {row['p50']:9.2f}  p99 {row['p99']:9.2f}  max {row['max']:9.2f}  n {row['n']:4}  {what[name]}")
    print(f"evidence lengthens the window at p99 by {cost:.2f} ms (at most 5 asked)")
    print(f"the last waiter is awake after {results['awake_last']['max']:.1f} ms at most (100 asked)")
    if target:
        load = [round(x, 1) for x in os.getloadavg()]
        run = {"command": f"scripts/bench {' '.join(settings)} --rounds {rounds} --json {target}", "processes": count,
               "descriptors": descriptors, "storm": storm, "load_average_after": load,
               "evidence_cost_p99_ms": round(cost, 3), "results": results}
        runs = json.loads(target.read_text())["runs"] if target.exists() else []
        key = lambda run: (run["descriptors"], run["storm"], run["processes"])          # noqa: E731
        runs = sorted([other for other in runs if key(other) != key(run)] + [run], key=key)
        target.write_text(json.dumps({"what": what, "runs": runs}, indent=1) + "\n")
    return 0

#!/usr/bin/env python3
"""Real servers under load, several tools that freeze them all the time, and whatever else goes wrong: scripts/chaos.

    scripts/chaos [--minutes 5] [--seed 1] [--sites cyrus,dovecot,postfix] [--tools 3] [--results FILE]

At the end: no CONSISTENT that a checker calls torn, no acknowledged message lost (Dovecot and Postfix by their ledgers; Cyrus by
its files), no barrier beyond its limit or left up, no process left stopped, no freezer, helper or keeper left, no file left in
the gates' directories, and each gate can be frozen again. More than ten minutes are rounds, each with fresh servers and a seed of its own
(SEED000, SEED001, ...): in a store that has grown for an hour a single snapshot is judged for a quarter of one. Needs root and Debian 12. The seed chooses what goes wrong; when each
thing meets what else is up to the machine.
"""
import argparse
import collections
import json
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
import agents                                   # noqa: E402
import sites as the_sites                       # noqa: E402
from cyrus import evaluate as cyrus             # noqa: E402
from dovecot import evaluate as dovecot         # noqa: E402
from lab import gate as lab_gate, procs         # noqa: E402
from postfix import evaluate as postfix         # noqa: E402

SKIPPED = 77
BARRIER_AT, WATCHED_EVERY_S = 32, 0.005
# What stays in a gate's directory.
FILES = {"control", "lock", "stats", "history", "last", "keeper"}
LAST_FREEZES, GONE_WITHIN_S = 8, 20
ROUND_MINUTES = 10


def deadline(site):
    return struct.unpack_from("<Q", (site.gate.directory / site.gate.name / "control").read_bytes(), BARRIER_AT)[0]


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Chaos:
    def __init__(self, sites, options):
        self.sites, self.options = sites, options
        self.until = time.monotonic() + options.minutes * 60
        self.verdicts, self.bad, self.lock = collections.Counter(), [], threading.Lock()
        self.longest_ns = 0

    def wrong(self, text):
        with self.lock:
            self.bad.append(text)
        print(f"FAIL {text}", flush=True)

    def guarded(self, what):
        try:
            what()
        except Exception:                       # a thread that dies silently would look like peace
            self.wrong(traceback.format_exc()[-1500:])

    def tool(self, number):
        rng = random.Random(self.options.seed * 100 + number)
        while time.monotonic() < self.until:
            site = rng.choice(self.sites)
            outcome, wrong = site.freeze(number)
            with self.lock:
                self.verdicts[f"{site.name} {outcome.verdict if outcome.fields else f'exit {outcome.exit}'}"] += 1
            if wrong:
                self.wrong(f"{site.name}: CONSISTENT, and it is not: {wrong[:3]}; {outcome.line}")
            time.sleep(rng.uniform(0.2, 1.2))

    def watch(self):
        """No barrier is ever up for longer than the limit: it is its own deadline."""
        while time.monotonic() < self.until:
            for site in self.sites:
                # The clock first: a word that is raised in between only looks longer.
                before = now_ns()
                left = deadline(site) - before
                self.longest_ns = max(self.longest_ns, left)
                if left > the_sites.LIMIT_S * 10**9 + (now_ns() - before):
                    self.wrong(f"{site.name}: a barrier for {left / 1e9:.3f} s")
                    return
            time.sleep(WATCHED_EVERY_S)

    def trouble(self, troubles):
        rng = random.Random(self.options.seed)
        while time.monotonic() < self.until:
            troubles.one(rng.choice(self.sites))
            troubles.sweep()
            time.sleep(rng.uniform(0.2, 1.0))
        troubles.sweep(all_of_them=True)

    def run(self, troubles):
        threads = [threading.Thread(target=self.guarded, args=(lambda n=n: self.tool(n),)) for n in range(self.options.tools)]
        threads += [threading.Thread(target=self.guarded, args=(self.watch,)),
                    threading.Thread(target=self.guarded, args=(lambda: self.trouble(troubles),))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def afterwards(self):
        time.sleep(the_sites.LIMIT_S)
        for site in self.sites:
            if deadline(site) > now_ns():
                self.wrong(f"{site.name}: its barrier was left up")
            # (Who is killed while it replaces a file leaves the new one, under a hidden name.)
            left = {path.name for path in (site.gate.directory / site.gate.name).iterdir()} - FILES
            if left := {name for name in left if ".new-" not in name}:
                self.wrong(f"{site.name}: left in the gate's directory: {sorted(left)}")
            stopped = [pid for pid in site.members() if state(pid) == "T"]
            if stopped:
                self.wrong(f"{site.name}: left stopped: {stopped}")
            for again in range(LAST_FREEZES):
                outcome, wrong = site.freeze("last")
                if wrong:
                    self.wrong(f"{site.name}: {wrong[:3]}")
                if outcome.consistent:
                    break
            else:
                self.wrong(f"{site.name}: cannot be frozen any more: {outcome.line} {outcome.stderr[-500:]}")
        for site in self.sites:
            if (found := site.rest()):
                self.wrong(f"{site.name}, at rest: {found[:5]}")
        until = time.monotonic() + GONE_WITHIN_S
        while (left := freezers_of({str(site.gate.directory) for site in self.sites})) and time.monotonic() < until:
            time.sleep(0.2)
        if left:
            self.wrong(f"left over: {left}")


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def freezers_of(directories):
    """Processes of the command that are still there, zombies too."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text(errors="replace").startswith("writegate"):
                environ = (entry / "environ").read_bytes()
                if any(directory.encode() in environ for directory in directories):
                    found.append((int(entry.name), state(entry.name)))
        except OSError:
            continue
    return found


def unavailable(names):
    none = argparse.Namespace(only=None)
    reasons = {"cyrus": cyrus.unavailable, "dovecot": dovecot.unavailable, "postfix": postfix.unavailable}
    return next((f"{name}: {why}" for name in names if (why := reasons[name](none))), None)


def in_rounds(options):
    """Runs of this program, one after the other; what they came to, together."""
    total, left, number, seconds = collections.Counter(), options.minutes, 0, 0
    found = {"verdicts": collections.Counter(), "what_went_wrong": collections.Counter(), "wrong": [], "longest_barrier_s": 0, "seeds": []}
    while left > 0:
        with tempfile.NamedTemporaryFile(prefix="writegate-chaos-", suffix=".json") as file:
            seed, begun = options.seed * 1000 + number, time.monotonic()
            child = subprocess.Popen([sys.executable, __file__, "--minutes", str(min(left, ROUND_MINUTES)), "--seed", str(seed),
                                      "--sites", options.sites, "--tools", str(options.tools), "--results", file.name])
            try:
                code = child.wait()
            finally:
                child.terminate()
                child.wait()
            if code == SKIPPED:
                return code
            said = json.loads(Path(file.name).read_text() or "{}")
        if not said:
            said = {"verdicts": {}, "what_went_wrong": {}, "wrong": [f"seed {seed}: exit {code}, and no result"], "longest_barrier_s": 0}
        for key in ("verdicts", "what_went_wrong"):
            found[key].update(said[key])
        found["wrong"] += [f"seed {seed}: {text}" for text in said["wrong"]]
        found["longest_barrier_s"] = max(found["longest_barrier_s"], said["longest_barrier_s"])
        found["seeds"].append(seed)
        total[code == 0] += 1
        left, number, seconds = left - ROUND_MINUTES, number + 1, seconds + time.monotonic() - begun
        if options.results:
            options.results.write_text(json.dumps({"command": " ".join(["scripts/chaos", *sys.argv[1:]]), "minutes": options.minutes - max(left, 0),
                                                   **found}, indent=1, sort_keys=True) + "\n")
    print(f"{number} rounds, {seconds:.0f} s, {sum(found['verdicts'].values())} freezes judged: {dict(sorted(found['verdicts'].items()))}")
    print(f"{total[True]} passed, {total[False]} failed, 0 skipped")
    return 1 if total[False] else 0


def main():
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sites", default="cyrus,dovecot,postfix")
    parser.add_argument("--tools", type=int, default=3, help="that freeze at once")
    parser.add_argument("--results", type=Path, help="write the counts there, as JSON")
    options = parser.parse_args()
    names = options.sites.split(",")
    if unknown := set(names) - set(the_sites.ALL):
        print(f"no such site: {' '.join(sorted(unknown))}", file=sys.stderr)
        return 64
    if why := unavailable(names):
        print(f"skipped: {why}\n0 passed, 0 failed, 1 skipped")
        return SKIPPED
    if options.minutes > ROUND_MINUTES:
        return in_rounds(options)
    begun = time.monotonic()
    with procs.workspace("chaos") as work, the_sites.start(names, work, options.seed) as sites:
        chaos = Chaos(sites, options)
        troubles = agents.Agents(work, random.Random(options.seed))
        troubles.build(lab_gate.binaries()[1])
        chaos.run(troubles)
        chaos.afterwards()
        for name, number in sorted(chaos.verdicts.items()):
            print(f"     {name}: {number}")
        print(f"     what went wrong: {' '.join(f'{name} {n}' for name, n in sorted(troubles.counts.items()))}")
        print(f"     longest barrier seen: {chaos.longest_ns / 1e9:.3f} s of {the_sites.LIMIT_S} s")
        consistent = sum(n for name, n in chaos.verdicts.items() if name.endswith("CONSISTENT"))
        if not consistent:
            chaos.wrong("no freeze was CONSISTENT: nothing was shown")
    if options.results:
        found = {"command": " ".join(["scripts/chaos", *sys.argv[1:]]), "seed": options.seed, "minutes": options.minutes,
                 "verdicts": chaos.verdicts, "what_went_wrong": troubles.counts, "wrong": chaos.bad,
                 "longest_barrier_s": round(chaos.longest_ns / 1e9, 3)}
        options.results.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"seed {options.seed}, {time.monotonic() - begun:.0f} s, {sum(chaos.verdicts.values())} freezes judged")
    print(f"{consistent} passed, {len(chaos.bad)} failed, 0 skipped")
    return 1 if chaos.bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""No false CONSISTENT under faults, no false alarm without.

    run.py [--count 30] [--quiet-count 30] [--seed N] [--only KIND] [--cyrus] [--work DIR] [-v]

First `--count` freezes of the stress workload (tests/stress), each with one random fault (kinds.py): a freeze is a
*false CONSISTENT* if it says so although the fault forbids it, or although the checker, which reads the whole tree
in the window, saw a set cut in two or a change. Then `--quiet-count` freezes without one: anything but CONSISTENT
with full coverage is a *false alarm*, save NOT_DRAINED, which claims nothing and is counted. `--cyrus` does the
latter also under a busy Cyrus (Debian 12, root). The seed that is printed makes the same faults again.
"""
import argparse
import collections
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import kinds
from world import World, built, harm, stress

# Of freezes without a fault, so many per cent may fail to drain on a busy machine.
NOT_DRAINED_PERCENT = 10
# A stopped freezer is caught with the barrier up once in three tries: so many without one are no accident.
ENOUGH_TO_BITE = 15


class Report:
    def __init__(self, verbose):
        self.verbose, self.passed, self.failed = verbose, 0, 0

    def result(self, good, text):
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {text} [{stress.load()}]", flush=True)

    def say(self, text):
        if self.verbose:
            print(f"     {text}", flush=True)


def faults(fresh, rng, count, only, report):
    """So many freezes with one fault each; `fresh` makes a world."""
    chosen = [k for k in kinds.ALL if only in (None, k.__name__)]
    verdicts, bad = collections.defaultdict(collections.Counter), []
    demands = collections.Counter()
    number = 0
    while number < count:
        with fresh() as world:
            spoilt = False
            while number < count and not spoilt:
                # Each kind comes before any comes again: a short run has them all.
                kind = chosen[number % len(chosen)] if number < len(chosen) else rng.choice(chosen)
                case = kind(world, rng)
                world.alive()
                spoilt, o, saw = case.spoilt, case.outcome, harm(case.seen)
                verdicts[kind.__name__][o.verdict if o.fields else f"exit {o.exit}"] += 1
                why = case.forbidden or saw
                demands[kind.__name__] += bool(why)
                claimed = o.exit == 0 or o.verdict == "CONSISTENT"
                report.say(f"{number}: {kind.__name__} ({case.what}): {o.line or o.stderr.strip()[:150]}; "
                           f"{why or 'free'}")
                if claimed and why:
                    bad.append(f"freeze {number}, {kind.__name__} ({case.what}): {why}; exit {o.exit} {o.line} "
                               f"{o.stderr.strip()[-300:]}")
                number += 1
    for kind in chosen:
        name = kind.__name__
        if sum(verdicts[name].values()):
            seen = " ".join(f"{v} {n}" for v, n in sorted(verdicts[name].items()))
            print(f"     {name}: {seen}; in {demands[name]} CONSISTENT would have been false", flush=True)
    silent = [k.__name__ for k in chosen if k not in (kinds.killed_worker, kinds.exhausted_region)
              and sum(verdicts[k.__name__].values()) >= ENOUGH_TO_BITE and not demands[k.__name__]]
    text = f"{count} freezes with one fault each: {len(bad)} false CONSISTENT"
    if silent:
        text += f"; these faults never came to anything, so nothing was shown: {' '.join(silent)}"
    report.result(not bad and not silent, text + "".join(f"\n     {text}" for text in bad[:10]))


def judge_quiet(outcomes, label, report):
    """Freezes without a fault: what was no CONSISTENT, or not with all of its coverage."""
    tally = collections.Counter(o.verdict if o.fields else f"exit {o.exit}" for o in outcomes)
    alarms = [f"exit {o.exit} {o.line} {o.stderr.strip()[-400:]}" for o in outcomes
              if o.verdict not in ("CONSISTENT", "NOT_DRAINED") or o.verdict == "CONSISTENT"
              and (o.exit != 0 or o.fields.get("coverage") != "full")]
    stuck = tally["NOT_DRAINED"]
    if stuck * 100 > NOT_DRAINED_PERCENT * len(outcomes):
        alarms.append(f"{stuck} of {len(outcomes)} did not drain: "
                      + next(o.stderr.strip()[-400:] for o in outcomes if o.verdict == "NOT_DRAINED"))
    seen = " ".join(f"{v} {n}" for v, n in sorted(tally.items()))
    report.result(not alarms, f"{len(outcomes)} freezes without a fault, {label}: {seen}; {len(alarms)} false alarms"
                  + "".join(f"\n     {text}" for text in alarms[:10]))


def quiet(world, rng, count, report):
    outcomes, bad = [], []
    for _ in range(count):
        outcome, seen = world.run_freeze(world.checker(rng.choice([500, 4000, 20000])), limit="30s", drain="20s")
        world.alive()
        outcomes.append(outcome)
        if outcome.verdict == "CONSISTENT" and (saw := harm(seen)):
            bad.append(f"{outcome.line}: {saw}")
        time.sleep(rng.uniform(0, 0.03))
    judge_quiet(outcomes, "the stress workload", report)
    if bad:
        report.result(False, f"{len(bad)} of them said CONSISTENT and were not: {bad[0]}")


def cyrus(count, seed, report):
    """The same under a busy Cyrus."""
    from cyrus import rig, server
    from lab import volume
    if (why := server.unavailable() or volume.unavailable()):
        print(f"skipped: Cyrus: {why}", flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="writegate-faults-cyrus-") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        with rig.Rig(folder, gated=True, seed=seed) as r:
            outcomes = []
            for number in range(count):
                name = f"s{number}"
                outcomes.append(r.gate.freeze(r.snapshot_command(name), limit="8s", drain="4s"))
                r.volume.delete(name)
                time.sleep(0.1)
                if number % 50 == 49:
                    report.say(f"{number + 1} freezes")
            judge_quiet(outcomes, "a busy Cyrus", report)


def main():
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--count", type=int, default=30, help="freezes with a fault")
    a.add_argument("--quiet-count", type=int, default=30, help="freezes without")
    a.add_argument("--seed", type=int, default=None, help="default: another one each time")
    a.add_argument("--only", choices=[k.__name__ for k in kinds.ALL])
    a.add_argument("--cyrus", action="store_true", help="also under a busy Cyrus")
    a.add_argument("--work", default="/var/tmp", help="where the protected tree lies")
    a.add_argument("-v", action="store_true")
    options = a.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    report, rng = Report(options.v), random.Random(seed)
    with built(options.work) as binaries:
        try:
            if options.count:
                faults(lambda: World(binaries, options.work), rng, options.count, options.only, report)
            if options.quiet_count:
                with World(binaries, options.work, stress.EVERYTHING) as world:
                    world.page.set_pause_us(300)
                    quiet(world, rng, options.quiet_count, report)
        except stress.Failed as wrong:
            report.result(False, str(wrong))
        if options.cyrus and options.quiet_count:
            cyrus(options.quiet_count, seed, report)
    print(f"{report.passed} passed, {report.failed} failed, 0 skipped")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())

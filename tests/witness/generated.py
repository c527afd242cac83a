"""Programs that nobody thought of: all up to a length out of a small alphabet, a freeze at each step, and the kernel's
view as the judge. Ends with a line "N passed, N failed"."""
import argparse
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import recorder, tracefs, verdict, volumes

HERE = Path(__file__).resolve().parent
LOCKS = {"F": "flock exclusive", "S": "flock shared, of a writer", "P": "fcntl write lock", "O": "OFD write lock"}
CHANGES = {"w": "write a", "x": "write b", "r": "rename and back", "c": "create", "k": "create and unlink"}
OTHERS = {"U": "unlock", "d": "dup", "q": "close the lock's descriptor, go on with the duplicate",
          "f": "fork, the child goes on", "g": "fork, the parent goes on", "h": "a child does the next one and ends",
          "e": "exec", "p": "pass the descriptor to a child that goes on"}
ALPHABET = "".join({**LOCKS, **CHANGES, **OTHERS})
DRAIN = "60ms"


def sensible(ops):
    """A lock, and two changes after it: in others there is no set that a freeze could cut."""
    first = next((n for n, op in enumerate(ops) if op in LOCKS), None)
    return first is not None and sum(op in CHANGES for op in ops[first:]) >= 2 and ops[-1] in CHANGES \
        and not any(a == "q" and "d" not in ops[:n] for n, a in enumerate(ops)) \
        and not any(a == "h" and b in "fpgeh" for a, b in zip(ops, ops[1:]))


def programs(length):
    return ("".join(ops) for ops in itertools.product(ALPHABET, repeat=length) if sensible(ops))


# One that must be held and one that need not, whatever else a short run has time for.
ANCHORS = [("Fwx", 2), ("FwUPx", 3)]


def trials(longest, seed):
    """(ops, pause) without end of the longest: all shorter ones first, those of the longest in a random order."""
    for length in range(3, longest):
        for ops in programs(length):
            yield from ((ops, at) for at in range(2, length))
    rng = random.Random(seed)
    every = list(programs(longest))
    rng.shuffle(every)
    for ops in every:
        yield from ((ops, at) for at in range(2, longest))


def arguments(parser):
    parser.add_argument("--length", type=int, default=4, help="of the longest programs (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1200, help="time for the freezes (default %(default)s)")
    parser.add_argument("--sample", type=int, metavar="N", help="every Nth only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--liar", action="store_true", help="a `writegate` that holds nobody and says CONSISTENT")
    parser.add_argument("--json", type=Path)


def run(options):
    build = Path(os.environ.get("WRITEGATE_BIN_DIR") or HERE.parents[1] / "target/release").resolve()
    base = os.environ.get("WRITEGATE_LAB_DIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="writegate-generated-", dir=base) as work, volumes.volume(work, "1G") as place:
        os.chmod(work, 0o755)
        command = build / "writegate"
        if options.liar:
            command = Path(work) / "liar"
            command.write_text(f"#!/bin/sh\nexec {sys.executable} -S {HERE / 'liar.py'} \"$@\"\n")
            command.chmod(0o755)
        folder, out = Path(work) / "record", Path(work) / "said"
        os.environ["PYTHONPATH"] = str(HERE.parent)
        code = recorder.record(folder, [sys.executable, "-m", "witness.generated", str(place), str(out),
                                        str(options.length), str(options.seconds), str(options.sample or 1), str(options.seed)],
                               [place], command, build / "libwritegate.so", buffer_kb=65536)
        if code:
            print(f"the programs' run ended with {code}\n0 passed, 1 failed")
            return 1
        said, found = json.loads(out.read_text()), verdict.judge(folder)
    print(verdict.render(found))
    done = sum(one["done"] for one in said)
    consistent = [one for one in said if one["exit"] == 0]
    cut = [one for one in said if one["freeze"] in set(found["cut_freezes"])]
    for one in cut[:10]:
        print(f"  {'a lie' if not options.liar else 'found'}: {one['ops']} after {one['pause']} ops")
    print(f"alphabet {ALPHABET}, length up to {options.length}: {len({o['ops'] for o in said})} programs, {len(said)} freezes, "
          f"{done} programs went on to their end, {len(consistent)} CONSISTENT, {len(cut)} of these a cut set")
    wrong = found["exit"] != 0 if not options.liar else bool(found["faults"]) or not cut
    # A run in which nothing is ever drained, or nothing ever held, proves nothing.
    wrong = wrong or done * 10 < len(said) * 9 or not said or (not options.liar and not 0 < len(consistent) < len(said))
    if options.json:
        options.json.write_text(json.dumps({"command": ["scripts/witness", *sys.argv[1:]], "freezes": len(said), "consistent": len(consistent),
                                            "programs": len({o["ops"] for o in said}), "alphabet": ALPHABET,
                                            "length": options.length, "judged": found}, indent=1) + "\n")
    print(f"{len(said) - len(cut) if not options.liar else len(said)} passed, {int(wrong)} failed")
    return 1 if wrong else 0


def one(program, place, number, ops, pause, env):
    """One program, paused after so many ops, a freeze, and the rest of it."""
    folder = Path(place) / str(number)
    folder.mkdir()
    process = subprocess.Popen([program, ops, str(pause)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, env=env)
    try:
        ready = process.stdout.readline() == b"READY\n"
        freeze = subprocess.run([Path(os.environ["WRITEGATE_BIN_DIR"]) / "writegate", "freeze", "-g", "generated", "-t", "30s",
                                 "--drain", DRAIN, "--retries", "0", "--", "true"], capture_output=True, timeout=60,
                                env={k: v for k, v in env.items() if k != "LD_PRELOAD"})
        with contextlib.suppress(BrokenPipeError):      # it ended early: not done
            process.stdin.write(b"g")
            process.stdin.flush()
        done = process.stdout.readline() == b"DONE\n"
        return {"ops": ops, "pause": pause, "exit": freeze.returncode, "freeze": number, "done": ready and done}
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main(place, out, length, seconds, sample, seed):
    binaries, said = Path(os.environ["WRITEGATE_BIN_DIR"]), []
    with tempfile.TemporaryDirectory(prefix="writegate-small-") as work:
        os.chmod(work, 0o755)
        program = Path(work) / "steps"
        subprocess.run(["cc", "-O1", "-o", program, HERE / "steps.c"], check=True)
        env = dict(os.environ, LD_PRELOAD=str(binaries / "libwritegate.so"), WRITEGATE_GATE="generated", WRITEGATE_DIR=work,
                   WRITEGATE_PATHS=place)
        subprocess.run([binaries / "writegate", "exec", "-g", "generated", "--", "true"], capture_output=True,
                       env={k: v for k, v in env.items() if k != "LD_PRELOAD"})
        beside = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=env)
        try:
            end = time.monotonic() + float(seconds)
            for ops, pause in itertools.chain(
                    ANCHORS, itertools.islice(trials(int(length), int(seed)), 0, None, int(sample))):
                if time.monotonic() > end:
                    break
                said.append(one(str(program), place, len(said), ops, pause, env))
        finally:
            beside.stdin.close()
            beside.wait(60)
    Path(out).write_text(json.dumps(said), encoding="utf-8")


def evaluate(argv):
    """`scripts/evaluate generated`."""
    parser = argparse.ArgumentParser(prog="scripts/evaluate generated", description=__doc__)
    arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except tracefs.Unavailable as why:
        print(f"skipped: {why}")
        return 77


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`scripts/evaluate all`: every server in every way, one line of JSON for each cell that is finished.

A cell that is there already, of the same build, as many snapshots and the same seed, is not run again: a run that was cut
short goes on where it ended. A cell that failed is named at the end, keeps no line, and is tried again by the next run.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import evaluation, gate, stats, ways

from . import cells

RESULTS = gate.CHECKOUT / "results" / "evaluation"
EVALUATE = gate.CHECKOUT / "scripts" / "evaluate"
QUICK = 4
# Of a cell, before the first has been measured: start, warm-up and end, and each snapshot.
GUESS_S, GUESS_EACH_S = 15, 1.2
BUILD = ("libwritegate.so", "writegate")


def key(record):
    """What makes two lines the same cell."""
    return (record["server"], record["way"], record["snapshots"], record["seed"], *(record["build"].get(name) for name in BUILD))


def lines(file):
    """All finished cells of a results file. A line that was cut by a crash is no cell."""
    found = []
    for line in (file.read_text().splitlines() if file.exists() else ()):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def keep(file, record):
    """One write: a run that is killed leaves whole lines, or one cut line at the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")
    with open(file, "a", encoding="utf-8") as out:
        out.write(("" if whole else "\n") + json.dumps(record) + "\n")


def plan(servers, names, count, seed, build):
    """Way by way within a server, so that what is compared is measured close together."""
    return [{"server": server, "way": way, "snapshots": max(1, count // 3) if ways.WAYS[way].slow else count, "seed": seed,
             "build": build} for server in servers for way in names if ways.WAYS[way].servers is None or server in ways.WAYS[way].servers]


def left(todo, done, count):
    """Seconds that the cells ahead will take: as those of the same way did, else as the mean."""
    spent = [one["seconds"] for one in done]
    mean = sum(spent) / len(spent) if spent else GUESS_S + GUESS_EACH_S * count
    total = 0.0
    for cell in todo:
        alike = [one["seconds"] for one in done if one["way"] == cell["way"]]
        total += sum(alike) / len(alike) if alike else mean
    return total


def measure(cell):
    """(the cell's record, None); or (None, why there is none): it begins with "skipped" where it cannot run here."""
    with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
        file, patience = Path(folder) / "cell.json", 180 + 20 * cell["snapshots"]
        argv = [sys.executable, EVALUATE, "cell", cell["server"], cell["way"], "--snapshots", str(cell["snapshots"]),
                "--seed", str(cell["seed"]), "--json", file]
        begun = time.monotonic()
        run = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        try:
            said, _ = run.communicate(timeout=patience)
        except BaseException as why:
            # It ends its server and thaws its volume itself.
            run.terminate()
            said = run.communicate()[0]
            if not isinstance(why, subprocess.TimeoutExpired):
                raise
            said += f"not at its end after {patience} s"
        if run.returncode or not file.exists():
            if run.returncode == evaluation.SKIPPED:
                return None, said.strip().splitlines()[-1]
            return None, (said.strip() or f"exit {run.returncode}")[-600:]
        return {**cell, "seconds": round(time.monotonic() - begun, 1), **json.loads(file.read_text())}, None


def shown(record):
    r = record["result"]
    drain = f", drain p50 {stats.percentile(r['drains_ms'], 50):.0f} ms" if r["drains_ms"] else ""
    return f"{r['torn']} of {r['taken']} torn{drain}, clients p99 {r['client_ms_in_window']['p99']} ms"


def main(argv):
    parser = argparse.ArgumentParser(prog="scripts/evaluate all", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshots", type=int, default=30, metavar="N", help="of each cell (default %(default)s); a third where each takes seconds")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} a cell: to see that all of it runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--servers", type=lambda s: s.split(","), default=list(cells.USUAL), metavar="SERVER,...",
                        help="of " + ", ".join(cells.SERVERS) + " (default: " + ",".join(cells.USUAL) + ")")
    parser.add_argument("--ways", type=lambda s: s.split(","), default=list(ways.WAYS), metavar="WAY,...",
                        help="of " + ", ".join(ways.WAYS) + " (default: all)")
    parser.add_argument("--results", type=Path, default=RESULTS / "cells.jsonl", metavar="FILE")
    options = parser.parse_args(argv)
    for asked, known in ((options.servers, cells.SERVERS), (options.ways, ways.WAYS)):
        if unknown := [name for name in asked if name not in known]:
            print(f"unknown: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
            return 64
    if os.geteuid():
        print("skipped: it needs root (volumes, the servers' own users, freezers)")
        return evaluation.SKIPPED
    try:
        gate.binaries()
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    count = QUICK if options.quick else options.snapshots
    every = plan(options.servers, options.ways, count, options.seed, evaluation.subject())
    done = {key(record): record for record in lines(options.results)}
    todo = [cell for cell in every if key(cell) not in done]
    print(f"{len(every)} cells, {len(every) - len(todo)} are there already", flush=True)
    failed = []
    for n, cell in enumerate(todo):
        minutes = left(todo[n:], list(done.values()), count) / 60
        print(f"[{n + 1}/{len(todo)}, some {minutes:.0f} min left] {cell['server']}, {cell['way']}: ", end="", flush=True)
        record, why = measure(cell)
        if record is None and why.startswith("skipped"):
            print(why, flush=True)
        elif record:
            keep(options.results, record)
            done[key(cell)] = record
            print(shown(record), flush=True)
        else:
            failed.append(f"{cell['server']}, {cell['way']}: {why}")
            print(f"no result: {why.splitlines()[-1]}", flush=True)
    for said in failed:
        print(f"FAILED: {said}")
    print("every cell is there" if not failed else f"{len(failed)} cells are missing; the same command tries them again")
    return 1 if failed else 0

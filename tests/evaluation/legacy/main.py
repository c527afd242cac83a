"""`scripts/evaluate legacy`: old and new systems, each with its own packages of each server; one line of JSON for each cell that
is finished, and the table of docs/admin/legacy.md made from the lines (--table alone makes the table, as any user).

A cell that is there already, of the same build, as many snapshots and the same seed, is not run again: a run that was cut
short goes on where it ended. A cell that could not be run keeps no line, and is tried again by the next run.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import built
import machine as machines

from evaluation import every
from lab import evaluation, gate, procs, stats

from . import cell, mail, musl, page

RESULTS = gate.CHECKOUT / "results" / "legacy.jsonl"
SYSTEMS = (*machines.RELEASES, machines.DEVELOPMENT, musl.NAME)
BUILD = ("libwritegate.so", "writegate")


def build(debs, work):
    """What the packages bring, by checksum."""
    deb = next(path for path in debs if path.name.startswith("writegate_"))
    tree = Path(work) / "unpacked"
    subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
    files = [next(path for folder in ("usr/lib", "usr/bin") for path in (tree / folder).rglob(name)) for name in BUILD]
    return files, {"checkout": evaluation.subject()["checkout"],
                   **{file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}}


def key(record):
    return (record["system"], record["server"], record["snapshots"], record["seed"], *(record["build"][name] for name in BUILD))


def plan(systems, servers, count, seed, built_from):
    return [{"system": system, "server": server, "snapshots": count, "seed": seed, "build": built_from} for system in systems
            for server in ((musl.PROGRAMS,) if system == musl.NAME else servers)]


def run(one, debs, files, folder, step=lambda said: None):
    """The whole record of a cell. Raises what it could not do."""
    if one["system"] == musl.NAME:
        return {**one, **musl.measure(one["snapshots"], files, folder)}
    return {**one, "libc_needs": musl.needs(files[0]),
            **cell.measure(one["system"], one["server"], one["snapshots"], one["seed"], debs, folder, step)}


def wrong(record):
    return musl.wrong(record) if record["system"] == musl.NAME else cell.wrong(record)


def shown(record):
    if record["system"] == musl.NAME:
        return f"{record['torn']} of {record['taken']} torn gated, {record['ungated_torn']} of {record['snapshots']} without"
    g, u = record["gated"], record["ungated"]
    if not g:
        return "not set up"
    return (f"{g['torn']} of {g['taken']} torn gated, {u['torn']} of {u['taken']} without; drain p50 "
            f"{stats.percentile(g['drains_ms'], 50)} ms, p99 {stats.percentile(g['drains_ms'], 99)} ms")


def options(argv):
    parser = argparse.ArgumentParser(prog="scripts/evaluate legacy", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    known = {"systems": SYSTEMS, "servers": tuple(mail.KINDS)}
    parser.add_argument("--snapshots", type=int, default=30, metavar="N", help="gated, and as many ungated (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    for name, all_of in known.items():
        parser.add_argument(f"--{name}", type=lambda s: s.split(","), default=list(all_of), metavar="NAME,...",
                            help="of " + ", ".join(all_of) + " (default: all)")
    parser.add_argument("--packages", type=Path, metavar="DIR", help="take the .deb files there instead of making them")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--table", action="store_true", help="run nothing: make the table again")
    asked = parser.parse_args(argv)
    for name, all_of in known.items():
        if unknown := [one for one in getattr(asked, name) if one not in all_of]:
            print(f"unknown: {', '.join(unknown)}; there are: {', '.join(all_of)}", file=sys.stderr)
            sys.exit(64)
    return asked


def main(argv):
    asked = options(argv)
    if asked.table:
        page.write(every.lines(asked.results))
        return 0
    if os.geteuid():
        print("skipped: it needs root (systems of their own, volumes, freezers)")
        return evaluation.SKIPPED
    try:
        debs = built.packages(asked.packages)
    except machines.Unavailable as why:
        print(f"skipped: {why}")
        return evaluation.SKIPPED
    with tempfile.TemporaryDirectory(prefix="writegate-legacy-") as unpacked:
        files, of = build(debs, unpacked)
        failed = every_cell(plan(asked.systems, asked.servers, asked.snapshots, asked.seed, of), debs, files, asked.results)
    if asked.results == RESULTS:
        page.write(every.lines(asked.results))
    for said in failed:
        print(f"FAILED: {said}")
    print("every cell is as it must be" if not failed else f"{len(failed)} things are not as they must be")
    return 1 if failed else 0


def every_cell(cells, debs, files, results):
    done = {key(record): record for record in every.lines(results)}
    failed = [f"{r['system']}, {r['server']}: {said}" for c in cells if (r := done.get(key(c))) for said in wrong(r)]
    todo = [one for one in cells if key(one) not in done]
    print(f"{len(cells)} cells, {len(cells) - len(todo)} are there already", flush=True)
    for n, one in enumerate(todo):
        print(f"[{n + 1}/{len(todo)}] {one['system']}, {one['server']}: ", end="", flush=True)
        begun = time.monotonic()
        try:
            with procs.workspace(f"legacy-{one['system']}-{one['server']}") as folder:
                record = run(one, debs, files, folder)
        except machines.Unavailable as why:
            print(f"skipped: {why}", flush=True)
            continue
        except Exception as error:                       # noqa: BLE001: one must not hide the others
            failed.append(f"{one['system']}, {one['server']}: {type(error).__name__}: {error}")
            print(f"no result: {failed[-1].splitlines()[0][:300]}", flush=True)
            continue
        every.keep(results, record)
        failed += [f"{one['system']}, {one['server']}: {said}" for said in wrong(record)]
        print(f"{shown(record)} ({time.monotonic() - begun:.0f} s)", flush=True)
    return failed

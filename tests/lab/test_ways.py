"""The ways to coordinate a snapshot, and `scripts/evaluate all` with a toy for a server."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from lab import gate, load, stats, volume, ways

sys.path.insert(0, str(gate.CHECKOUT / "tests" / "servers"))
from evaluation import every, pictures, tables  # noqa: E402 (the path comes first)

EVALUATE = gate.CHECKOUT / "scripts" / "evaluate"
# One of each kind: a context of ours, one with a volume of its own, the command. All eight: `--servers toy --quick`.
WAYS = ("sigstop", "fsfreeze", "gate")


def record(server="toy", way="gate", snapshots=4, torn=0, library="a", seconds=8.0):
    feels = {"n": 3, "p50": 2.0, "p99": 30.0, "max": 40.0}
    return {"server": server, "way": way, "snapshots": snapshots, "seed": 1, "seconds": seconds,
            "build": {"checkout": "c", "libwritegate.so": library, "writegate": "b"},
            "environment": {"cores": 2, "cpu": "x", "kernel": "6", "system": "Debian", "load_average_1min": 0.1, "packages": {}},
            "result": {"snapshots": snapshots, "taken": snapshots, "torn": torn, "verdicts": {}, "drains_ms": [3.0, 9.0],
                       "held_ms": [30.0, 90.0], "client_ms_in_window": feels, "client_ms_outside": feels, "clients_failed": 0,
                       "operations_per_second": 10.0, "problems": []}}


class Figures(unittest.TestCase):
    def test_a_share_has_an_interval_also_where_none_was_seen(self):
        low, high = stats.wilson(0, 30)
        self.assertEqual((low, round(high, 3)), (0.0, 0.114))
        self.assertEqual([round(end, 3) for end in stats.wilson(15, 30)], [0.332, 0.668])
        self.assertEqual(stats.wilson(0, 0), (0.0, 1.0))

    def test_a_server_that_is_away_is_waited_for_from_the_first_try(self):
        tries = [("STEP", 0, 1, None), ("STEP", 2, 3, "closed"), ("CONNECT", 4, 5, "refused"), ("CONNECT", 6, 7, None),
                 ("STEP", 7, 9, None), ("STEP", 9, 10, "closed")]
        found = load.wishes([{"client": 1, "op": op, "start": a, "end": b, "error": e} for op, a, b, e in tries])
        self.assertEqual([(r["start"], r["end"]) for r in found], [(0, 1), (2, 9)])

    def test_a_finished_cell_is_not_run_again_and_a_cut_line_is_none(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "cells.jsonl"
            every.keep(file, record(way="none"))
            with open(file, "a") as out:
                out.write('{"server": "cut')
            every.keep(file, record())
            self.assertEqual([r["way"] for r in every.lines(file)], ["none", "gate"])
        known = every.key(record())
        self.assertEqual(known, every.key(record(torn=3)))
        for other in (record(snapshots=5), record(library="z"), record(way="none"), record(server="cyrus")):
            self.assertNotEqual(known, every.key(other))

    def test_the_time_left_is_that_of_the_same_way(self):
        todo = every.plan(["toy"], ["gate", "stop"], 4, 1, {})
        self.assertEqual(every.left(todo, [record(seconds=8), record(way="stop", seconds=30)], 4), 38)
        self.assertEqual(every.left(todo, [record(seconds=8)], 4), 16)

    def test_the_page_shows_the_last_build_and_its_largest_cell(self):
        those = [record(library="old"), record(snapshots=30, torn=3), record(snapshots=4)]
        self.assertEqual([r["snapshots"] for r in tables.latest(those)], [30])
        self.assertIn("| writegate | 30 | 30 | 3 | 10 % | 3 % to 26 % |", tables.page(those))

    def test_the_toy_is_not_published_beside_a_server(self):
        self.assertEqual([r["server"] for r in tables.latest([record(), record("exim")])], ["exim"])
        self.assertEqual([r["server"] for r in tables.latest([record()])], ["toy"])

    def test_the_pictures_are_drawn(self):
        python = pictures.interpreter()
        if not python:
            self.skipTest("no Python here has matplotlib")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "cells.jsonl"
            for server in ("cyrus", "dovecot", "exim"):
                for way in ("none", "gate"):
                    every.keep(file, record(server, way))
            done = subprocess.run([python, EVALUATE, "pictures", "--results", file], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            for name in ("torn", "drains", "clients"):
                self.assertIn("Cyrus", (Path(folder) / f"{name}.svg").read_text())


class Machinery(unittest.TestCase):
    def test_a_way_is_run_once_and_undone(self):
        if why := volume.unavailable():
            self.skipTest(why)
        here = [way for way in WAYS if not ways.WAYS[way].unavailable()]
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "cells.jsonl"
            argv = [EVALUATE, "all", "--servers", "toy", "--ways", ",".join(here), "--snapshots", "2", "--results", results]
            done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "WRITEGATE_LAB_DIR": folder})
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            found = {r["way"]: r["result"] for r in map(json.loads, results.read_text().splitlines())}
            self.assertEqual(list(found), here)
            for way, r in found.items():
                self.assertEqual((r["snapshots"], r["problems"]), (2, []), way)
            self.assertEqual(found["gate"]["torn"], 0)
            self.assertNotIn(folder, Path("/proc/mounts").read_text())
            # What is there is not run again.
            before = results.read_bytes()
            again = subprocess.run(argv, capture_output=True, text=True)
            self.assertIn(f"{len(here)} are there already", again.stdout)
            self.assertEqual((again.returncode, results.read_bytes()), (0, before))
            subprocess.run([EVALUATE, "pictures", "--tables-only", "--results", results], check=True)
            self.assertIn("| writegate |", (Path(folder) / "tables.md").read_text())

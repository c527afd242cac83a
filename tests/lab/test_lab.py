"""The laboratory's own tests: python3 -m unittest discover -s tests/lab -t tests"""
import io
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from lab import beside, control, gate, load, procs, stats, table, volume


class Ticks(load.Client):
    def step(self):
        time.sleep(0.005)
        if self.random.random() < 0.2:
            raise ValueError("on purpose")
        self.notes = {"n": self.number}
        return "TICK"


class Lab(unittest.TestCase):
    def test_percentile_is_nearest_rank(self):
        self.assertEqual(stats.percentile(list(range(1, 101)), 50), 50)
        self.assertEqual(stats.percentile(list(range(1, 101)), 99), 99)
        self.assertEqual(stats.percentile([7], 99), 7)
        self.assertIsNone(stats.percentile([], 50))
        self.assertEqual(stats.spread([1, 3, 2, 4])["median"], 2.5)

    def test_a_control_goes_on_until_the_harm_was_seen(self):
        taken = []
        took = lambda gated, harm_at: len([taken.append(n) for n in control.numbers(4, gated, lambda: harm_at in taken)])  # noqa: E731
        for gated, harm_at, count in ((True, None, 4), (False, 0, 4), (False, 3, 4), (False, 17, 18), (False, None, 40)):
            taken.clear()
            self.assertEqual(took(gated, harm_at), count, (gated, harm_at))

    def test_verdict_line_is_parsed(self):
        out = ("Create a snapshot\nwritegate: gate=mail verdict=CONSISTENT coverage=full watched=full against=0 gen=812 "
               "drain=3.1ms held=1.2s procs=37 waiters=12 admitted=0 escaped=0\n")
        o = gate.Outcome(0, "", out, 0.0, gate.parse(out))
        self.assertTrue(o.consistent)
        self.assertIn("verdict=CONSISTENT", o.line)
        self.assertEqual((o.drain_ms, o.held_ms, o.number("procs")), (3.1, 1200.0, 37))
        self.assertEqual(gate.parse("nothing\n"), {})

    def test_an_older_build_beside_this_one(self):
        def rounds(*pairs, **new):
            run = {"freezes": 2, "verdicts": {"CONSISTENT": 2}, "torn": 0, "load_average_before": 0.1}
            return [{"seed": 1, "old": {**run, "drains_ms": [a, a]}, beside.NEW: {**run, "drains_ms": [b, b], **new}}
                    for a, b in pairs]

        def said(those):
            return beside.judge("s", those, beside.compare(those, "old"))
        alike = beside.compare(rounds((100, 90), (50, 55), (70, 70)), "old")
        self.assertEqual((alike["ratio"]["median"], alike["ratio"]["low"], alike["ratio"]["high"]), (1.0, 0.9, 1.1))
        self.assertEqual(alike["old"]["drain_ms"], {"n": 6, "p50": 70, "p99": 100, "max": 100})
        self.assertEqual(said(rounds((100, 90), (50, 55), (70, 70))), [])
        self.assertEqual(said(rounds((100, 130), (50, 49))), [], "not in every round")
        self.assertIn("longer in every round", said(rounds((100, 130), (50, 51)))[0])
        self.assertIn("torn", said(rounds((1, 1), torn=1))[0])
        self.assertIn("NOT_DRAINED", said(rounds((1, 1), verdicts={"CONSISTENT": 1, "NOT_DRAINED": 1}))[0])
        self.assertIn("0 of 1 rounds", said(rounds((1, 1), drains_ms=[]))[0])

    def test_a_family_is_stopped_with_its_orphans(self):
        with procs.workspace("lab") as work:
            s = procs.Service(["sh", "-c", "(setsid sleep 99 &); sleep 99 & sleep 99; true"],
                              log=work / "log", grace_s=0.2).start()
            end = time.monotonic() + 5
            while len(known := s.members()) < 4 and time.monotonic() < end:
                time.sleep(0.02)
            s.stop()
            self.assertEqual(len(known), 4)
            self.assertEqual([p for p in known if (t := procs.stat_of(p)) and t[2] != "Z"], [])

    def test_load_logs_every_operation_and_pauses(self):
        with tempfile.TemporaryDirectory() as folder:
            running = load.Load([Ticks(i, seed=i) for i in range(3)], Path(folder) / "ops").start()
            time.sleep(0.3)
            running.pause()
            before = len(running.records())
            time.sleep(0.2)
            self.assertEqual(before, len(running.records()))
            running.resume()
            time.sleep(0.3)
            running.stop()
            self.assertGreater(len(running.records()), before)
            self.assertTrue(any("on purpose" in r["error"] for r in running.errors()))
            self.assertEqual({r["client"] for r in running.records()}, {0, 1, 2})

    def test_a_load_that_has_died_can_be_paused_and_stopped(self):
        with tempfile.TemporaryDirectory() as folder:
            running = load.Load([Ticks(i, seed=i) for i in range(3)], Path(folder) / "ops").start()
            running.pause()                             # they sleep, and die in their sleep
            running._process.kill()
            running._process.join()
            begun = time.monotonic()
            running.resume()
            self.assertFalse(running.pause())
            running.stop()
            self.assertLess(time.monotonic() - begun, 2)

    def test_a_pause_right_after_a_pause_is_waited_for(self):
        with tempfile.TemporaryDirectory() as folder:
            with load.Load([Ticks(i, seed=i) for i in range(3)], Path(folder) / "ops") as running:
                for _ in range(20):
                    self.assertTrue(running.pause())
                    before = len(running.records())
                    time.sleep(0.02)
                    self.assertEqual(before, len(running.records()))
                    running.resume()

    def test_latencies_split_by_windows(self):
        records = [{"op": "A", "start": 1.0, "end": 1.1, "error": None},
                   {"op": "A", "start": 2.0, "end": 2.5, "error": None},
                   {"op": "A", "start": 2.0, "end": 9.0, "error": "no"}]
        self.assertEqual([round(v) for v in load.latencies_ms(records, [(2.2, 2.3)])], [500])
        self.assertEqual([round(v) for v in load.latencies_ms(records, [(2.2, 2.3)], True)], [100])

    def test_table_and_progress_off_a_terminal(self):
        text = table.render([["torn", 3, 0.25]], ["what", "n", "ms"])
        self.assertEqual(text.splitlines()[0].split(), ["what", "n", "ms"])
        out = io.StringIO()
        with table.Progress("x", 2, out) as p:
            p.step()
            p.step("done")
        self.assertEqual(out.getvalue(), "x: 2/2 done\n")

    def test_volume_snapshots_and_unmounts(self):
        if (why := volume.unavailable()):
            self.skipTest(why)
        with procs.workspace("lab") as work:
            with volume.Volume(work, size="300M") as vol:
                a, b = vol.subvolume("a"), vol.subvolume("b")
                (a / "f").write_text("1")
                vol.snapshot([a, b], "s", pause_s=0.01)
                (a / "f").write_text("2")
                self.assertEqual((vol.taken(a, "s") / "f").read_text(), "1")
                self.assertTrue(vol.taken(b, "s").is_dir())
                vol.delete("s")
                self.assertFalse(vol.taken(a, "s").exists())
            self.assertFalse(os.path.ismount(work / "volume"))
            self.assertNotIn(str(work), subprocess.run(["losetup", "-a"], capture_output=True,
                                                       text=True).stdout)


if __name__ == "__main__":
    unittest.main()

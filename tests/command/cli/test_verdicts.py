"""Each row of the table of exit codes, and what the wrapped command is told."""
import json
import re
import signal
import subprocess
import time
import unittest

from rig import CHECKOUT, Rig, SIGCONT, SIGSTOP, wait_for


class Verdicts(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def test_consistent(self):
        self.rig.worker("work", self.rig.file("a"), paths=self.rig.data)
        said = self.rig.freeze("-t", "2s", command=["sleep", "0.1"])
        self.assertEqual(said.code, 0, said)
        self.assertRegex(said.lines[-1],
                         r"^writegate: gate=t verdict=CONSISTENT coverage=full watched=(full|none) against=0 gen=\d+ "
                         r"drain=[\d.]+ms held=[\d.]+ms procs=1 waiters=\d+ admitted=0 escaped=0$")
        self.assertEqual(said.err.splitlines()[-1], said.lines[-1], "the verdict is the last line")
        self.assertEqual(said.out, "", "stdout is the command's")
        if said.fields["watched"] == "full":
            self.assertEqual(said.remarks, [])

    def test_the_commands_own_code(self):
        self.rig.worker("idle")
        for code in (1, 3, 75):
            said = self.rig.freeze(command=["sh", "-c", f"exit {code}"])
            self.assertEqual((said.code, said.verdict), (code, "CONSISTENT"))
            self.assertEqual(said.record["command"]["exit"], code)
        self.assertEqual(self.rig.freeze(command=["sh", "-c", "kill -9 $$"]).code, 137)

    def test_usage(self):
        for args in (["freeze", "-t", "5", "--", "true"], ["freeze", "--nonsense"], [],
                     ["freeze", "-t", "1h", "--", "true"], ["freeze", "-t", "90s", "--", "true"],
                     ["freeze", "-g", "../x", "--", "true"], ["thaw"], ["rehearse", "-n", "0"],
                     ["freeze", "--kill-late"]):
            said = self.rig.run(*args)
            self.assertEqual(said.code, 64, (args, said))
            self.assertTrue(said.err)
        self.assertIn("no unit", self.rig.run("freeze", "-t", "300", "--", "true").err)

    def test_nobody_is_gated(self):
        said = self.rig.freeze()
        self.assertEqual(said.code, 69, said)
        self.assertIn("nothing was frozen", said.err)

    def test_an_unknown_gate_names_those_there_are(self):
        said = self.rig.freeze(gate="mial")
        self.assertEqual(said.code, 69, said)
        self.assertIn("Gates in", said.err)
        self.assertIn(": t (-g names one).", said.err)

    def test_an_escape_through_a_word(self):
        # Long after the drain of a busy machine, and long before the thaw.
        self.rig.worker("passes", "1000")
        said = self.rig.freeze(command=["sleep", "2"])
        self.assertEqual((said.code, said.verdict, said.fields["escaped"]), (65, "ESCAPED", "1"))

    def test_the_limit_passes(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        begun = time.monotonic()
        said = self.rig.freeze("-t", "200ms", command=["sleep", "0.6"])
        self.assertEqual((said.code, said.verdict), (124, "EXPIRED"), said)
        self.assertGreater(time.monotonic() - begun, 0.6, "the command was waited for")
        self.assertIn("writers went on", said.err)
        self.assertLess(max(self.rig.held(worker)), 250)

    def test_kill_late_tells_the_command_to_stop(self):
        self.rig.worker("idle")
        begun = time.monotonic()
        said = self.rig.freeze("-t", "200ms", "--kill-late", command=["sleep", "20"])
        self.assertEqual((said.code, said.verdict), (124, "EXPIRED"), said)
        self.assertLess(time.monotonic() - begun, 5)

    def test_a_failing_command_that_is_late_too_is_late(self):
        self.rig.worker("idle")
        said = self.rig.freeze("-t", "100ms", command=["sh", "-c", "sleep 0.3; exit 3"])
        self.assertEqual(said.code, 124)

    def test_on_untrusted_runs_only_then(self):
        self.rig.worker("idle")
        mark = self.rig.file("untrusted")
        args = ["--on-untrusted", f"echo $WRITEGATE_VERDICT > {mark}"]
        self.rig.freeze(*args)
        self.assertFalse(mark.exists())
        self.rig.freeze("-t", "100ms", *args, command=["sleep", "0.3"])
        self.assertEqual(mark.read_text(), "EXPIRED\n")

    def test_a_command_that_cannot_be_run(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        said = self.rig.freeze(command=["/not-there/command"])
        self.assertEqual(said.code, 127, said)
        plain = self.rig.file("plain")
        plain.touch()
        self.assertEqual(self.rig.freeze(command=[plain]).code, 126)
        self.assertLess(max(self.rig.held(worker), default=0), 500)

    def test_what_the_command_is_told(self):
        self.rig.worker("idle")
        said = self.rig.freeze(command=["sh", "-c", "echo $WRITEGATE_GATE $WRITEGATE_TOKEN "
                                        "$WRITEGATE_DEADLINE; echo preload=$LD_PRELOAD"],
                               env=self.rig.env(LD_PRELOAD="/nonexistent/libwritegate.so"))
        gate, token, deadline = said.out.splitlines()[0].split()
        self.assertEqual(gate, "t")
        self.assertEqual(token.split(":")[:2], ["t", deadline])
        self.assertEqual(said.record["gates"][0]["deadline"], int(deadline))
        self.assertIn("preload=\n", said.out)

    def test_nothing_is_written_between_freeze_and_thaw(self):
        """All of its output comes after the command has ended."""
        self.rig.worker("idle")
        out = self.rig.file("out")
        with open(out, "w") as stream:
            done = subprocess.run([rig_command(), "freeze", "-g", "t", "--", "sh", "-c",
                                   f"sleep 0.2; cp {out} {out}.then"], env=self.rig.env(),
                                  stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0)
        self.assertEqual((self.rig.data / "out.then").read_text(), "")
        self.assertIn("verdict=CONSISTENT", out.read_text())

    def sighup(self, how):
        """What the commands that are started from now on inherit."""
        before = signal.signal(signal.SIGHUP, how)
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def test_signals_thaw_first(self):
        self.sighup(signal.SIG_DFL)
        worker = self.rig.worker("work", self.rig.file("a"))
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            freezer = self.rig.start("freeze", "-g", "t", "--", "sleep", "30")
            wait_for(lambda: self.rig.barrier() != 0, what="the barrier")
            time.sleep(0.1)
            freezer.send_signal(number)
            out, err = freezer.communicate(timeout=8)
            self.assertEqual(freezer.returncode, code, out + err)
            self.assertIn("verdict=INTERRUPTED", err)
            self.assertEqual(self.rig.barrier(), 0)
        self.assertLess(max(self.rig.held(worker)), 1500)

    def test_under_nohup_the_end_of_the_terminal_ends_no_freeze(self):
        self.sighup(signal.SIG_IGN)
        self.rig.worker("idle")
        freezer = self.rig.start("freeze", "-g", "t", "--", "sleep", "0.3")
        wait_for(lambda: self.rig.barrier() != 0, what="the barrier")
        time.sleep(0.1)
        freezer.send_signal(signal.SIGHUP)
        out, err = freezer.communicate(timeout=8)
        self.assertEqual(freezer.returncode, 0, out + err)
        self.assertIn("verdict=CONSISTENT", err)

    def test_a_freezer_stopped_past_the_limit_reports_the_truth(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        # No second attempt: the stop may fall into the drain, and a later freeze is good again.
        freezer = self.rig.start("freeze", "-g", "t", "-t", "300ms", "--retries", "0", "--", "sleep", "0.1")
        wait_for(lambda: self.rig.barrier() != 0, what="the barrier")
        freezer.send_signal(SIGSTOP)
        time.sleep(0.8)
        freezer.send_signal(SIGCONT)
        out, err = freezer.communicate(timeout=8)
        self.assertIn(freezer.returncode, (124, 75), out + err)
        self.assertNotIn("verdict=CONSISTENT", err)
        self.assertLess(max(self.rig.held(worker)), 350)

    def test_the_report_has_the_documented_shape(self):
        self.rig.worker("idle")
        record = self.rig.freeze(command=["sleep", "0.05"]).record
        self.assertEqual(record["schema"], 2)
        for key in ("version", "verdict", "exit", "limit_ms", "drain_limit_ms", "attempts", "asked",
                    "listed", "gates", "command", "notes", "token"):
            self.assertIn(key, record)
        gate = record["gates"][0]
        for key in ("gate", "verdict", "coverage", "watched", "against", "generation", "drain_ns", "held_ns", "procs",
                    "waiters", "admitted", "escaped", "openings", "deadline", "closed", "drained",
                    "opened", "drain_parts", "processes", "blockers", "findings"):
            self.assertIn(key, gate)
        clock = [gate[k]["monotonic_ns"] for k in ("closed", "drained", "opened")]
        self.assertEqual(clock, sorted(clock))
        self.assertLessEqual(gate["drained"]["monotonic_ns"],
                             record["command"]["started"]["monotonic_ns"])
        self.assertLess(abs(gate["closed"]["wall_ns"] / 1e9 - time.time()), 5)

    def test_every_field_of_the_report_is_documented(self):
        self.rig.worker("idle")
        page = (CHECKOUT / "docs/admin/report.md").read_text()
        record = self.rig.freeze("--wait-quiet", "5s", command=["sleep", "0.05"]).record
        parts = [record, record["gates"][0], record["quiet"], record["command"],
                 record["gates"][0]["processes"][0], record["gates"][0]["drain_parts"], record["asked"]]
        for name in (name for part in parts for name in part):
            self.assertRegex(page, f"[`\"]{name}[`\"]", name)

    def test_status_and_rehearse(self):
        self.rig.worker("stuck", self.rig.file("a"))
        status = json.loads(self.rig.run("status", "--json").out)
        process = status["gates"][0]["processes"][0]
        self.assertEqual((process["state"], process["details"][0]["call"]), ("in-flight", "write"))
        self.assertIn("in-flight", self.rig.run("status").out)
        said = self.rig.run("rehearse", "-g", "t", "-n", "2", "--drain", "100ms", "--every", "10ms")
        self.assertEqual(said.code, 75, said)
        self.assertIn("0 of 2 drained", said.out)

    def test_prometheus_figures(self):
        self.rig.worker("work", self.rig.file("a"))
        self.rig.freeze(command=["sleep", "0.05"])
        self.rig.freeze("-t", "100ms", command=["sleep", "0.3"])
        said = self.rig.run("status", "--prom")
        self.assertEqual(said.code, 0, said)
        for line in ('writegate_processes{gate="t"} 1',
                     'writegate_freezes_total{gate="t",verdict="CONSISTENT"} 1',
                     'writegate_freezes_total{gate="t",verdict="EXPIRED"} 1',
                     'writegate_held_seconds_count{gate="t"} 2',
                     'writegate_drain_seconds_bucket{gate="t",le="+Inf"} 2'):
            self.assertIn(line + "\n", said.out)
        # Every sample has its TYPE before it, and nothing else stands there.
        for line in said.out.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+\{[^}]*\} [-+.e\d]+)$")

    def test_rehearse_gives_figures(self):
        self.rig.worker("section", "5")
        said = self.rig.run("rehearse", "-g", "t", "-n", "5", "--every", "10ms", "--json")
        value = json.loads(said.out)
        self.assertEqual((said.code, value["n"], value["not_drained"]), (0, 5, 0))
        self.assertLessEqual(value["drain_ms"]["p50"], value["drain_ms"]["max"])
        self.assertEqual(len(value["drains_ms"]), 5)
        for drain, held in zip(value["drains_ms"], value["helds_ms"]):
            self.assertLess(drain, held)
        self.assertGreaterEqual(value["recommended"]["drain_ms"], 4 * value["drain_ms"]["max"])
        self.assertEqual(value["recommended"]["limit_ms"], 2 * value["recommended"]["drain_ms"])

    def test_rehearse_for_people(self):
        self.rig.worker("section", "5")
        said = self.rig.run("rehearse", "-g", "t", "-n", "4", "--every", "10ms")
        self.assertEqual((said.code, said.err), (0, ""), "no progress where there is no terminal")
        bars = re.findall(r"^ +(?:< \d+ ms|more) +(\d+) (#+)$", said.out, re.M)
        self.assertEqual(sum(int(count) for count, _ in bars), 4, said)
        self.assertTrue(all(len(bar) == int(count) for count, bar in bars))
        self.assertRegex(said.out, r"4 of 4 drained: p50 [\d.]+ms, p99 [\d.]+ms, max [\d.]+ms\n")
        self.assertRegex(said.out, r"writers would have been held up to [\d.]+ms")
        self.assertRegex(said.out, r"recommended: --drain \d+ms, and -t \d+ms plus what")
        line = f"{rig_command()} rehearse -g t -n 3 --every 10ms"
        shown = subprocess.run(["script", "-qec", line, "/dev/null"], env=self.rig.env(), text=True,
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        for number in (1, 2, 3):
            self.assertRegex(shown.stdout, rf"writegate: {number}/3: drained in [\d.]+ms")


def rig_command():
    from rig import WRITEGATE
    return WRITEGATE

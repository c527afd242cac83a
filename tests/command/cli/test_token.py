"""Freeze here, thaw there: once, twice, late, never, and with the keeper killed."""
import os
import subprocess
import time
import unittest

from rig import Rig, SIGCONT, SIGKILL, SIGSTOP, alive, children_of, wait_for


class Token(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.worker = self.rig.worker("work", self.rig.file("a"))

    def frozen(self, *args):
        said = self.rig.freeze(*args, command=None)
        self.assertEqual(said.code, 0, said)
        self.assertEqual(len(said.out.splitlines()), 1, "the token and nothing else")
        return said.out.strip()

    def keeper(self):
        found = [int(p.name) for p in __import__("pathlib").Path("/proc").iterdir()
                 if p.name.isdigit() and self.is_keeper(p)]
        self.assertEqual(len(found), 1, found)
        return found[0]

    def is_keeper(self, proc):
        try:
            return (proc / "comm").read_text(errors="replace") == "writegate-keep\n" and \
                str(self.rig.work).encode() in (proc / "environ").read_bytes() and \
                (proc / "stat").read_text(errors="replace").split()[3] == "1"
        except OSError:
            return False

    def test_the_example_of_the_help_hides_no_failure(self):
        """A script of those lines ends with 0 only if all three steps did."""
        lines = self.rig.run("freeze", "--help").out.splitlines()
        first = next(n for n, line in enumerate(lines) if "TOKEN=$(writegate freeze" in line)
        script = "\n".join(line.strip() for line in lines[first:first + 3])
        self.assertIn("thaw", script)
        bin_dir = self.rig.work / "bin"
        bin_dir.mkdir()
        for name, text in (("writegate", 'test $1 = freeze && { echo token; exit ${FREEZE:-0}; }; exit ${THAW:-0}'),
                           ("take-snapshot", "exit ${SNAP:-0}")):
            (bin_dir / name).write_text(f"#!/bin/sh\n{text}\n")
            (bin_dir / name).chmod(0o755)
        path = f"{bin_dir}:{os.environ['PATH']}"
        for failing in ({}, {"FREEZE": "75"}, {"SNAP": "1"}, {"THAW": "65"}):
            done = subprocess.run(["sh", "-c", script], env={**os.environ, "PATH": path, **failing}, timeout=20, check=False)
            self.assertEqual(done.returncode, int(next(iter(failing.values()), "0")), (failing, script))

    def test_thaw_gives_the_verdict(self):
        token = self.frozen()
        time.sleep(0.15)
        report = self.rig.work / "r.json"
        said = self.rig.run("thaw", token, "--report", report, report=report)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertEqual(said.record["token"], token)
        self.assertGreater(max(self.rig.held(self.worker)), 140)

    def test_twice(self):
        token = self.frozen()
        self.assertEqual(self.rig.run("thaw", token).code, 0)
        said = self.rig.run("thaw", token)
        self.assertEqual(said.code, 76, said)
        self.assertIn("used before", said.err)

    def test_late(self):
        token = self.frozen("-t", "200ms")
        time.sleep(0.5)
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (124, "EXPIRED"), said)
        self.assertEqual(self.rig.run("thaw", token).code, 76)
        self.assertLess(max(self.rig.held(self.worker)), 250)

    def test_never(self):
        self.frozen("-t", "200ms")
        time.sleep(0.4)
        self.assertEqual(self.rig.freeze().code, 0, "the keeper let go of the lock")
        self.assertLess(max(self.rig.held(self.worker)), 250)

    def test_a_token_from_yesterday(self):
        token = self.frozen()
        self.rig.run("thaw", token)
        self.rig.run("thaw", self.frozen())
        said = self.rig.run("thaw", token)
        self.assertEqual(said.code, 76, said)
        self.assertIn("no freeze with this token", said.err)

    def test_foreign_tokens(self):
        for token in ("nonsense", "t:1:1", "other:1:1", "t:1", "../t:1:1"):
            self.assertEqual(self.rig.run("thaw", token).code, 76, token)

    def test_a_wrong_token_thaws_nothing(self):
        token = self.frozen()
        gate, deadline, nonce = token.split(":")
        wrong = f"{gate}:{int(deadline) + 1}:{nonce}"
        self.assertEqual(self.rig.run("thaw", wrong).code, 76)
        guess = f"{gate}:{deadline}:{int(nonce, 16) ^ 1:x}"
        self.assertEqual(self.rig.run("thaw", guess).code, 76)
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def ended_by(self, freezer, name):
        """Ends the command that asks for a token; what it says, and how long that took."""
        begun = time.monotonic()
        subprocess.run(["kill", f"-{name}", str(freezer.pid)], check=True)
        freezer.wait(timeout=8)
        took, barrier = time.monotonic() - begun, self.rig.barrier()
        return barrier, took, *freezer.communicate(timeout=8)

    def test_a_signal_in_the_drain_ends_it_when_the_gate_is_open(self):
        """The command was gone some ms before its keeper opened: a script that goes on then found writers held."""
        self.rig.worker("section", "100000")
        for name, code in (("INT", 130), ("TERM", 143), ("HUP", 129)):
            freezer = self.rig.start("freeze", "-g", "t", "-t", "25s", "--drain", "20s")
            wait_for(self.rig.barrier, what="the barrier")
            barrier, took, out, err = self.ended_by(freezer, name)
            self.assertEqual((freezer.returncode, out, barrier), (code, "", 0), err)
            self.assertIn("verdict=INTERRUPTED", err)
            self.assertLess(took, 0.5, "100 ms, and what a busy machine adds")

    def test_a_signal_beside_the_token_opens_too(self):
        """It comes when the keeper has handed over the token, and nobody has printed it yet."""
        self.rig.worker("section", "500")
        for _ in range(10):
            freezer = self.rig.start("freeze", "-g", "t", "-t", "25s", "--drain", "10s")
            wait_for(lambda: self.rig.barrier() or freezer.poll() is not None, what="the barrier")
            freezer.send_signal(SIGSTOP)
            if freezer.poll() is None:
                break
            # The section had just ended when the barrier went up.
            self.rig.run("thaw", freezer.communicate(timeout=8)[0].strip())
        # It ends, and the keeper hands over the token.
        time.sleep(1)
        self.assertNotEqual(self.rig.barrier(), 0)
        freezer.terminate()
        barrier, _, out, err = self.ended_by(freezer, "CONT")
        self.assertEqual((freezer.returncode, out, barrier), (143, "", 0), err)
        self.assertIn("interrupted", err)

    def test_a_keeper_that_is_stopped_is_not_waited_for(self):
        self.rig.worker("section", "100000")
        freezer = self.rig.start("freeze", "-g", "t", "-t", "25s", "--drain", "20s")
        wait_for(self.rig.barrier, what="the barrier")
        keeper, = children_of(freezer.pid)
        os.kill(keeper, SIGSTOP)
        barrier, took, _, err = self.ended_by(freezer, "TERM")
        self.assertEqual((freezer.returncode, barrier != 0), (143, True), err)
        self.assertIn("has not ended yet", err)
        self.assertLess(took, 0.5)
        os.kill(keeper, SIGCONT)
        wait_for(lambda: self.rig.barrier() == 0, what="the open gate")

    def test_keeper_killed(self):
        token = self.frozen("-t", "3s")
        keeper = self.keeper()
        os.kill(keeper, SIGKILL)
        wait_for(lambda: not alive(keeper), what="the keeper's end")
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (76, "UNPROVEN"), said)
        self.assertIn("killed", said.err)
        self.assertEqual(self.rig.freeze().code, 0)

    def test_keeper_killed_and_late(self):
        token = self.frozen("-t", "300ms")
        os.kill(self.keeper(), SIGKILL)
        time.sleep(0.5)
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (124, "EXPIRED"), said)
        self.assertLess(max(self.rig.held(self.worker)), 350)

    def test_not_drained_prints_no_token(self):
        self.rig.worker("stuck", self.rig.file("b"))
        said = self.rig.freeze("--retries", "0", "--drain", "100ms", command=None)
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertEqual((len(said.lines), said.out), (1, ""))

    def test_thaw_needs_no_configuration(self):
        token = self.frozen()
        said = self.rig.run("thaw", token, env={"WRITEGATE_DIR": str(self.rig.dir),
                                                "WRITEGATE_CONF": "/nonexistent"})
        self.assertEqual(said.code, 0, said)

    def test_another_freeze_waits_for_the_thaw(self):
        token = self.frozen("-t", "2s")
        said = self.rig.freeze("--queue", "100ms")
        self.assertEqual(said.code, 75, said)
        self.assertIn("another freeze", said.err)
        self.assertEqual(self.rig.run("thaw", token).code, 0)
        self.assertEqual(self.rig.freeze().code, 0)

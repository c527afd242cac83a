"""A profile with a fault: said with line and column, never half believed, no harm to who runs."""
import os
import unittest

from lab import gate as lab_gate, procs

from .worker import Gated

CONFIG = 78
WORKS = """
def change():
    with open("box", "a") as box:
        fcntl.lockf(box, fcntl.LOCK_EX)
        box.write("one"); box.flush(); box.write("two")
change(); say("ready")
while True:
    wait(); change(); say("done")
"""
SOUND = "exclude = *.scratch\n"
FAULTS = {"a syntax error": ("# mail\nexclude *.log\n", "2:1: expected `key = value`"),
          "an unknown key": ("exclude = *.tmp\n  exlude = *.log\n", "2:3: unknown key"),
          "a pattern that matches everything": (SOUND + "exclude = **\n", "2:11: this matches everything"),
          "a lock pattern that matches everything": ("lifetime-lock = *\n", "1:17: this matches everything")}


class Profiles(unittest.TestCase):
    def setUp(self):
        self.work = self.enterContext(procs.workspace("adversity"))
        self.data = self.work / "data"
        self.data.mkdir()
        self.gate = lab_gate.Gate(self.work, name="adversity", paths=[self.data])
        self.gate.profile = self.work / "adversity.conf"

    def worker(self, profile):
        self.gate.profile.write_text(profile)
        worker = Gated(self.gate, WORKS, self.data)
        self.addCleanup(worker.close)
        worker.expect("ready")
        return worker

    def test_a_fault_that_comes_while_the_server_runs(self):
        for fault, (text, where) in FAULTS.items():
            with self.subTest(fault):
                worker = self.worker(SOUND)
                self.gate.profile.write_text(text)
                o = self.gate.freeze(["true"])
                self.assertTrue(o.consistent, o.stdout + o.stderr)
                self.assertIn(f"{self.gate.profile}:{where}", o.stderr)
                self.assertIn("the profile in force stays", o.stderr)
                worker.go_on()
                worker.expect("done")                   # and the server works on

    def test_a_change_that_is_not_in_force_is_said(self):
        self.worker(SOUND)
        o = self.gate.freeze(["true"])
        self.assertNotIn("is not in force", o.stderr)
        self.gate.profile.write_text(SOUND + "exclude = *.more\n")
        o = self.gate.freeze(["true"])
        self.assertTrue(o.consistent, o.stdout + o.stderr)
        self.assertIn("is not in force: stop the service, remove", o.stderr)

    def test_a_server_started_with_a_fault_works_and_is_not_called_consistent(self):
        for fault, (text, where) in FAULTS.items():
            with self.subTest(fault):
                self.gate.name = fault.replace(" ", "-")
                worker = self.worker(text)
                o = self.gate.freeze(["touch", str(self.work / "ran")])
                self.assertEqual(o.exit, CONFIG, o.stdout + o.stderr)
                self.assertIn(f"{self.gate.profile}:{where}", o.stderr)
                self.assertFalse(os.path.exists(self.work / "ran"))
                worker.go_on()
                worker.expect("done")
        # Mended as it is said: stop, remove the page, start.
        worker.close()
        (self.gate.directory / self.gate.name / "control").unlink()
        self.worker(SOUND)
        self.assertTrue(self.gate.freeze(["true"]).consistent)

    def test_exec_refuses_to_start_under_a_fault(self):
        for fault, (text, where) in FAULTS.items():
            with self.subTest(fault):
                self.gate.profile.write_text(text)
                said = self.gate.run("exec", "-g", "new", "--", "touch", str(self.work / "ran"))
                self.assertEqual(said.returncode, CONFIG, said.stderr)
                self.assertIn(f"{self.gate.profile}:{where}", said.stderr)
                self.assertFalse((self.work / "ran").exists())


if __name__ == "__main__":
    unittest.main()

"""Lock files as servers really leave them: whose section is over, and whose is not."""
import os
import signal
import time
import unittest

from lab import gate as lab_gate, procs

from .worker import Gated

# Dovecot's file_create_locked(): locked first, then linked under the name that all know.
LOCKED_THEN_LINKED = """
fd = os.open("box.lock.temp", os.O_RDWR | os.O_CREAT | os.O_EXCL)
fcntl.lockf(fd, fcntl.LOCK_EX)
os.link("box.lock.temp", "box.lock"); os.unlink("box.lock.temp")
open("box", "w").write("half")
say("inside"); wait()
open("box", "a").write("whole")
os.close(fd)
say("over")
"""
DOTLOCK = """
os.close(os.open("box.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL))
open("box", "w").write("half")
say("inside"); wait()
os.unlink("box.lock")
say("over")
"""


class LockFiles(unittest.TestCase):
    def setUp(self):
        work = self.enterContext(procs.workspace("adversity"))
        self.data = work / "data"
        self.data.mkdir()
        self.gate = lab_gate.Gate(work, name="adversity", paths=[self.data])

    def worker(self, script):
        worker = Gated(self.gate, script, self.data)
        self.addCleanup(worker.close)
        worker.expect("inside")
        return worker

    def drains(self):
        o = self.gate.freeze(["true"], drain="300ms")
        self.assertTrue(o.consistent, f"{o.line}\n{o.stderr}")
        return o

    def does_not_drain(self, pid):
        o = self.gate.freeze(["true"], drain="150ms")
        self.assertEqual(o.exit, lab_gate.NOT_DRAINED, f"{o.line}\n{o.stderr}")
        self.assertIn(f"pid {pid}", o.stderr)
        return o

    def test_a_file_locked_and_then_linked_is_over_with_the_lock_whoever_removes_its_name(self):
        worker = self.worker(LOCKED_THEN_LINKED)
        self.does_not_drain(worker.pid)
        worker.go_on()
        worker.expect("over")
        os.unlink(self.data / "box.lock")               # the next owner of the lock does it
        self.drains()

    def test_a_dotlock_lasts_until_its_owner_removes_it(self):
        worker = self.worker(DOTLOCK)
        self.does_not_drain(worker.pid)
        worker.go_on()
        worker.expect("over")
        self.drains()

    def test_a_dotlock_that_somebody_else_removes_is_over(self):
        worker = self.worker(DOTLOCK.replace('os.unlink("box.lock")', 'os.path.lexists("box.lock")'))
        self.does_not_drain(worker.pid)
        os.unlink(self.data / "box.lock")
        worker.go_on()
        worker.expect("over")
        # Its maker lives and says nothing that we could see: the file is gone, and so is the lock.
        self.drains()

    def test_a_stale_dotlock_of_a_killed_process_is_in_nobodys_way(self):
        worker = self.worker(DOTLOCK)
        bystander = self.worker(DOTLOCK.replace("box", "other"))
        bystander.go_on()
        bystander.expect("over")
        os.kill(worker.pid, signal.SIGKILL)
        worker.process.wait()
        self.assertTrue((self.data / "box.lock").exists())
        self.drains()

    def test_an_owner_killed_while_a_freeze_waits_for_it(self):
        worker = self.worker(DOTLOCK)
        bystander = self.worker(DOTLOCK.replace("box", "other"))
        bystander.go_on()
        bystander.expect("over")
        freeze = self.gate.start_freeze(["true"], drain="3s")
        time.sleep(0.3)
        os.kill(worker.pid, signal.SIGKILL)
        worker.process.wait()
        out, err = freeze.communicate(timeout=20)
        self.assertEqual(freeze.returncode, 0, out + err)
        # The section was cut by its death, as a crash cuts it: that is to be said.
        self.assertIn("died inside a section", out + err)


if __name__ == "__main__":
    unittest.main()

"""Lock files on FUSE, where the kernel knows neither inode numbers for good nor, often, locks.

The gate lives on such a file system's own numbers (st_dev, st_ino): what is checked is that a
section under a lock there is waited for, ends, and is no hindrance afterwards.
"""
import os
import time
import unittest

from lab import gate as lab_gate, procs

from .memory_fs import MemoryFs
from .worker import Gated

WHY_NOT = ("needs root" if os.geteuid() != 0 else
           None if os.path.exists("/dev/fuse") else "needs /dev/fuse")
SCRIPT = """
lock, data = {lock!r}, {data!r}
if {dot}:
    os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL))
else:
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.{call}(fd, fcntl.LOCK_EX)
open(data, "w").write("half")
say("inside"); wait()
os.unlink(lock) if {dot} else os.close(fd)
say("over"); wait()
open(data, "w").write("more"); say("wrote")
"""


@unittest.skipIf(WHY_NOT, WHY_NOT)
class LocksOnFuse(unittest.TestCase):
    def setUp(self):
        self.work = self.enterContext(procs.workspace("adversity"))
        self.fuse = self.enterContext(MemoryFs(self.work / "fuse"))
        (self.work / "disk").mkdir()

    def trial(self, lock_on, data_on, call):
        gate = lab_gate.Gate(self.work, name="adversity", paths=[self.work / "disk", self.work / "fuse"])
        text = SCRIPT.format(lock=str(self.work / lock_on / "box.lock"), data=str(self.work / data_on / "box"),
                             dot=call == "dot", call=call)
        worker = Gated(gate, text, self.work / "disk")
        self.addCleanup(worker.close)
        worker.expect("inside")
        o = gate.freeze(["true"], drain="150ms")
        self.assertEqual(o.exit, lab_gate.NOT_DRAINED, f"{o.line}\n{o.stderr}")
        self.assertIn(f"pid {worker.pid}", o.stderr)
        worker.go_on()
        worker.expect("over")
        o = gate.freeze(["true"], drain="300ms")
        self.assertTrue(o.consistent, f"{o.line}\n{o.stderr}")
        # And a write to it is held as any other.
        frozen = self.work / "frozen"
        frozen.unlink(missing_ok=True)
        freeze = gate.start_freeze(["sh", "-c", f"echo > {frozen}; sleep 0.4"])
        until = time.monotonic() + 20
        while not frozen.exists() and time.monotonic() < until:
            time.sleep(0.01)
        worker.go_on()
        out, err = freeze.communicate(timeout=20)
        worker.expect("wrote")
        self.assertIn("verdict=CONSISTENT", err, f"{out}, the worker is {worker.pid}")
        self.assertIn("waiters=1", err, out)

    def test_locks_and_data_on_fuse(self):
        for call in ("dot", "lockf", "flock"):
            for lock_on, data_on in (("fuse", "fuse"), ("fuse", "disk"), ("disk", "fuse")):
                with self.subTest(call=call, lock_on=lock_on, data_on=data_on):
                    for file in (self.work / "disk", self.work / "fuse"):
                        (file / "box.lock").unlink(missing_ok=True)
                    self.trial(lock_on, data_on, call)


if __name__ == "__main__":
    unittest.main()

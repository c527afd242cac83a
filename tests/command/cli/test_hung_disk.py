"""A file system that answers no more: FUSE, whose server keeps a request for good."""
import subprocess
import sys
import time
import unittest
from pathlib import Path

from rig import LIBRARY, Rig

sys.path.append(str(Path(__file__).resolve().parents[2]))
from lab.hung_fs import WHY_NOT, HungFs  # noqa: E402


@unittest.skipIf(WHY_NOT, WHY_NOT)
class HungDisk(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.worker("idle")

    def stuck_writer(self, where):
        fuse = HungFs(where)
        code = "import os, sys; os.write(os.open(sys.argv[1], os.O_WRONLY), b'x')"
        env = self.rig.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE=self.rig.gate,
                           WRITEGATE_PATHS=str(self.rig.data))
        writer = subprocess.Popen([sys.executable, "-c", code, where + "/f"], env=env,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(writer.wait, 10)
        self.addCleanup(fuse.close)                     # before that: cleanups run backwards
        self.assertTrue(fuse.hung.wait(20), "nobody wrote")
        return writer

    def not_drained(self, writer, path):
        other = self.rig.worker("work", self.rig.file("a"))
        begun = time.monotonic()
        said = self.rig.freeze("-t", "1s", "--drain", "300ms", "--retries", "0")
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertIn(str(writer.pid), said.err)
        self.assertIn(path, said.err)
        self.assertLess(time.monotonic() - begun, 5, "the freezer itself hung")
        self.assertLess(max(self.rig.held(other)), 1050)
        self.assertIsNone(writer.poll())

    def test_a_writer_stuck_on_a_protected_file(self):
        where = str(self.rig.file("mnt"))
        self.not_drained(self.stuck_writer(where), where + "/f")

    def test_a_writer_stuck_elsewhere(self):
        """Whether it matters cannot be told without asking that file system."""
        where = str(self.rig.work / "elsewhere")
        self.not_drained(self.stuck_writer(where), where + "/f")

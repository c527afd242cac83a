"""One process of the service was taken over: it lies about itself, and about itself alone."""
import signal
import time
import unittest

from rig import MAIL, Rig



class Service(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def test_it_says_that_it_does_nothing_and_writes(self):
        """The kernel saw it write."""
        for file in "ab":
            (self.rig.data / file).chmod(0o666)
        liar = self.rig.attack("two-faced", self.rig.data / "a", uid=MAIL)
        said = self.rig.freeze("-t", "20s", command=["sleep", "0.3"])
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)
        self.assertIn(str(liar.pid).encode(), said.err)

    def test_its_region_changes_while_it_is_read(self):
        """Any numbers at all: the freezer ends in time, by itself, and is ready for the next."""
        liars = [self.rig.attack("scramble", uid=MAIL) for _ in range(2)]
        for _ in range(4):
            begun = time.monotonic()
            said = self.rig.freeze("--drain", "300ms", "--retries", "0")
            self.assertIn(said.code, (0, 65, 75), said)
            self.assertLess(time.monotonic() - begun, 30, said)
        for liar in liars:
            self.assertIsNone(liar.poll(), "it has done its worst")
            liar.kill()
            liar.wait()
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict, said.fields["procs"]), (0, "CONSISTENT", "4"), said)

    def test_it_stops_inside_of_a_set(self):
        """SIGSTOP to itself: nobody waits for it longer than the drain may take."""
        stuck = self.rig.attack("stuck-slots", 1, uid=MAIL)
        stuck.send_signal(signal.SIGSTOP)
        said = self.rig.freeze("--drain", "300ms", "--retries", "0")
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertIn(str(stuck.pid).encode(), said.err)
        self.assertEqual(self.rig.barrier(), 0)


if __name__ == "__main__":
    unittest.main()

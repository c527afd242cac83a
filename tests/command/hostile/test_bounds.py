"""However many, however large, however slow: what is looked at takes so much time and no more."""
import sys
import unittest
from pathlib import Path

from rig import NOBODY, Rig

sys.path.append(str(Path(__file__).resolve().parents[2]))
from lab import hung_fs  # noqa: E402

DRAIN_S = 0.3


class Bounds(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def not_drained(self, within_s):
        """One of the service's own shows what never ends: said so, in time."""
        said = self.rig.soon(within_s, "--drain", f"{int(DRAIN_S * 1000)}ms", "--retries", "0")
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertLess(said.seconds, within_s, said)

    def test_a_member_shows_a_web_of_locks(self):
        self.rig.attack("web", 2, 60, uid=0)
        self.not_drained(3)

    def test_members_show_more_calls_than_can_be_judged(self):
        """Each call is worth some looks: 40,000 of them are judged a part at a time."""
        self.rig.attack("stuck-slots", 20, uid=0)
        self.not_drained(3)

    def test_one_user_has_very_many_processes_that_are_slow_to_look_at(self):
        """Megabytes of names each. A user has a second; without that it would be some 8 s."""
        self.rig.attack("long-names", 200, 2100, self.rig.theirs)
        said = self.rig.soon(4, timeout=90)
        self.assertEqual((said.code, said.verdict, said.fields["procs"]), (0, "CONSISTENT", "4"), said)
        self.assertLess(said.seconds, 4, said)

    def test_a_member_with_very_many_mappings_that_look_like_regions(self):
        """It is not looked through, and does not cost another process the helper: nothing is held at all."""
        member = self.rig.attack("look-alikes", 1, 30000, uid=0)
        said = self.rig.soon(3, "--drain", "300ms", "--retries", "0", timeout=60)
        self.assertEqual((said.code, said.verdict), (65, "UNSEEN"), said)
        self.assertIn(str(member.pid).encode(), said.err)
        self.assertLess(said.seconds, 3, said)

    def test_a_member_with_very_many_descriptors(self):
        """Its locks are asked for: what there is no time for may be one."""
        self.rig.attack("stuck-and-many", 300_000, uid=0)
        self.not_drained(3)

    @unittest.skipIf(hung_fs.WHY_NOT, hung_fs.WHY_NOT)
    def hang(self, uid, count=50):
        mount = hung_fs.HungFs(str(self.rig.work / "mnt"))
        # Cleanups run backwards: the connection ends before those are waited for that hang on it.
        self.addCleanup(mount.close)
        attack = self.rig.attack("hung", self.rig.work / "mnt" / "f", count, uid=uid)
        self.assertTrue(mount.hung.is_set(), "nobody hangs")
        return attack

    def test_fifty_processes_of_a_user_hang(self):
        self.hang(NOBODY)
        said = self.rig.soon(6, timeout=90)
        self.assertEqual((said.code, said.verdict, said.fields["procs"]), (0, "CONSISTENT", "4"), said)
        self.assertLess(said.seconds, 6, said)

    def test_fifty_processes_of_root_hang(self):
        self.hang(0)
        said = self.rig.soon(10, timeout=90)
        self.assertLess(said.seconds, 10, said)
        self.assertEqual(said.fields["procs"], "4", said)


if __name__ == "__main__":
    sys.exit(unittest.main())

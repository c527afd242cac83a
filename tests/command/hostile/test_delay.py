"""Nobody outside of the service delays a freeze, hides another process or takes the freezer's time."""
import os
import shutil
import subprocess
import time
import unittest
from pathlib import Path

from rig import NOBODY, Rig, built

SECONDS = 4          # a freeze of this service takes far less than 1


class Delay(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def stands(self, said, procs=4):
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertEqual(said.fields["coverage"], "full", said)
        self.assertEqual(said.fields["procs"], str(procs), said)
        self.assertLess(said.seconds, SECONDS, said)

    def test_without_an_attack(self):
        self.stands(self.rig.soon(SECONDS))

    def test_threads_that_wait_for_each_other(self):
        attack = self.rig.attack("web", 2, 60)
        said = self.rig.soon(SECONDS, timeout=30)
        self.stands(said)
        self.assertEqual(said.found(attack.pid), ["outsider"], said.findings())

    def test_a_storm_of_changes_elsewhere_on_the_disk(self):
        """It neither vetoes nor delays, and hides no change of a protected file."""
        attack = self.rig.attack("storm", self.rig.theirs, 2)
        for _ in range(3):
            said = self.rig.soon(SECONDS, command=("sleep", "0.3"))
            self.stands(said)
            self.assertEqual(said.fields["watched"], "full", said)
        change = self.rig.start(["sh", "-c", 'until [ -e "$2" ]; do sleep 0.01; done; echo x >>"$1"', "sh",
                                 self.rig.data / "other", self.rig.work / "now"])
        said = self.rig.freeze("-t", "20s", command=("sh", "-c", 'touch "$1"; until grep -q x "$2"; do sleep 0.01; done', "sh",
                                                     self.rig.work / "now", self.rig.data / "other"))
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)
        self.assertEqual(said.found(change.pid), ["escape"], said.findings())
        self.assertIsNone(attack.poll(), "the attacker has ended")

    def test_one_that_never_goes_idle(self):
        attack = self.rig.attack("restless")
        said = self.rig.soon(SECONDS)
        self.stands(said)
        self.assertIn(str(attack.pid).encode(), said.err + bytes(str(said.findings()), "ascii"))

    def test_one_that_maps_the_page_and_shows_no_region(self):
        self.rig.attack("no-region")
        self.stands(self.rig.soon(SECONDS))

    def test_newcomers_without_end(self):
        self.rig.attack("births")
        self.stands(self.rig.soon(SECONDS))

    def test_a_program_that_puts_itself_behind_the_gate(self):
        stranger = self.rig.gated_stranger()
        said = self.rig.soon(SECONDS)
        self.stands(said)
        self.assertEqual(said.found(stranger.pid), ["outsider"], said.findings())

    def test_the_services_own_program_started_by_another_user(self):
        """The same file, gated or not: it is no process of the service's."""
        for env in (self.rig.gated(), self.rig.env()):
            self.rig.start([built("honest"), self.rig.theirs, 2, NOBODY], env, NOBODY)
        time.sleep(0.3)
        self.stands(self.rig.soon(SECONDS, "--require", "coverage"))

    def test_a_set_id_program_that_is_not_roots(self):
        """Anybody may mark a program of his own so; it is no master's helper."""
        program = self.rig.theirs / "attacker"
        shutil.copy(built("attacker"), program)
        os.chown(program, NOBODY, NOBODY)
        os.chmod(program, 0o4755)
        attack = self.rig.start([program, self.rig.control, "restless"], uid=1234, stdout=subprocess.PIPE)
        self.assertEqual(attack.stdout.readline(), b"ready\n")
        users = Path(f"/proc/{attack.pid}/status").read_text().split("Uid:")[1].split()[:2]
        if users != ["1234", str(NOBODY)]:
            self.skipTest("set-id programs have no effect here")
        self.stands(self.rig.soon(SECONDS))

    def test_one_that_seems_to_become_another_program_under_a_lock(self):
        preload = {"LD_PRELOAD": "/nowhere/libwritegate.so", "WRITEGATE_GATE": "t"}
        self.rig.attack("lock", self.rig.theirs / "x", env=self.rig.env(**preload))
        self.stands(self.rig.soon(SECONDS))

    def test_mappings_that_look_like_regions(self):
        attack = self.rig.attack("look-alikes", 12, 30000)
        said = self.rig.soon(2 * SECONDS, timeout=120)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertEqual(said.fields["procs"], "4", said)
        self.assertLess(said.seconds, 2 * SECONDS, said)
        self.assertTrue(said.found(attack.pid), said.findings())

    def test_very_many_descriptors(self):
        for _ in range(3):
            self.rig.attack("descriptors", 200_000)
        self.stands(self.rig.soon(SECONDS))

    def test_a_user_that_is_told_to_belong(self):
        """--users says so: then it is waited for."""
        self.rig.attack("restless")
        said = self.rig.freeze("--users", "nobody,mail", "--drain", "300ms", "--retries", "0")
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)


class NoService(unittest.TestCase):
    def test_a_stranger_alone_is_no_service(self):
        """Nothing was frozen, whoever maps the page."""
        rig = Rig(service=False)
        self.addCleanup(rig.close)
        stranger = rig.gated_stranger()
        said = rig.freeze()
        self.assertEqual(said.code, 69, said)
        self.assertIn(str(stranger.pid).encode(), said.err)


if __name__ == "__main__":
    os.sys.exit(unittest.main())

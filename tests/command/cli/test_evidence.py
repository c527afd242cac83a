"""What else the verdict looks at: changes past the gate, ungated writers, coverage, locks."""
import os
import subprocess
import unittest

from rig import Rig


@unittest.skipUnless(os.geteuid() == 0, "needs root (fanotify, other processes' descriptors)")
class Evidence(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.worker("idle", paths=self.rig.data)

    def during(self, script, *args, **kw):
        """A freeze of 0.5 s, and this shell script by somebody else in the middle of it."""
        flag = self.rig.work / "frozen"
        flag.unlink(missing_ok=True)
        other = self.rig.plain(["sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.01; done; "
                                            f"{script}; sleep 5"])
        said = self.rig.freeze(*args, command=["sh", "-c", f"touch {flag}; sleep 0.4"], **kw)
        return said, other

    def test_nothing_seen(self):
        said = self.rig.freeze("--require", "fanotify,locks,coverage", command=["sleep", "0.1"])
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_a_change_by_somebody_ungated_is_an_escape(self):
        (self.rig.data / "old").write_text("x")
        for script in ("echo x > {}/new", "echo x >> {}/old", "rm {}/old", "mkdir {}/dir",
                       "chmod 600 {}/new", "mv {}/new {}/newer"):
            said, other = self.during(script.replace("{}", str(self.rig.data)))
            self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), (script, said))
            self.assertIn(str(self.rig.data), said.err)
            finding = [f for f in said.record["gates"][0]["findings"] if f["kind"] == "escape"][0]
            self.assertTrue(finding["pid"] and finding["path"])
            other.kill()

    def test_a_change_elsewhere_or_to_a_log_is_none(self):
        self.rig.make_gate("logs", profile="exclude = *.log\n")
        self.rig.worker("idle", gate="logs", paths=self.rig.data)
        script = f"echo x > {self.rig.work}/beside; echo x > {self.rig.data}/a.log"
        said, _ = self.during(script, gate="logs")
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_what_one_process_excludes_excuses_no_other(self):
        self.rig.worker("idle", paths=self.rig.data, exclude="*.log")
        said, _ = self.during(f"echo x > {self.rig.data}/a.log")
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)

    def test_a_directory_that_came_and_went_counts_where_it_was(self):
        """Its event has no path any more; its removal has one."""
        come_and_go = ("for i in 1 2 3 4 5; do mkdir -p {0}/x/y; echo > {0}/x/y/f; "
                       "chmod 600 {0}/x/y/f; rm -r {0}/x; done")
        said, _ = self.during(come_and_go.format(self.rig.work), "--require", "fanotify")
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        (self.rig.data / "x/y").mkdir(parents=True)
        said, _ = self.during(f"echo > {self.rig.data}/x/y/f; rm -r {self.rig.data}/x")
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)
        (self.rig.data / "x/y").mkdir(parents=True)
        said, _ = self.during(f"echo > {self.rig.data}/x/y/f; mv {self.rig.data}/x "
                              f"{self.rig.work}/x; rm -r {self.rig.work}/x")
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)

    def test_changes_of_the_command_itself_do_not_count(self):
        said = self.rig.freeze(command=["sh", "-c", f"echo x > {self.rig.data}/mine; sleep 0.05; "
                                        f"/bin/sh -c 'echo y > {self.rig.data}/too; sleep 0.1'"])
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_changes_before_and_after_do_not_count(self):
        worker = self.rig.worker("work", self.rig.data / "busy", paths=self.rig.data)
        for _ in range(5):
            said = self.rig.freeze(command=["sleep", "0.02"])
            self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertIsNone(worker.poll())

    def test_an_ungated_writer_is_named_and_nothing_is_held_for_it(self):
        path = self.rig.data / "open"
        other = self.rig.plain(["sh", "-c", f"exec 3>{path}; echo; exec sleep 30"])
        other.stdout.readline()
        ran = self.rig.work / "ran"
        said = self.rig.freeze(command=["touch", ran])
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(f"pid {other.pid}", said.err)
        self.assertIn(str(path), said.err)
        self.assertFalse(ran.exists())

    def test_one_that_opens_during_the_freeze_is_found_after(self):
        said, _ = self.during(f"exec 3>>{self.rig.data}/late")
        self.assertIn(said.verdict, ("ESCAPED", "UNGATED"), said)
        self.assertEqual(said.code, 65)

    def test_readers_are_nobodys_concern(self):
        path = self.rig.data / "read"
        path.touch()
        other = self.rig.plain(["sh", "-c", f"exec 3<{path}; echo; exec sleep 30"])
        other.stdout.readline()
        self.assertEqual(self.rig.freeze().code, 0)

    def test_an_ungated_child_of_a_gated_process_makes_coverage_partial(self):
        worker = self.rig.worker("ungated-child", paths=self.rig.data)
        said = self.rig.freeze(command=["sleep", "0.1"])
        self.assertEqual((said.code, said.verdict, said.fields["coverage"]), (65, "UNGATED", "partial"), said)
        self.assertIn("started by a gated process", said.err)
        self.assertIsNone(said.record["command"], "known before: nothing is held")
        said = self.rig.freeze("--accept", "partial", command=["sleep", "0.1"])
        self.assertEqual((said.code, said.fields["coverage"], said.fields["against"]), (0, "partial", "1"), said)
        said = self.rig.freeze("--accept", "partial", "--require", "coverage", command=["sleep", "0.1"])
        self.assertEqual(said.code, 65, said)
        self.assertIsNone(worker.poll())

    def test_a_lock_that_no_region_knows(self):
        self.rig.worker("secret-lock", self.rig.data / "l", paths=self.rig.data)
        said = self.rig.freeze("--drain", "300ms", command=["sleep", "0.1"])
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertIn("lock that its region does not account for", said.err)

    def test_ways_past_the_gate_make_coverage_partial(self):
        self.rig.worker("maps-shared", self.rig.data / "mapped", paths=self.rig.data)
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict, said.fields["coverage"]), (65, "UNGATED", "partial"), said)
        self.assertIn("shared and writable", said.err)
        said = self.rig.freeze("--accept", "partial")
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_without_named_directories_it_says_what_it_cannot_see(self):
        self.rig.close()
        rig = Rig()
        self.addCleanup(rig.close)
        rig.worker("idle")
        said = rig.freeze(command=["sleep", "0.05"])
        self.assertEqual(said.code, 0, said)
        self.assertIn("not-watched", said.kinds())
        self.assertIn("no protected directory", said.err)
        self.assertEqual((said.fields["watched"], said.fields["against"]), ("none", "0"), said)
        self.assertEqual(rig.freeze("--require", "fanotify").code, 65)

    def test_held_with_a_lock_is_recorded(self):
        self.rig.worker("locked-writer", self.rig.data / "x", paths=self.rig.data)
        said = self.rig.freeze(command=["sleep", "0.1"])
        self.assertIn("held-with-lock", said.kinds(), said)

    def test_sync_flushes(self):
        said = self.rig.freeze("--sync", command=["sleep", "0.05"])
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)


@unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
class Btrfs(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        image = self.rig.work / "disk"
        with open(image, "wb") as file:
            file.truncate(256 << 20)
        self.at = self.rig.work / "mnt"
        self.at.mkdir()
        try:
            subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True, capture_output=True)
            subprocess.run(["mount", "-o", "loop", str(image), str(self.at)], check=True,
                           capture_output=True)
        except (OSError, subprocess.CalledProcessError) as e:
            self.skipTest(f"no btrfs here: {e}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.at)], capture_output=True)
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(self.at / "mail")], check=True,
                       capture_output=True)

    def snapshot(self, to):
        return ["btrfs", "-q", "subvolume", "snapshot", "-r", str(self.at / "mail"), str(to)]

    def test_the_snapshot_itself_is_no_escape_even_inside(self):
        self.rig.worker("work", self.at / "mail" / "a", paths=self.at / "mail")
        for to in (self.at / "snap", self.at / "mail" / "snap"):
            said = self.rig.freeze(command=self.snapshot(to))
            self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_the_snapshot_in_token_mode(self):
        self.rig.worker("idle", paths=self.at / "mail")
        token = self.rig.freeze(command=None).out.strip()
        subprocess.run(self.snapshot(self.at / "mail" / "snap"), check=True)
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    def test_a_write_on_a_subvolume_is_seen(self):
        self.rig.worker("idle", paths=self.at / "mail")
        flag = self.rig.work / "frozen"
        other = self.rig.plain(["sh", "-c", f"while [ ! -e {flag} ]; do sleep 0.01; done; "
                                            f"echo x > {self.at}/mail/evil; sleep 5"])
        said = self.rig.freeze(command=["sh", "-c", f"touch {flag}; sleep 0.4"])
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)
        other.kill()

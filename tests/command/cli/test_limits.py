"""The four limits of a freeze, each with a failure of its own, and the quiet moment."""
import time
import unittest

from rig import Rig, wait_for


class Base(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.ran = self.rig.file("ran")

    def failed(self, said, code, verdict, limit):
        self.assertEqual((said.code, said.verdict), (code, verdict), said)
        self.assertEqual(said.record["limit_hit"], limit)
        self.assertEqual((said.record["exit"], said.record["verdict"]), (code, verdict))


class Limits(Base):
    def test_the_queue(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        first = self.rig.start("freeze", "-g", "t", "--", "sleep", "1")
        wait_for(lambda: int.from_bytes(self.rig.control().read_bytes()[32:40], "little"),
                 what="the barrier")
        said = self.rig.freeze("--queue", "100ms", command=["touch", self.ran])
        self.failed(said, 75, "BUSY", "queue")
        self.assertIn("another freeze has held it for all of --queue", said.err)
        self.assertEqual(said.record["locked"]["monotonic_ns"], 0)
        said = self.rig.freeze("--queue", "100ms", command=None)
        self.assertEqual((said.code, said.verdict), (75, "BUSY"), said)
        self.assertFalse(self.ran.exists())
        self.assertEqual(first.wait(timeout=10), 0)
        self.assertIsNone(worker.poll())

    def test_the_drain(self):
        self.rig.worker("stuck", self.rig.file("b"))
        said = self.rig.freeze("--retries", "0", "--drain", "100ms", command=["touch", self.ran])
        self.failed(said, 75, "NOT_DRAINED", "drain")
        self.assertFalse(self.ran.exists())

    def test_the_hold(self):
        self.rig.worker("idle")
        said = self.rig.freeze("-t", "100ms", command=["sleep", "0.3"])
        self.failed(said, 124, "EXPIRED", "limit")

    def test_none(self):
        self.rig.worker("idle")
        said = self.rig.freeze("-t", "2s", "--drain", "1s", "--queue", "3s")
        self.assertIsNone(said.record["limit_hit"])
        self.assertIsNone(said.record["quiet"])
        self.assertNotIn("quiet", said.fields)
        self.assertEqual([said.record[f"{name}_ms"] for name in
                          ("limit", "drain_limit", "queue_limit", "wait_quiet_limit")],
                         [2000, 1000, 3000, 0])
        moments = [said.record[name]["monotonic_ns"] for name in ("asked", "locked", "listed")]
        self.assertEqual(moments, sorted(moments))
        self.assertGreater(moments[0], 0)


class Quiet(Base):
    """--wait-quiet."""

    def test_it_is_quiet_already(self):
        self.rig.worker("idle", paths=self.rig.data)
        said = self.rig.freeze("--wait-quiet", "20s")
        self.assertEqual((said.code, said.verdict, said.fields["quiet"]),
                         (0, "CONSISTENT", "yes"), said)
        self.assertEqual((said.record["quiet"]["reached"], said.record["quiet"]["sections"]),
                         (True, 0))
        self.assertLess(said.record["quiet"]["waited_ms"], 2000)
        if said.fields["watched"] == "full":
            self.assertEqual(said.remarks, [])

    def test_others_may_be_born_meanwhile_as_many_as_they_like(self):
        self.rig.worker("idle")
        for _ in range(2):
            self.rig.plain(["sh", "-c", "while :; do /bin/true; done"], start_new_session=True)
        said = self.rig.freeze("--wait-quiet", "20s")
        self.assertEqual((said.code, said.fields["quiet"]), (0, "yes"), said)
        self.assertLess(said.record["quiet"]["waited_ms"], 5000)

    def test_a_section_is_waited_for_and_nobody_is_held_meanwhile(self):
        writer = self.rig.worker("work", self.rig.file("a"))
        section = self.rig.worker("section", "100000")
        wait_for(lambda: "section open" in self.rig.run("status").out, what="the section")
        freezer = self.rig.start("freeze", "-g", "t", "--wait-quiet", "20s", "--report",
                                 self.rig.work / "r.json", "--", "true")
        time.sleep(0.8)
        self.assertIsNone(freezer.poll())
        born = self.rig.worker("idle")
        section.kill()
        out, err = freezer.communicate(timeout=15)
        self.assertEqual(freezer.returncode, 0, out + err)
        self.assertIn("quiet=yes", err)
        self.assertIn("procs=2", err, "who was born while it waited belongs to it")
        self.assertIsNone(born.poll())
        self.assertLess(max(self.rig.held(writer), default=0), 300)

    def test_at_its_end_it_goes_on_and_says_so(self):
        self.rig.worker("section", "200")
        said = self.rig.freeze("--wait-quiet", "300ms")
        self.assertEqual((said.code, said.verdict, said.fields["quiet"]),
                         (0, "CONSISTENT", "no"), said)
        self.assertIn("did not become quiet within 300ms: 1 sections open", said.err)
        self.assertIn("went on all the same", said.err)
        self.assertGreaterEqual(said.record["quiet"]["waited_ms"], 300)
        self.assertEqual(said.record["wait_quiet_limit_ms"], 300)
        self.assertIsNone(said.record["limit_hit"])

    def test_required_it_is_a_failure_of_its_own(self):
        writer = self.rig.worker("work", self.rig.file("a"))
        self.rig.worker("stuck", self.rig.file("b"))
        self.rig.worker("section", "100000")
        args = ["--wait-quiet", "200ms", "--require", "quiet"]
        said = self.rig.freeze(*args, command=["touch", self.ran])
        self.failed(said, 75, "NOT_QUIET", "wait-quiet")
        self.assertIn("nothing was held", said.err)
        said = self.rig.freeze(*args, command=None)
        self.assertEqual((said.code, said.verdict), (75, "NOT_QUIET"), said)
        self.assertFalse(self.ran.exists())
        self.assertEqual(self.rig.held(writer), [])
        self.assertEqual(self.rig.freeze("--require", "quiet").code, 64)

    def test_two_calls_are_quiet_and_three_are_not(self):
        for number in range(2):
            self.rig.worker("stuck", self.rig.file(f"s{number}"))
        args = ["--wait-quiet", "300ms", "--require", "quiet", "--retries", "0", "--drain", "100ms"]
        said = self.rig.freeze(*args)
        self.failed(said, 75, "NOT_DRAINED", "drain")
        self.assertEqual((said.fields["quiet"], said.record["quiet"]["calls"]), ("yes", 2))
        self.rig.worker("stuck", self.rig.file("s2"))
        said = self.rig.freeze(*args)
        self.failed(said, 75, "NOT_QUIET", "wait-quiet")
        self.assertEqual(said.record["quiet"]["calls"], 3)

    def test_calls_on_sockets_are_nothing(self):
        for _ in range(3):
            self.rig.worker("socket")
        said = self.rig.freeze("--wait-quiet", "20s", "--require", "quiet")
        self.assertEqual((said.code, said.fields["quiet"]), (0, "yes"), said)

    def test_all_attempts_share_one_wait(self):
        self.rig.worker("stuck", self.rig.file("b"))
        self.rig.worker("section", "100000")
        said = self.rig.freeze("--wait-quiet", "500ms", "--retries", "2", "--drain", "100ms")
        self.failed(said, 75, "NOT_DRAINED", "drain")
        self.assertEqual(said.record["attempts"], 3)
        self.assertLess(said.record["quiet"]["waited_ms"], 700)

    def test_a_signal_ends_the_wait(self):
        self.rig.worker("section", "100000")
        freezer = self.rig.start("freeze", "-g", "t", "--wait-quiet", "30s", "--", "true")
        time.sleep(0.5)
        freezer.terminate()
        out, err = freezer.communicate(timeout=5)
        self.assertEqual(freezer.returncode, 143, out + err)
        self.assertIn("INTERRUPTED", err)

    def test_a_token_says_so_too(self):
        self.rig.worker("idle")
        token = self.rig.freeze("--wait-quiet", "5s", command=None).out.strip()
        said = self.rig.run("thaw", token)
        self.assertEqual((said.code, said.fields["quiet"]), (0, "yes"), said)

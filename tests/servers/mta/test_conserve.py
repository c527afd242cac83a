#!/usr/bin/env python3
"""The checker must go red: hand-made stores and queues, each broken in one way.

    python3 tests/servers/mta/test_conserve.py          no root, no server
"""
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from mta import conserve, message, store    # noqa: E402


def text(number, size=500):
    data = message.make(number, "s@x", ["a@x"], random.Random(number), size)
    return data.replace(b"\r\n", b"\n")


class Messages(unittest.TestCase):
    def test_whole_in_both_line_ends(self):
        self.assertEqual(message.scan(text("r.1")), (["r.1"], []))
        self.assertEqual(message.scan(text("r.1").replace(b"\n", b"\r\n")), (["r.1"], []))

    def test_every_cut_is_seen(self):
        data = text("r.1", 300)
        for at in range(1, len(data)):
            whole, cut = message.scan(data[:at])
            self.assertTrue(cut, "cut at byte %d of %d not seen" % (at, len(data)))
            self.assertEqual(whole, [])

    def test_a_changed_byte_is_seen(self):
        data = bytearray(text("r.1"))
        data[data.index(b"\n\n") + 10] ^= 1
        self.assertIn("wrong sum", message.scan(bytes(data))[1][0])

    def test_zeroes_instead_of_data_are_seen(self):
        data = text("r.1")
        at = data.index(b"\n\n") + 20
        self.assertTrue(message.scan(data[:at] + bytes(40) + data[at + 40:])[1])


class Stores(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        (self.root / "mbox").mkdir()
        (self.root / "maildir/d/new").mkdir(parents=True)
        (self.root / "maildir/d/tmp").mkdir()
        self.box = self.root / "mbox/a"
        self.box.write_bytes(b"".join(b"From s  Tue\n" + text(n) + b"\n" for n in ("r.1", "r.2")))
        (self.root / "maildir/d/new/1").write_bytes(b"Return-Path: <s@x>\n" + text("r.1"))

    def tearDown(self):
        self.folder.cleanup()

    def read(self):
        return store.read(self.root)

    def test_sound(self):
        found = self.read()
        self.assertEqual(found.cut, [])
        self.assertEqual(dict(found.copies), {("r.1", "a"): 1, ("r.2", "a"): 1, ("r.1", "d"): 1})

    def test_half_a_message_at_the_end_of_an_mbox(self):
        whole = self.box.read_bytes()
        for left in (10, 30, 300):
            self.box.write_bytes(whole + (b"From s  Tue\n" + text("r.3"))[:left])
            self.assertTrue(self.read().cut, "%d bytes not seen" % left)

    def test_half_a_message_in_the_middle(self):
        whole = self.box.read_bytes()
        self.box.write_bytes(whole + b"From s  Tue\n" + text("r.3")[:300] + b"From s  Tue\n"
                             + text("r.4") + b"\n")
        self.assertTrue(self.read().cut)

    def test_a_cut_or_empty_file_in_a_maildir(self):
        for content in (b"", text("r.5")[:200]):
            (self.root / "maildir/d/new/2").write_bytes(content)
            self.assertTrue(self.read().cut)

    def test_tmp_is_not_judged_and_dotlocks_are_named(self):
        (self.root / "maildir/d/tmp/3").write_bytes(text("r.6")[:100])
        (self.root / "mbox/a.lock").write_bytes(b"")
        found = self.read()
        self.assertEqual(found.cut, [])
        self.assertEqual(len(found.dotlocks), 1)

    def test_a_bounce_is_no_copy(self):
        with open(self.box, "ab") as box:
            box.write(b"From MAILER-DAEMON  Tue\nReturn-Path: <>\nSubject: failed\n\n"
                      b"X-Number: r.9\n\n")
        found = self.read()
        self.assertEqual((found.cut, found.bounced["r.9"]), ([], 1))
        self.assertNotIn(("r.9", "a"), found.copies)


class Judgement(unittest.TestCase):
    def judge(self, acknowledged, owed=(), copies=(), **more):
        held = store.Contents()
        held.copies.update(copies)
        return conserve.judge(set(acknowledged), conserve.Queue(set(owed)), held, **more)

    one = ("r.1", "a")

    def test_conserved_in_store_or_queue(self):
        self.assertFalse(self.judge([self.one], copies=[self.one]))
        self.assertFalse(self.judge([self.one], owed=[self.one]))

    def test_lost(self):
        self.assertEqual(self.judge([self.one]).lost, [self.one])

    def test_lost_for_one_of_two_recipients(self):
        other = ("r.1", "b")
        self.assertEqual(self.judge([self.one, other], copies=[other]).lost, [self.one])

    def test_doubled_between_store_and_queue(self):
        self.assertEqual(self.judge([self.one], [self.one], [self.one]).dup, [self.one])

    def test_doubled_though_not_acknowledged(self):
        self.assertEqual(self.judge([], [self.one], [self.one]).dup, [self.one])

    def test_owed_by_two_queue_files(self):
        queue = conserve.Queue()
        queue.owe("r.1", ["a"])
        self.assertFalse(conserve.judge({self.one}, queue, store.Contents()))
        queue.owe("r.1", ["a"])
        self.assertEqual(conserve.judge({self.one}, queue, store.Contents()).dup, [self.one])

    def test_twice_in_the_store(self):
        self.assertEqual(self.judge([self.one], copies=[self.one, self.one]).dup, [self.one])

    def test_bounced_is_not_lost_but_must_have_a_notice(self):
        gone = ("r.1", "nobody-1")
        self.assertEqual(self.judge([gone]).lost, [gone])
        queue, held = conserve.Queue(to_bounce={"r.1"}), store.Contents()
        self.assertFalse(conserve.judge({gone}, queue, held))
        self.assertEqual(conserve.notices_twice(queue, held), [])
        held.bounced["r.1"] = 1
        self.assertEqual(conserve.notices_twice(queue, held), ["r.1"])

    def test_a_notice_does_not_excuse_the_loss_for_others(self):
        held = store.Contents()
        held.bounced["r.1"] = 1
        self.assertTrue(conserve.judge({self.one}, conserve.Queue(), held))

    def test_taken_by_another_host(self):
        self.assertFalse(self.judge([self.one], remote=[self.one]))
        queue = conserve.Queue({self.one})
        self.assertEqual(conserve.judge_remote(queue, {self.one}), [self.one])


if __name__ == "__main__":
    unittest.main()

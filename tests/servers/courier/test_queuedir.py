#!/usr/bin/env python3
"""The queue reader on hand-made queues, whole and broken.

    python3 tests/servers/courier/test_queuedir.py          no root, no server
"""
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from courier import queuedir                # noqa: E402
from mta import message                     # noqa: E402

ENVELOPE = ("s{0}\nfdns; [127.0.0.1] ([::ffff:127.0.0.1])\ne\nt\nM0.6B05D83D.5C0A\n{1}"
            "OTCPREMOTEIP=::ffff:127.0.0.1\nuauthsmtp\nE1796149949\np1795573949\nW1795559549\n"
            "A1795545149\n")


def control(*recipients, sender="s@x", more=""):
    """As Courier 1.0 writes it."""
    rows = "".join("r%s\nR\nN\n" % r for r in recipients)
    return (ENVELOPE.format(sender, rows) + more).encode()


def content():
    data = message.make("r.1", "s@x", ["a@x"], random.Random(1), 600)
    return b"Received: from x\n" + data.replace(b"\r\n", b"\n")


class Queue(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)

    def put(self, head=None, body=None, queued=True):
        for folder in ("msgs/68", "msgq/179554"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for name, data in (("C268", head), ("D268", body)):
            if data is not None:
                (self.root / "msgs/68" / name).write_bytes(data)
        if queued:
            (self.root / "msgq/179554/C268.1795545149").write_bytes(head or b"")
        return queuedir.read(self.root)

    def test_each_recipient_is_owed_until_done_or_failed(self):
        found = self.put(control("a@x", "b@x", "c@x", more="I1 R Message delivered.\nS1 1 l\n"
                                 "D0 1\nF2 1\n"), content())
        self.assertEqual(found.owed, {("r.1", "a")})
        self.assertEqual((found.cut, found.messages, found.to_bounce), ([], 1, {"r.1"}))

    def test_a_finished_one_owes_nothing(self):
        found = self.put(control("a@x", more="S0 1 l\n"))
        self.assertEqual((found.owed, found.cut, found.messages), (set(), [], 0))

    def test_unlinked_it_is_being_removed(self):
        found = self.put(control("a@x"), queued=False)
        self.assertEqual((found.owed, found.cut, found.messages), (set(), [], 0))

    def test_not_taken_over_yet_it_is_owed(self):
        (self.root / "tmp/179554").mkdir(parents=True)
        for name, data in (("C268", control("a@x")), ("D268", content()), ("1.2.mx", b"half")):
            (self.root / "tmp/179554" / name).write_bytes(data)
        found = queuedir.read(self.root)
        self.assertEqual((found.owed, found.cut, found.receiving), ({("r.1", "a")}, [], 1))

    def test_without_content_or_control_it_is_torn(self):
        self.assertIn("without its content", self.put(control("a@x")).cut[0])
        (self.root / "msgs/68/C268").unlink()
        self.assertIn("without its control", queuedir.read(self.root).cut[0])

    def test_notices(self):
        self.assertEqual(self.put(control("a@x", sender=""), content()).bounced, {"r.1"})

    def test_every_cut_of_the_control_file_is_seen(self):
        whole = control("a@x")
        whole = whole[:whole.index(b"A1795")]           # the first line that courierd appends
        for at in range(len(whole)):
            self.assertTrue(self.put(whole[:at], content()).cut, "cut at %d not seen" % at)

    def test_every_cut_of_the_content_is_seen(self):
        whole = content()
        for at in range(len(whole)):
            self.assertTrue(self.put(control("a@x"), whole[:at]).cut, "cut at %d not seen" % at)


if __name__ == "__main__":
    unittest.main()

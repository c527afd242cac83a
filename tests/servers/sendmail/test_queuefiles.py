#!/usr/bin/env python3
"""The queue reader on hand-made queues, whole and broken.

    python3 tests/servers/sendmail/test_queuefiles.py          no root, no server
"""
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from mta import message                     # noqa: E402
from sendmail import queuefiles             # noqa: E402

ID = "6AOIFZPm026353"


def files(recipients=("a@x", "b@x"), sender="s@x"):
    """(qf, df) as Sendmail 8.17 writes them."""
    data = message.make("r.1", "s@x", recipients, random.Random(1), 600).replace(b"\r\n", b"\n")
    head, _, body = data.partition(b"\n\n")
    control = ("V8\nT1795544135\nK0\nN0\nP272428\nI0/41/257\nFb\n$_localhost [127.0.0.1]\n$rESMTP\n"
               "${daemon_flags}\nS<%s>\n" % sender
               + "".join("rRFC822; %s\nRPFD:<%s>\n" % (r, r) for r in recipients)).encode()
    return control + b"".join(b"H??%s\n" % line for line in head.split(b"\n")) + b".\n", body


class Queue(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)

    def put(self, control=None, body=None):
        for kind, data in (("qf", control), ("df", body)):
            if data is not None:
                (self.root / (kind + ID)).write_bytes(data)
        return queuefiles.read(self.root)

    def test_each_recipient_is_owed(self):
        found = self.put(*files())
        self.assertEqual(found.owed, {("r.1", "a"), ("r.1", "b")})
        self.assertEqual((found.cut, found.messages), ([], 1))

    def test_without_qf_or_with_an_empty_one_it_is_being_received(self):
        self.assertEqual(self.put(None, b"half").receiving, 1)
        found = self.put(b"", b"half")
        self.assertEqual((found.receiving, found.cut, found.owed), (1, [], set()))

    def test_qf_without_df_is_torn(self):
        self.assertIn("qf without df", self.put(files()[0]).cut[0])

    def test_notices(self):
        control, body = files(sender="")
        self.assertEqual(self.put(control, b"x\nX-Number: r.1\n" + body).bounced, {"r.1"})

    def test_what_the_server_put_aside(self):
        (self.root / ("Qf" + ID)).write_bytes(files()[0])
        self.assertIn("put aside", queuefiles.read(self.root).cut[0])

    def test_every_cut_of_qf_is_seen(self):
        control, body = files()
        for at in range(1, len(control)):
            self.assertTrue(self.put(control[:at], body).cut, "cut at %d not seen" % at)

    def test_every_cut_of_df_is_seen(self):
        control, body = files()
        for at in range(len(body)):
            self.assertTrue(self.put(control, body[:at]).cut, "cut at %d not seen" % at)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""The queue reader on hand-made queues, whole and broken.

    python3 tests/servers/opensmtpd/test_queuedir.py          no root, no server
"""
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from mta import conserve, message           # noqa: E402
from mta import store as stores             # noqa: E402
from opensmtpd import queuedir              # noqa: E402

ID = "24f03df0"


def content(number="r.1"):
    data = message.make(number, "b0@local.test", ["a@x"], random.Random(1), 600)
    return b"Received: from x\n\tby y;\n" + data.replace(b"\r\n", b"\n")


def envelope(user="a", kind="mda", sender="s@x", more=""):
    """As smtpd 6.8 writes one; `more`: lines that only a retried one has."""
    return ("version: 3\ndispatcher: to-mbox\ntype: %s\nsmtpname: mx\nhelo: [127.0.0.1]\n"
            "hostname: localhost\n%ssockaddr: 127.0.0.1\nsender: %s\nrcpt: %s@x\ndest: %s@x\n"
            "ctime: 1795542392\nlast-try: 0\nlast-bounce: 0\nttl: 0\nretry: 1\ndsn-notify: 0\n"
            % (kind, more, sender, user, user)).encode()


class Queue(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)

    def put(self, data, *envelopes, below="queue/24"):
        place = self.root / below / ID
        place.mkdir(parents=True, exist_ok=True)
        if data is not None:
            (place / "message").write_bytes(data)
        for n, one in enumerate(envelopes):
            (place / ("%s%08x" % (ID, n + 1))).write_bytes(one)
        return queuedir.read(self.root)

    def test_each_envelope_is_owed(self):
        found = self.put(content(), envelope("a"), envelope("b", more='errorline: "4.2.0: x"\n'))
        self.assertEqual(found.owed, {("r.1", "a"), ("r.1", "b")})
        self.assertEqual((found.cut, found.messages), ([], 1))

    def test_a_message_without_envelopes_is_finished(self):
        found = self.put(content())
        self.assertEqual((found.owed, found.cut, found.messages), (set(), [], 0))

    def test_being_received_is_not_owed(self):
        found = self.put(content()[:50], envelope(), below="incoming")
        self.assertEqual((found.owed, found.cut, found.receiving), (set(), [], 1))

    def test_envelopes_without_their_message_are_torn(self):
        self.assertIn("without their message", self.put(None, envelope()).cut[0])

    def test_notices(self):
        self.assertEqual(self.put(content(), envelope(kind="bounce")).to_bounce, {"r.1"})
        self.assertEqual(self.put(content(), envelope(sender="")).bounced, {"r.1"})

    def test_every_cut_of_an_envelope_is_seen(self):
        whole = envelope()
        for at in range(len(whole)):
            self.assertTrue(self.put(content(), whole[:at]).cut, "cut at %d not seen" % at)

    def test_every_cut_of_the_message_is_seen(self):
        whole = content()
        for at in range(len(whole)):
            self.assertTrue(self.put(whole[:at], envelope()).cut, "cut at %d not seen" % at)

    def test_what_the_verdict_needs(self):
        """An envelope whose copy is in the store is a DUP; neither of both a LOST."""
        store = stores.Contents()
        store.copies[("r.1", "a")] = 1
        finding = conserve.judge({("r.1", "a"), ("r.1", "c")},
                                 self.put(content(), envelope("a"), envelope("b")), store)
        self.assertEqual((finding.dup, finding.lost), ([("r.1", "a")], [("r.1", "c")]))


if __name__ == "__main__":
    unittest.main()

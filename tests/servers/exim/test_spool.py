#!/usr/bin/env python3
"""The spool reader on hand-made spools, whole and broken.

    python3 tests/servers/exim/test_spool.py          no root, no server
"""
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from exim import spool                      # noqa: E402
from mta import message                     # noqa: E402

ID = "1xVnyN-000493-1W"


def files(number="r.1", recipients=("a@x", "b@x"), tree="XX\n", sender="s@x"):
    """(-H, -D) as Exim 4.96 writes them."""
    data = message.make(number, "s@x", recipients, random.Random(1), 600).replace(b"\r\n", b"\n")
    head, _, body = data.partition(b"\n\n")
    headers = b"".join(b"%03d  %s\n" % (len(line) + 1, line) for line in head.split(b"\n"))
    envelope = ("%s-H\nDebian-exim 100 102\n<%s>\n1795516937 0\n-received_time_usec .1\n"
                "-aclm 0 3\nx\nz\n-body_linecount 9\n%s%d\n%s\n\n"
                % (ID, sender, tree, len(recipients), "\n".join(recipients)))
    return envelope.encode() + headers, b"%s-D\n" % ID.encode() + body


class Spool(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        (self.root / "input").mkdir()

    def tearDown(self):
        self.folder.cleanup()

    def put(self, head=None, body=None, journal=None, below="input"):
        (self.root / below).mkdir(exist_ok=True)
        for kind, data in (("H", head), ("D", body), ("J", journal)):
            if data is not None:
                (self.root / below / (ID + "-" + kind)).write_bytes(data)
        return spool.read(self.root)

    def test_the_longer_names_of_exim_4_97(self):
        for name in (ID, "1xXCaV-000000000Ax-3jrY"):
            self.assertEqual(spool.NAME.match(name + "-H").groups(), (name, "H"))

    def test_all_owed(self):
        found = self.put(*files())
        self.assertEqual(found.owed, {("r.1", "a"), ("r.1", "b")})
        self.assertEqual((found.cut, found.messages), ([], 1))

    def test_done_by_tree_and_by_journal(self):
        found = self.put(*files(recipients=("a@x", "b@x", "c@x"), tree="NN a@x\n"),
                         journal=b"b@x\n")
        self.assertEqual(found.owed, {("r.1", "c")})

    def test_a_tree_of_three(self):
        found = self.put(*files(recipients=("a@x", "b@x", "c@x", "d@x"),
                                tree="YY b@x\nNN a@x\nNN c@x\n"))
        self.assertEqual(found.owed, {("r.1", "d")})

    def test_split_spool(self):
        self.assertEqual(len(self.put(*files(), below="input/N").owed), 2)

    def test_header_without_data_is_torn(self):
        self.assertIn("-H without -D", self.put(files()[0]).cut[0])

    def test_data_alone_is_only_being_received(self):
        found = self.put(None, files()[1][:100])
        self.assertEqual((found.cut, found.receiving), ([], 1))

    def test_every_cut_of_the_envelope_and_number_is_seen(self):
        head, body = files()
        end = head.index(b"X-Number: r.1\n") + len(b"X-Number: r.1\n")
        for at in range(end):
            self.assertTrue(self.put(head[:at], body).cut, "cut at %d not seen" % at)

    def test_every_cut_of_the_body_is_seen(self):
        head, body = files()
        for at in range(len(body)):
            self.assertTrue(self.put(head, body[:at]).cut, "cut at %d not seen" % at)


if __name__ == "__main__":
    unittest.main()

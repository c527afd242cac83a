#!/usr/bin/env python3
"""The queue reader on hand-made queue files, whole and broken.

    python3 tests/servers/postfix/test_queuefile.py          no root, no server
"""
import os
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]     # servers, lab
from mta import message                     # noqa: E402
from postfix import queuefile               # noqa: E402


def record(kind, value):
    length, out = len(value), kind.encode()
    while True:
        byte = length & 0x7F
        length >>= 7
        out += bytes([byte | (0x80 if length else 0)])
        if not length:
            return out + value


def queue_file(number="r.1", owed=("a@x",), done=(), sender="s@x", size=600):
    lines = message.make(number, "s@x", owed, random.Random(1), size).split(b"\r\n")[:-1]
    return (record("C", b"size") + record("T", b"1 1") + record("S", sender.encode())
            + b"".join(record("R", r.encode()) for r in owed)
            + b"".join(record("D", r.encode()) for r in done)
            + record("M", b"") + b"".join(record("N", line) for line in lines)
            + record("p", b"0               ") + record("X", b"") + record("E", b""))


class Queue(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def put(self, data, where="active", name="ABC123", mode=0o700):
        path = self.root / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.chmod(path, mode)
        return queuefile.read(self.root)

    def test_owed_and_done(self):
        found = self.put(queue_file(owed=("a@x", "b@x"), done=("c@x",)))
        self.assertEqual(found.owed, {("r.1", "a"), ("r.1", "b")})
        self.assertEqual((found.cut, found.messages), ([], 1))

    def test_without_x_bit_it_is_only_being_received(self):
        found = self.put(queue_file()[:200], "incoming", mode=0o600)
        self.assertEqual((found.owed, found.cut, found.receiving), (set(), [], 1))

    def test_every_cut_of_a_complete_file_is_seen(self):
        data = queue_file(size=200)
        for at in range(len(data)):
            self.assertTrue(self.put(data[:at]).cut, "cut at %d not seen" % at)

    def test_zeroes_in_the_content_are_seen(self):
        data = queue_file()
        self.assertTrue(self.put(data[:300] + bytes(50) + data[350:]).cut)

    def test_deferred_in_its_hashed_folder(self):
        self.assertEqual(len(self.put(queue_file(), "deferred/A").owed), 1)

    def test_put_aside_by_the_server(self):
        self.assertTrue(self.put(queue_file(), "corrupt").cut)

    def test_a_bounced_recipient_counts_only_with_its_log(self):
        data = queue_file(owed=(), done=("nobody-1@x",))
        self.assertEqual(self.put(data).to_bounce, set())
        self.put(b"log", "bounce", mode=0o600)
        self.assertEqual(queuefile.read(self.root).to_bounce, {"r.1"})

    def test_a_notice_is_no_copy(self):
        found = self.put(queue_file(sender=""))
        self.assertEqual((found.owed, found.bounced), (set(), {"r.1"}))


if __name__ == "__main__":
    unittest.main()

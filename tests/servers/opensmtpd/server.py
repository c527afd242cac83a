"""An OpenSMTPD 6.8 of the test's own, as Debian ships it, its delivery agents gated.

    with volume.Volume(work) as vol:
        queue, store = vol.subvolume("queue"), vol.subvolume("store")
        with OpenSmtpd(work, queue, store, gate=g) as server:    # gate=None: a control run
            ... smtplib.SMTP("127.0.0.1", server.port)

Recipients: d0..d3@local.test go into maildirs (mail.maildir), p0, p1 into maildirs by a command line
(mail.mda, a shell, mail.maildir), ANY@remote.test over SMTP to the port given as `remote`; b0..b3
(MBOXES) into mboxes (mail.local and its lockspool).  smtpd drops the environment of whatever
delivers, so the library stands in the root's /etc/ld.so.preload, and the profile's `program` lines
say who is meant.
"""
import os

from mta import server as base

PACKAGES = ("opensmtpd",)
MBOX = ("b0", "b1", "b2", "b3")
MAILDIR = ("d0", "d1", "d2", "d3")
PROGRAM = ("p0", "p1")
RECIPIENTS = [u + "@local.test" for u in MAILDIR + PROGRAM]
MBOXES = [u + "@local.test" for u in MBOX]

CONFIG = """\
queue ttl 1h
smtp max-message-size 35M
{extra}
table mboxes {{ {mbox} }}
table maildirs {{ {maildir} }}
table programs {{ {program} }}
listen on 127.0.0.1 port {port} hostname mx.local.test
action "to-mbox" mbox
action "to-maildir" maildir "{store}/maildir/%{{user.username}}"
action "to-program" mda "{agent} {store}/maildir/%{{user.username}}"
action "to-remote" relay host smtp://127.0.0.1:{remote}
match from any for domain "local.test" rcpt-to <mboxes> action "to-mbox"
match from any for domain "local.test" rcpt-to <maildirs> action "to-maildir"
match from any for domain "local.test" rcpt-to <programs> action "to-program"
match from any for domain "remote.test" action "to-remote"
"""


class OpenSmtpd(base.Server):
    PACKAGES, LOG = PACKAGES, "smtpd.log"

    def __init__(self, *args, extra="", **kw):
        super().__init__(*args, **kw)
        self.extra = extra

    def argv(self):
        return self.root.argv("/usr/sbin/smtpd", "-d", "-v")

    def log(self):
        return self.service.tail(100_000)

    def flush(self):
        """Try everything that waits again, now."""
        self.root.run("/usr/sbin/smtpctl", "schedule", "all")

    def configure(self):
        users = MBOX + MAILDIR + PROGRAM
        with open(self.root.inside("/etc/passwd"), "a") as passwd:
            for n, user in enumerate(users):
                passwd.write("%s:x:%d:%d::/home/%s:/bin/sh\n" % (user, 6000 + n, 6000 + n, user))
        for n, user in enumerate(users):
            home = self.root.inside("/home/" + user)
            os.makedirs(home, exist_ok=True)
            os.chown(home, 6000 + n, 6000 + n)
        self.make_boxes()
        os.chmod(self.queue, 0o711)
        os.chmod(self.root.inside("/tmp"), 0o1777)      # mail.local keeps the message there
        # Both places are compiled in.
        self.root.bind(self.queue, "/var/spool/smtpd")
        self.root.bind(os.path.join(self.store, "mbox"), "/var/mail")
        self.root.write("/etc/mailname", "mx.local.test\n")
        self.root.write("/etc/smtpd.conf", CONFIG.format(
            port=self.port, store=self.store, remote=self.remote, extra=self.extra,
            agent="/usr/libexec/opensmtpd/mail.maildir", mbox=", ".join(MBOX),
            maildir=", ".join(MAILDIR), program=", ".join(PROGRAM)))
        if self.gate:
            self.root.preload_everywhere(self.gate)

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

from lab import procs
from mta import root as roots

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


class OpenSmtpd:
    def __init__(self, work, queue, store, gate=None, remote=9, name="root", extra=""):
        self.work, self.queue, self.store = work, str(queue), str(store)
        self.gate, self.remote, self.extra = gate, remote, extra
        self.root = roots.Root(PACKAGES, work, name=name, binds=[self.queue, self.store])
        self.port = procs.free_port()
        self.service = None

    def __enter__(self):
        self.root.__enter__()
        try:
            self._configure()
            self.service = roots.Service(self.root.argv("/usr/sbin/smtpd", "-d", "-v"),
                                         log=os.path.join(self.work, "smtpd.log"))
            self.service.start()
            procs.wait_for_port(self.port, service=self.service)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.service:
                self.service.stop()
        finally:
            self.root.__exit__()

    def log(self):
        return self.service.tail(100_000)

    def flush(self):
        """Try everything that waits again, now."""
        self.root.run("/usr/sbin/smtpctl", "schedule", "all")

    def _configure(self):
        users = MBOX + MAILDIR + PROGRAM
        with open(self.root.inside("/etc/passwd"), "a") as passwd:
            for n, user in enumerate(users):
                passwd.write("%s:x:%d:%d::/home/%s:/bin/sh\n" % (user, 6000 + n, 6000 + n, user))
        for n, user in enumerate(users):
            home = self.root.inside("/home/" + user)
            os.makedirs(home, exist_ok=True)
            os.chown(home, 6000 + n, 6000 + n)
        for folder in ("mbox", "maildir"):
            path = os.path.join(self.store, folder)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o1777)
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

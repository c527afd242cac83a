"""A Sendmail 8.17 of the test's own with procmail as its local mailer, as Debian ships both.

    with volume.Volume(work) as vol:
        queue, store = vol.subvolume("queue"), vol.subvolume("store")
        with Sendmail(work, queue, store, gate=g) as server:     # gate=None: a control run
            ... smtplib.SMTP("127.0.0.1", server.port)

Recipients: b0..b3@local.test go into mboxes (procmail: dotlock and fcntl), d0..d3 into maildirs
(procmail too), ANY@remote.test over SMTP to the port given as `remote`.  Sendmail is set-group-ID and
procmail set-user-ID, so the library stands in the root's /etc/ld.so.preload, and the profile's
`program` lines say who is meant.
"""
import os

from mta import server as base

PACKAGES = ("sendmail-bin", "procmail", "m4", "sendmail-cf")
MBOX = ("b0", "b1", "b2", "b3")
MAILDIR = ("d0", "d1", "d2", "d3")
RECIPIENTS = [u + "@local.test" for u in MBOX + MAILDIR]
SEED = "From MAILER-DAEMON Tue Nov 24 12:00:00 2026\nSubject: the first\n\nnot empty\n\n"
SENDMAIL = "/usr/libexec/sendmail/sendmail"

# No names are looked up, and no load of the machine changes what is done.
CONFIG = """\
divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
undefine(`confHOST_STATUS_DIRECTORY')dnl
define(`confDOMAIN_NAME', `mx.local.test')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch-nodns')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`QUEUE_DIR', `{queue}')dnl
define(`STATUS_FILE', `')dnl
define(`ALIAS_FILE', `implicit:/etc/mail/test-aliases')dnl
define(`confPID_FILE', `/run/sendmail-test.pid')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confQUEUE_LA', `10000')dnl
define(`confREFUSE_LA', `10000')dnl
define(`confMIN_QUEUE_AGE', `0')dnl
define(`confTO_IDENT', `0')dnl
define(`confPRIVACY_FLAGS', `')dnl
define(`PROCMAIL_MAILER_PATH', `/usr/bin/procmail')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {remote}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`promiscuous_relay')dnl
FEATURE(`local_procmail', `/usr/bin/procmail')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr=127.0.0.1')dnl
LOCAL_DOMAIN(`local.test')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
LOCAL_RULE_0
R$*<@remote.test.>$*\t$#relay $@ [127.0.0.1] $: $1<@remote.test.>$2
R$*<@remote.test>$*\t$#relay $@ [127.0.0.1] $: $1<@remote.test>$2
"""


class Sendmail(base.Server):
    PACKAGES, LOG = PACKAGES, "sendmail.log"

    def __init__(self, *args, procmailrc="", **kw):
        super().__init__(*args, **kw)
        self.procmailrc = procmailrc            # for all users

    def argv(self):
        return self.root.argv(SENDMAIL, "-bD", "-q5s")

    def flush(self):
        """One queue run, now."""
        self.root.run(SENDMAIL, "-q", timeout=120)

    def configure(self):
        users = MBOX + MAILDIR
        with open(self.root.inside("/etc/passwd"), "a") as passwd:
            for n, user in enumerate(users):
                passwd.write("%s:x:%d:%d::/home/%s:/bin/sh\n" % (user, 6000 + n, 6000 + n, user))
        for n, user in enumerate(users):
            home = self.root.inside("/home/" + user)
            os.makedirs(home, exist_ok=True)
            if user in MAILDIR:
                self.root.write("/home/%s/.procmailrc" % user,
                                ":0\n%s/maildir/%s/\n" % (self.store, user))
                os.chown(home + "/.procmailrc", 6000 + n, 6000 + n)
            os.chown(home, 6000 + n, 6000 + n)
        self.root.write("/etc/procmailrc", self.procmailrc)
        self.make_boxes()
        for n, user in enumerate(MBOX):
            # procmail sleeps a second in every delivery into an empty mbox.
            box = os.path.join(self.store, "mbox", user)
            if not os.path.exists(box):
                with open(box, "w") as out:
                    out.write(SEED)
                os.chown(box, 6000 + n, 6000 + n)
        os.chmod(self.root.inside("/tmp"), 0o1777)
        os.chmod(self.queue, 0o700)
        # Compiled into procmail.
        self.root.bind(os.path.join(self.store, "mbox"), "/var/mail")
        self.root.write("/etc/mail/test.mc", CONFIG.format(
            queue=self.queue, port=self.port, remote=self.remote))
        self.root.write("/etc/mail/sendmail.cf", self.root.run(
            "sh", "-c", "m4 /etc/mail/test.mc 2>/dev/null"))
        # Sendmail asks for its own name before anything else.
        self.root.write("/etc/resolv.conf", "")
        self.root.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        self.root.write("/etc/hosts", "127.0.0.1 localhost mx.local.test %s\n" % os.uname().nodename)
        self.root.write("/etc/mail/test-aliases", "postmaster: root\n")
        self.root.write("/etc/mail/service.switch-nodns", "hosts files\naliases files\n")
        if self.gate:
            self.root.preload_everywhere(self.gate)

"""A Courier 1.0 of the test's own (courier-mta, its authentication daemon, maildrop), as Debian ships it.

    with volume.Volume(work) as vol:
        queue, store = vol.subvolume("queue"), vol.subvolume("store")
        with Courier(work, queue, store, gate=g) as server:      # gate=None: a control run
            ... smtplib.SMTP("127.0.0.1", server.port)

Recipients: d0..d3@local.test go into maildirs (courierdeliver), m0, m1 into maildirs by maildrop,
b0, b1 into mboxes (courierdeliver), ANY@remote.test over SMTP to the port given as `remote`.
Its start scripts empty the environment and maildrop is set-group-ID, so the library stands in the
root's /etc/ld.so.preload, and the profile's `program` lines say who is meant.
"""
import os
import shutil

from mta import server as base

PACKAGES = ("courier-mta", "courier-base", "maildrop")
MAILDIR = ("d0", "d1", "d2", "d3")
MAILDROP = ("m0", "m1")
MBOX = ("b0", "b1")
RECIPIENTS = [u + "@local.test" for u in MAILDIR + MAILDROP + MBOX]
LIB = "/usr/lib/courier/courier"

# What Debian's scripts do, without detaching.
START = """\
#!/bin/sh
sysconfdir=/etc/courier; prefix=/usr; exec_prefix=/usr; sbindir=/usr/sbin
mkdir -p /run/courier/authdaemon; chown courier:courier /run/courier /run/courier/authdaemon
/usr/lib/courier/courier-authlib/authdaemond &
( set -a; . /etc/courier/courierd; cd /; exec {lib}/courierd ) &
set -a; . /etc/courier/esmtpd
exec /usr/sbin/couriertcpd -noidentlookup -nodnslookup -user=courier -group=courier \\
    -address=127.0.0.1 -access=/etc/courier/smtpaccess.dat \\
    -maxprocs=100 -maxperc=100 -maxperip=100 \\
    -pid=/run/courier/test.pid {port} {lib}/modules/esmtp/courieresmtpd
"""


class Courier(base.Server):
    PACKAGES, LOG = PACKAGES, "courier.log"

    def argv(self):
        return self.root.argv("/bin/sh", "/etc/courier/test-start")

    def flush(self):
        """Try everything deferred again, now."""
        self.root.run("/usr/sbin/courier", "flush")

    def configure(self):
        users = MAILDIR + MAILDROP + MBOX
        for file, line in (("passwd", "{0}:x:{1}:{1}::/home/{0}:/bin/sh\n"),
                           ("group", "{0}:x:{1}:\n"), ("shadow", "{0}:*:19000::::::\n")):
            with open(self.root.inside("/etc/" + file), "a") as out:
                for n, user in enumerate(users):
                    out.write(line.format(user, 6000 + n))
        self.make_boxes()
        for n, user in enumerate(users):
            self._user(user, 6000 + n)
        os.chmod(self.root.inside("/tmp"), 0o1777)
        if not os.listdir(self.queue):
            self.root.run("sh", "-c", "cp -a /var/lib/courier/. " + self.queue)
        self.root.run("chown", "courier:courier", self.queue)
        self.root.bind(self.queue, "/var/lib/courier")
        self.root.write("/etc/resolv.conf", "")
        self.root.write("/etc/nsswitch.conf",
                        "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        self.root.write("/etc/hosts", "127.0.0.1 localhost mx.local.test remote.test\n")
        for file, text in (("me", "mx.local.test"), ("defaultdomain", "local.test"),
                           ("locals", "localhost\nlocal.test"),
                           ("bofh", "opt BOFHCHECKDNS=0\nmaxrcpts 100 hard"),
                           ("esmtproutes", "remote.test:127.0.0.1,%d /SECURITY=NONE" % self.remote),
                           ("test-start", START.format(lib=LIB, port=self.port))):
            self.root.write("/etc/courier/" + file, text + "\n")
        shutil.rmtree(self.root.inside("/etc/courier/smtpaccess"), ignore_errors=True)
        self.root.write("/etc/courier/smtpaccess/default",
                        "127.0.0.1\tallow,RELAYCLIENT,BOFHCHECKDNS=0,TARPIT=0\n")
        self.root.run("/usr/sbin/makesmtpaccess")
        self.root.run("/usr/sbin/makealiases")
        if self.gate:
            self.root.preload_everywhere(self.gate)

    def _user(self, user, uid):
        """A home with a .courier file that says where the user's mail goes."""
        home = self.root.inside("/home/" + user)
        os.makedirs(home, exist_ok=True)
        box = os.path.join(self.store, "mbox" if user in MBOX else "maildir", user)
        if user not in MBOX:
            for part in ("", "cur", "new", "tmp"):
                os.makedirs(os.path.join(box, part), exist_ok=True)
                os.chown(os.path.join(box, part), uid, uid)
        line = "|/usr/bin/maildrop\n" if user in MAILDROP else box + "\n"
        for file, text in ((".courier", line), (".mailfilter", 'to "%s"\n' % box)):
            self.root.write("/home/%s/%s" % (user, file), text, 0o600)
            os.chown(os.path.join(home, file), uid, uid)
        os.chown(home, uid, uid)

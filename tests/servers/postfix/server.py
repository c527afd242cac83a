"""A Postfix 3.7 of the test's own: chrooted and unchrooted services, started without systemd.

    with volume.Volume(work) as vol:
        queue, store = vol.subvolume("queue"), vol.subvolume("store")
        with Postfix(work, queue, store, gate=g) as server:      # gate=None: a control run
            ... smtplib.SMTP("127.0.0.1", server.port)

Recipients: l0..l3@local.test go through local(8) (l0, l1 into mbox; l2, l3 by .forward into a
maildir), v0..v3@virtual.test through virtual(8) (v0, v1 mbox; v2, v3 maildir), and
ANY@remote.test through smtp(8) to the port given as `remote`.  nobody-*@local.test bounces.
The package is installed into an overlay root (mta/root.py), because MTAs exclude each other.
"""
import contextlib
import os
import subprocess
from pathlib import Path

from mta import root as roots
from mta import server as base

PACKAGES = ("postfix",)
VMAIL = 5000
LOCAL = {"l0": "mbox", "l1": "mbox", "l2": "maildir", "l3": "maildir"}
VIRTUAL = {"v0": "mbox", "v1": "mbox", "v2": "maildir", "v3": "maildir"}
RECIPIENTS = [u + "@local.test" for u in LOCAL] + [u + "@virtual.test" for u in VIRTUAL]

# Debian's own master.cf, shortened to what is used: chrooted (y) where Debian ships it so.
MASTER = """\
127.0.0.1:{port} inet n - y - - smtpd
pickup    unix  n  -  y  60   1  pickup
cleanup   unix  n  -  y  -    0  cleanup
qmgr      unix  n  -  n  300  1  qmgr
tlsmgr    unix  -  -  y  1000? 1 tlsmgr
rewrite   unix  -  -  y  -    -  trivial-rewrite
bounce    unix  -  -  y  -    0  bounce
defer     unix  -  -  y  -    0  bounce
trace     unix  -  -  y  -    0  bounce
verify    unix  -  -  y  -    1  verify
flush     unix  n  -  y  1000? 0 flush
proxymap  unix  -  -  n  -    -  proxymap
smtp      unix  -  -  y  -    -  smtp
lmtp      unix  -  -  y  -    -  lmtp
showq     unix  n  -  y  -    -  showq
error     unix  -  -  y  -    -  error
retry     unix  -  -  y  -    -  error
discard   unix  -  -  y  -    -  discard
local     unix  -  n  n  -    -  local
virtual   unix  -  n  n  -    -  virtual
anvil     unix  -  -  y  -    1  anvil
scache    unix  -  -  y  -    1  scache
postlog   unix-dgram n - n -  1  postlogd
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {queue}
# On the queue's volume, as on a machine with one disk: what tlsmgr writes there is judged.
data_directory = {queue}/data
maillog_file = /var/log/postfix.log
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.local.test
mydestination = local.test
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtp_host_lookup = native
local_recipient_maps =
alias_maps =
smtpd_peername_lookup = no
mail_spool_directory = {store}/mbox
virtual_mailbox_domains = virtual.test
virtual_mailbox_base = {store}
virtual_mailbox_maps = inline:{{ {virtual} }}
virtual_uid_maps = static:{vmail}
virtual_gid_maps = static:{vmail}
virtual_mailbox_limit = 0
mailbox_size_limit = 0
transport_maps = inline:{{ {{ remote.test = smtp:[127.0.0.1]:{remote} }}{transports} }}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
biff = no
# As Debian ships it: TLS on, so that tlsmgr runs and locks its cache for life.
smtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem
smtpd_tls_key_file = /etc/ssl/private/ssl-cert-snakeoil.key
smtpd_tls_security_level = may
smtp_tls_CApath = /etc/ssl/certs
smtp_tls_security_level = may
smtp_tls_session_cache_database = btree:$data_directory/smtp_scache
smtpd_tls_session_cache_database = btree:$data_directory/smtpd_scache
{extra}
"""


class Postfix(base.Server):
    PACKAGES, LOG = PACKAGES, "postfix.out"

    def __init__(self, work, queue, store, gate=None, extra="", transports="", services="",
                 **kw):
        binds = [str(gate.directory), str(gate.library.parent)] if gate else []
        super().__init__(work, queue, store, gate=gate, binds=binds, **kw)
        self.extra, self.transports, self.services = extra, transports, services

    def argv(self):
        return self.root.argv("/usr/sbin/postfix", "start-fg")

    def before_stop(self):
        with contextlib.suppress(RuntimeError):     # it may not have come up
            self.root.run("/usr/sbin/postfix", "stop")

    def log(self):
        try:
            with open(self.root.inside("/var/log/postfix.log"), errors="replace") as text:
                return text.read()
        except OSError:
            return ""

    def sendmail_argv(self):
        """Local submission: sendmail and its set-group-ID postdrop, gated if the server is."""
        preload = ["/usr/bin/env", "LD_PRELOAD=" + roots.LIBRARY_NAME] if self.gate else []
        return self.root.argv(*preload, "/usr/sbin/sendmail")

    def flush(self):
        """Try everything deferred again, now."""
        self.root.run("/usr/sbin/postqueue", "-f")

    def configure(self):
        self._make_users()
        self._make_certificate()
        # postsuper, who warns of a half-received file in a restored queue, is not root any more
        # when it opens the log, and cannot make it.
        self.root.run("install", "-o", "postfix", "-m", "644", "/dev/null", "/var/log/postfix.log")
        extra = self.extra
        if self.gate:
            extra += "\n" + environment_line(self.gate)
            # For sendmail's postdrop, which is set-group-ID and not master's child.
            self.root.install_library(self.gate)
        self.root.write("/etc/postfix/master.cf", MASTER.format(port=self.port)
                        + self.services)
        self.root.write("/etc/postfix/main.cf", MAIN.format(
            queue=self.queue, store=self.store, vmail=VMAIL, remote=self.remote, extra=extra,
            transports=self.transports,
            virtual=", ".join("{ %s@virtual.test = %s/%s%s }" % (
                u, kind, u, "/" if kind == "maildir" else "") for u, kind in VIRTUAL.items())))
        self.root.write("/etc/resolv.conf", "")
        # What Debian's init script does: a chroot needs its own copies.
        for name in ("etc",):
            os.makedirs(os.path.join(self.queue, name), exist_ok=True)
        for name in ("services", "hosts", "nsswitch.conf", "resolv.conf"):
            if os.path.exists(self.root.inside("/etc/" + name)):
                self.root.run("cp", "/etc/" + name, os.path.join(self.queue, "etc", name))

    def _make_certificate(self):
        """What Debian's ssl-cert makes."""
        for path in ("/etc/ssl/certs", "/etc/ssl/private"):
            os.makedirs(self.root.inside(path), exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "3650", "-subj", "/CN=mx.local.test",
                        "-out", self.root.inside("/etc/ssl/certs/ssl-cert-snakeoil.pem"),
                        "-keyout", self.root.inside("/etc/ssl/private/ssl-cert-snakeoil.key")], check=True, capture_output=True)

    def holds_its_caches(self):
        """Has tlsmgr locked its cache of sessions, as it does for life?"""
        cache = os.stat(os.path.join(self.queue, "data/smtp_scache.db"))
        locks = Path("/proc/locks").read_text().split()
        return any(word.endswith(f":{cache.st_ino}") for word in locks)

    def _make_users(self):
        with open(self.root.inside("/etc/passwd"), "a") as passwd:
            for n, user in enumerate(LOCAL):
                passwd.write("%s:x:%d:%d::/home/%s:/bin/false\n" % (user, 6000 + n, 6000 + n, user))
        for n, (user, kind) in enumerate(LOCAL.items()):
            home = self.root.inside("/home/" + user)
            os.makedirs(home, exist_ok=True)
            os.chown(home, 6000 + n, 6000 + n)
            if kind == "maildir":
                self.root.write("/home/%s/.forward" % user, "%s/maildir/%s/\n" % (self.store, user))
                os.chown(home + "/.forward", 6000 + n, 6000 + n)
        self.make_boxes()


def environment_line(gate):
    """import_environment with the library; Postfix splits values at commas and blanks."""
    settings = dict(gate.settings(), LD_PRELOAD=str(gate.library))
    # Inside the root the profile lies at its standard place (install_library).
    settings.pop("WRITEGATE_CONF", None)
    wrong = [k for k, v in settings.items() if any(c in v for c in ", \t{}")]
    if wrong:
        raise ValueError("Postfix would split these values: %s" % wrong)
    return ("import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C "
            "POSTLOG_SERVICE POSTLOG_HOSTNAME "
            + " ".join("%s=%s" % item for item in sorted(settings.items())))

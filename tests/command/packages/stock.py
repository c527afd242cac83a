"""Servers as Debian's packages configure them: their packages, the service, what they cannot do without to take mail, and where
they keep it."""


class Server:
    """A server's packages, its set-up, its load, and what a copy must hold."""

    def __init__(self, packages, service, gate, port, load, copied, prepare=()):
        self.packages, self.service, self.gate, self.port = packages, service, gate, port
        self.load, self.copied, self.prepare = load, copied, prepare


PASSWORD = "secret"


def users(*names):
    """Accounts of the system, each with a mailbox."""
    return tuple(command for name in names for command in (
        ("useradd", "-m", name), ("sh", "-c", f"echo {name}:{PASSWORD} | chpasswd"),
        ("install", "-o", name, "-g", "mail", "-m", "660", "/dev/null", f"/var/mail/{name}")))


def cyrus(*names):
    """Stock Cyrus has no administrator and no user: with neither there is no mailbox."""
    return (("sh", "-c", "echo 'admins: cyrus' >>/etc/imapd.conf"),
            *(("sh", "-c", f"echo {PASSWORD} | saslpasswd2 -p -c {name}") for name in ("cyrus", *names)),
            ("sh", "-c", "chgrp sasl /etc/sasldb2 && chmod 640 /etc/sasldb2"))


USER, CYRUS = users("bob"), cyrus("bob")
SERVERS = {
    "postfix": Server(("postfix",), "postfix", "postfix", 25, "smtp", ("/var/spool/postfix", "/var/mail"), USER),
    "dovecot": Server(("dovecot-imapd",), "dovecot", "dovecot", 143, "imap", ("/home/bob",), USER),
    # (Its cyrus.conf names services of other packages, and its master ends where one of their programs is not there.)
    "cyrus": Server(("cyrus-imapd", "cyrus-pop3d", "cyrus-nntpd", "cyrus-caldav", "cyrus-admin", "sasl2-bin"), "cyrus-imapd",
                    "cyrus", 143, "cyrus",
                    ("/var/lib/cyrus", "/var/spool/cyrus"), CYRUS),
    "exim": Server(("exim4-daemon-light",), "exim4", "default", 25, "smtp", ("/var/spool/exim4", "/var/mail"), USER),
}

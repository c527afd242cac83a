"""An MTA that hands to Dovecot by LMTP, one gate over both.

    with Chain("postfix", "maildir", work, queue, store, gate=g) as server:
        ... smtplib.SMTP("127.0.0.1", server.port)      # for u0..u3@chain.test

Both come from the tests of each server: here is only what joins them, and how to read what
Dovecot has stored.
"""
import contextlib
import os
from pathlib import Path

from dovecot import dbox
from dovecot.server import Server as Dovecot
from exim.server import Exim
from mta import message
from mta import store as stores
from postfix.server import Postfix

USERS = 4
RECIPIENTS = ["u%d@chain.test" % n for n in range(USERS)]

EXIM_ROUTER = """\
to_dovecot:
  driver = manualroute
  domains = chain.test
  route_list = * 127.0.0.1
  self = send
  transport = lmtp
"""
EXIM_TRANSPORT = """\
lmtp:
  driver = smtp
  protocol = lmtp
  port = {port}
  hosts_avoid_tls = *
  connect_timeout = 5s
  max_rcpt = {together}
"""


class Chain:
    def __init__(self, mta, fmt, work, queue, store, gate=None, remote=9, name="root",
                 together=100, lmtp_port=None):
        """together: recipients that the MTA may hand over in one transaction; lmtp_port: the
        store's, where somebody must know it before."""
        run = Path(work) / (name + "-dovecot")
        env = gate.environment({}) if gate else None
        self.dovecot = Dovecot(fmt, Path(store) / "mail", Path(store) / "index", run,
                               users=USERS, env=env, lmtp_port=lmtp_port)
        port = self.dovecot.lmtp_port
        if mta == "postfix":
            self.mta = Postfix(work, queue, store, gate=gate, remote=remote, name=name,
                               transports=" { chain.test = lmtp:inet:[127.0.0.1]:%d }" % port,
                               extra="relay_domains = chain.test\n"
                                     "lmtp_destination_recipient_limit = %d" % together)
        else:
            self.mta = Exim(work, queue, store, gate=gate, remote=remote, name=name,
                            routers=EXIM_ROUTER,
                            transports=EXIM_TRANSPORT.format(port=port, together=together))
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with self._stack as stack:
            stack.enter_context(self.dovecot)
            stack.enter_context(self.mta)
            self.port, self.root = self.mta.port, self.mta.root
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    def flush(self):
        self.mta.flush()

    def members(self):
        return {*self.mta.members(), *self.dovecot.service.members()}

    def halt(self):
        self.mta.halt()
        self.dovecot.stop()

    def resume(self):
        self.dovecot.start()
        self.mta.resume()

    def log(self):
        return self.mta.log() + self.dovecot.log()


def read_store(root):
    """Copies in Dovecot's files: maildir, or mdbox's m.N."""
    found = stores.Contents()
    for user in sorted(os.listdir(Path(root) / "mail")):
        mail = Path(root) / "mail" / user / "mail"
        for path in sorted(mail.rglob("*")):
            if path.parent.name in ("new", "cur") and path.is_file():
                found.add(str(path), user, path.read_bytes())
            elif path.parent.name == "storage" and path.name.startswith("m."):
                _add_mdbox(found, path, user)
            elif path.name.endswith(".lock"):
                found.dotlocks.append(str(path))
    return found


def _add_mdbox(found, path, user):
    messages, whole_to = dbox.parse(data := path.read_bytes())
    for one in messages:
        numbers, cut = message.scan(one.body)
        for number in numbers:
            found.copies[(number, user)] += 1
        found.cut += ["%s: %s" % (path, what) for what in cut]
    if messages and whole_to < len(data):
        found.cut.append("%s: %d bytes after the last whole message" % (path, len(data) - whole_to))

"""Clients for a Dovecot: IMAP sessions, LMTP deliveries, POP3 collections; seedable.

Each IMAP client touches only messages that it put there itself, and POP3 only
delivered ones, so that every message has one owner and the log says what must be
in the store at any moment: an operation's `changes` are [user, mailbox, id, +1 or -1].
They are noted before the operation begins; one that failed may have happened or not.
"""

import imaplib
import poplib
import re
import smtplib

from lab import load

from . import message
from .server import PASSWORD

BOXES = ("INBOX", "Work", "Archive")
_APPENDUID = re.compile(rb"APPENDUID \d+ (\d+)")


class Refused(Exception):
    """The server answered NO or BAD."""


class Imap(load.Client):
    """One session of `user`; keeps at most `keep` messages in the store."""

    kind, user, keep, imap, mbox = "imap", "u0", 12, None, False
    weights = {"APPEND": 35, "STORE": 20, "COPY": 12, "MOVE": 12, "EXPUNGE": 21}

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.mine, self.serial, self.box = {}, 0, None

    def connect(self):
        self.imap = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        self.imap.login(self.user, PASSWORD)
        self.imap.select("INBOX")
        self.box = "INBOX"

    def close(self):
        if self.imap:
            imap, self.imap = self.imap, None
            try:
                imap.logout()
            except (OSError, imaplib.IMAP4.error):
                imap.shutdown()

    def step(self):
        names = list(self.weights)
        self.op = self.random.choices(names, [self.weights[n] for n in names])[0]
        if len(self.mine) >= self.keep:
            self.op = "EXPUNGE"
        elif not self.mine:
            self.op = "APPEND"
        getattr(self, "do_" + self.op.lower())()
        return self.op

    def do_append(self):
        self.serial += 1
        ident = f"{self.tag}-i{self.number}-{self.serial}"
        box = self.random.choice(BOXES)
        self.notes = {"changes": [[self.user, box, ident, 1]]}
        answer = self.ask(self.imap.append(box, None, None, message.make(ident, self.random)))
        self.mine[(box, int(_APPENDUID.search(answer)[1]))] = ident

    def do_store(self):
        box, uid = self.pick()
        flag = self.random.choice((r"\Seen", r"\Flagged", r"\Answered", "lab"))
        self.ask(self.imap.uid("STORE", str(uid), self.random.choice("+-") + "FLAGS.SILENT", f"({flag})"))

    def do_copy(self):
        (box, uid), ident = self.one()
        # Never into the same mailbox: Dovecot 2.3.19 panics when an mbox is copied into itself.
        to = self.random.choice([b for b in BOXES if b != box])
        self.notes = {"changes": [[self.user, to, ident, 1]]}
        self.mine[(to, self.transfer("COPY", uid, to))] = ident

    def do_move(self):
        (box, uid), ident = self.one()
        to = self.random.choice([b for b in BOXES if b != box])
        self.notes = {"changes": [[self.user, box, ident, -1], [self.user, to, ident, 1]]}
        del self.mine[(box, uid)]
        self.mine[(to, self.transfer("MOVE", uid, to))] = ident

    def transfer(self, command, uid, to):
        self.imap.response("COPYUID")                      # imaplib keeps the code apart: forget old ones
        self.ask(self.imap.uid(command, str(uid), to))
        code = self.imap.response("COPYUID")[1][-1]
        if not code:
            raise Refused(f"{command} {self.box}/{uid}: nothing was copied")
        return int(code.split()[-1])

    def do_expunge(self):
        (box, uid), ident = self.one()
        self.notes = {"changes": [[self.user, box, ident, -1]], "uncertain": self.mbox}
        del self.mine[(box, uid)]
        self.ask(self.imap.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Deleted)"))
        self.ask(self.imap.uid("EXPUNGE", str(uid)))

    def one(self):
        where = self.pick()
        return where, self.mine[where]

    def pick(self):
        """One of our messages, its mailbox selected."""
        box, uid = self.random.choice(sorted(self.mine))
        if box != self.box:
            self.ask(self.imap.select(box))
            self.box = box
        return box, uid

    @staticmethod
    def ask(answer):
        if answer[0] != "OK":
            raise Refused(str(answer)[:200])
        return b" ".join(v for v in answer[1] if isinstance(v, bytes))


class Lmtp(load.Client):
    """Deliveries, each to one to `most` users, over one kept connection."""

    kind, users, most, lmtp, serial, size = "lmtp", ("u0",), 3, None, 0, None

    def connect(self):
        self.lmtp = smtplib.LMTP("127.0.0.1", self.port, timeout=60)
        self.ask(self.lmtp.docmd("LHLO", "lab"), 250)

    def close(self):
        if self.lmtp:
            lmtp, self.lmtp = self.lmtp, None
            lmtp.close()

    def step(self):
        self.op = "DELIVER"
        self.serial += 1
        ident = f"{self.tag}-d{self.number}-{self.serial}"
        to = self.random.sample(self.users, self.random.randint(1, min(self.most, len(self.users))))
        self.notes = {"changes": [[u, "INBOX", ident, 1] for u in to]}
        text = message.make(ident, self.random, self.size)
        self.ask(self.lmtp.mail("lab@localhost"), 250)
        for user in to:
            self.ask(self.lmtp.rcpt(f"{user}@localhost"), 250)
        self.ask(self.lmtp.docmd("DATA"), 354)
        self.transmit(re.sub(rb"(?m)^\.", b"..", text) + b".\r\n")
        answers = [self.lmtp.getreply() for _ in to]       # LMTP answers once for each recipient
        self.notes["changes"] = [c for c, a in zip(self.notes["changes"], answers) if a[0] == 250]
        self.notes["refused"] = [str(a[1])[:120] for a in answers if a[0] != 250]
        return self.op

    def transmit(self, data):
        self.lmtp.send(data)

    @staticmethod
    def ask(answer, code):
        if answer[0] != code:
            raise Refused(str(answer)[:200])


class Pop3(load.Client):
    """Collects delivered messages of one user and deletes them at the end of its session."""

    kind, user, think_s, limit, mbox = "pop3", "u0", 0.5, 30, False

    def step(self):
        self.op = "COLLECT"
        pop = poplib.POP3("127.0.0.1", self.port, timeout=60)
        try:
            pop.user(self.user)
            pop.pass_(PASSWORD)
            count, gone = len(pop.list()[1]), []
            for n in range(1, min(count, self.limit) + 1):
                try:
                    head = pop.top(n, 0)[1]
                except poplib.error_proto:                 # an IMAP client has expunged it meanwhile
                    continue
                ident, _ = message.identify(b"\n".join(head) + b"\n\n")
                if ident and "-d" in ident:
                    pop.dele(n)
                    gone.append([self.user, "INBOX", ident, -1])
            self.notes = {"changes": gone, "uncertain": self.mbox}
            pop.quit()
        finally:
            pop.close()
        return self.op


def open_all(server):
    """Every mailbox once: sessions that make one at the same time are refused (ALREADYEXISTS) or
    cut off by Dovecot 2.3.19, gate or none."""
    for user in server.users:
        with imaplib.IMAP4("127.0.0.1", server.imap_port, timeout=60) as imap:
            imap.login(user, PASSWORD)
            for box in BOXES:
                imap.select(box)


def clients(server, seed, tag, imap=8, lmtp=2, pop3=True, crossing=None):
    """The usual load: sessions spread over the users, deliveries to all of them.

    crossing=False leaves out what holds two mailboxes at once. For mbox that is the default: its
    fcntl locks then cross, and Dovecot refuses one of the two (EDEADLK). Expunges of an mbox are
    uncertain for ever: Dovecot 2.3.19 acknowledges them and at times does not carry them out
    (seen without any gate: 12 of some 500, the messages were still there in the end)."""
    crossing = server.fmt != "mbox" if crossing is None else crossing
    mbox = {"mbox": server.fmt == "mbox"}
    kinds = mbox if crossing else {"weights": {**Imap.weights, "COPY": 0, "MOVE": 0}, **mbox}
    made = [Imap(i, seed=seed * 1000 + i, tag=tag, port=server.imap_port,
                 user=server.users[i % len(server.users)], **kinds) for i in range(imap)]
    made += [Lmtp(100 + i, seed=seed * 1000 + 100 + i, tag=tag, port=server.lmtp_port,
                  users=list(server.users), most=3 if crossing else 1) for i in range(lmtp)]
    if pop3:
        made += [Pop3(200 + i, seed=seed * 1000 + 200 + i, tag=tag, port=server.pop3_port, user=u, **mbox)
                 for i, u in enumerate(server.users)]
    return made

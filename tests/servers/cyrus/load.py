"""Clients that load a Cyrus: IMAP sessions that change mailboxes in every way, LMTP deliveries.

    populate(server, seed=1)                           # users, quota roots, folders, first messages
    clients = make(server, imap=8, lmtp=2, seed=1)     # one user for each IMAP client
    clients = make(server, imap=24, sessions=3, ...)   # three sessions for each user: lock contention

Every choice comes from a client's own seeded generator. Sessions of one user share the folders
INBOX, a and b; folders that are created, renamed and deleted belong to one session alone, so that
every NO is a finding and not a race of two clients.
"""
import imaplib
import random
import smtplib

from lab import load

SHARED = ("INBOX", "INBOX.a", "INBOX.b")
WORDS = "snapshot quota index cache folder thread letter minutes budget harvest river stone".split()

# Weights of the operations: changes of all kinds, few reads, as a checker of writes wants it.
OPERATIONS = (("APPEND", 30), ("STORE", 20), ("COPY", 12), ("MOVE", 12), ("EXPUNGE", 12),
              ("CREATE", 4), ("RENAME", 4), ("DELETE", 3), ("FETCH", 3))
KEEP_BELOW = 60                                         # messages in a folder, roughly


def message(rng, to, ids):
    """A message as bytes: a thread of its own, or an answer to one seen before."""
    number = rng.getrandbits(64)
    subject = " ".join(rng.choice(WORDS) for _ in range(3))
    lines = [f"From: Sender {number % 7} <sender{number % 7}@example.org>", f"To: {to}@cyrus.test",
             f"Message-ID: <{number:x}@example.org>", "Date: Tue, 24 Nov 2020 10:00:00 +0000"]
    if ids and rng.random() < 0.4:
        parent, subject = rng.choice(ids)
        lines += [f"In-Reply-To: {parent}", f"References: {parent}"]
        subject = f"Re: {subject}"
    else:
        ids.append((f"<{number:x}@example.org>", subject))
        del ids[:-20]
    lines += [f"Subject: {subject}", "MIME-Version: 1.0", "Content-Type: text/plain", ""]
    lines += [" ".join(rng.choice(WORDS) for _ in range(10)) for _ in range(rng.choice((5, 20, 150)))]
    return "\r\n".join(lines).encode() + b"\r\n"


class Imap(load.Client):
    kind = "imap"

    def __init__(self, number, seed=0, **settings):
        super().__init__(number, seed, **settings)
        self.session, self.ids, self.own, self.op = None, [], [], None
        self.created = self.count = 0

    def connect(self):
        self.op = "CONNECT"
        self.session = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        self.session.login(self.user, self.password)
        # What this session made before it lost its connection is still there.
        _, lines = self.session.list("INBOX.", f"own{self.number}x*")
        self.own = [line.decode().rsplit(" ", 1)[1].strip('"') for line in lines if line]
        self.folder = None

    def close(self):
        if self.session:
            session, self.session = self.session, None
            session.logout()

    def step(self):
        if self.random.random() < 0.01:                 # sessions come and go
            self.op = "LOGOUT"
            self.close()
            self.connect()
            return "LOGIN"
        names, weights = zip(*OPERATIONS)
        self.op = self.random.choices(names, weights)[0]
        getattr(self, self.op.lower())()
        return self.op

    def append(self):
        target = self.random.choice(SHARED + tuple(self.own))
        flags = self.random.choice(("", r"\Seen", r"\Flagged \Seen", r"\Answered work"))
        self._ok(self.session.append(target, f"({flags})", None,
                                     message(self.random, self.user, self.ids)))

    def store(self):
        if uids := self._some(6):
            flag = self.random.choice((r"\Seen", r"\Flagged", r"\Answered", "work", "later"))
            sign = self.random.choice("+-")
            self._ok(self.session.uid("STORE", uids, f"{sign}FLAGS", f"({flag})"))

    def copy(self):
        if uids := self._some(4):
            self._ok(self.session.uid("COPY", uids, self._other()))

    def move(self):
        if uids := self._some(4):
            self._ok(self.session.uid("MOVE", uids, self._other()))

    def expunge(self):
        uids = self._some(4 + max(0, (self.count - KEEP_BELOW) // 2))
        if uids:
            self._ok(self.session.uid("STORE", uids, "+FLAGS", r"(\Deleted)"))
            self._ok(self.session.expunge())

    def create(self):
        if len(self.own) >= 4:
            return self.delete()
        self.created += 1
        name = f"INBOX.own{self.number}x{self.created}x{self.random.getrandbits(24):x}"
        self._ok(self.session.create(name))
        self.own.append(name)

    def rename(self):
        if not self.own:
            return self.create()
        self._leave_own()
        old = self.own.pop(self.random.randrange(len(self.own)))
        new = f"INBOX.own{self.number}x{self.random.getrandbits(40):x}"
        self._ok(self.session.rename(old, new))
        self.own.append(new)

    def delete(self):
        if not self.own:
            return self.create()
        self.op = "DELETE"
        self._leave_own()
        self._ok(self.session.delete(self.own.pop(self.random.randrange(len(self.own)))))

    def fetch(self):
        if uids := self._some(10):
            self._ok(self.session.uid("FETCH", uids, "(FLAGS ENVELOPE)"))

    def _ok(self, answer):
        if answer[0] != "OK":
            raise RuntimeError(f"{self.op}: {answer}")
        return answer[1]

    def _leave_own(self):
        """Before a rename or delete: not from inside the folder."""
        if self.folder in self.own:
            self._select("INBOX")

    def _select(self, name):
        self._ok(self.session.select(name))
        self.folder = name

    def _other(self):
        return self.random.choice([f for f in SHARED + tuple(self.own) if f != self.folder])

    def _some(self, most):
        """A UID set of up to `most` messages of a folder, now and then of another one; "" if empty.
        UIDs, since another session may expunge: a UID that is gone is no error."""
        if self.folder is None or self.random.random() < 0.3:
            self._select(self.random.choice(SHARED + tuple(self.own)))
        found = self._ok(self.session.uid("SEARCH", "ALL"))[0].split()
        self.count = len(found)
        picked = self.random.sample(found, min(len(found), self.random.randint(1, most)))
        return ",".join(u.decode() for u in picked)


class Lmtp(load.Client):
    kind, host = "lmtp", "127.0.0.1"                    # a host that begins with / is a socket's path

    def __init__(self, number, seed=0, **settings):
        super().__init__(number, seed, **settings)
        self.session, self.ids = None, []

    def connect(self):
        self.session = smtplib.LMTP(self.host, self.port or 0, timeout=60)
        self._expect(250, self.session.docmd("LHLO", "load.test"))

    def close(self):
        if self.session:
            session, self.session = self.session, None
            session.close()

    def step(self):
        users = self.random.sample(self.users, min(len(self.users), self.random.choice((1, 1, 1, 3))))
        self._expect(250, self.session.mail("sender@example.org"))
        for user in users:
            self._expect(250, self.session.rcpt(user))
        self._expect(354, self.session.docmd("DATA"))
        # Lines of this test's messages never begin with a dot. LMTP answers once a recipient,
        # which smtplib's own data() does not know.
        self.session.send(message(self.random, users[0], self.ids) + b".\r\n")
        for _ in users:
            self._expect(250, self.session.getreply())
        return "LMTP"

    @staticmethod
    def _expect(code, answer):
        if answer[0] != code:
            raise RuntimeError(f"LMTP: {answer}")


def make(server, imap=8, lmtp=2, sessions=1, seed=1):
    """The clients. `imap` sessions in all, `sessions` of them for each user."""
    clients = [Imap(i, seed=seed * 1000 + i, user=server.users[i // sessions % len(server.users)],
                    password=server.password, port=server.imap_port) for i in range(imap)]
    active = sorted({c.user for c in clients}) or server.users
    return clients + [Lmtp(imap + i, seed=seed * 1000 + 500 + i, users=active,
                           port=server.lmtp_port, host=getattr(server, "lmtp_host", Lmtp.host)) for i in range(lmtp)]


def populate(server, seed=1, messages=20):
    """Users with a quota root each, their folders, and some messages to begin with."""
    rng = random.Random(seed)
    admin = imaplib.IMAP4("127.0.0.1", server.imap_port, timeout=60)
    admin.login("cyrus", server.password)
    for user in server.users:
        assert admin.create(f"user.{user}")[0] == "OK", user
        assert admin.setquota(f"user.{user}", "(STORAGE 4000000 MESSAGE 100000)")[0] == "OK", user
    admin.logout()
    for user in server.users:
        session = imaplib.IMAP4("127.0.0.1", server.imap_port, timeout=60)
        session.login(user, server.password)
        for folder in SHARED[1:]:
            assert session.create(folder)[0] == "OK", folder
        ids = []
        for n in range(messages):
            assert session.append(SHARED[n % 3], None, None, message(rng, user, ids))[0] == "OK"
        session.logout()

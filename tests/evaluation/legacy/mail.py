"""Each server as its package configures it: its users, a load for it, and what the files of a snapshot must say.

A kind has
    packages, service, gate, paths      of the server; paths are what a snapshot holds
    prepare                             commands that make its users
    clients(site, seed, run)            a load (lab.load); run is unique
    begin(site)                         before the first load: mailboxes
    judge(taken, acknowledged)          sentences: what contradicts itself in {path: snapshot of it}
    settle(site)                        after a load: until the server has nothing more to do; what is left, or None
"""
import imaplib
import time
from types import SimpleNamespace

import stock

from cyrus import check, load as cyrus_load
from dovecot import checks, load as dovecot_load
from dovecot.checks import mbox
from exim import spool
from lab import procs
from mta import clients, conserve, store, trial
from postfix import queuefile

USERS = tuple(f"u{n}" for n in range(6))
SESSIONS = 6


class Kind:
    def __init__(self, name, paths):
        self.name, self.paths = name, paths
        at = stock.SERVERS[name]
        self.packages, self.service, self.gate, self.port = at.packages, at.service, at.gate, at.port
        self.prepare = self.users(*USERS)
        self.versioned = at.packages[0]

    users = staticmethod(stock.users)
    own_refusals = ()

    def begin(self, site):
        pass

    def settle(self, site):
        time.sleep(1)

    def allowed(self, error):
        """What the server answers under this load, gate or none."""
        return any(word in error for word in self.own_refusals)


class Agent(Kind):
    """A message is nowhere lost, doubled or cut (servers/mta/conserve.py)."""

    def __init__(self, name, paths, read_queue, flush):
        super().__init__(name, paths)
        self.read_queue, self._flush = read_queue, flush
        self.queue, self.store = paths

    def clients(self, site, seed, run):
        shared = {"port": self.port, "run": run, "recipients": [f"{user}@localhost" for user in USERS], "most": 3,
                  "sender": f"{USERS[0]}@localhost", "per_session": 8}
        return [clients.Smtp(n, seed=seed * 1000 + n, **shared) for n in range(SESSIONS)]

    def judge(self, taken, acknowledged):
        queue, found = self.read_queue(taken[self.queue]), store.Contents()
        store.add_mboxes(found, taken[self.store])
        finding = conserve.judge(acknowledged, queue, found)
        return [str(finding)] if finding else []

    def settle(self, site, limit_s=60):
        running = SimpleNamespace(flush=lambda: site.machine.run(*self._flush, check=False))
        return trial.empty(self, running, site.places[self.queue], limit_s)

    def empty(self, site):
        """The mailboxes of a server at rest: the next series begins small."""
        for user in USERS:
            with open(site.places[self.store] / user, "r+b") as box:
                box.truncate(0)


class Dovecot(Kind):
    """Its package's store: an mbox in /var/mail, folders and indexes below ~/mail."""
    own_refusals = ("SERVERBUG", "4.2.0")

    def begin(self, site):
        for user in USERS:
            with imaplib.IMAP4("127.0.0.1", self.port, timeout=60) as session:
                session.login(user, stock.PASSWORD)
                for folder in dovecot_load.BOXES[1:]:
                    session.create(folder)
                for folder in dovecot_load.BOXES:
                    session.select(folder)

    def clients(self, site, seed, run):
        return [dovecot_load.Imap(n, seed=seed * 1000 + n, user=USERS[n // 2], port=self.port, tag=run, mbox=True)
                for n in range(SESSIONS)]

    def judge(self, taken, acknowledged):
        report = checks.Report()
        for user in USERS[:SESSIONS // 2]:
            own = taken["/home"] / user / "mail"
            for folder in dovecot_load.BOXES:
                path = taken["/var/mail"] / user if folder == "INBOX" else own / folder
                if path.exists():
                    report.mailboxes += 1
                    mbox.check_mailbox(user, folder, path, own / ".imap" / folder, report)
        if report.mailboxes < SESSIONS // 2 or not report.messages:
            report.add("LOST", "all", "all", f"{report.mailboxes} mailboxes with {report.messages} messages: nothing to look at")
        return [str(finding) for finding in report.findings]


class Cyrus(Kind):
    users = staticmethod(stock.cyrus)

    def begin(self, site):
        procs.wait_for_port(self.port)
        cyrus_load.populate(self.server(site))

    def server(self, site):
        return SimpleNamespace(users=list(USERS), password=stock.PASSWORD, imap_port=self.port, lmtp_port=None,
                               lmtp_host=str(site.machine.inside("/run/cyrus/socket/lmtp")))

    def clients(self, site, seed, run):
        return cyrus_load.make(self.server(site), SESSIONS, 2, 1, seed)

    def judge(self, taken, acknowledged):
        found = check.tree(taken["/var/lib/cyrus"], taken["/var/spool/cyrus"] / "mail", conversations=False)
        return [str(f) for f in found if f.kind != "database-dirty"]


KINDS = {kind.name: kind for kind in (
    Cyrus("cyrus", ("/var/lib/cyrus", "/var/spool/cyrus")),
    Dovecot("dovecot", ("/home", "/var/mail")),
    Agent("postfix", ("/var/spool/postfix", "/var/mail"), queuefile.read, ("postqueue", "-f")),
    Agent("exim", ("/var/spool/exim4", "/var/mail"), spool.read, ("exim4", "-qff")),
)}

"""Clients that send or read slowly: IMAP APPEND and LMTP DATA in drops, a POP3 RETR.

They come from an address of their own, SLOW: `serving(SLOW, pids)` are the server's
processes that serve them, whom alone a freeze may name when it could not drain.
"""

import imaplib
import os
import poplib
import smtplib
import socket
import time

from lab import load as lab_load

from . import message
from .load import Imap, Lmtp, Refused
from .server import PASSWORD

SLOW = "127.0.0.9"


def from_slow(port, timeout, receive_buffer=None):
    made = socket.socket()
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.settimeout(timeout)
    made.bind((SLOW, 0))
    made.connect(("127.0.0.1", port))
    return made


def serving(address, pids):
    """Those of `pids` that hold a connection from `address`."""
    number = socket.inet_aton(address)[::-1].hex().upper()
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[2].startswith(number + ":")}
    found = set()
    for pid in pids:
        try:
            fds = os.scandir(f"/proc/{pid}/fd")
            found |= {pid for fd in fds if os.readlink(fd.path) in sockets}
        except OSError:
            continue                                    # it or its descriptor is gone
    return found


class SlowImap4(imaplib.IMAP4):
    def _create_socket(self, timeout):
        return from_slow(self.port, timeout)


class SlowPop(poplib.POP3):
    def _create_socket(self, timeout):
        return from_slow(self.port, timeout, receive_buffer=8_192)


class SlowAppend(Imap):
    """APPENDs whose client needs seconds to send the message."""

    kind, piece, wait_s, size = "slow-append", 16_384, 0.1, 600_000

    def connect(self):
        self.imap = SlowImap4("127.0.0.1", self.port, timeout=60)
        self.imap.login(self.user, PASSWORD)
        self.imap.select("INBOX")
        self.box = "INBOX"

    def step(self):
        self.op = "SLOWAPPEND"
        if self.serial and self.mine:                   # keep one
            self.do_expunge()
            self.notes = {}
        self.serial += 1
        ident = f"{self.tag}-slow{self.number}-{self.serial}"
        text = message.make(ident, self.random, self.size)
        self.notes = {"changes": [[self.user, "INBOX", ident, 1]]}
        imap = self.imap
        tag = imap._new_tag()
        imap.send(tag + b" APPEND INBOX {%d}\r\n" % len(text))
        line = imap.readline()
        if not line.startswith(b"+"):
            raise Refused(repr(line))
        for at in range(0, len(text), self.piece):
            imap.send(text[at:at + self.piece])
            time.sleep(self.wait_s)
        imap.send(b"\r\n")
        while not (line := imap.readline()).startswith(tag):
            if not line:
                raise Refused("connection closed")
        if b" OK " not in line:
            raise Refused(repr(line))
        return self.op

    def do_expunge(self):
        (box, uid), _ = self.one()
        super().do_expunge()


class SlowDelivery(Lmtp):
    """LMTP deliveries whose client needs seconds for the DATA."""

    kind, piece, wait_s, size, most = "slow-lmtp", 16_384, 0.1, 400_000, 1

    def connect(self):
        self.lmtp = smtplib.LMTP("127.0.0.1", self.port, timeout=60, source_address=(SLOW, 0))
        self.ask(self.lmtp.docmd("LHLO", "lab"), 250)

    def transmit(self, data):
        for at in range(0, len(data), self.piece):
            self.lmtp.send(data[at:at + self.piece])
            time.sleep(self.wait_s)


class SlowCollect(lab_load.Client):
    """POP3 sessions that read one large message slowly, and delete it at the end."""

    kind, user, size, piece, wait_s, serial = "slow-pop3", "u0", 1_500_000, 32_768, 0.05, 0

    def step(self):
        self.op, self.serial = "SLOWCOLLECT", self.serial + 1
        ident = f"{self.tag}-slow{self.number}-{self.serial}"
        self.notes = {"changes": [[self.user, "INBOX", ident, 1]], "uncertain": True}
        with smtplib.LMTP("127.0.0.1", self.lmtp_port, timeout=60) as lmtp:
            lmtp.sendmail("lab@localhost", [f"{self.user}@localhost"],
                          message.make(ident, self.random, self.size))
        self.notes["changes"].append([self.user, "INBOX", ident, -1])
        pop = SlowPop("127.0.0.1", self.port, timeout=60)
        try:
            pop.user(self.user)
            pop.pass_(PASSWORD)
            for line in pop.list()[1]:
                number, size = map(int, line.split())
                if size >= self.size:
                    pop._putcmd(f"RETR {number}")
                    self.read_slowly(pop, size)
                    pop.dele(number)
            pop.quit()
        finally:
            pop.close()
        return self.op

    def read_slowly(self, pop, size):
        if not (line := pop.file.readline()).startswith(b"+OK"):
            raise Refused(repr(line))
        tail = b""
        while not tail.endswith(b"\r\n.\r\n"):
            if not (got := pop.file.read1(self.piece)):
                raise Refused("connection closed")
            tail = (tail + got)[-8:]
            time.sleep(self.wait_s)


def slow_appends(rig, count=3):
    return [SlowAppend(300 + i, seed=rig.seed * 1000 + 300 + i, tag=f"s{rig.seed}", port=rig.server.imap_port,
                       user=rig.server.users[i % len(rig.server.users)]) for i in range(count)]


def slow_deliveries(rig, count=3):
    return [SlowDelivery(320 + i, seed=rig.seed * 1000 + 320 + i, tag=f"s{rig.seed}", port=rig.server.lmtp_port,
                         users=[rig.server.users[i % len(rig.server.users)]]) for i in range(count)]


def slow_collections(rig, count=3):
    return [SlowCollect(340 + i, seed=rig.seed * 1000 + 340 + i, tag=f"s{rig.seed}", port=rig.server.pop3_port,
                        lmtp_port=rig.server.lmtp_port, user=rig.server.users[i % len(rig.server.users)])
            for i in range(count)]

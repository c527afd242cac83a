"""Awkward company for a freeze: clients that send slowly, and Dovecot's own tools beside the server."""

import os
import subprocess
import time

from lab import load as lab_load

from . import message
from .load import Imap, Refused


class SlowAppend(Imap):
    """APPENDs whose client needs seconds to send the message."""

    kind, piece, wait_s, size = "slow-append", 16_384, 0.1, 600_000

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


class Tool(lab_load.Client):
    """doveadm and dovecot-lda as an admin or an MTA runs them, through `writegate exec` if gated."""

    kind, think_s, serial = "tool", 0.2, 0

    def step(self):
        self.serial += 1
        user, ident = self.random.choice(self.users), f"{self.tag}-t{self.number}-{self.serial}"
        self.op = self.random.choice(("LDA", "PURGE", "STATUS", "SAVE"))
        text = message.make(ident, self.random)
        if self.op == "LDA":
            argv = ["/usr/lib/dovecot/dovecot-lda", "-c", self.conf, "-d", user]
            self.notes = {"changes": [[user, "INBOX", ident, 1]]}
        elif self.op == "SAVE":
            argv = ["/usr/bin/doveadm", "-c", self.conf, "save", "-u", user, "-m", "Work"]
            self.notes = {"changes": [[user, "Work", ident, 1]]}
        elif self.op == "PURGE":
            argv = ["/usr/bin/doveadm", "-c", self.conf, "purge", "-u", user]
        else:
            argv = ["/usr/bin/doveadm", "-c", self.conf, "mailbox", "status", "-u", user, "messages", "*"]
        done = subprocess.run(self.prefix + argv, input=text, env=self.env, capture_output=True, timeout=60)
        if done.returncode:
            raise Refused(f"{argv[0]} {argv[3]}: {done.returncode} {done.stderr[-200:]!r}")
        return self.op


def slow_appends(rig, count=3):
    return [SlowAppend(300 + i, seed=rig.seed * 1000 + 300 + i, tag=f"s{rig.seed}", port=rig.server.imap_port,
                       user=rig.server.users[i % len(rig.server.users)]) for i in range(count)]


def tools(rig, count=2):
    prefix, env = [], dict(os.environ)
    if rig.gate:
        prefix = [str(rig.gate.command), "exec", "-g", rig.gate.name, "--"]
        env.update(rig.gate.settings())
    return [Tool(400 + i, seed=rig.seed * 1000 + 400 + i, tag=f"s{rig.seed}", users=rig.server.users,
                 conf=rig.server.conf, prefix=prefix, env=env) for i in range(count)]

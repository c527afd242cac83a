"""Dovecot's own command-line tools beside the running server: doveadm and dovecot-lda."""

import os
import subprocess

from lab import load as lab_load

from . import message
from .load import Refused


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


def tools(rig, count=2):
    prefix, env = [], dict(os.environ)
    if rig.gate:
        prefix = [str(rig.gate.command), "exec", "-g", rig.gate.name, "--"]
        env.update(rig.gate.settings())
    return [Tool(400 + i, seed=rig.seed * 1000 + 400 + i, tag=f"s{rig.seed}", users=rig.server.users,
                 conf=rig.server.conf, prefix=prefix, env=env) for i in range(count)]

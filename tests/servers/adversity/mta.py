"""The same scenario against a bare MTA and against a gated one that is frozen all the time.

    answers = both(test, EXIM, scenario, place=small_volume)
    scenario(mail): a list of what clients, log and store said; mail is a Mail

Equal answers are what "unchanged" means. What the test itself does to the store is done while
nobody is frozen (`mail.unfrozen()`): a freeze would call it what it is, an escape.
"""
import contextlib
import dataclasses
import random
import re
import smtplib
import subprocess
import threading
import time
from pathlib import Path

from exim import server as exim
from lab import gate as lab_gate, procs
from mta import message, report, root, store as stores
from postfix import server as postfix

from .dovecot import Freezes, alike, frozen, judge, limited_volume, small_volume

LIMIT_S = 60


@dataclasses.dataclass
class Mta:
    name: str
    start: object
    mbox: str                       # one recipient with an mbox, and one with a maildir
    maildir: str
    deferred: re.Pattern            # why a delivery was put off, in the server's log
    stale_s: int                    # a dotlock last written so long ago ...
    rests_s: int                    # ... and left alone for so long is nobody's any more

    @property
    def profile(self):
        return report.PROFILES / (self.name + ".conf")


def start_exim(work, queue, store, gate):
    """With one mbox more, whose dotlocks grow stale in 2 s, by the time of their last change, which
    nobody can put back (30 minutes as shipped)."""
    return exim.Exim(work, queue, store, gate=gate, routers="""
stale:
  driver = accept
  domains = local.test
  local_parts = s0
  transport = stale
""", transports="""
stale:
  driver = appendfile
  file = %s/mbox/s0
  user = mail
  group = mail
  mode = 0660
  lockfile_timeout = 2s
  envelope_to_add
  return_path_add
""" % store)


EXIM = Mta("exim", start_exim, "s0@local.test", "d0@local.test",
           re.compile(r" == \S+ .*defer \(\d+\): ([^\n]*)"), 7200, 4)
POSTFIX = Mta("postfix", postfix.Postfix, "l0@local.test", "v2@virtual.test",
              re.compile(r"status=deferred \((.*)\)"), 1000, 0)


class Mail:
    """The server as its clients, its log and its store show it."""

    def __init__(self, mta, running, gate, store):
        self.mta, self.server, self.gate, self.store = mta, running, gate, Path(store)
        self.random, self.serial, self.freezes, self.outcomes = random.Random(7), 0, None, []

    def freeze_on(self):
        if self.gate:
            self.freezes = Freezes(self.gate)
            self.freezes.start()

    def freeze_off(self):
        if self.freezes:
            self.freezes.stop()
            self.outcomes += self.freezes.outcomes
            self.freezes = None

    @contextlib.contextmanager
    def unfrozen(self):
        self.freeze_off()
        yield
        self.freeze_on()

    @contextlib.contextmanager
    def held(self):
        """While one freeze holds everybody, if there is a gate; its verdict is nobody's concern."""
        with self.unfrozen():
            # (Also until the delivery has come to the barrier.)
            with frozen(self.gate, 0.4) if self.gate else contextlib.nullcontext():
                yield

    def send(self, *recipients, size=3_000):
        self.serial += 1
        data = message.make("adversity.%d" % self.serial, "sender@load.test", recipients,
                            self.random, size)
        try:
            with smtplib.SMTP("127.0.0.1", self.server.port, timeout=LIMIT_S) as smtp:
                refused = smtp.sendmail("sender@load.test", recipients, data)
        except smtplib.SMTPException as error:
            return "SMTP %s" % alike(error)
        return "SMTP %s" % (alike(refused) if refused else 250)

    def reasons(self, least=1):
        """Why deliveries were put off, once there are so many lines about it."""
        def found():
            return self.mta.deferred.findall(self.server.log())
        until(lambda: len(found()) >= least)
        return sorted({alike(reason) for reason in found()})

    def delivered(self, copies):
        """Flushed until the store holds so many: "RECIPIENT x COPIES" of each, and what is cut."""
        def contents():
            return stores.read(str(self.store))

        def done():
            if sum(contents().copies.values()) >= copies:
                return True
            self.server.flush()
            time.sleep(1)
            return False
        until(done)
        time.sleep(0.5)                             # a second copy would come now
        now = contents()
        said = ["%s to %s x %d" % (*pair, n) for pair, n in sorted(now.copies.items())]
        return said + ["cut: %d" % len(now.cut)]

    def box(self):
        return self.store / "mbox" / self.mta.mbox.partition("@")[0]


def until(condition):
    deadline = time.monotonic() + LIMIT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _filled(place, size):
    def filled(work, stack):
        store = place(work, stack)
        with open(store / "ballast", "wb") as ballast:
            ballast.write(random.Random(1).randbytes(size))
        subprocess.run(["sync", "-f", store], check=True)
        return store
    return filled


full_volume = _filled(small_volume, 6 * 2**20 - 100_000)
used_up_quota = _filled(limited_volume, 4 * 2**20 - 200_000)


def both(test, mta, scenario, place=None):
    """What it said, the same bare and gated; the freezes are judged here."""
    said = {}
    for gated in (False, True):
        with procs.workspace("adversity") as work, contextlib.ExitStack() as stack:
            queue, store = work / "queue", work / "store"
            queue.mkdir()
            store.mkdir()
            if place:
                store = place(work, stack)
            gate = None
            if gated:
                gate = lab_gate.Gate(work, paths=[queue, store])
                gate.profile = mta.profile
            try:
                running = stack.enter_context(mta.start(work, queue, store, gate=gate))
            except root.Unavailable as why:
                test.skipTest(str(why))
            mail = Mail(mta, running, gate, store)
            mail.freeze_on()
            try:
                said[gated] = scenario(mail)
            finally:
                mail.freeze_off()
            if gated:
                judge(test, gate, mail.outcomes)
    test.assertEqual(said[False], said[True], "bare and gated differ")
    return said[True]


def in_background(function, *args):
    """(thread, list that gets the answer)"""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function(*args)), daemon=True)
    thread.start()
    return thread, answers

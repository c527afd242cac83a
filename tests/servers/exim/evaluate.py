"""Exim 4.96 under the gate: spool and store on two volumes, numbered mail conserved."""
import contextlib
import fcntl
import threading
import time

from mta import report, trial

from . import server, spool

SUMMARY = __doc__


def start(work, queue, store, gate, remote_port, name):
    return server.Exim(work, queue, store, gate=gate, remote=remote_port, name=name)


SERVER = trial.Server("exim", start, spool.read, server.RECIPIENTS,
                      "b0@local.test")
PROFILE = report.PROFILES / "exim.conf"

unavailable = report.unavailable
arguments = report.arguments


@contextlib.contextmanager
def busy_mbox(_running, store):
    """Somebody else (a mail reader) locks an mbox for 1 s in 2: deliveries sleep 3 s and retry."""
    box, ended = store / "mbox" / "b0", threading.Event()

    def reader():
        while not ended.wait(1.0):
            if box.exists():
                with open(box, "r+b") as held:
                    fcntl.lockf(held, fcntl.LOCK_EX)
                    time.sleep(1.0)
    thread = threading.Thread(target=reader, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def parts(count, control, restores):
    gated = {"profile": str(PROFILE)}
    few = max(3, count // 20)              # in each order: 20 freezes of 200
    one = trial.Options
    return [
        report.Part("control", one(count=control, gated=False), must="red"),
        report.Part("load", one(count=count, restores=restores, **gated), p99_ms=100),
        report.Part("one-recipient", one(count=few, most=1, **gated), p99_ms=100),
        report.Part("bounces", one(count=few, bounces=True, **gated), must="drain"),
        report.Part("slow-data", one(count=few, slow_clients=4, **gated), must="drain"),
        report.Part("slow-remote", one(count=few, remote_delay_s=3.0, **gated), must="drain"),
        report.Part("hung-remote", one(count=few, remote_hang="DOT", **gated), must="drain"),
        report.Part("busy-mbox", one(count=few, beside=busy_mbox, **gated), must="drain"),
        report.Part("one-mbox", one(count=few, recipients=("b0@local.test",), **gated)),
        report.Part("one-maildir", one(count=few, recipients=("d0@local.test",), **gated)),
    ]


def run(options, work):
    return report.run(SERVER, parts(options.count, options.control, options.restores), options, work)

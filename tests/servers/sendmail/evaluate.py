"""Sendmail 8.17 and procmail under the gate: queue and store on two volumes, mail conserved."""
from mta import report, trial

from . import queuefiles, server

SUMMARY = __doc__


def start(work, queue, store, gate, remote_port, name):
    return server.Sendmail(work, queue, store, gate=gate, remote=remote_port, name=name)


def start_brisk(work, queue, store, gate, remote_port, name):
    """A procmail that finds an mbox locked sleeps one second instead of eight."""
    return server.Sendmail(work, queue, store, gate=gate, remote=remote_port, name=name,
                           procmailrc="LOCKSLEEP=1\n")


SERVER = trial.Server("sendmail", start, queuefiles.read, server.RECIPIENTS, "b0@local.test")
BRISK = trial.Server("sendmail", start_brisk, queuefiles.read, server.RECIPIENTS, "b0@local.test")
PROFILE = report.PROFILES / "sendmail.conf"

unavailable = report.unavailable
arguments = report.arguments


def parts(count, control, restores):
    gated = {"profile": str(PROFILE)}
    few = max(3, count // 10)
    one = trial.Options
    boxes = tuple(u + "@local.test" for u in server.MBOX)
    maildirs = tuple(u + "@local.test" for u in server.MAILDIR)
    return [
        report.Part("control", one(count=control, recipients=maildirs, gated=False), must="red"),
        report.Part("load", one(count=count, recipients=maildirs, restores=restores, **gated),
                    must="drain"),
        report.Part("mbox-control", one(count=few, recipients=boxes, smtp_clients=1, most=1,
                                        gated=False), must="shown"),
        # A procmail that finds its mbox locked sleeps 8 s, and Sendmail's section with it; one that
        # finds it empty sleeps 1 s, so it is not emptied between batches.
        report.Part("mbox", one(count=count, recipients=boxes, smtp_clients=1, most=1,
                                batch=1000, **gated),
                    must="shown"),
        report.Part("mbox-locksleep", one(count=count, recipients=boxes, smtp_clients=1, most=1,
                                          batch=1000, **gated), server=BRISK),
        report.Part("mbox-crowd", one(count=few, recipients=boxes, **gated), must="shown"),
        report.Part("slow-data", one(count=few, recipients=maildirs, slow_clients=4, **gated)),
        report.Part("slow-remote", one(count=few, recipients=maildirs, remote_delay_s=0.5, **gated),
                    must="shown"),
    ]


def run(options, work):
    return report.run(SERVER, parts(options.count, options.control, options.restores),
                      options, work)

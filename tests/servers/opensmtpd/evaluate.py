"""OpenSMTPD 6.8 under the gate: queue and store on two volumes, numbered mail conserved."""
from mta import report, trial

from . import queuedir, server

SUMMARY = __doc__


def start(work, queue, store, gate, remote_port, name):
    return server.OpenSmtpd(work, queue, store, gate=gate, remote=remote_port, name=name)


def start_mbox(work, queue, store, gate, remote_port, name):
    """One delivery at a time to each user: mail.local of two at once spoils an mbox by itself."""
    return server.OpenSmtpd(work, queue, store, gate=gate, remote=remote_port, name=name,
                            extra="mda limit max-session-per-user 1")


SERVER = trial.Server("opensmtpd", start, queuedir.read, server.RECIPIENTS, "d0@local.test")
MBOX = trial.Server("opensmtpd", start_mbox, queuedir.read, server.MBOXES, "b0@local.test")
PROFILE = report.PROFILES / "opensmtpd.conf"

unavailable = report.unavailable
arguments = report.arguments


def parts(work, count, control, restores):
    gated = {"profile": str(PROFILE)}
    few = max(3, count // 10)
    one, mboxes = trial.Options, tuple(server.MBOXES)
    return [
        report.Part("control", one(count=control, gated=False), must="red"),
        report.Part("load", one(count=count, restores=restores, **gated), must="drain"),
        report.Part("unordered", one(count=count, profile=report.without_order(PROFILE, work)), must="shown"),
        report.Part("mbox-control", one(count=few, gated=False), must="red", server=MBOX),
        report.Part("mbox", one(count=count, **gated), must="drain", server=MBOX),
        report.Part("mbox-crowd-control", one(count=few, gated=False, recipients=mboxes),
                    must="shown"),
        report.Part("mbox-crowd", one(count=few, recipients=mboxes, **gated), must="shown"),
        report.Part("slow-data", one(count=few, slow_clients=4, **gated), must="drain"),
        report.Part("slow-remote", one(count=few, remote_delay_s=0.5, **gated), must="drain"),
        report.Part("one-maildir", one(count=few, recipients=("d0@local.test",), **gated)),
    ]


def run(options, work):
    return report.run(SERVER, parts(work, options.count, options.control, options.restores),
                      options, work)

"""Courier 1.0 with maildrop under the gate: queue and store on two volumes, mail conserved."""
from mta import report, trial

from . import queuedir, server

SUMMARY = __doc__


def start(work, queue, store, gate, remote_port, name):
    return server.Courier(work, queue, store, gate=gate, remote=remote_port, name=name)


SERVER = trial.Server("courier", start, queuedir.read, server.RECIPIENTS, "d0@local.test")
PROFILE = report.PROFILES / "courier.conf"

unavailable = report.unavailable
arguments = report.arguments


def parts(work, count, control, restores):
    gated = {"profile": str(PROFILE)}
    few = max(3, count // 10)
    one = trial.Options
    return [
        report.Part("control", one(count=control, gated=False), must="red"),
        report.Part("load", one(count=count, restores=restores, **gated), must="drain"),
        report.Part("unordered", one(count=count, profile=report.without_order(PROFILE, work)), must="shown"),
        report.Part("slow-data", one(count=few, slow_clients=4, **gated), must="drain"),
        report.Part("one-mbox", one(count=few, recipients=("b0@local.test",), **gated)),
        report.Part("one-maildir", one(count=few, recipients=("d0@local.test",), **gated)),
    ]


def run(options, work):
    return report.run(SERVER, parts(work, options.count, options.control, options.restores),
                      options, work)

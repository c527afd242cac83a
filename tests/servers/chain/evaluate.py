"""Postfix or Exim handing to Dovecot by LMTP, one gate over both; queue and store on two volumes."""
import functools
import os
from pathlib import Path

from dovecot import server as dovecot
from exim import spool
from lab import procs
from mta import report, trial
from postfix import queuefile

from . import server

SUMMARY = __doc__
QUEUES = {"postfix": queuefile.read, "exim": spool.read}

def unavailable(options=None):
    return report.unavailable(options) or (
        None if dovecot.install() else "Dovecot cannot be installed here")


def arguments(parser):
    report.arguments(parser)
    parser.set_defaults(count=30, control=10)
    parser.add_argument("--mta", choices=sorted(QUEUES), default="postfix")
    parser.add_argument("--together", type=int, default=100, metavar="N",
                        help="recipients in one LMTP transaction (default %(default)s)")
    parser.add_argument("--format", choices=("maildir", "mdbox"), default="maildir")


def start(mta, fmt, together, lmtp_port, work, queue, store, gate, remote_port, name):
    return server.Chain(mta, fmt, work, queue, store, gate=gate, remote=remote_port,
                        name=name, together=together,
                        lmtp_port=lmtp_port if name == "root" else None)


def trial_server(mta, fmt, together=100, lmtp_port=None):
    return trial.Server("chain", functools.partial(start, mta, fmt, together, lmtp_port), QUEUES[mta],
                        server.RECIPIENTS, "u0@chain.test", read_store=server.read_store,
                        empties=False)


def profile(mta, work, lmtp_port):
    """One gate has one profile: both servers' lines, and where the store listens."""
    path = Path(work) / "both.conf"
    path.write_text("".join((report.PROFILES / (name + ".conf")).read_text()
                            for name in (mta, "dovecot"))
                    + "hand-over-to = 127.0.0.1:%d\n" % lmtp_port)
    return str(path)


def parts(options, work, lmtp_port):
    # Dovecot keeps what it has: one batch, so that each message counts once.
    whole = {"batch": 10 ** 6}
    return [
        report.Part("control", trial.Options(count=options.control, gated=False, **whole),
                    must="red"),
        report.Part("load", trial.Options(count=options.count, restores=options.restores,
                                          profile=profile(options.mta, work, lmtp_port), **whole),
                    must="drain"),
    ]


def run(options, work):
    os.chmod(work, 0o755)
    port = procs.free_port()
    return report.run(trial_server(options.mta, options.format, options.together, port),
                      parts(options, work, port), options, work)

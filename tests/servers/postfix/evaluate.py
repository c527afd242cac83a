"""Postfix 3.7 under the gate: queue and store on two volumes, numbered mail conserved."""
import contextlib
import dataclasses
import functools
import smtplib
import ssl
from pathlib import Path

from lab import procs
from mta import clients, report, trial

from . import filtered, queuefile, server

SUMMARY = __doc__


def start(work, queue, store, gate, remote_port, name):
    return server.Postfix(work, queue, store, gate=gate, remote=remote_port, name=name)


# So that tlsmgr has no work, and no caches that it holds locked for life.
WITHOUT_TLS = "".join(f"{side}_tls_{key} =\n" for side in ("smtp", "smtpd") for key in ("session_cache_database", "security_level"))


def start_without_tls(work, queue, store, gate, remote_port, name):
    return server.Postfix(work, queue, store, gate=gate, remote=remote_port, name=name, extra=WITHOUT_TLS)


SERVER = trial.Server("postfix", start, queuefile.read, server.RECIPIENTS,
                      "l0@local.test")
PROFILE = report.PROFILES / "postfix.conf"

unavailable = report.unavailable
arguments = report.arguments


# The lines that profiles/postfix.conf has ready for this.
FILTER = ("hand-over = */postfix/*smtp", "first = */postfix/*smtp", "hand-over-to = 127.0.0.1:%d")


@contextlib.contextmanager
def with_tls_caches(running, _store):
    """tlsmgr holds its caches of sessions locked for life, and writes to them: what is drained is drained all the same."""
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    # So the session is kept by the server.
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.options |= ssl.OP_NO_TICKET
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.starttls(context=old)
        client.noop()
    yield
    if not running.holds_its_caches():
        raise RuntimeError("tlsmgr has not locked its cache")


def start_filtered(port, work, queue, store, gate, remote_port, name):
    # A restored server stands beside the first.
    return filtered.Filtered(work, queue, store, gate=gate, remote=remote_port, name=name,
                             filter_port=port if name == "root" else None)


def with_filter(work, port):
    path = Path(work) / "filtered.conf"
    path.write_text(PROFILE.read_text() + "\n".join(FILTER) % port + "\n")
    return str(path)


def submitters(running, shared):
    """Local submission: sendmail, postdrop (set-group-ID), pickup."""
    return [clients.Command(200 + n, seed=200 + n, command=running.sendmail_argv(), env=None,
                            think_s=0.05, **shared) for n in range(2)]


def parts(work, count, control, restores, only=()):
    port = procs.free_port()
    filtering = dataclasses.replace(SERVER, start=functools.partial(start_filtered, port))
    gated = {"profile": str(PROFILE)}
    few = max(3, count // 20)              # in each order: 20 freezes of 200
    one = trial.Options
    return [
        report.Part("control", one(count=control, gated=False), must="red"),
        report.Part("load", one(count=count, restores=restores, beside=with_tls_caches, **gated), p99_ms=60),
        # What builds can be measured by that do not know tlsmgr's caches for what they are (lab/beside.py).
        report.Part("without-tls", one(count=count if "without-tls" in only else few, **gated), p99_ms=60,
                    server=dataclasses.replace(SERVER, start=start_without_tls)),
        report.Part("bounces", one(count=few, bounces=True, **gated), must="drain"),
        report.Part("slow-data", one(count=few, slow_clients=4, **gated), must="drain"),
        report.Part("slow-remote", one(count=few, remote_delay_s=3.0, **gated), must="drain"),
        report.Part("hung-remote", one(count=few, remote_hang="DOT", **gated), must="drain"),
        report.Part("sendmail", one(count=few, extra_clients=submitters, **gated), must="drain"),
        report.Part("filter-unnamed", one(count=few, **gated), must="shown", server=filtering),
        report.Part("filter", one(count=few, profile=with_filter(work, port)), must="drain",
                    server=filtering),
        report.Part("one-mbox", one(count=few, recipients=("l0@local.test",), **gated)),
        report.Part("one-maildir", one(count=few, recipients=("v2@virtual.test",), **gated)),
    ]


def run(options, work):
    return report.run(SERVER, parts(work, options.count, options.control, options.restores, options.only or ()),
                      options, work)

"""One cell: one server under load, so many snapshots in one way, each judged by the server's own checker.

The rigs, loads and checkers are those of tests/servers/; lab/ways.py knows the ways. Here is only what makes their
records alike.
"""
import argparse
import importlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cyrus import rig as cyrus_rig, server as cyrus_server, snapshots as cyrus_snapshots
from dovecot import rig as dovecot_rig, server as dovecot_server, snapshots as dovecot_snapshots
from lab import evaluation, load, stats, table, volume, ways
from mta import report, root, trial

from . import toy as toys

LIMITS = argparse.Namespace(limit="5s", drain="3s", retries=0)


@dataclass
class Server:
    title: str
    cell: object                    # (folder, way, count, seed, progress) -> result
    unavailable: object
    packages: tuple


def result(moments, torn, taken, records, per_second, problems):
    """What every server's cell says. A snapshot that the way itself did not trust, or did not take, is not judged."""
    windows = [m.window for m in moments]
    wishes = load.wishes(records)
    inside, outside = (load.latencies_ms(wishes, windows, outside=other) for other in (False, True))
    return {"snapshots": len(moments), "taken": taken, "torn": torn,
            "torn_interval": [round(end, 4) for end in stats.wilson(torn, taken)],
            "verdicts": dict(Counter(m.verdict for m in moments if m.verdict)),
            "drains_ms": _all(m.drain_ms for m in moments), "held_ms": _all(m.held_ms for m in moments),
            "client_ms_in_window": stats.summary(inside), "client_ms_outside": stats.summary(outside),
            "clients_failed": sum(bool(r["error"]) for r in records),
            "operations_per_second": per_second, "problems": problems}


def _all(values):
    return [round(value, 2) for value in values if value is not None]


def cyrus(folder, way, count, seed, progress):
    profile = None if way.locks else ways.counting_profile(folder)
    with cyrus_rig.Rig(folder, way.gated, seed=seed, profile=profile, way=way) as r:
        # One batch: judged when all are taken.
        s = cyrus_snapshots.take(r, count, progress, LIMITS, batch=count)
        records = r.load.records()
    taken = sum(t.get("exit") in (None, 0) for t in s.taken)
    problems = [f"{s.quiet_findings} contradictions on a quiet server"] if s.quiet_findings else []
    return result(r.moments, s.torn, taken, records, round(s.operations / s.seconds, 1), problems)


def dovecot(fmt):
    def cell(folder, way, count, seed, progress):
        profile = dovecot_rig.PROFILE if way.locks else counting_file(folder)
        with dovecot_rig.Rig(folder, fmt, way.gated, seed=seed, profile=profile, way=way) as r:
            s = dovecot_snapshots.take(r, count, progress, LIMITS, more=False)
            records = r.load.records()
        return result(r.moments, s["torn"], s["judged"], records, s["operations_per_second"], s["quiet_findings"][:5])
    return cell


def agent(name):
    """A mail transfer agent: half of the snapshots store first, half queue first."""
    def cell(folder, way, count, seed, progress):
        module = importlib.import_module(f"{name}.evaluate")
        profile = module.PROFILE if way.locks else counting_file(folder)
        options = trial.Options(count=max(1, count // 2), batch=count, gated=way.gated, seed=seed, profile=str(profile), way=way)
        with trial.Trial(module.SERVER, options, folder / "trial", progress=progress) as t:
            t.run()
            s = t.summary()
        torn = sum(bool(one.finding) for one in t.snapshots if one.moment.exit in (None, 0))
        return result([one.moment for one in t.snapshots], torn, s["taken"], t.records, s["messages_per_s"], t.problems[:5])
    return cell


def toy(folder, way, count, seed, progress):
    return toys.make(folder, way, count, seed, progress, result)


def counting_file(folder):
    file = Path(folder) / "counting.conf"
    file.write_text("".join(f"{key} = {value}\n" for key, values in ways.counting_profile(folder).items() for value in values))
    return file


def _dovecot_missing():
    return volume.unavailable() or (None if dovecot_server.install() else f"not installed: {dovecot_server.missing()}")


def _cyrus_missing():
    return cyrus_server.unavailable() or volume.unavailable()


TOY = "toy"
SERVERS = {
    "cyrus": Server("Cyrus", cyrus, _cyrus_missing, ("cyrus-common",)),
    "dovecot": Server("Dovecot, mdbox", dovecot("mdbox"), _dovecot_missing, ("dovecot-core",)),
    "postfix": Server("Postfix", agent("postfix"), report.unavailable, ("postfix",)),
    "exim": Server("Exim", agent("exim"), report.unavailable, ("exim4-base",)),
    "dovecot-maildir": Server("Dovecot, maildir", dovecot("maildir"), _dovecot_missing, ("dovecot-core",)),
    "opensmtpd": Server("OpenSMTPD", agent("opensmtpd"), report.unavailable, ("opensmtpd",)),
    "courier": Server("Courier", agent("courier"), report.unavailable, ("courier-mta",)),
    TOY: Server("A toy", toy, volume.unavailable, ()),
}
USUAL = ("cyrus", "dovecot", "postfix", "exim")


def run(server, way, count, seed, folder):
    """The record of one cell."""
    facts = {**evaluation.host(), "packages": {p: evaluation.package_version(p) for p in ("libc6", *SERVERS[server].packages)}}
    with table.Progress(f"{server}, {way}", count) as progress:
        found = SERVERS[server].cell(folder, ways.WAYS[way], count, seed, progress)
    return {"environment": facts, "result": found}


def main(argv):
    """A cell in a process of its own: a server that hangs ends with it."""
    from lab import procs
    parser = argparse.ArgumentParser(prog="scripts/evaluate cell", description=__doc__)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("way", choices=ways.WAYS)
    parser.add_argument("--snapshots", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", required=True)
    options = parser.parse_args(argv)
    why = SERVERS[options.server].unavailable() or ways.WAYS[options.way].unavailable()
    if why:
        print(f"skipped: {why}")
        return evaluation.SKIPPED
    with procs.workspace(f"{options.server}-{options.way}") as work:
        folder = work / "cell"
        folder.mkdir(mode=0o755)
        try:
            found = run(options.server, options.way, options.snapshots, options.seed, folder)
        except root.Unavailable as missing:
            print(f"skipped: {missing}")
            return evaluation.SKIPPED
    table.write_json(options.json, found)
    return 0

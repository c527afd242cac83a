#!/usr/bin/env python3
"""By hand: a real server that was never set up, under load, frozen by `freeze --pid`; its own checker tells whole from torn.

  real_servers.py SERVER [N] [DRAIN]   cyrus, dovecot-maildir, dovecot-mbox, dovecot-sdbox, dovecot-mdbox, postfix, exim,
                                       opensmtpd, sendmail, courier; or all

DRAIN: how long a freeze may take to come to rest (3s). Prints for each how many of N (100) freezes came to rest, how many snapshots are torn, and how long it took. Needs root,
and what tests/servers needs. WRITEGATE_BIN_DIR as ever.
"""
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS), str(TESTS / "servers")]

from lab import gate as gates, procs, stats, table  # noqa: E402 (the paths come first)

PROFILES = TESTS.parent / "profiles"
# What idle Cyrus services hold around accept; the others' profiles name theirs.
CYRUS = ("--lifetime-lock", "*/socket/*.lock")
BATCH = 25
DRAIN, LIMIT = "3s", "15s"


@contextlib.contextmanager
def group(pid):
    """A control group of the server's own, as a unit is: who was made by one that is gone (Exim's deliveries) is in it too."""
    mount = next(Path(p) for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd") if Path(p, "cgroup.procs").exists())
    made = mount / f"writegate-hold-{os.getpid()}"
    made.mkdir()
    for member in (pid, *procs.descendants([pid])):
        (made / "cgroup.procs").write_text(str(member))
    try:
        yield made
    finally:
        for member in made.joinpath("cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (mount / "cgroup.procs").write_text(member)
        made.rmdir()


class AtRest(gates.Gate):
    """Freezes as a gate does in the runs of tests/servers, and is none: `--pid`, or `--cgroup`."""

    def __init__(self, work, whom, paths, options):
        super().__init__(work, paths=paths)
        self.whom, self.options, self.outcomes = ("--cgroup" if isinstance(whom, Path) else "--pid", str(whom)), options, []

    def freeze_argv(self, command, limit=None, drain=None, retries=1, report=None, extra=()):
        return [str(self.command), "freeze", *self.whom, *self.options, "--paths", ":".join(self.paths), "-t", LIMIT,
                "--drain", DRAIN, "--retries", "1", "--report", str(report), "--", *map(str, command)]

    def settings(self):
        return {}

    def freeze(self, command, **options):
        outcome = super().freeze(command, timeout_s=120, **{**options, "report": True})
        self.outcomes.append(outcome)
        if outcome.exit:
            print(f"exit {outcome.exit}: {outcome.stderr.strip()[-600:]}", flush=True)
        return outcome

    def summary(self):
        good = [outcome for outcome in self.outcomes if outcome.exit == 0]
        exits = {code: sum(o.exit == code for o in self.outcomes) for code in sorted({o.exit for o in self.outcomes})}
        each = [one for o in good for one in o.record["gates"][0]["held_at_rest"]]
        rest = [o.record["gates"][0]["drain_ns"] / 1e6 for o in good]
        held = [o.record["gates"][0]["at_rest"] for o in good]
        return (f"{len(good)} of {len(self.outcomes)} at rest (exits {exits}); at rest after, ms: {stats.summary(rest)}; processes: "
                f"{min(held, default=0)} to {max(held, default=0)}; {sum(one['interrupted'] for one in each)} EINTR, "
                f"{sum(one['short'] for one in each)} short; load {os.getloadavg()[0]:.1f}")


def cyrus(work, count):
    from servers.cyrus import rig as rigs, server
    if why := server.unavailable():
        return why
    with rigs.Rig(work, gated=False) as rig:
        gate = AtRest(work, rig.server.service.process.pid, rig.subvolumes, CYRUS)
        torn = judged = 0
        for first in range(0, count, BATCH):
            names = [f"s{number}" for number in range(first, min(count, first + BATCH))]
            for name in names:
                time.sleep(0.3)
                gate.freeze(rig.snapshot_command(name))
            rig.load.pause()
            for name in names:
                findings = rig.judge(name)
                judged += findings is not None
                torn += bool(findings)
                if findings:
                    print(f"{name}: {findings}", flush=True)
            rig.load.resume()
        return f"{torn} torn of {judged}; {gate.summary()}"


def dovecot(fmt):
    def run(work, count):
        from dovecot import rig as rigs, server, snapshots
        if not server.install():
            return "not installed"
        with rigs.Rig(work, fmt, gated=False) as rig, table.Progress(fmt, count) as progress:
            options = ("--profile", str(PROFILES / "dovecot.conf"))
            gate = rig.gate = AtRest(work, rig.server.service.process.pid, [rig.mail, rig.index], options)
            found = snapshots.take(rig, count, progress, SimpleNamespace(limit="10s", drain="3s", retries=1))
        return (f"{found['torn']} torn of {found['judged']}: {found['findings_in_snapshots']}; at rest in the end: "
                f"{found['quiet_findings']}; complaints {len(found['complaints'])}, client errors {found['client_errors']}; {gate.summary()}")
    return run


def mta(name):
    def run(work, count):
        from mta import trial
        server = __import__(f"{name}.evaluate").evaluate.SERVER
        options = trial.Options(count=(count + 1) // 2, gated=False)
        with table.Progress(name, count) as progress, trial.Trial(server, options, work / "trial", progress=progress) as one, group(one.running.service.process.pid) as cgroup:
            held = ("--profile", str(PROFILES / f"{name}.conf"))
            gate = one.gate = AtRest(work, cgroup, [one.queue, one.store], held)
            one.run()
            found = one.summary()
        return f"{found['by_order']}; problems {found['problems'][:3]}; errors {found['errors']}; {gate.summary()}"
    return run


SERVERS = {"cyrus": cyrus, **{f"dovecot-{fmt}": dovecot(fmt) for fmt in ("maildir", "mbox", "sdbox", "mdbox")},
           **{name: mta(name) for name in ("postfix", "exim", "opensmtpd", "sendmail", "courier")}}


def main():
    global DRAIN
    arguments = sys.argv[1:]
    names = list(SERVERS) if arguments[:1] == ["all"] else arguments[:1]
    if not names or any(name not in SERVERS for name in names):
        sys.exit(__doc__)
    count = int(arguments[1]) if len(arguments) > 1 else 100
    DRAIN = arguments[2] if len(arguments) > 2 else DRAIN
    for name in names:
        with tempfile.TemporaryDirectory(prefix="writegate-hold-", dir="/var/tmp") as work:
            os.chmod(work, 0o755)
            print(f"{name}: {SERVERS[name](Path(work), count)}", flush=True)


if __name__ == "__main__":
    main()

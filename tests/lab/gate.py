"""The gate as a test sees it: a service's environment, one freeze, and what the freeze said.

    g = Gate(work, name="mail", paths=[tree])
    Service(argv, env=g.environment())              # the service under the library
    o = g.freeze(["btrfs", ...], limit="5s", drain="3s", retries=0)
    o.exit, o.verdict, o.drain_ms, o.held_ms, o.consistent, o.record (the --report), o.stderr

The binaries are those of $WRITEGATE_BIN_DIR, else target/release of this checkout.
"""
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
OK, UNGATED_WRITER, NO_PROCESS, NOT_DRAINED, STALE_TOKEN, EXPIRED = 0, 65, 69, 75, 76, 124

_LINE = re.compile(r"^writegate: (gate=.*\bverdict=.*)$", re.M)
_DURATION = re.compile(r"^([0-9.]+)(ns|us|µs|ms|s|m)$")
_TO_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def binaries():
    """(libwritegate.so, writegate) as Paths. Says what to do when they are not there."""
    folder = Path(os.environ.get("WRITEGATE_BIN_DIR") or CHECKOUT / "target" / "release")
    pair = folder / "libwritegate.so", folder / "writegate"
    for file in pair:
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: run `cargo build --release`, "
                                    "or set WRITEGATE_BIN_DIR")
    return pair


def reachable(files, work):
    """The same files where every user can read them (a service's own user cannot look below a home of mode 0700),
    and the loader finds them (it splits LD_PRELOAD at blanks and colons): copied into the work folder if need be."""
    def open_to_all(path):
        splits = " " in str(path) or ":" in str(path)
        return not splits and all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)
    copies = []
    for file in files:
        if not open_to_all(file) and open_to_all(work / file.name):
            shutil.copy(file, work / file.name)         # (and its mode)
            file = work / file.name
        copies.append(file)
    return copies


def milliseconds(text):
    """`3.1ms`, `1.2s`, `850us` as a float of ms; None where it is no duration."""
    m = _DURATION.match(text or "")
    return float(m[1]) * _TO_MS[m[2]] if m else None


@dataclass
class Outcome:
    """What one run of `writegate freeze ... -- CMD` said and did."""
    exit: int
    stdout: str
    stderr: str
    wall_ms: float
    fields: dict = field(default_factory=dict)      # of the verdict line, as text
    record: dict = None                             # of --report, where one was written

    @property
    def verdict(self):
        return self.fields.get("verdict", "NONE")

    @property
    def consistent(self):
        return self.exit == OK and self.verdict == "CONSISTENT"

    @property
    def line(self):
        """The verdict line as printed."""
        found = _LINE.findall(self.stderr)
        return f"writegate: {found[-1]}" if found else None

    @property
    def drain_ms(self):
        return milliseconds(self.fields.get("drain"))

    @property
    def held_ms(self):
        return milliseconds(self.fields.get("held"))

    @property
    def barrier(self):
        """(closed, opened) in seconds of CLOCK_MONOTONIC, from the record of the first gate; None
        where there is none. What clients felt is judged by it."""
        try:
            first = self.record["gates"][0]
            return tuple(first[k]["monotonic_ns"] / 1e9 for k in ("closed", "opened"))
        except (KeyError, IndexError, TypeError):
            return None

    def number(self, key):
        return int(self.fields[key]) if self.fields.get(key, "").isdigit() else None

    def as_dict(self):
        return {"exit": self.exit, "wall_ms": round(self.wall_ms, 1), **self.fields}


def parse(stderr):
    """The fields of the last verdict line in this output ({} where there is none)."""
    lines = _LINE.findall(stderr)
    return dict(p.split("=", 1) for p in lines[-1].split() if "=" in p) if lines else {}


class Gate:
    def __init__(self, work, name="default", paths=(), exclude=(), profile=None):
        """profile: lines of a configuration file ({key: value or values}), written into the work folder."""
        self.work = Path(work)
        self.library, self.command = reachable(binaries(), self.work)
        self.name, self.paths, self.exclude = name, [str(p) for p in paths], list(exclude)
        self.directory = self.work / "gate"
        self.directory.mkdir(mode=0o755, exist_ok=True)
        self.profile = None
        if profile is not None:
            self.profile = self.work / f"{name}.conf"
            pairs = [(k, v) for k, values in profile.items()
                     for v in ([values] if isinstance(values, str) else values)]
            self.profile.write_text("".join(f"{k} = {v}\n" for k, v in pairs))

    def settings(self):
        """The variables that name this gate, without the preload (the command reads them too)."""
        env = {"WRITEGATE_GATE": self.name, "WRITEGATE_DIR": str(self.directory)}
        if self.paths:
            env["WRITEGATE_PATHS"] = ":".join(self.paths)
        if self.exclude:
            env["WRITEGATE_EXCLUDE"] = ":".join(self.exclude)
        if self.profile:
            env["WRITEGATE_CONF"] = str(self.profile)
        return env

    def environment(self, base=None):
        """The environment of a service under the library."""
        env = dict(os.environ if base is None else base)
        env.update(self.settings(), LD_PRELOAD=str(self.library))
        return env

    def freeze_argv(self, command, limit="5s", drain="3s", retries=0, report=None, extra=()):
        argv = [str(self.command), "freeze", "-g", self.name, "-t", limit, "--drain", drain,
                "--retries", str(retries)]
        if report:
            argv += ["--report", str(report)]
        return argv + list(extra) + ["--"] + [str(c) for c in command]

    def freeze(self, command, limit="5s", drain="3s", retries=0, report=True, extra=(),
               timeout_s=60):
        """Run one freeze around a command and say what came of it."""
        file = self.work / "report.json" if report else None
        return self.outcome_of(self.freeze_argv(command, limit, drain, retries, file, extra), file, timeout_s)

    def outcome_of(self, argv, file=None, timeout_s=60):
        """What came of a freeze by this command line; file: where its report goes."""
        if file:
            file.unlink(missing_ok=True)
        begun = time.monotonic()
        done = subprocess.run(argv, env={**os.environ, **self.settings()}, capture_output=True,
                              text=True, timeout=timeout_s, errors="replace")
        wall = (time.monotonic() - begun) * 1e3
        record = None
        if file and file.exists():
            try:
                record = json.loads(file.read_text())
            except ValueError as wrong:
                record = {"unreadable": str(wrong)}
        # Builds from before the line went to stderr print it on stdout; lab/beside.py measures such builds too.
        said = parse(done.stderr) or parse(done.stdout)
        return Outcome(done.returncode, done.stdout, done.stderr, wall, said, record)

    def start_freeze(self, command, **options):
        """The same without waiting: a Popen, for tests that stop or kill the freezer."""
        return subprocess.Popen(self.freeze_argv(command, **options), text=True,
                                env={**os.environ, **self.settings()},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *arguments, timeout_s=60):
        """Any other subcommand: status, rehearse, thaw ..."""
        return subprocess.run([str(self.command), *arguments], capture_output=True, text=True,
                              env={**os.environ, **self.settings()}, timeout=timeout_s)

    def status(self):
        done = self.run("status", "-g", self.name)
        return done.stdout + done.stderr

"""`scripts/evaluate SERVER`: find the server's module, run it, print its table, write its JSON.

tests/servers/SERVER/evaluate.py provides

    SUMMARY = "one line: what is run"
    def unavailable(options): ...       # why it cannot run here, or None
    def arguments(parser): ...          # the server's own options (all have defaults: full size)
    def run(options, work): ...         # -> Result; `work` is a folder of this run's own

What all servers share is already in `options`: seed, limit, drain, retries (0: a retry counts as
not drained), only (names of parts to run, or None for all). `wanted(options, "part")` asks that.
"""
import argparse
import hashlib
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import gate, procs, table

SERVERS = Path(__file__).resolve().parents[1] / "servers"
SKIPPED = 77
SHOWN = 12                                              # failures on the terminal


@dataclass
class Result:
    header: list                                        # of the table
    rows: list
    record: dict                                        # everything, for the JSON
    failures: list = field(default_factory=list)        # sentences; empty when all is as it must be
    notes: list = field(default_factory=list)           # printed under the table


_PARTS = set()                                          # every part that `wanted` was asked about


def wanted(options, part):
    _PARTS.add(part)
    return options.only is None or part in options.only


def servers():
    return sorted(p.parent.name for p in SERVERS.glob("*/evaluate.py"))


def host():
    """What a reader of the figures wants to know of the machine."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        models = {line.split(":", 1)[1].strip() for line in f if line.startswith("model name")}
    return {"cores": os.cpu_count(), "cpu": ", ".join(sorted(models)), "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
            "load_average_1min": os.getloadavg()[0]}


def subject():
    """Which writegate was measured: the binaries by checksum, and the checkout that measured them."""
    done = subprocess.run(["git", "-C", str(SERVERS), "rev-parse", "--short", "HEAD"],
                          capture_output=True, text=True)
    found = {"checkout": done.stdout.strip() or None}
    try:
        for file in gate.binaries():
            found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        pass                                            # a control run alone needs none
    return found


def package_version(name):
    """A Debian package's version, installed or candidate; None where there is no such thing."""
    if not shutil.which("dpkg-query"):
        return None
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name],
                          capture_output=True, text=True)
    return done.stdout or None


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    known = servers()
    if not argv or argv[0] in ("-h", "--help") or argv[0] not in known:
        print(f"usage: scripts/evaluate SERVER [options]    (SERVER: {', '.join(known)})\n"
              "       scripts/evaluate SERVER --help", file=sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 64
    module = importlib.import_module(f"{argv[0]}.evaluate")
    parser = argparse.ArgumentParser(prog=f"scripts/evaluate {argv[0]}", description=module.SUMMARY)
    parser.add_argument("--json", metavar="FILE", help="write the full result there")
    parser.add_argument("--text", metavar="FILE", help="write there what is printed, with the command")
    parser.add_argument("--seed", type=int, default=1, help="of the load and all random moments")
    parser.add_argument("--limit", default="5s", help="of a freeze (default %(default)s)")
    parser.add_argument("--drain", default="3s", help="time to drain (default %(default)s)")
    parser.add_argument("--retries", type=int, default=0, help="0: a retry counts as not drained")
    parser.add_argument("--only", type=lambda s: s.split(","), metavar="PART,...",
                        help="run these parts alone")
    parser.add_argument("--keep", action="store_true", help="leave the work folder for a look")
    module.arguments(parser)
    options = parser.parse_args(argv[1:])
    if (why := module.unavailable(options)):
        print(f"skipped: {why}")
        return SKIPPED
    facts = {**host(), "writegate": subject()}          # before our own load
    with procs.workspace(argv[0], keep=options.keep or None) as work:
        result = module.run(options, work)
    if (unknown := [name for name in options.only or () if name not in _PARTS]):
        print(f"no such part: {', '.join(unknown)}; there are: {', '.join(sorted(_PARTS))}", file=sys.stderr)
        return 64
    said = [table.render(result.rows, result.header)] if result.rows else []
    said += result.notes
    said += [f"FAILED: {failure}" for failure in result.failures[:SHOWN]]
    if len(result.failures) > SHOWN:
        said.append(f"... and {len(result.failures) - SHOWN} more, in the JSON")
    said.append("every figure is as it must be" if not result.failures
                else f"{len(result.failures)} figures are not as they must be")
    print("\n".join(said))
    if options.json:
        _keep(options, argv[0], facts, result)
    if options.text:
        head = (f"{table.command_line()}\n({facts['cores']} cores, Linux {facts['kernel']}, {facts['system']}; load "
                f"{facts['load_average_1min']:.2f} before it; checkout {facts['writegate']['checkout']})\n\n")
        Path(options.text).write_text(head + "\n".join(said) + "\n", encoding="utf-8")
    return 1 if result.failures else 0


def _keep(options, server, facts, result):
    """Write the JSON. With --only, the other parts of an existing file stay; each part says by
    "run" which of the "runs" (command, host, failures) it is from."""
    kept = {"server": server, "runs": []}
    if options.only and os.path.exists(options.json):
        with open(options.json, encoding="utf-8") as f:
            old = json.load(f)
        if old.get("server") == server and "runs" in old:
            kept = old
    for part, record in result.record.items():
        kept[part] = {"run": len(kept["runs"]), **record} if isinstance(record, dict) else record
    kept["runs"].append({"command": table.command_line(), "host": facts,
                         "failures": result.failures})
    still = {record["run"] for record in kept.values() if isinstance(record, dict)}
    for number, run in enumerate(kept["runs"]):
        if number not in still:                         # every part of it was run again since
            kept["runs"][number] = None
    table.write_json(options.json, kept)

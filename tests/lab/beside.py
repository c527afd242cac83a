"""`scripts/evaluate beside --old NAME=FOLDER`: an older build and this one on the same servers, round by round in turn.

FOLDER holds the older libwritegate.so and writegate; this build is that of $WRITEGATE_BIN_DIR, else of target/release. A
round is one run of `scripts/evaluate SERVER` for each build: a fresh server under its library, the same load from the same
seed, so many freezes, each snapshot judged. Which build goes first changes from round to round, because the machine's speed
drifts. What counts is the ratio of the two medians within a round: the median of the rounds, and the spread.

With --json FILE of an earlier run of the same two builds, its rounds are kept and the new ones come to them.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from . import evaluation, gate, stats, table

EVALUATE = gate.CHECKOUT / "scripts" / "evaluate"
NEW = "this build"
# A machine that others use too gives other medians for one build twice: so much is no difference.
NOISE = 1.10


def mail_transfer_agent(part):
    """Two orders of snapshots, half of the freezes each."""
    return lambda freezes: ["--only", part, "--restores", "0", "--count", str(max(1, freezes // 2))]


# The server's name here: what scripts/evaluate is given for so many freezes, and where its JSON has them.
SERVERS = {
    "cyrus": ("cyrus", lambda n: ["--only", "snapshots", "--snapshots", str(n)], ("snapshots",)),
    "dovecot-mdbox": ("dovecot", lambda n: ["--only", "load", "--formats", "mdbox", "--restores", "0", "--snapshots", str(n)],
                      ("mdbox-load",)),
    "postfix": ("postfix", mail_transfer_agent("without-tls"), ("parts", "without-tls")),
    "exim": ("exim", mail_transfer_agent("load"), ("parts", "load")),
}
HEADER = ["server, build", "rounds", "freezes", "torn", "not CONSISTENT", "drain p50 ms", "p99", "max",
          "ratio of medians", "lowest", "highest"]


def checksums(folder):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in ("libwritegate.so", "writegate")}


def torn(part):
    """Snapshots of this part that the server's checker found wrong."""
    if "torn" in part:
        return part["torn"]
    return sum(order[what] for order in part["by_order"].values() for what in ("lost", "dup", "cut"))


def once(server, folder, freezes, seed):
    """One server under one build: its drains and what was said of its snapshots."""
    name, arguments, path = SERVERS[server]
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="beside-") as work:
        record = Path(work) / "record.json"
        argv = [sys.executable, EVALUATE, name, *arguments(freezes), "--seed", str(seed), "--json", record]
        run = subprocess.Popen(argv, env={**os.environ, "WRITEGATE_BIN_DIR": str(folder)}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
        patience = 120 + 20 * freezes
        try:
            said, _ = run.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            # It ends its server itself.
            run.terminate()
            said = run.communicate()[0] + f"not at its end after {patience} s"
        if not record.exists():
            raise SystemExit(f"{server}, {folder}: exit {run.returncode}\n{said[-3000:]}")
        part = json.loads(record.read_text())
    for key in path:
        part = part[key]
    return {"freezes": part["snapshots"], "verdicts": part["verdicts"], "torn": torn(part), "drains_ms": part["drains_ms"],
            "load_average_before": round(before, 1)}


def compare(rounds, old):
    """What the rounds of one server say: for each build its drains, and the new build's median against the old one's."""
    found = {}
    for name in (old, NEW):
        runs = [r[name] for r in rounds]
        verdicts = sum((Counter(run["verdicts"]) for run in runs), Counter())
        found[name] = {"freezes": sum(run["freezes"] for run in runs), "verdicts": dict(verdicts),
                       "torn": sum(run["torn"] for run in runs),
                       "drain_ms": stats.summary([ms for run in runs for ms in run["drains_ms"]])}
    medians = [[stats.percentile(r[name]["drains_ms"], 50) for name in (NEW, old)] for r in rounds]
    found["ratio"] = stats.spread([new / before for new, before in medians if new is not None and before])
    return found


def judge(server, rounds, found):
    """Sentences about what is not as it must be of this build. The older build is shown, not judged."""
    said, new, ratio = [], found[NEW], found["ratio"]
    if new["torn"]:
        said.append(f"{server}: {new['torn']} torn snapshots")
    if others := {verdict: n for verdict, n in new["verdicts"].items() if verdict != "CONSISTENT"}:
        said.append(f"{server}: not every freeze was CONSISTENT: {others}")
    if ratio["n"] < len(rounds):
        said.append(f"{server}: only {ratio['n']} of {len(rounds)} rounds have drains of both builds")
    if ratio["median"] and ratio["median"] > NOISE and ratio["low"] > 1:
        said.append(f"{server}: drains are longer in every round, {ratio['median']:.2f} times as long in the median")
    return said


def rows(server, rounds, found, old):
    for name in (old, NEW):
        one, drain = found[name], found[name]["drain_ms"]
        ratio = [f"{found['ratio'][k]:.2f}" if found["ratio"][k] else None for k in ("median", "low", "high")]
        yield [f"{server}, {name}", len(rounds), one["freezes"], one["torn"], one["freezes"] - one["verdicts"].get("CONSISTENT", 0),
               drain["p50"], drain["p99"], drain["max"], *(ratio if name == NEW else [])]


def report(record, old):
    """The table and the failures of all rounds that there are."""
    shown, failures = [], []
    for server, rounds in record["rounds"].items():
        found = record["summary"][server] = compare(rounds, old)
        shown += rows(server, rounds, found, old)
        failures += judge(server, rounds, found)
    loads = [run["load_average_before"] for rounds in record["rounds"].values() for r in rounds for run in (r[old], r[NEW])]
    tail = [f"FAILED: {said}" for said in failures] or ["every figure is as it must be"]
    return "\n".join([table.render(shown, HEADER), f"load average before a run: {min(loads)} to {max(loads)}", *tail]), failures


def main(argv):
    parser = argparse.ArgumentParser(prog="scripts/evaluate beside", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, metavar="NAME=FOLDER", help="the older build, and what it is called")
    parser.add_argument("--servers", type=lambda s: s.split(","), default=list(SERVERS), metavar="SERVER,...",
                        help="of " + ", ".join(SERVERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--freezes", type=int, default=20, help="of each build in a round (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each further round has the next one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all rounds there")
    parser.add_argument("--text", type=Path, metavar="FILE", help="write there what is printed")
    options = parser.parse_args(argv)
    old, _, folder = options.old.partition("=")
    folder = Path(folder).resolve()
    if not old or old == NEW or not all((folder / name).is_file() for name in ("libwritegate.so", "writegate")):
        parser.error("--old wants NAME=FOLDER with libwritegate.so and writegate in it")
    if unknown := set(options.servers) - set(SERVERS):
        parser.error(f"no server {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    builds = {old: folder, NEW: gate.binaries()[0].parent.resolve()}
    record = {"command": f"scripts/evaluate beside --old {old}=FOLDER", "builds": {n: checksums(f) for n, f in builds.items()},
              "checkout": evaluation.subject()["checkout"], "host": evaluation.host(), "rounds": {}, "summary": {}}
    if options.json and options.json.exists():
        earlier = json.loads(options.json.read_text())
        if earlier["builds"] != record["builds"]:
            parser.error(f"{options.json} is of other builds")
        record["rounds"] = earlier["rounds"]
    with table.Progress("runs", 2 * options.rounds * len(options.servers)) as progress:
        for _ in range(options.rounds):
            for server in options.servers:
                rounds = record["rounds"].setdefault(server, [])
                one = {"seed": options.seed + len(rounds)}
                for name in sorted(builds, key=lambda n: (n == old) == bool(len(rounds) % 2)):
                    one[name] = once(server, builds[name], options.freezes, one["seed"])
                    progress.step(f"{server}, {name}")
                rounds.append(one)
                said, failures = report(record, old)
                if options.json:                        # after each round: a run that is cut has what it measured
                    table.write_json(options.json, record)
    print(said)
    if options.text:
        options.text.write_text(f"{record['command']}\n\n{said}\n", encoding="utf-8")
    return 1 if failures else 0

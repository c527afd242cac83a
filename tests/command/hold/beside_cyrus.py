#!/usr/bin/env python3
"""By hand: writers that no gate holds, beside a real gated Cyrus under load, all in one snapshot, frozen with --hold-program.

  beside_cyrus.py [N]      N freezes (500)

In folders of the protected tree write, under locks of their own: gated processes by inline system calls, by a second libc, by
io_uring, by stores into a mapping; a static program by inline system calls; a static Go program. Cyrus's files are read by its
checker, the writers' pairs in the snapshot by look.c, which also looks in the live tree whether something changes while all are held.
Needs root, and what tests/servers/cyrus needs. WRITEGATE_BIN_DIR as ever.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "servers"), str(HERE)]

from lab import stats  # noqa: E402 (the paths come first)
from servers.cyrus import rig as rigs, server  # noqa: E402
import run as hold  # noqa: E402

BATCH = 20
KINDS = {"inline": "past_dynamic", "dlmopen": "past_dynamic", "uring": "past_dynamic", "map": "dynamic", "static": "past", "go": "go"}
MODES = {"static": "inline"}


def programs(work):
    hold.Lab.build(work)
    found = dict(hold.Lab.programs)
    if shutil.which("go"):
        found["go"] = work / "writer"
        subprocess.run(["go", "build", "-o", found["go"], HERE / "writer.go"], check=True,
                       env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(work / "cache"), "GOFLAGS": ""})
    return found


def writers(rig, built):
    """Started by one gated shell, so that they belong to the service; {kind: folder}."""
    folders, script = {}, ""
    for kind, program in KINDS.items():
        if program not in built:
            print(f"{kind}: not to be had here", flush=True)
            continue
        folders[kind] = rig.subvolumes[0] / "writers" / kind
        folders[kind].mkdir(parents=True)
        words = [built[program], folders[kind], 2] if kind == "go" else [built[program], MODES.get(kind, kind), folders[kind], 2]
        script += f"{' '.join(map(str, words))} >/dev/null & " * 2
    shell = subprocess.Popen(["sh", "-c", f"{script} : > {rig.subvolumes[0]}/writers/started; wait"], env=rig.gate.environment(), start_new_session=True)
    time.sleep(1)
    return shell, folders


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    if why := server.unavailable():
        sys.exit(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="writegate-hold-", dir="/var/tmp") as work:
        work = Path(work)
        os.chmod(work, 0o755)
        built = programs(work)
        with rigs.Rig(work, gated=True) as rig:
            shell, folders = writers(rig, built)
            try:
                print(frozen(rig, built, folders, count), flush=True)
            finally:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()


def frozen(rig, built, folders, count):
    looks = "; ".join(f"{built['look']} {folder} 2" for folder in folders.values())
    ends, rest, torn, moved, cyrus, judged, held = {}, [], 0, 0, 0, 0, []
    for first in range(0, count, BATCH):
        names = [f"s{number}" for number in range(first, min(count, first + BATCH))]
        for name in names:
            time.sleep(0.2)
            command = ["sh", "-c", f"{looks}; exec \"$@\"", "sh", *rig.snapshot_command(name)]
            outcome = rig.gate.freeze(command, limit="15s", drain="5s", retries=2, extra=("--hold-program", "*/past_dynamic"))
            ends[outcome.verdict] = ends.get(outcome.verdict, 0) + 1
            if not outcome.consistent:
                print(f"{name}: {outcome.stderr.strip()[-500:]}", flush=True)
                continue
            rest.append(outcome.drain_ms)
            held.append(outcome.record["gates"][0]["at_rest"])
            for line in re.findall(r"^LOOK (\d+) (\d+)", outcome.stdout, re.M):
                torn, moved = torn + int(line[0]), moved + int(line[1])
            snapshot = rig.volume.taken(rig.subvolumes[0], name) / "writers"
            for kind in folders:
                said = subprocess.run([built["look"], snapshot / kind, "2"], capture_output=True, text=True).stdout
                torn += hold.looked(said)[0]
        print(f"{first + len(names)} of {count}: {ends}, {torn} torn, {moved} changed while held", flush=True)
        rig.load.pause()
        for name in names:
            findings = rig.judge(name)
            judged += findings is not None
            cyrus += bool(findings)
            if findings:
                print(f"{name}: {findings}", flush=True)
        rig.load.resume()
    return (f"{len(rest)} of {count} consistent {ends}; writers: {torn} torn, {moved} changed while held; cyrus: {cyrus} torn of {judged}; drain and rest, ms: "
            f"{stats.summary(rest)}; at rest {min(held, default=0)} to {max(held, default=0)}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

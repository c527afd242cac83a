"""scripts/bench --places: what a freeze costs with many protected directories and many mounts.

One gated process writes. The steps of a freeze around `true`, with one protected directory, with many, and with many mounts
on the machine beside these; in turn, in a mount namespace of its own.
"""
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lab import stats  # noqa: E402 (the path comes first)

DIRECTORIES, MOUNTS = 100, 1000
WRITER = "while :; do echo x > \"$1/file\"; sleep 0.05; done"
WHAT = {"list": "ms, listing all processes, before anybody is held",
        "gather": "ms, places resolved and published, watches set up, locks learnt; before anybody is held",
        "drain": "ms, from raising the barrier to nothing in flight",
        "command": "ms, from there to the command's end", "thaw": "ms, from there to the barrier down",
        "wall": "ms, the whole command"}


def steps(record):
    gate, ran = record["gates"][0], record["command"]
    moments = [record["locked"], record["listed"], gate["closed"], gate["drained"], ran["ended"], gate["opened"]]
    times = [moment["monotonic_ns"] / 1e6 for moment in moments]
    return dict(zip(("list", "gather", "drain", "command", "thaw"), (b - a for a, b in zip(times, times[1:]))))


def freeze(work, binaries, count):
    """One freeze of a gate with so many directories."""
    folder = work / f"d{count}"
    paths = [folder / f"directory-number-{n}" for n in range(count)]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, WRITEGATE_DIR=str(work / "gates"), WRITEGATE_GATE=f"d{count}",
               WRITEGATE_PATHS=":".join(map(str, paths)), WRITEGATE_TEST_LOG_SOCKET="")
    library = str(binaries / "libwritegate.so")
    writer = subprocess.Popen(["sh", "-c", WRITER, "sh", paths[-1]], env=dict(env, LD_PRELOAD=library))
    try:
        report = work / "report.json"
        for _ in range(200):
            if (paths[-1] / "file").exists():
                break
            time.sleep(0.02)
        argv = [binaries / "writegate", "freeze", "-g", f"d{count}", "-t", "10s", "--report", report, "--", "true"]
        begun = time.monotonic()
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
        wall = (time.monotonic() - begun) * 1e3
        if done.returncode:
            raise SystemExit(f"{count} directories: exit {done.returncode}: {done.stderr[-2000:]}")
        return {**steps(json.loads(report.read_text())), "wall": wall}
    finally:
        writer.kill()
        writer.wait()
        (paths[-1] / "file").unlink(missing_ok=True)


def mount(target):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(target), b"tmpfs", 0, b"size=64k") != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def main(rounds, binaries, target, root):
    results = {}
    with tempfile.TemporaryDirectory(prefix="places-", dir=root / "target") as folder:
        work = Path(folder)
        for mounts in (0, MOUNTS):
            for n in range(mounts):
                (work / f"m{n}").mkdir()
                mount(work / f"m{n}")
            runs = {1: [], DIRECTORIES: []}
            for _ in range(rounds):
                for count, taken in runs.items():
                    taken.append(freeze(work, binaries, count))
            for count, taken in runs.items():
                name = f"{count} directories, {mounts} mounts more"
                results[name] = {step: stats.summary([one[step] for one in taken]) for step in WHAT}
                print(name + "".join(f"\n  {step:8} p50 {row['p50']:8.2f}  p99 {row['p99']:8.2f}  {WHAT[step]}"
                                     for step, row in results[name].items()), flush=True)
        subprocess.run(["umount", *[work / f"m{n}" for n in range(MOUNTS)]], check=True)
    if target:
        record = {"command": f"scripts/bench --places --rounds {rounds} --json {target}", "what": WHAT,
                  "load_average_after": [round(x, 1) for x in os.getloadavg()], "results": results}
        Path(target).write_text(json.dumps(record, indent=1) + "\n")
    return 0


def main_apart(rounds, binaries, target, root):
    """The same in a mount namespace of its own."""
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, str(rounds), binaries, root,
            *([target] if target else [])]
    return subprocess.run(argv).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[4] if sys.argv[4:] else None, Path(sys.argv[3])))

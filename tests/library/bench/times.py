"""scripts/bench: how long calls take bare and behind the library; with --beside NAME=LIBRARY also behind another build.

All run in turn, round by round, because the machine's speed drifts; which goes first changes from round to round. What
counts is the ratio within a round: the median, and the quartiles as spread.
"""
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

# name: (arguments before the count, count, what it is)
MEASUREMENTS = {
    "pwrite": (["pwrite", "FILE"], 60000, "4 KiB pwrite"),
    "null": (["null"], 400000, "1-byte write to /dev/null"),
    "read": (["read"], 400000, "1-byte read from /dev/zero (not a change: looked at, let pass)"),
    "putc": (["putc", "FILE"], 4000000, "fputc"),
    "write": (["write", "FILE"], 60000, "64-byte write, appended"),
    "fsync": (["fsync", "FILE"], 30, "4 KiB pwrite, fsync"),
    "rename": (["rename", "FILE"], 10000, "two renames"),
    "dup": (["dup", "FILE"], 100000, "dup, close"),
    "lock": (["lock", "FILE"], 40000, "fcntl lock, 4 KiB pwrite, unlock"),
    "flock": (["flock", "FILE"], 40000, "flock, unlock"),
    "fork": (["fork"], 500, "fork, exit, wait"),
    "exec": (["exec"], 200, "fork, exec /bin/true, wait"),
    "waitpid-10": (["waitpid", "FILE", "10"], 3000, "waitpid(WNOHANG), a child lives, 10 descriptors"),
    "waitpid-1000": (["waitpid", "FILE", "1000"], 300, "the same with 1,000 descriptors"),
    "waitpid-10000": (["waitpid", "FILE", "10000"], 60, "the same with 10,000 descriptors"),
    "reap-1000": (["reap", "FILE", "1000"], 200, "fork, exit, wait with 1,000 descriptors"),
    "reap-10000": (["reap", "FILE", "10000"], 40, "the same with 10,000 descriptors"),
}


def ratio(over, under):
    """The median of the ratios within a round, and their quartiles."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(over, under)], n=4)
    return middle, [low, high]


def measure(name, once, builds, rounds):
    """{build: a time for each round}"""
    times = {build: [] for build in builds}
    for at in range(rounds):
        order = builds[at % len(builds):] + builds[:at % len(builds)]
        for build in order:
            times[build].append(once(name, build))
    return times


def main(names, libraries, rounds, root, path, command):
    """libraries: {"gated": this build's, NAME: the other's}; bare needs none."""
    beside = next((name for name in libraries if name != "gated"), None)
    results = {}
    # Beside the tree, not in /tmp: that may be a tmpfs.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=root / "target") as work:
        program = f"{work}/calls"
        subprocess.run(["cc", "-O2", "-o", program, root / "tests/library/bench/calls.c"], check=True)

        # For the plain gate alone, if that is the other library.
        page = Path(work) / "plain-page"
        page.write_bytes(bytes(4096))

        def once(name, build):
            before, count, _ = MEASUREMENTS[name]
            args = [arg.replace("FILE", f"{work}/file") for arg in before]
            env = None if build == "bare" else dict(os.environ, LD_PRELOAD=str(libraries[build]),
                                                    WRITEGATE_DIR=f"{work}/gates-{build}", WRITEGATE_GATE="bench", PLAIN_GATE=str(page))
            out = subprocess.run([program, *args, str(count)], env=env, check=True, text=True,
                                 stdout=subprocess.PIPE, timeout=120)
            return float(out.stdout)

        columns = f"{'':13} {'bare ns':>10} {'gated ns':>10} {'ratio':>7}  quartiles     rounds"
        print(columns + (f"   {beside + ' ns':>12}  gated by it  quartiles" if beside else ""))
        for name in names:
            times = measure(name, once, ["bare", *libraries], rounds)
            middle, quartiles = ratio(times["gated"], times["bare"])
            row = {"what": MEASUREMENTS[name][2], "bare_ns": statistics.median(times["bare"]),
                   "gated_ns": statistics.median(times["gated"]), "ratio_median": middle, "ratio_quartiles": quartiles,
                   "pairs": rounds}
            line = (f"{name:13} {row['bare_ns']:10.1f} {row['gated_ns']:10.1f} {middle:7.3f}  "
                    f"{quartiles[0]:.3f} {quartiles[1]:.3f}  {rounds:5}")
            if beside:
                against, spread = ratio(times["gated"], times[beside])
                row["beside"] = {"build": beside, "ns": statistics.median(times[beside]), "gated_by_it_median": against,
                                 "gated_by_it_quartiles": spread}
                line += f"   {row['beside']['ns']:12.1f}  {against:11.3f}  {spread[0]:.3f} {spread[1]:.3f}"
            results[name] = row
            print(f"{line}   {row['what']}", flush=True)
    if path:
        record = {"command": command, "load_average_after": [round(x, 1) for x in os.getloadavg()], "results": results}
        path.write_text(json.dumps(record, indent=1) + "\n")
    return 0

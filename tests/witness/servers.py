"""Real servers under load, many freezes each, all of it recorded and judged. Root, Debian.

Every record is judged and thrown away, so that the number of freezes is not limited by the disk. Ends with a line
"N passed, N failed".
"""
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from . import recorder, verdict, volumes
from .sessions import SESSIONS

HERE = Path(__file__).resolve().parent


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="SERVER", help=", ".join(SESSIONS))
    parser.add_argument("--freezes", type=int, default=100, help="of each server (default %(default)s)")
    parser.add_argument("--batch", type=int, default=100, help="freezes in one record (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write, or add to, the result")
    parser.add_argument("--keep", type=Path, help="leave the records that are not clean there")


def run(options):
    names = options.names or list(SESSIONS)
    if (unknown := [n for n in names if n not in SESSIONS]):
        print(f"no such server: {' '.join(unknown)}; there are: {' '.join(SESSIONS)}", file=sys.stderr)
        return 64
    build = Path(os.environ.get("WRITEGATE_BIN_DIR") or HERE.parents[1] / "target/release").resolve()
    results, failed = [], 0
    for name in names:
        for batch in range(0, options.freezes, options.batch):
            count = min(options.batch, options.freezes - batch)
            result = one(name, count, options.seed + batch, build, options.keep)
            results.append(result)
            failed += result["exit"] != 0
            print(f"== {name}, {count} freezes, seed {options.seed + batch}\n{verdict.render(result)}", flush=True)
            if options.json:
                write(options.json, results)
    total = sum(r.get("consistent", 0) for r in results)
    print(f"{sum(r.get('freezes', 0) for r in results)} freezes, {total} CONSISTENT, "
          f"{sum(len(r.get('cuts', [])) for r in results)} unexplained cuts")
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def one(name, count, seed, build, keep):
    base = os.environ.get("WRITEGATE_LAB_DIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="writegate-witness-", dir=base) as work, volumes.volume(work) as place:
        os.chmod(work, 0o755)
        folder = Path(work) / "record"
        began = time.monotonic()
        os.environ["PYTHONPATH"] = str(HERE.parent)
        code = recorder.record(folder, [sys.executable, "-m", "witness.sessions", name, str(place), str(count), str(seed)],
                               [place], build / "writegate", build / "libwritegate.so", buffer_kb=65536)
        seconds = time.monotonic() - began
        result = verdict.judge(folder)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8", errors="surrogateescape"))
        result.update(server=name, seed=seed, seconds=round(seconds, 1), recorder_cpu_s=meta.get("recorder_cpu_s"))
        if code:
            result["faults"] = [*result["faults"], f"the session ended with {code}"]
            result["exit"] = verdict.INSUFFICIENT
        if keep and result["exit"]:
            keep.mkdir(parents=True, exist_ok=True)
            folder.rename(keep / f"{name}-{seed}")
    return result


def write(path, results):
    old = json.loads(path.read_text()) if path.exists() else {"runs": []}
    run = [r for r in old["runs"] if r["command"] != ["scripts/witness", *sys.argv[1:]]]
    run.append({"command": ["scripts/witness", *sys.argv[1:]], "results": results})
    path.write_text(json.dumps({"runs": run}, indent=1, ensure_ascii=True) + "\n")

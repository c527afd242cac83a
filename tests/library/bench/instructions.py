"""What the library adds to each kind of call while no barrier is up: user-space instructions (callgrind) and system calls (strace).

Counted, not timed: the same on any machine. A loop is counted twice, with few calls and with many; a call's cost is what is
between, so that neither start nor end is in it. (But for some hundred instructions by which two starts differ, where others mount
and start something meanwhile: so there are many calls.)
"""
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

KINDS = ("pwrite", "write", "fputc", "read", "open-close", "create-close", "rename", "mkdir-rmdir", "chmod", "lock-unlock", "lock-write-unlock", "flock",
         "dup-close", "dup2", "fork-wait", "waitpid", "waitpid-1000", "prctl")

# Some milliseconds each, under valgrind.
WITH_PROCESSES = ("fork-wait",)


def _valgrind(program, kind, count, env, work):
    out = subprocess.run(["valgrind", "--tool=none", "-q", "true"], capture_output=True)
    if out.returncode:
        raise SystemExit("valgrind is not there")
    err = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, kind, str(count)], env=env, cwd=work,
                         capture_output=True, text=True, timeout=120).stderr
    # Children say theirs too, before.
    return int(re.findall(r"Collected\s*:\s*(\d+)", err)[-1])


def _strace(program, kind, count, env, work):
    assigned = [x for k in ("LD_PRELOAD", "WRITEGATE_DIR", "WRITEGATE_GATE") if k in env for x in ("-E", f"{k}={env[k]}")]
    with tempfile.NamedTemporaryFile(dir=work) as log:
        plain = {k: v for k, v in env.items() if k not in ("LD_PRELOAD", "WRITEGATE_DIR", "WRITEGATE_GATE")}
        subprocess.run(["strace", "-qq", "-e", "signal=none", "-o", log.name, *assigned, program, kind, str(count)], env=plain, cwd=work,
                       stderr=subprocess.DEVNULL, timeout=120)
        return sum(1 for _ in open(log.name))


def measure(kinds, libraries, root):
    """{kind: {library's name: (instructions, system calls) of one call}}; the name None is bare."""
    table = {}
    # Not in /tmp: that may be a tmpfs.
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as work:
        program = f"{work}/instructions"
        subprocess.run(["cc", "-O2", "-w", "-o", program, root / "tests/library/bench/instructions.c"], check=True)

        def cost(kind, name, library):
            env = dict(os.environ)
            if library:
                env |= {"LD_PRELOAD": str(library), "WRITEGATE_DIR": f"{work}/gates-{name}", "WRITEGATE_GATE": "bench"}
            few, many = 100, 700 if kind in WITH_PROCESSES else 4100
            with tempfile.TemporaryDirectory(dir=work) as own:
                count = lambda measure: (measure(program, kind, many, env, own) - measure(program, kind, few, env, own)) / (many - few)
                return count(_valgrind), count(_strace)

        # Counted, not timed: they may run beside each other.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for kind in kinds:
                table[kind] = {name: pool.submit(cost, kind, name, library) for name, library in {None: None, **libraries}.items()}
            return {kind: {name: found.result() for name, found in row.items()} for kind, row in table.items()}


# What the library adds may grow by so much of itself, and by half an instruction, before that is red.
GROWTH, ROUNDING = 1.02, 0.5


def check(library, root, pattern):
    """Is each kind of call as cheap as results/instructions.json says? What is compared is what the library adds to the bare
    call: another libc's own part is in neither."""
    if missing := [tool for tool in ("valgrind", "strace", "cc") if not shutil.which(tool)]:
        print(f"SKIPPED: {', '.join(missing)} is not there")
        return 77
    record = json.loads((root / "results/instructions.json").read_text())["results"]
    kinds = [kind for kind in KINDS if fnmatch.fnmatch(kind, pattern)]
    if not kinds:
        print(f"no kind matches {pattern!r}: nothing was run; there are: {' '.join(KINDS)}", file=sys.stderr)
        return 64
    failed = 0
    for kind, row in measure(kinds, {"gated": library}, root).items():
        (instructions, calls), (bare_instructions, bare_calls) = row["gated"], row[None]
        known = record.get(kind, {"gated": {"instructions": 0, "system_calls": 0}, "bare": {"instructions": 0, "system_calls": 0}})
        added = {what: known["gated"][what] - known["bare"][what] for what in ("instructions", "system_calls")}
        now, calls = instructions - bare_instructions, calls - bare_calls
        grown = now > added["instructions"] * GROWTH + ROUNDING or calls > added["system_calls"] + 0.1
        failed += grown
        print(f"{'FAIL' if grown else 'ok  '} {kind}: {now:.0f} instructions and {calls:.1f} system calls added, "
              f"recorded {added['instructions']} and {added['system_calls']:.1f}", flush=True)
    print(f"{len(kinds) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def main(libraries, root, path):
    table = measure(KINDS, libraries, root)
    names = [None, *libraries]
    print(f"{'one call':18}" + "".join(f"{(name or 'bare'):>26}" for name in names))
    for kind, row in table.items():
        print(f"{kind:18}" + "".join(f"{row[n][0]:12.0f} instr {row[n][1]:5.1f} sys" for n in names))
    if path:
        record = {kind: {name or "bare": {"instructions": round(cost[0]), "system_calls": round(cost[1], 2)} for name, cost in row.items()}
                  for kind, row in table.items()}
        path.write_text(json.dumps({"command": "scripts/bench --instructions", "results": record}, indent=1) + "\n")
    return 0

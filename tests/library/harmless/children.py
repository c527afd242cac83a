"""Reaping children: what a helper has locked for its parent is seen, and nothing is read that cannot concern it."""
import re
import subprocess

import rig

# A reap of a child looks at the one descriptor that was put in its place, and at those with a lock: so many calls
# for each at most, however many others are open.
# Blocked while a descriptor of the library's is open, and allowed again.
SIGNALS = 2
CALLS_EACH = 6


def _between(lines):
    """How many calls lie between the marks, each time."""
    counts, inside = [], None
    for line in lines:
        if line.startswith("getpgid("):
            inside = 0
        elif line.startswith("getppid("):
            counts.append(inside)
            inside = None
        elif inside is not None and re.match(r"^\w+\(", line):
            inside += 1
    return counts


def cost(work):
    program = rig.build(work, "children.c")
    with rig.Tmpfs() as gates:
        rig.make_page(gates)
        env = rig.loaded(gates)
        for count in (10, 1000):
            for what, concerned in (("nothing", 0), ("dup2", 1), ("lock", 2)):
                sets = [x for key in ("LD_PRELOAD", "WRITEGATE_DIR", "WRITEGATE_GATE") for x in ("-E", f"{key}={env[key]}")]
                _, _, err = rig.run(["strace", "-qq", "-e", "signal=none", *sets, program, str(count), what], rig.clean(), 30, cwd=work)
                counts = _between(err.decode().splitlines())
                bad = None
                if len(counts) != 2:
                    bad = f"{counts}: {err[-300:]}"
                elif counts[0] != 20:
                    bad = f"20 looks for a child that lives made {counts[0]} system calls"
                elif counts[1] > 1 + (SIGNALS + concerned * CALLS_EACH if concerned else 0):
                    bad = f"a reap made {counts[1]} system calls"
                yield f"{count} descriptors, {what}: {counts} system calls", bad


def right(work):
    program = rig.build(work, "helper.c")
    data, lock = work / "data", work / "helperlock"
    for at in (9, 200, 1500, 70000):
        for kind in ("waitpid", "waitid", "null", "nohang") if at == 9 or rig.ALL else ("waitpid",):
            with rig.Tmpfs() as gates:
                p = subprocess.Popen([program, lock, str(at), kind, data], env=rig.loaded(gates, WRITEGATE_PATHS=str(work)), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE)
                freeze = [rig.COMMAND, "freeze", "-g", rig.GATE, "-t", "600ms", "--drain", "200ms", "--retries", "0", "--", "true"]
                try:
                    said = p.stdout.readline()
                    if not said:
                        yield f"a child locks descriptor {at}", f"skip: the machine allows no such descriptor (exit {p.wait()})"
                        continue
                    during = rig.run(freeze, rig.clean(WRITEGATE_DIR=str(gates)), 30)
                    p.stdin.write(b"\n")
                    p.stdin.flush()
                    p.stdout.readline()
                    after = rig.run(freeze, rig.clean(WRITEGATE_DIR=str(gates)), 30)
                finally:
                    p.kill()
                    p.wait()
                bad = None
                if said != b"half\n":
                    bad = f"it said {said}"
                elif during[0] != 75:
                    bad = f"half done: exit {during[0]} {during[1]}"
                elif after[0] == 75:
                    bad = f"done: exit {after[0]} {after[1]} {after[2]}"
                yield f"a child locks descriptor {at}, {kind}", bad


def cases(work):
    yield from cost(work)
    yield from right(work)

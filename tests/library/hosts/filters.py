"""System call filters: a whole service under systemd's @system-service, and a process that confines itself.

tests/library/calls/run.py --filter runs every way of changing a file under a filter; here is a family of them, and what
no filter list says: SECCOMP_MODE_STRICT after the start.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CALLS = os.path.join(os.path.dirname(HERE), "calls", "run.py")


def strict(work, gate):
    program = os.path.join(work, "strict")
    subprocess.run(["gcc", "-w", "-O1", "-pthread", "-o", program, os.path.join(HERE, "strict.c")], check=True)
    os.makedirs(gate.paths, exist_ok=True)
    for case in ("cold", "warm", "thread"):
        got = []
        for env in (None, gate.environment()):
            path = os.path.join(gate.paths, f"{case}-{bool(env)}")
            code = subprocess.run([program, case, path], env=env, stdin=subprocess.DEVNULL).returncode
            with open(path) as f:
                got.append((code, f.read()))
        if not got[0][1].endswith("end\n"):
            yield f"strict {case}", f"skip: does not work here bare: {got[0]}"
        else:
            yield f"strict {case}", None if got[0] == got[1] else f"bare {got[0]}, gated {got[1]}"


def cases(work, gate):
    yield from strict(work, gate)
    for name in ("service", "membarrier"):
        r = subprocess.run([sys.executable, CALLS, "--filter", name, "--only", "write", "--library", gate.library, "--command", gate.command],
                           capture_output=True, text=True, timeout=200)
        problem = None if r.returncode == 0 else (r.stdout + r.stderr)[-1500:]
        yield f"filter {name}: the ways of tests/library/calls/write.c", problem

"""Programs under memcheck and the sanitizers, gated, with the barrier going up and down: nothing to say about
our code, and the same outcome as without the library."""
import glob
import importlib.util
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.dirname(HERE)
SUPPRESSIONS = os.path.join(LIBRARY, "..", "..", "contrib", "valgrind", "writegate.supp")
# Of tests/library/robust: the cases that memcheck, which runs one thread at a time, can carry out.
MEMCHECK = "early-and-late vfork-exec atfork-handlers orphans small-stacks siglongjmp fork-under-lock raw-clone".split()


def robust():
    spec = importlib.util.spec_from_file_location("robust_run", os.path.join(LIBRARY, "robust", "run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def memcheck(work, gate):
    if not shutil.which("valgrind"):
        yield "memcheck", "skip: valgrind is not there (Debian: valgrind)"
        return
    run = robust()
    run.LIMIT_S = 60
    for family, program, case in run.build(os.path.join(work, "robust")):
        if case not in MEMCHECK:
            continue
        logs = os.path.join(work, "memcheck-" + case)
        os.mkdir(logs)
        prefix = ["valgrind", "-q", "--trace-children=yes", "--leak-check=no", "--error-exitcode=99", f"--suppressions={SUPPRESSIONS}",
                  f"--log-file={logs}/%p"]
        problem, _, cycler = run.one(program, case, os.path.join(gate.paths, family), gate.environment(), 500, gate, prefix)
        said = ""
        for path in glob.glob(logs + "/*"):
            with open(path, errors="replace") as f:
                said += "".join(x for x in f if "sigprocmask: unknown 'how'" not in x)
        if "libwritegate" in said:
            problem = f"memcheck: {said[:1500]}"
        if not problem and not sum(cycler.codes.values()):
            problem = "no freeze was tried, so nothing was shown"
        yield f"memcheck {case}", problem


def sanitizers(work, gate):
    for name, flag, env in (("thread", "thread", {}), ("address", "address,undefined", {"ASAN_OPTIONS": "verify_asan_link_order=0"})):
        program = os.path.join(work, name)
        built = subprocess.run(["gcc", "-w", "-O1", "-g", "-pthread", f"-fsanitize={flag}", "-o", program, os.path.join(HERE, "threads.c")],
                               capture_output=True, text=True)
        folder = os.path.join(gate.paths, name)
        os.makedirs(folder)
        if built.returncode or (bare := subprocess.run([program, folder], capture_output=True, text=True, timeout=100)).returncode:
            why = built.stderr or bare.stderr
            yield f"{name} sanitizer", f"skip: does not work here bare: {why.strip()[-200:]}"
            continue
        cycler = robust().Cycler(gate)
        cycler.start()
        p = subprocess.run([program, folder], env=dict(gate.environment(), **env), capture_output=True, text=True, timeout=100)
        cycler.stop.set()
        cycler.join(30)
        problem = None
        if p.returncode or p.stdout != "ok\n" or "libwritegate" in p.stderr:
            problem = f"exit {p.returncode}: {(p.stdout + p.stderr)[:1500]}"
        elif not cycler.codes.get(0):
            problem = f"no freeze succeeded, so nothing was shown: {cycler.codes} {cycler.odd[:1]}"
        yield f"{name} sanitizer", problem


def cases(work, gate):
    yield from memcheck(work, gate)
    yield from sanitizers(work, gate)


if __name__ == "__main__":
    sys.exit("run.py runs this")

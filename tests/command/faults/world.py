"""What every fault run stands on: the stress workload under the gate, its checker, helpers that are ended by pid."""
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]
STRESS = TESTS / "stress"
sys.path[:0] = [str(TESTS), str(TESTS / "servers"), str(STRESS)]
from lab.gate import Gate, Outcome, parse                                # noqa: E402
from page import barrier_word                                            # noqa: E402

_spec = importlib.util.spec_from_file_location("stress_run", STRESS / "run.py")
stress = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stress)

ROLES = "single:1:0:0 fcntl:2:0:2 flock:1:2:1 ofd:1:4:1 dot:1:6:1 child:1:10:1 exec:1:14:1 pair:2:16:2".split()


def build(folder):
    """The programs, compiled into this folder."""
    for program, sources in (("worker", [STRESS / "worker.c", STRESS / "sets.c"]), ("checker", [STRESS / "checker.c"]),
                             ("exhaust", [HERE / "exhaust.c"])):
        subprocess.run(["gcc", *stress.FLAGS, "-o", str(folder / program), *map(str, sources)], check=True)


class World(stress.Stress):
    """The workload, and what a fault needs beside it."""

    def __init__(self, binaries, work, roles=ROLES):
        super().__init__(binaries, roles, work=work)
        self.page.set_pause_us(500)
        self.spawned = []

    def spawn(self, argv, gate=None, **more):
        """A helper process; under a gate or not."""
        env = gate.environment() if gate else {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        child = subprocess.Popen([str(a) for a in argv], env=env, text=True, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, start_new_session=True, **more)
        self.spawned.append(child)
        return child

    def end_spawned(self):
        for child in self.spawned:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            child.stdin.close()
            child.stdout.close()
        self.spawned.clear()

    def __exit__(self, *why):
        self.end_spawned()
        super().__exit__(*why)

    def other_gate(self, folder):
        """A gate of the same name in another directory: what a service restarted with it would use."""
        work = self.aside / folder
        work.mkdir(exist_ok=True)
        return Gate(work, name=self.gate.name, paths=[self.tree])

    @property
    def control(self):
        return self.gate.directory / self.gate.name / "control"

    def run_freeze(self, command, act=None, at="closed", **options):
        """A freeze; `act(freezer)` is called once its barrier is up, or at once. (outcome, what the checker saw)"""
        report = self.aside / "report.json"
        report.unlink(missing_ok=True)
        before, begun = self.page.seen()["checks"], time.monotonic()
        p = self.gate.start_freeze(command, report=report, **options)
        try:
            if act and (at == "once" or stress.wait_closed(self.gate, p)):
                act(p)
            out, err = p.communicate(timeout=60)
        finally:
            if p.poll() is None:
                p.kill()
                p.communicate()
        record = None
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(report.read_text())
        outcome = Outcome(p.returncode, out, err, (time.monotonic() - begun) * 1e3, parse(err), record)
        seen = self.page.seen()
        return outcome, seen if seen["checks"] != before else None

    def word(self):
        return barrier_word(self.control)


def harm(seen):
    """What the checker saw in the window that a CONSISTENT snapshot cannot hold."""
    if not seen or not (seen["torn"] or seen["changed"] or seen["inside"]):
        return None
    return f"torn={seen['torn']} changed={seen['changed']} inside={seen['inside']}: {seen['first']}"


@contextlib.contextmanager
def built(work):
    """A folder with the programs in it."""
    with tempfile.TemporaryDirectory(prefix="writegate-faults-", dir=work) as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        build(folder)
        yield folder

"""What goes wrong at random, seeded: freezers that are killed, stopped or forgotten, helpers that die, users that attack."""
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sites

HOSTILE = Path(__file__).resolve().parents[2] / "command" / "hostile"
NOBODY = 65534
ATTACKS = (("web", "2", "60"), ("restless",), ("births",), ("no-region",), ("look-alikes", "3", "8000"), ("descriptors", "50000"),
           ("stuck-slots", "2"), ("scramble",))


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Agents:
    """Each method is one thing that goes wrong, and undoes what it must before it returns."""

    def __init__(self, work, rng):
        self.rng, self.counts, self.strangers = rng, {}, []
        self.attacker = Path(tempfile.mkdtemp(prefix="writegate-chaos-", dir=work)) / "attacker"
        self.attacker.parent.chmod(0o755)

    def build(self, command):
        layout = subprocess.run([command, "doctor", "--layout"], capture_output=True, text=True, check=True).stdout.split()[1]
        subprocess.run(["gcc", "-O1", f"-DLAYOUT=0x{layout}", "-o", self.attacker, HOSTILE / "attacker.c"], check=True)

    def one(self, site):
        act = self.rng.choice((self.killed, self.killed, self.stopped, self.helper_killed, self.forgotten, self.attacked, self.attacked,
                               self.storm))
        self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
        act(site)

    def _freezer(self, site):
        return site.gate.start_freeze(["sleep", "0.3"], limit=sites.LIMIT, drain="1s")

    @staticmethod
    def _end(freezer):
        try:
            freezer.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            freezer.kill()
            freezer.communicate()
            raise

    def killed(self, site):
        """A freezer, at a random moment."""
        freezer = self._freezer(site)
        time.sleep(self.rng.uniform(0.01, 0.6))
        freezer.kill()
        self._end(freezer)

    def stopped(self, site):
        """A freezer, for longer than the limit."""
        freezer = self._freezer(site)
        time.sleep(self.rng.uniform(0.05, 0.5))
        if freezer.poll() is None:
            freezer.send_signal(signal.SIGSTOP)
            time.sleep(sites.LIMIT_S + 0.3)
            freezer.send_signal(signal.SIGCONT)
        self._end(freezer)

    def helper_killed(self, site):
        freezer = self._freezer(site)
        time.sleep(self.rng.uniform(0.02, 0.3))
        for child in children_of(freezer.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._end(freezer)

    def forgotten(self, site):
        """A token that nobody thaws."""
        site.gate.run("freeze", "-g", site.gate.name, "-t", "1s", "--drain", "500ms", "--retries", "0", timeout_s=120)

    def attacked(self, site):
        """Another user's process, for some seconds."""
        mode = self.rng.choice(ATTACKS)
        argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", self.attacker,
                site.gate.directory / site.gate.name / "control", *mode]
        child = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        self.strangers.append((time.monotonic() + self.rng.uniform(2, 6), child))

    def storm(self, site):
        """Many short-lived processes of another user, behind the gate."""
        env = {**site.gate.environment(), "PATH": os.environ["PATH"]}
        subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-S", "-c",
                        "import os\nfor _ in range(100):\n if not os.fork(): os._exit(0)\n os.wait()"], env=env,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)

    def sweep(self, all_of_them=False):
        """Ends strangers whose time is up."""
        for due, child in list(self.strangers):
            if all_of_them or time.monotonic() >= due:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                self.strangers.remove((due, child))

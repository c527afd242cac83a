"""The plain gate (tests/plain) as a service and a snapshot meet it: a control that counts single calls and knows no locks.

    g = PlainGate(work)
    Service(argv, env=g.environment())
    closed, drained, opened, exit_code, said = g.freeze(command)        # seconds of CLOCK_MONOTONIC; None where it did not come to that
"""
import os
import shutil
import subprocess
from pathlib import Path

from . import gate as gates

NAMES = ("libplaingate.so", "plain-freeze")
PAGE_BYTES = 4096
PATIENCE_S = 60


def binaries():
    """(the shim, its freezer); built if they are not there and there is a cargo."""
    beside = [Path(folder) for folder in (os.environ.get("WRITEGATE_BIN_DIR"),) if folder]
    target = Path(os.environ.get("CARGO_TARGET_DIR") or gates.CHECKOUT / "target") / "release"
    for folder in (*beside, target):
        if all((folder / name).exists() for name in NAMES):
            return [folder / name for name in NAMES]
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "writegate-plain-gate"], cwd=gates.CHECKOUT, check=True)
    return [target / name for name in NAMES]


def unavailable():
    """Why it cannot be run, or None."""
    if shutil.which("cargo"):
        return None
    try:
        return None if binaries() else "it was not built"
    except OSError:
        return "the plain gate was not built, and there is no cargo"


class PlainGate:
    def __init__(self, work):
        self.library, self.command = gates.reachable(binaries(), Path(work))
        self.page = Path(work) / "plain-page"
        self.page.write_bytes(bytes(PAGE_BYTES))
        self.page.chmod(0o666)                          # the service's users count in it

    def environment(self, base=None):
        return {**(os.environ if base is None else base), "PLAIN_GATE": str(self.page), "LD_PRELOAD": str(self.library)}

    def freeze(self, command):
        done = subprocess.run([str(word) for word in (self.command, *command)], env={**os.environ, "PLAIN_GATE": str(self.page)},
                              capture_output=True, text=True, timeout=PATIENCE_S)
        instants = [int(word) / 1e9 for word in done.stdout.split()] or [None] * 3
        return *instants, done.returncode, done.stderr

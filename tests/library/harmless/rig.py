"""What the cases share: the two binaries, small mounts, programs run bare and with the library."""
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR", ROOT / "target/release")).resolve()
LIBRARY, COMMAND = BIN / "libwritegate.so", BIN / "writegate"
GATE = "harmless"
# No gate's directory, and none can be made there: the library of a root program would make a missing one.
NOWHERE = "/dev/null/none"
PAGE_SIZE = 16384                       # gate/src/control.rs: SIZE
BARRIERS = (32, 80, 88)                # gate/src/control.rs: barrier, barrier_first, barrier_senders
CLOSED_AT = 40


def clean(**more):
    """An environment without anything of ours."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WRITEGATE_") and k != "LD_PRELOAD"}
    env["LC_ALL"] = "C"
    return env | more


def loaded(gates, **more):
    """An environment with the library, and gates in this directory."""
    return clean(LD_PRELOAD=str(LIBRARY), WRITEGATE_DIR=str(gates), WRITEGATE_GATE=GATE, **more)


def assignments(env):
    """A command's beginning that gives the library to what follows, not to what runs before it."""
    return ["/usr/bin/env", *(f"{k}={v}" for k, v in env.items() if k.startswith("WRITEGATE_") or k == "LD_PRELOAD")]


def run(argv, env, seconds=10, **kw):
    """(exit code or negative signal, stdout, stderr); code "hangs" where it does not end."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    p = subprocess.Popen([str(a) for a in argv], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         start_new_session=True, **kw)
    try:
        out, err = p.communicate(timeout=seconds)
        return p.returncode, out, err
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        out, err = p.communicate()
        return "hangs", out, err


class Tmpfs:
    """A tmpfs of its own, with these mount options."""

    def __init__(self, options="size=1m"):
        self.path = Path(tempfile.mkdtemp(prefix="harmless-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", options + ",mode=0755", "tmpfs", self.path], check=True)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)
        os.rmdir(self.path)


class Work:
    """A directory of its own, on storage."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="harmless-", dir="/var/tmp"))
        os.chmod(self.path, 0o755)
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


_built = {}


def build(work, source, *flags, name=None):
    """Compiles a C file of this directory."""
    out = Path(work) / (name or Path(source).stem)
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-w", "-pthread", "-o", out, HERE / source, *flags], check=True)
    return out


def make_page(gates):
    """A sound control page, made by the library in a first start."""
    code, _, err = run(["/bin/true"], loaded(gates))
    page = Path(gates) / GATE / "control"
    if code != 0 or not page.exists():
        raise RuntimeError(f"no page was made: {code} {err}")
    return page


def close_barrier(page, seconds):
    """Raises the barrier as a freezer does that is killed at once afterwards. Its deadline, CLOCK_MONOTONIC ns."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    with open(page, "r+b") as f:
        f.seek(CLOSED_AT)
        f.write(struct.pack("=Q", now))
        for at in BARRIERS:
            f.seek(at)
            f.write(struct.pack("=Q", now + int(seconds * 1e9)))
    return now + int(seconds * 1e9)


def open_barrier(page):
    with open(page, "r+b") as f:
        for at in BARRIERS:
            f.seek(at)
            f.write(struct.pack("=Q", 0))


def left_behind(gates):
    """Files beside the page that a maker has left."""
    directory = Path(gates) / GATE
    return sorted(p.name for p in directory.iterdir() if p.name.startswith(".")) if directory.is_dir() else []

"""A gate of its own for one test: a directory, fake gated processes, the command.

    rig = Rig()                              # a gate "t" in a directory of its own
    w = rig.worker("work", rig.file("a"))    # tests/command/cli/fake_worker.c in that mode
    o = rig.freeze("-t", "1s", command=["sleep", "0.1"])
    o.code, o.verdict, o.fields, o.out, o.err, o.record
    rig.close()                              # ends what it started, by pid

The command is that of $WRITEGATE_BIN_DIR, else of target/release.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or CHECKOUT / "target" / "release")
WRITEGATE = BIN / "writegate"
LIBRARY = BIN / "libwritegate.so"
PATIENCE_S = 40

_fake = None


def layout():
    """The layout of shared memory that the command understands, as it prints it."""
    said = subprocess.run([WRITEGATE, "doctor", "--layout"], capture_output=True, text=True,
                          check=True)
    return said.stdout.split()[1]


def fake_worker():
    """The fake worker, built once."""
    global _fake
    if _fake is None:
        folder = tempfile.mkdtemp(prefix="writegate-fake-")
        os.chmod(folder, 0o755)
        _fake = Path(folder) / "fake_worker"
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", f"-DLAYOUT=0x{layout()}", "-o", _fake,
                        HERE / "fake_worker.c"], check=True)
    return _fake


def forget_fake_worker():
    if _fake is not None:
        shutil.rmtree(_fake.parent, ignore_errors=True)


class Said:
    """What one run of the command said."""

    def __init__(self, code, out, err, wall_s, report=None):
        self.code, self.out, self.err, self.wall_s = code, out, err, wall_s
        self.lines = [line for line in err.splitlines() if line.startswith("writegate: gate=")]
        self.remarks = [line for line in err.splitlines() if line not in self.lines]
        self.fields = dict(part.split("=", 1) for part in self.lines[-1].split()[1:]) \
            if self.lines else {}
        self.record = json.loads(report.read_text()) if report and report.exists() else None

    @property
    def verdict(self):
        return self.fields.get("verdict")

    def kinds(self):
        """The kinds of all findings in the record."""
        return [f["kind"] for g in self.record["gates"] for f in g["findings"]]

    def __repr__(self):
        return f"exit {self.code}\n{self.out}{self.err}"


class Rig:
    def __init__(self, gate="t", uid=None):
        # Not /tmp itself: its sticky bit and mode are everybody's.
        self.work = Path(tempfile.mkdtemp(prefix="writegate-cli-"))
        self.dir = self.work / "gates"
        self.dir.mkdir(mode=0o755)
        self.data = self.work / "data"
        self.data.mkdir(mode=0o755)
        os.chmod(self.work, 0o755)
        self.gate, self.uid = gate, uid
        if uid is not None:
            for folder in (self.dir, self.data):
                os.chown(folder, uid, uid)
        self.children = []
        self.make_gate(gate)

    # what is run

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("WRITEGATE_")}
        # What tests freeze is no business of this machine's log.
        env.update({"WRITEGATE_DIR": str(self.dir), "WRITEGATE_TEST_LOG_SOCKET": "",
                    "LC_ALL": "C", **more})
        return env

    def as_user(self):
        if self.uid is None:
            return []
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]

    def run(self, *args, env=None, timeout=PATIENCE_S, report=None, **kw):
        begun = time.monotonic()
        kw.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run([*self.as_user(), WRITEGATE, *map(str, args)], env=env or self.env(),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, **kw)
        return Said(done.returncode, done.stdout, done.stderr, time.monotonic() - begun, report)

    def freeze(self, *args, command=("true",), gate=None, **kw):
        report = self.work / "report.json"
        report.unlink(missing_ok=True)
        tail = ["--", *command] if command else []
        return self.run("freeze", "-g", gate or self.gate, "--report", report, *args, *tail,
                        report=report, **kw)

    def start(self, *args, **kw):
        """The command in the background; ended by close()."""
        child = subprocess.Popen([*self.as_user(), WRITEGATE, *map(str, args)], env=self.env(),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, **kw)
        self.children.append(child)
        return child

    def make_gate(self, gate, profile=None):
        """Makes the gate's page. `exec` does it; it needs some library to name."""
        library = self.work / "libwritegate.so"
        library.touch()
        config = []
        if profile is not None:
            (self.work / "profile").write_text(profile)
            config = ["--config", self.work / "profile"]
        said = self.run("exec", "-g", gate, *config, "--library", library, "--", "true")
        assert self.control(gate).exists(), said

    def control(self, gate=None):
        return self.dir / (gate or self.gate) / "control"

    def barrier(self, gate=None):
        """0: it is open."""
        return int.from_bytes(self.control(gate).read_bytes()[32:40], "little")

    def file(self, name):
        return self.data / name

    def worker(self, mode, *args, gate=None, paths=None, exclude=None):
        """A fake gated process, ready."""
        named = {"WRITEGATE_PATHS": paths, "WRITEGATE_EXCLUDE": exclude}
        env = self.env(**{name: str(value) for name, value in named.items() if value})
        child = subprocess.Popen([*self.as_user(), fake_worker(), self.control(gate), mode,
                                  *map(str, args)], stdout=subprocess.PIPE, text=True, env=env,
                                 start_new_session=True)
        self.children.append(child)
        line = child.stdout.readline()
        assert line == "ready\n", (mode, line)
        return child

    def plain(self, argv, **kw):
        """Some process without the gate; ended by close()."""
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True, env=self.env(), **kw)
        self.children.append(child)
        return child

    def held(self, worker):
        """Ends a `work` worker; how long each of its long waits was, in ms, less what its
        sleeps lasted longer than they were asked to (a busy machine)."""
        # On a busy machine who was woken has yet to be given a processor to say so.
        time.sleep(0.2)
        worker.kill()
        text = worker.stdout.read()
        found = re.findall(r"held ([0-9.]+) late ([0-9.]+)", text)
        return [float(held) - float(late) for held, late in found]

    def close(self):
        for child in self.children:
            # A worker and its children are a group of their own.
            try:
                if os.getpgid(child.pid) == child.pid or child.poll() is not None:
                    os.killpg(child.pid, SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream:
                    stream.close()
        shutil.rmtree(self.work, ignore_errors=True)


def children_of(pid):
    """Process ids whose parent is `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            if int(text[text.rindex(")") + 2:].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def wait_for(condition, seconds=5, what="it"):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"{what} did not come true in {seconds} s")


def alive(pid):
    """Is it there, and not only waited for? (PID 1 of a container may wait for nobody.)"""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


SIGKILL, SIGSTOP, SIGCONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT

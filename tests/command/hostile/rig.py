"""A small honest gated service of root's, an attacker beside it, and the command.

    rig = Rig()                                  # a gate "t", its service, a place for its files
    rig.attack("web", 2, 60)                     # attacker.c in that mode, as nobody
    said = rig.freeze("-t", "2s")                # what the command said
    said.code, said.verdict, said.fields, said.out, said.err, said.record, said.seconds
    rig.close()                                  # ends what it started, by pid

The command is that of $WRITEGATE_BIN_DIR, else of target/release.
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or
           next(up for up in HERE.parents if (up / "Cargo.toml").exists()) / "target" / "release")
WRITEGATE, LIBRARY = BIN / "writegate", BIN / "libwritegate.so"
NOBODY, MAIL = 65534, 8
PATIENCE_S = 60

_built = None


def built(name):
    """A program of this folder, built once."""
    global _built
    if _built is None:
        _built = Path(tempfile.mkdtemp(prefix="writegate-hostile-"))
        os.chmod(_built, 0o755)
        said = subprocess.run([WRITEGATE, "doctor", "--layout"], capture_output=True, text=True, check=True)
        for source in HERE.glob("*.c"):
            subprocess.run(["gcc", "-O1", "-Wall", "-Werror", f"-DLAYOUT=0x{said.stdout.split()[1]}", "-o",
                            _built / source.stem, source], check=True)
    return _built / name


def forget_built():
    if _built is not None:
        shutil.rmtree(_built, ignore_errors=True)


class Said:
    """What one run of the command said."""

    def __init__(self, code, out, err, seconds, report=None):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds
        text = err.decode(errors="replace")
        lines = [line for line in text.split("\n") if line.startswith("writegate: gate=")]
        self.fields = dict(part.split("=", 1) for part in lines[-1].split()[1:]) if lines else {}
        self.record = json.loads(report.read_text()) if report and report.exists() else None

    @property
    def verdict(self):
        return self.fields.get("verdict")

    def findings(self):
        return [f for gate in self.record["gates"] for f in gate["findings"]]

    def found(self, pid):
        """What the record says of a process: kinds."""
        return [f["kind"] for f in self.findings() if f["pid"] == pid]

    def __repr__(self):
        return f"exit {self.code} in {self.seconds:.1f} s\n{self.out.decode(errors='replace')}" \
               f"{self.err.decode(errors='replace')}"


class Rig:
    def __init__(self, workers=3, service=True):
        self.work = Path(tempfile.mkdtemp(prefix="writegate-hostile-"))
        os.chmod(self.work, 0o755)
        self.dir, self.data, self.theirs = self.work / "gates", self.work / "data", self.work / "theirs"
        for folder, owner in ((self.dir, 0), (self.data, MAIL), (self.theirs, NOBODY)):
            folder.mkdir(mode=0o755)
            os.chown(folder, owner, owner)
        self.children = []
        library = self.work / "libwritegate.so"
        library.touch()
        made = self.run("exec", "-g", "t", "--library", library, "--", "true")
        assert self.control.exists(), made
        self.service = self.honest(workers) if service else None

    @property
    def control(self):
        return self.dir / "t" / "control"

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("WRITEGATE_")}
        env.update({"WRITEGATE_DIR": str(self.dir), "WRITEGATE_TEST_LOG_SOCKET": "", "LC_ALL": "C", **more})
        return env

    def gated(self, **more):
        return self.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE="t", **more)

    def start(self, argv, env=None, uid=None, **kw):
        """A process in the background."""
        become = [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        child = subprocess.Popen([*become, *map(os.fsencode, map(plain, argv))], env=env or self.env(), stdin=subprocess.DEVNULL,
                                 start_new_session=True, **kw)
        self.children.append(child)
        return child

    def honest(self, workers=3, **env):
        paths = {"WRITEGATE_PATHS": str(self.data), **env}
        child = self.start([built("honest"), self.data, workers, MAIL], self.gated(**paths),
                           stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        wait_for(lambda: all((self.data / name).exists() for name in "ab"))
        return child

    def attack(self, mode, *args, uid=NOBODY, env=None):
        """attacker.c in that mode, ready."""
        child = self.start([built("attacker"), self.control, mode, *args], env, uid, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n", mode
        return child

    def gated_stranger(self, uid=NOBODY, **env):
        """A program of another user's that puts itself behind the gate, by its environment."""
        child = self.start(["sleep", "1000"], self.gated(**env), uid)
        wait_for(lambda: b"libwritegate" in maps(child.pid) and b"/sleep" in maps(child.pid))
        return child

    def run(self, *args, timeout=PATIENCE_S, report=None, env=None):
        begun = time.monotonic()
        with subprocess.Popen([WRITEGATE, *map(str, args)], env=env or self.env(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            try:
                out, err = child.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
                err += b"\n(killed by the test: it did not end)\n"
        return Said(child.returncode, out, err, time.monotonic() - begun, report)

    def soon(self, seconds, *args, tries=3, **kw):
        """A freeze that takes less: what an attack costs it costs every time, what a busy machine costs only now and then."""
        for _ in range(tries):
            said = self.freeze(*args, **kw)
            if said.seconds < seconds:
                break
        return said

    def freeze(self, *args, command=("true",), **kw):
        report = self.work / "report.json"
        report.unlink(missing_ok=True)
        return self.run("freeze", "-g", "t", "--report", report, *args, "--", *command, report=report, **kw)

    def barrier(self):
        """The word of the gate's page: 0 is open; a deadline that has come is, too."""
        deadline = struct.unpack_from("<Q", self.control.read_bytes(), 32)[0]
        return 0 if deadline <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) else deadline

    def freezer(self, *args, **kw):
        """The command in the background."""
        return self.start([WRITEGATE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

    def close(self):
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream:
                    stream.close()
        shutil.rmtree(self.work, ignore_errors=True)


def plain(argument):
    return argument if isinstance(argument, bytes) else str(argument)


def maps(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_bytes()
    except OSError:
        return b""


def children_of(pid):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_bytes()
            except OSError:
                continue
            if int(stat[stat.rindex(b")") + 2:].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def has_open(pid, path):
    """Has this process the file open?"""
    try:
        return any(os.readlink(fd) == str(path) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def wait_for(condition, seconds=10, what="it"):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.003)
    raise AssertionError(f"{what} did not come true in {seconds} s")

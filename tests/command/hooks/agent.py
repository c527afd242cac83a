"""The real qemu-ga on a unix socket: our fsfreeze-hook, and what the stock one does with a failure."""
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

from rig import ROOT, need, run, whole


class Agent:
    """qemu-ga with one hook file."""

    def __init__(self, rig, hook):
        need("qemu-ga")
        self.socket = rig.folder / "ga.sock"
        self.process = subprocess.Popen(
            ["qemu-ga", "-m", "unix-listen", "-p", self.socket, "-f", rig.folder / "ga.pid", "-t", rig.folder,
             f"-F{hook}"], env=rig.environment(FSFREEZE_D=str(rig.folder / "hook.d")),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, "qemu-ga does not listen"
            time.sleep(0.05)
        self.link = socket.socket(socket.AF_UNIX)
        self.link.settimeout(30)
        self.link.connect(str(self.socket))
        self.lines = self.link.makefile("r")

    def ask(self, execute, **arguments):
        """(answer, error)."""
        self.link.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        return answer.get("return"), answer.get("error", {}).get("desc")

    def close(self):
        try:
            self.ask("guest-fsfreeze-thaw")
        except (OSError, ValueError):
            pass
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def with_agent(rig, hook, work):
    agent = Agent(rig, hook)
    try:
        work(agent)
    finally:
        agent.close()


def installed(rig):
    hook = rig.folder / "fsfreeze-hook"
    shutil.copy(ROOT / "contrib/qemu-ga/fsfreeze-hook", hook)
    return hook


def test_qemu_ga_copies_a_whole_image(rig):
    def work(agent):
        rig.write()
        for number in range(5):
            frozen, error = agent.ask("guest-fsfreeze-freeze-list", mountpoints=[str(rig.volume)])
            assert frozen == 1, error
            assert agent.ask("guest-fsfreeze-status")[0] == "frozen" and not rig.is_open()
            copy = rig.folder / f"copy{number}"
            shutil.copyfile(rig.image, copy)
            thawed, error = agent.ask("guest-fsfreeze-thaw")
            assert error is None, f"the verdict of a good freeze: {error}"
            assert rig.is_open()
            at = rig.folder / f"at{number}"
            at.mkdir()
            rig.mount(copy, at)
            whole(at / "mail")
    rig.configure(last=str(rig.folder / "last"))
    with_agent(rig, installed(rig), work)
    assert (rig.folder / "last").read_text() == "0\n"
    assert json.loads((rig.folder / "last.json").read_text())["verdict"] == "CONSISTENT"


def test_qemu_ga_sees_a_late_thaw(rig):
    def work(agent):
        rig.write()
        rig.configure(limit="400ms")
        frozen, error = agent.ask("guest-fsfreeze-freeze-list", mountpoints=[str(rig.volume)])
        assert frozen == 1, error
        time.sleep(0.8)
        thawed, error = agent.ask("guest-fsfreeze-thaw")
        assert error and "124" in error, f"the host was not told: {thawed}, {error}"
        assert agent.ask("guest-fsfreeze-status")[0] == "thawed"
    with_agent(rig, installed(rig), work)


def test_qemu_ga_does_not_freeze_what_does_not_drain(rig):
    def work(agent):
        rig.write(hold=60)
        rig.configure(options="--drain 300ms --retries 0")
        frozen, error = agent.ask("guest-fsfreeze-freeze-list", mountpoints=[str(rig.volume)])
        assert frozen is None and error, f"frozen: {frozen}"
        assert agent.ask("guest-fsfreeze-status")[0] == "thawed" and rig.is_open()
    with_agent(rig, installed(rig), work)


def test_qemu_ga_counts_the_other_scripts(rig):
    scripts, log = rig.folder / "hook.d", rig.folder / "log"
    scripts.mkdir()
    for name, code in ("10-one", 0), ("20-two", 0):
        (scripts / name).write_text(f'#!/bin/sh\necho {name} $1 >> {log}\nexit {code}\n')
        (scripts / name).chmod(0o755)

    def work(agent):
        rig.write()
        assert agent.ask("guest-fsfreeze-freeze-list", mountpoints=[str(rig.volume)])[0] == 1
        assert agent.ask("guest-fsfreeze-thaw")[1] is None
        assert log.read_text().split("\n")[:4] == ["10-one freeze", "20-two freeze", "20-two thaw", "10-one thaw"]
        (scripts / "20-two").write_text("#!/bin/sh\nexit 3\n")
        frozen, error = agent.ask("guest-fsfreeze-freeze-list", mountpoints=[str(rig.volume)])
        assert frozen is None and error and rig.is_open()
    with_agent(rig, installed(rig), work)


def test_qemu_ga_stock_dispatcher_swallows_a_failure(rig):
    """Why a script in fsfreeze-hook.d is not enough: the freeze goes on although it has failed."""
    stock = Path("/etc/qemu/fsfreeze-hook")
    need("qemu-ga")
    if not stock.exists():
        from rig import Skip
        raise Skip(f"{stock} is not there")
    scripts = rig.folder / "hook.d"
    scripts.mkdir()
    hook = rig.folder / "stock"
    hook.write_text("\n".join(f"FSFREEZE_D={scripts}" if line.startswith("FSFREEZE_D=") else line
                              for line in stock.read_text().splitlines()) + "\n")
    hook.chmod(0o755)
    (scripts / "fail").write_text(f"#!/bin/sh\ntouch {rig.folder}/was-run\nexit 1\n")
    (scripts / "fail").chmod(0o755)

    def work(agent):
        frozen, error = agent.ask("guest-fsfreeze-freeze-list", mountpoints=[str(rig.volume)])
        assert (rig.folder / "was-run").exists(), "the stock hook ran nothing: this case shows nothing"
        assert frozen == 1 and error is None, f"it has learned to abort: say so in contrib/qemu-ga ({error})"
    with_agent(rig, hook, work)


for case in list(globals().values()):
    if callable(case) and getattr(case, "__name__", "").startswith("test_"):
        case.volume = "ext4"

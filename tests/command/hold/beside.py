"""Cases of `freeze --hold-ungated`: processes beside a gate that it cannot hold. `run.py` runs them."""
import json
import os
import re
import subprocess
import time
from pathlib import Path

CONSISTENT, UNGATED, ESCAPED, NOT_DRAINED, EXPIRED = 0, 65, 65, 75, 124
GATE = "hold"
# At least so long it is waited for one that may load the library yet; on a busy machine the freeze itself takes a while.
STARTING_S = 2


def check(ok, what):
    if not ok:
        raise AssertionError(what)


class Gated:
    """A gate over the lab's folder: a gated shell that has started gated victims and static ones."""

    def __init__(self, lab, binaries, profile=""):
        self.lab, self.bin = lab, binaries
        self.gates, self.profile = lab.root / "gates", lab.root / "profile.conf"
        self.gates.mkdir()
        self.profile.write_text(profile)

    def env(self, gated):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE", "LD_"))}
        env.update(WRITEGATE_DIR=str(self.gates), WRITEGATE_CONF=str(self.profile))
        if gated:
            env.update(LD_PRELOAD=str(self.bin / "libwritegate.so"), WRITEGATE_GATE=GATE, WRITEGATE_PATHS=str(self.lab.mail))
        return env

    def start(self, *commands):
        """All by one gated shell, which waits for them; a command is a list of words."""
        script = "".join(f"{' '.join(map(str, words))} >/dev/null & " for words in commands)
        # A builtin would not show that it is gated: the shell's own file does.
        shell = subprocess.Popen(["sh", "-c", f"{script}: > {self.lab.mail}/started; wait"], env=self.env(True), start_new_session=True,
                                 stdout=subprocess.PIPE)
        self.lab.victims.append(shell)
        until = time.monotonic() + 10
        while not (self.lab.mail / "started").exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)
        return shell

    def freeze(self, *args, command=None, limit="10s", drain="5s", retries="2", pairs=2):
        report = self.lab.root / "report.json"
        report.unlink(missing_ok=True)
        command = command or (self.lab.programs["look"], self.lab.mail, str(pairs))
        run = subprocess.run([self.bin / "writegate", "freeze", "-g", GATE, "-t", limit, "--drain", drain, "--retries", retries, "--report", report,
                              *args, "--", *command], env=self.env(False), capture_output=True, text=True, timeout=60)
        record = json.loads(report.read_text()) if report.exists() else None
        return run.returncode, record, run.stdout + run.stderr


def looked(said):
    found = re.search(r"^LOOK (\d+) (\d+) (\d+)$", said, re.M)
    check(found, f"the command did not run: {said}")
    return tuple(map(int, found.groups()))


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run_again(pids):
    """No process is traced or stopped."""
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        check("\nTracerPid:\t0\n" in text and not re.search(r"^State:\t[tT]", text, re.M), f"{pid}: {text[:200]}")


def whole(lab, gate, freezes, args=("--hold-ungated",), least=1):
    """Freezes of it: none torn, nothing changed while all are held."""
    held, freezes = 0, (freezes + 1) // 2
    for _ in range(freezes):
        code, record, said = gate.freeze(*args)
        if code == NOT_DRAINED:
            continue
        check(code == CONSISTENT, f"exit {code}: {said}")
        torn, moved, size = looked(said)
        check((torn, moved) == (0, 0) and size > 0, f"{torn} torn, {moved} changed while all were held: {said} {record}")
        check(record["gates"][0]["at_rest"] >= least, record["gates"][0])
        held += 1
    check(held >= 0.8 * freezes, f"{held} of {freezes} drained: {said}")
    return f"{held} of {freezes}, 0 torn"


def statics(mode):
    def case(lab, freezes, binaries):
        """Static writers beside gated ones: UNGATED without the option, which is proposed; whole with it."""
        gate = Gated(lab, binaries)
        dynamic, static = lab.programs["dynamic"], lab.programs["victim"]
        shell = gate.start(*[(dynamic, "fcntl", lab.mail, 2)] * 2, *[(static, mode, lab.mail, 2)] * 2)
        took = []
        while len(took) < 3 and min(took, default=STARTING_S) >= STARTING_S:
            begun = time.monotonic()
            code, record, said = gate.freeze()
            took.append(time.monotonic() - begun)
            check(code == UNGATED and "--hold-ungated" in said, f"exit {code}: {said}")
        check(min(took) < STARTING_S, f"a static program is waited for as one that may be starting: {took} s")
        proposes_it(gate, shell)
        result = whole(lab, gate, freezes, least=2)
        run_again(children(shell.pid))
        return result
    return case


def loader(lab, _, binaries):
    """One that has no loader and is one (valgrind): it is waited for until its program shows."""
    gate = Gated(lab, binaries)
    static, dynamic = lab.programs["victim"], lab.programs["dynamic"]
    shell = gate.start((dynamic, "fcntl", lab.mail, 2), ("env", f"AGENT={dynamic}", static, "loads", lab.mail, 2))
    code, record, said = gate.freeze()
    check(code == CONSISTENT and record["gates"][0]["procs"] >= 3, f"exit {code}: {said}")
    run_again(children(shell.pid))


def proposes_it(gate, shell):
    """The doctor says which command would do as things stand, and for whom."""
    asked = [gate.bin / "writegate", "doctor", "--json"]
    static = {pid for pid in children(shell.pid) if os.readlink(f"/proc/{pid}/exe").endswith("/victim")}
    for args, command in (("-g", GATE), "--hold-ungated"), (("--pid", str(min(static))), f"freeze --pid {min(static)} "):
        run = subprocess.run([*asked, *args], env=gate.env(False), capture_output=True, text=True, timeout=60)
        way = json.loads(run.stdout)["at_rest"]
        check(way and command in way["command"] and set(way["pids"]) & static, f"{args}: {way} {static}")


def by_profile(lab, freezes, binaries):
    """`hold = ungated` in the profile, and a freeze by token."""
    gate = Gated(lab, binaries, "hold = ungated\n")
    dynamic, static = lab.programs["dynamic"], lab.programs["victim"]
    shell = gate.start((dynamic, "fcntl", lab.mail, 2), (static, "fcntl", lab.mail, 2))
    whole(lab, gate, 2, args=())
    report = lab.root / "thaw.json"
    for _ in range(max(freezes // 2, 2)):
        run = subprocess.run([gate.bin / "writegate", "freeze", "-g", GATE, "-t", "10s"], env=gate.env(False), capture_output=True, text=True, timeout=60)
        check(run.returncode == 0, run.stderr)
        said = subprocess.run([lab.programs["look"], lab.mail, "2"], capture_output=True, text=True).stdout
        thaw = subprocess.run([gate.bin / "writegate", "thaw", run.stdout.split()[-1], "--report", report], env=gate.env(False),
                              capture_output=True, text=True, timeout=60)
        check(thaw.returncode == CONSISTENT, thaw.stderr)
        check(looked(said)[:2] == (0, 0), said)
        check("at-rest=1" in thaw.stderr, thaw.stderr)
    rows = json.loads(report.read_text())["gates"][0]["held_at_rest"]
    check(rows[0]["because"] == ["ungated"] or "ungated" in rows[0]["because"], rows)
    run = subprocess.run([gate.bin / "writegate", "rehearse", "-g", GATE, "-n", "3"], env=gate.env(False), capture_output=True, text=True, timeout=60)
    check(run.returncode == 0, run.stdout + run.stderr)
    run_again(children(shell.pid))


def past(mode, gated):
    def case(lab, freezes, binaries):
        """Ways past libc beside gated writers; where the freeze finds the way beforehand also by a gated program."""
        gate = Gated(lab, binaries)
        writer = lab.programs["past_dynamic" if gated else "past"]
        shell = gate.start((lab.programs["dynamic"], "fcntl", lab.mail, 2), *[(writer, mode, lab.mail, 2)] * 2)
        if len(children(shell.pid)) < 3:
            return "not to be had here: not tried"
        code, record, said = gate.freeze()
        check(code == UNGATED and "--hold-ungated" in said, f"exit {code}: {said}")
        result = whole(lab, gate, freezes)
        run_again(children(shell.pid))
        return result
    return case


def named(mode, by):
    def case(lab, freezes, binaries):
        """A gated program that writes past libc, and of which a freeze finds nothing beforehand: torn, or seen in the
        window, without its name; whole with it."""
        writer = lab.programs["past_dynamic"]
        gate = Gated(lab, binaries, f"hold = {writer}\n" if by == "profile" else "")
        shell = gate.start((lab.programs["dynamic"], "idle", lab.mail, 2), *[(writer, mode, lab.mail, 2)] * 2)
        if len(children(shell.pid)) < 3:
            return "not to be had here: not tried"
        if by == "option":
            code, _, said = gate.freeze("--hold-ungated")
            check(code == ESCAPED and "--hold-program" in said, f"exit {code}: {said}")
        args = {"profile": (), "option": ("--hold-program", "*/past_*")}[by]
        result = whole(lab, gate, freezes, args=args, least=2)
        record = json.loads((lab.root / "report.json").read_text())["gates"][0]
        check({"named"} == {why for one in record["held_at_rest"] for why in one["because"]}, record["held_at_rest"])
        run_again(children(shell.pid))
        return result
    return case


def half_past(lab, freezes, binaries):
    """One half of a set past libc, the other through it: at the gate it waits under its lock. Never cut, and named."""
    gate = Gated(lab, binaries)
    writer = lab.programs["past_dynamic"]
    shell = gate.start((lab.programs["dynamic"], "fcntl", lab.mail, 2), (writer, "half-inline", lab.mail, 2))
    if len(children(shell.pid)) < 2:
        return "not to be had here: not tried"
    ends = []
    for _ in range(max(freezes // 2, 3)):
        code, record, said = gate.freeze("--hold-program", writer, drain="300ms", retries="0")
        ends.append(code)
        if code == CONSISTENT:
            check(looked(said)[:2] == (0, 0), said)
        else:
            check(code == NOT_DRAINED and record["gates"][0]["blockers"], f"exit {code}: {said}")
    run_again(children(shell.pid))
    return f"{ends.count(CONSISTENT)} of {len(ends)} at rest, 0 torn"


def mapped(lab, freezes, binaries):
    """A gated process that writes by stores into a mapping: a gap without the option; at rest with it."""
    gate = Gated(lab, binaries)
    dynamic = lab.programs["dynamic"]
    shell = gate.start((dynamic, "fcntl", lab.mail, 2), (dynamic, "map", lab.mail, 2))
    code, record, said = gate.freeze()
    check(code == UNGATED and "--hold-ungated" in said, f"exit {code}: {said}")
    result = whole(lab, gate, freezes)
    run_again(children(shell.pid))
    return result


def traced(lab, _, binaries):
    """One that cannot be held: said before the command, which is not run; all go on."""
    gate = Gated(lab, binaries)
    static = lab.programs["victim"]
    shell = gate.start((lab.programs["dynamic"], "fcntl", lab.mail, 2), (static, "idle", lab.mail, 2))
    victim = next(pid for pid in children(shell.pid) if os.readlink(f"/proc/{pid}/exe") == str(static))
    strace = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(victim)])
    try:
        until = time.monotonic() + 10
        while "TracerPid:\t0\n" in Path(f"/proc/{victim}/status").read_text() and time.monotonic() < until:
            time.sleep(0.01)
        code, _, said = gate.freeze("--hold-ungated", command=["touch", lab.root / "ran"])
        check(code == UNGATED and f"process {strace.pid} traces it" in said, f"exit {code}: {said}")
        check(not (lab.root / "ran").exists(), "the command was run")
    finally:
        strace.terminate()
        strace.wait()
    run_again(children(shell.pid))


def under_lock(lab, _, binaries):
    """One that keeps a lock: NOT_DRAINED with its name."""
    gate = Gated(lab, binaries)
    shell = gate.start((lab.programs["dynamic"], "fcntl", lab.mail, 2), (lab.programs["victim"], "keeps", lab.mail, 2))
    code, record, said = gate.freeze("--hold-ungated", drain="400ms", retries="0")
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    named = [b for b in record["gates"][0]["blockers"] if str(b["path"]).endswith("p0.l")]
    check(named, record["gates"][0]["blockers"])
    run_again(children(shell.pid))


def lock_for_life(lab, _, binaries):
    """The same, and the profile says that it is held for life."""
    gate = Gated(lab, binaries, "lifetime-lock = p0.l\n")
    gate.start((lab.programs["dynamic"], "idle", lab.mail, 2), (lab.programs["victim"], "keeps", lab.mail, 2))
    code, record, said = gate.freeze("--hold-ungated", command=["true"])
    check(code == CONSISTENT and record["gates"][0]["at_rest"] == 1, f"exit {code}: {said}")


def limit_passes(lab, _, binaries):
    """The limit is over while the command runs: all run at the deadline, EXPIRED."""
    gate = Gated(lab, binaries)
    shell = gate.start((lab.programs["dynamic"], "idle", lab.mail, 2), (lab.programs["victim"], "idle", lab.mail, 2))
    code, _, said = gate.freeze("--hold-ungated", command=["sleep", "1"], limit="400ms", drain="300ms")
    check(code == EXPIRED, f"exit {code}: {said}")
    run_again(children(shell.pid))


CASES = {"beside_fcntl": statics("fcntl"), "beside_threads": statics("threads"), "beside_fork": statics("fork"),
         "beside_loader": loader, "beside_uring": past("uring", True), "beside_uring_aside": past("uring-aside", True), "beside_static_uring": past("uring", False),
         "beside_static_inline": past("inline", False), "beside_dlmopen": past("dlmopen", True),
         "beside_inline": named("inline", "option"), "beside_inline_by_profile": named("inline", "profile"), "beside_half_past": half_past, "beside_by_profile": by_profile, "beside_mapped": mapped, "beside_traced": traced, "beside_under_lock": under_lock, "beside_lock_for_life": lock_for_life,
         "beside_limit_passes": limit_passes}

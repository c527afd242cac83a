#!/usr/bin/env python3
"""Locks that only the kernel knows: a lock that guards writing and that no region accounts for is a section in
flight. Ends with a line "N passed, N failed".

  run.py [CASE...]      run.py --costs [PROCESSES...]

WRITEGATE_BIN_DIR: where writegate and libwritegate.so lie (target/release).
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR", HERE.parents[2] / "target/release")).resolve()
CONSISTENT, UNGATED, NOT_DRAINED = 0, 65, 75
GATE = "locks"

HALF_DONE = ["dup_of_dup", "raw_flock", "raw_shared_writer", "raw_posix", "raw_ofd", "missed_conversion", "write_lease",
             "child_locks", "tool_locks", "parent_closes", "parent_exits", "passed_on", "closed_but_mapped",
             "table_of_its_own", "first_thread_ends", "odd_name"]
# The lock's file has no path that a descriptor would show.
NO_SET = ["read_flock", "read_posix", "listed_idle", "listed_idle_posix"]


class Lab:
    """A gate of its own, a protected directory, one idle member."""

    def __init__(self, root, profile=""):
        self.root = Path(tempfile.mkdtemp(dir=root))
        self.gates, self.mail, self.other = (self.root / name for name in ("gates", "mail", "other"))
        for folder in (self.gates, self.mail, self.other):
            folder.mkdir()
        self.profile = self.root / "profile.conf"
        self.profile.write_text(profile)
        self.procs = []
        subprocess.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"], env=self.env(False), check=True, capture_output=True)
        self.start(["cat"])

    def env(self, gated):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE", "LD_"))}
        env.update(WRITEGATE_DIR=str(self.gates), WRITEGATE_CONF=str(self.profile))
        if gated:
            env.update(LD_PRELOAD=str(BIN / "libwritegate.so"), WRITEGATE_GATE=GATE, WRITEGATE_PATHS=str(self.mail))
        return env

    def start(self, command, gated=True, **env):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.mail,
                                   env={**self.env(gated), **env})
        self.procs.append(process)
        return process

    def holder(self, case, **env):
        process = self.start([str(self.holders()), case, str(self.mail)], **env)
        line = process.stdout.readline()
        if line != b"READY\n":
            raise RuntimeError(f"{case}: said {line!r}")
        return process

    built = None

    @classmethod
    def holders(cls):
        if cls.built is None:
            cls.built = Path(tempfile.gettempdir()) / f"writegate-holders-{os.getpid()}"
            subprocess.run(["cc", "-O1", "-Wall", "-o", cls.built, HERE / "holders.c", "-lpthread"], check=True)
        return cls.built

    def freeze(self, *command, drain="400ms", before=(), extra=()):
        report = self.root / "report.json"
        report.unlink(missing_ok=True)
        run = subprocess.run(
            [*before, str(BIN / "writegate"), "freeze", "-g", GATE, "-t", "5s", "--drain", drain, "--retries", "0",
             "--report", str(report), *extra, "--", *(command or ("true",))],
            env=self.env(False), capture_output=True, text=True, timeout=60)
        record = json.loads(report.read_text())["gates"][0] if report.exists() else {}
        return run.returncode, record, run.stdout + run.stderr

    def close(self):
        for process in self.procs:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def half_done(lab, case):
    process = lab.holder(case)
    time.sleep(0.05)
    code, record, said = lab.freeze()
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    named = [f for f in record["blockers"] if f["program"] and (f["path"] or "").startswith(str(lab.mail))]
    check(named, f"no blocker has a program and the lock file: {record['blockers']}")
    process.stdin.write(b"g")
    process.stdin.flush()
    check(process.stdout.readline() == b"DONE\n" or case in ("parent_exits",), "the set did not end")
    time.sleep(0.05)
    code, record, said = lab.freeze()
    check(code == CONSISTENT, f"afterwards: exit {code}: {said}")


def no_set(lab, case):
    lab.holder(case)
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


def drain_goes_on(lab):
    lab.holder("raw_flock", HOLD_MS="500")
    code, record, said = lab.freeze("sh", "-c", f"test $(cat {lab.mail}/b | wc -c) = 1", drain="4s")
    check(code == CONSISTENT, f"exit {code}: {said}")


def lock_of_profile(lab):
    lab.holder("raw_flock")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


def mapped_lock_of_profile(lab):
    """As a Java machine holds its file of counters: closed, mapped, locked for life."""
    lab.holder("closed_but_mapped")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


LOCKER = """import fcntl,os,sys,struct
f=open(sys.argv[2],'a'); kind=sys.argv[1]
if kind=='ofd': fcntl.fcntl(f,37,struct.pack('hhlli4x',1,0,0,0,0))
elif kind=='posix': fcntl.lockf(f,fcntl.LOCK_EX)
else: fcntl.flock(f,fcntl.LOCK_EX)
g=open(sys.argv[3],'a') if len(sys.argv)>3 else None
print('READY',flush=True); sys.stdin.read(1)"""


def stranger(lab, kind, *files):
    process = lab.start([sys.executable, "-c", LOCKER, kind, *map(str, files)], gated=False)
    check(process.stdout.readline() == b"READY\n", "the stranger did not lock")
    return process


def strangers_elsewhere(lab):
    for kind in ("flock", "posix", "ofd"):
        stranger(lab, kind, lab.other / f"db-{kind}", lab.other / "data")
    dead_taker = lab.start(["sh", "-c", f"( flock 9; echo READY; read x ) 9>{lab.other}/job"], gated=False)
    check(dead_taker.stdout.readline() == b"READY\n", "sh did not lock")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


ON_ITS_WAY = """import fcntl,os,socket,struct,sys
one,two=socket.socketpair()
f=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT)
fcntl.fcntl(f,37,struct.pack('hhlli4x',1,0,0,0,0))
a=os.open(sys.argv[2],os.O_WRONLY|os.O_CREAT)
os.write(a,b'1')
os.close(a)
socket.send_fds(one,[b'x'],[f])
os.close(f)
print('READY',flush=True)
sys.stdin.read(1)"""


def on_its_way(lab, gated):
    """A lock whose only descriptor lies in a socket: nobody's that can be named."""
    folder = lab.mail if gated else lab.other
    process = lab.start([sys.executable, "-S", "-c", ON_ITS_WAY, str(folder / "l"), str(folder / "a")], gated=gated)
    check(process.stdout.readline() == b"READY\n", "the lock was not sent")


def on_its_way_to_a_member(lab):
    on_its_way(lab, True)
    code, record, said = lab.freeze()
    check(code in (UNGATED, NOT_DRAINED), f"exit {code}: {said}")


def on_its_way_elsewhere(lab):
    """No member can ever receive it: any user may do that, and as often as it likes."""
    on_its_way(lab, False)
    code, _, said = lab.freeze()
    check(code == CONSISTENT and "coverage=full" in said, f"exit {code}: {said}")


def own_lock_around(lab):
    code, _, said = lab.freeze(before=["flock", str(lab.other / "job.lock")])
    check(code == CONSISTENT, f"exit {code}: {said}")
    code, _, said = lab.freeze("flock", str(lab.other / "snapshot.lock"), "sleep", "0.2")
    check(code == CONSISTENT, f"exit {code}: {said}")


def stranger_with_protected_file(lab):
    process = stranger(lab, "flock", lab.other / "l", lab.mail / "box")
    code, record, said = lab.freeze()
    # What it has open was seen before the barrier.
    check(code == UNGATED, f"exit {code}: {said}")
    check(str(process.pid) in said, said)


def ungated_child(lab):
    script = f"exec 8<&0; env -u LD_PRELOAD {sys.executable} -c \"$CODE\" flock {lab.other}/l <&8; true"
    process = lab.start(["sh", "-c", script], CODE=LOCKER)
    check(process.stdout.readline() == b"READY\n", "the child did not lock")
    code, record, said = lab.freeze()
    check(code == UNGATED, f"exit {code}: {said}")
    code, record, said = lab.freeze(extra=["--accept", "partial"])
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    check(any(blocker["path"] == f"{lab.other}/l" for blocker in record["blockers"]), record["blockers"])


def costs(root, crowds):
    """The drain of idle processes with 35 descriptors each, ms."""
    code = ("import os,sys\nf=[open('/dev/null') for _ in range(30)]\nopen('w','a').write('1')\n"
            "print('READY',flush=True)\nsys.stdin.read(1)")
    for crowd in crowds:
        lab = Lab(root)
        try:
            for _ in range(crowd):
                lab.start([sys.executable, "-S", "-c", code])
            for process in lab.procs[1:]:
                process.stdout.readline()
            took = []
            for _ in range(30):
                exit_code, _, said = lab.freeze(drain="2s")
                check(exit_code == CONSISTENT, said)
                took.append(float(re.search(r"drain=([0-9.]+)ms", said)[1]))
            took.sort()
            print(f"{crowd} processes: drain p50 {took[15]:.2f} ms, p99 {took[-1]:.2f} ms", flush=True)
        finally:
            lab.close()


CASES = {**{name: lambda lab, name=name: half_done(lab, name) for name in HALF_DONE},
         **{name: lambda lab, name=name: no_set(lab, name) for name in NO_SET},
         "drain_goes_on": drain_goes_on, "lock_of_profile": lock_of_profile, "mapped_lock_of_profile": mapped_lock_of_profile,
         "strangers_elsewhere": strangers_elsewhere,
         "on_its_way_to_a_member": on_its_way_to_a_member, "on_its_way_elsewhere": on_its_way_elsewhere,
         "own_lock_around": own_lock_around, "stranger_with_protected_file": stranger_with_protected_file,
         "ungated_child": ungated_child}
PROFILES = {name: "lifetime-lock = */mail/l\n" for name in ("lock_of_profile", "mapped_lock_of_profile")}


def main():
    arguments = sys.argv[1:]
    root = tempfile.mkdtemp(prefix="writegate-locks-")
    os.chmod(root, 0o755)
    try:
        if arguments[:1] == ["--costs"]:
            return costs(root, [int(n) for n in arguments[1:]] or [40, 100, 1000])
        failed = 0
        for name in arguments or CASES:
            lab = Lab(root, PROFILES.get(name, ""))
            try:
                CASES[name](lab)
                print(f"ok    {name}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAIL  {name}: {error}", flush=True)
            finally:
                lab.close()
        total = len(arguments or CASES)
        print(f"{total - failed} passed, {failed} failed")
        return failed > 0
    finally:
        if Lab.built:
            Lab.built.unlink(missing_ok=True)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

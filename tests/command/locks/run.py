#!/usr/bin/env python3
"""Locks that only the kernel knows: a lock that guards writing and that no region accounts for is a section in
flight. Ends with a line "N passed, N failed".

  run.py [--only PATTERN]      run.py --costs [PROCESSES...]      run.py --torn [--only IDIOM]

WRITEGATE_BIN_DIR: where writegate and libwritegate.so lie (target/release).
"""
import contextlib
import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from lab import suite  # noqa: E402
import idioms  # noqa: E402

BIN = Path(os.environ.get("WRITEGATE_BIN_DIR", HERE.parents[2] / "target/release")).resolve()
CONSISTENT, UNGATED, NOT_DRAINED = 0, 65, 75
GATE = "locks"
# A set that does not end is in flight for however long; one that has ended drains, and how soon is no case's matter here.
BRIEF, LONG, LIMIT, PATIENCE_S = "150ms", "20s", "60s", 120

HALF_DONE = ["dup_of_dup", "raw_flock", "raw_shared_writer", "raw_posix", "raw_ofd", "missed_conversion", "write_lease",
             "child_locks", "tool_locks", "parent_closes", "parent_exits", "passed_on", "closed_but_mapped",
             "table_of_its_own", "first_thread_ends", "odd_name", "dup_before", "locked_by_dup", "ofd_grows", "ofd_shrinks",
             "many_locks", "process_id", "conversion", "thread_ends", "confined_flock", "confined_posix", "confined_ofd", "jailed_reaper"]
NO_SET = ["read_flock", "read_posix", "listed_idle", "listed_idle_posix", "pid_file", "confined_idle", "confined_idle_posix", "confined_idle_dup",
          "jailed_idle_reaper"]
# Of lockfiles.c.
LOCK_FILES = ["plain", "kernel_too", "child_makes", "child_removes", "another_removes", "shell_makes", "shell_removes",
              "helper_makes", "helper_appends", "maker_exits", "maker_exits_late", "message", "data_file", "spawned_beside",
              "spawned_unasked", "pipe_makes", "many_children", "many_removed", "long_shell", "many_arguments", "name_with_space", "quoted_name"]
# The same, where the profile must say what is a lock.
NAMED_LOCK_FILES = ["directory", "symbolic", "exclusive", "renamed", "by_mkdir", "by_ln"]
# Of rights.c: a right that is given up under a lock, and the lock.
RIGHTS = [f"{right}_{lock}" for right in ("user", "capabilities", "landlock", "root", "mounts") for lock in ("posix", "dup", "file_asked")]
RIGHTS += ["root_file", "mounts_file"]
# Of ways.c: whose descriptor, thread, process or table it is changes in the middle.
WAYS = ["last_byte", "comb", "before_the_offset", "up_and_down", "many_and_back", "hand_over_hand", "replaced", "closed_range", "range_to_close_later",
        "through_proc", "stream", "a_folder", "unlinked", "renamed_over", "exec_keeps_one", "exec_of_the_taker", "exec_half_way", "child_takes_ofd", "vforked_takes",
        "cloned_takes", "clone_goes_on", "table_is_shared", "grandchild", "spawned", "from_hand_to_hand", "fetched", "cancelled", "table_of_before",
        "by_a_handler", "all_but_one_end"]
# The first thread has ended, and with it the list of descriptors in which the name would be looked up.
NAMED_BY_NUMBER = ["all_but_one_end"]
# Drained while the set is made, with time to spare: nothing holds it up.
FINISHES = ["raw_flock", "dup_before", "child_locks", "parent_closes", "passed_on", "process_id", "child_makes", "helper_makes", "exec_half_way"]
# Its first process ends, and its stdin is read by a child.
NOT_ITS_OWN = ["parent_exits", "maker_exits", "maker_exits_late", "clone_goes_on", "fetched"]


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
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=self.mail, start_new_session=True,
                                   env={**self.env(gated), **env})
        self.procs.append(process)
        return process

    def holder(self, case, **env):
        files = case in LOCK_FILES + NAMED_LOCK_FILES + ["outside", "stale", "mailbox_full", "confined_meanwhile"]
        program = self.built() / ("lockfiles" if files else "rights" if case in RIGHTS else "ways" if case in WAYS else "holders")
        env = {"PATH": f"{self.built()}:{os.environ['PATH']}", **env}
        process = self.start([str(program), case, str(self.mail)], **env)
        said = next_line(process)
        if said != b"READY\n":
            raise RuntimeError(f"{case}: said {said!r}")
        return process

    programs = None

    @classmethod
    def built(cls):
        if cls.programs is None:
            cls.programs = Path(tempfile.mkdtemp(prefix="writegate-holders-"))
            cls.programs.chmod(0o755)
            for name in ("holders", "lockfiles", "rights", "ways"):
                subprocess.run(["cc", "-O1", "-Wall", "-o", cls.programs / name, HERE / f"{name}.c", "-lpthread"], check=True)
            for name in ("lockfile", "lockfile-create"):
                (cls.programs / name).symlink_to("lockfiles")
        return cls.programs

    def freeze(self, *command, drain=LONG, before=(), extra=()):
        report = self.root / "report.json"
        report.unlink(missing_ok=True)
        run = subprocess.run(
            [*before, str(BIN / "writegate"), "freeze", "-g", GATE, "-t", LIMIT, "--drain", drain, "--retries", "0",
             "--report", str(report), *extra, "--", *(command or ("true",))],
            env=self.env(False), capture_output=True, text=True, timeout=PATIENCE_S)
        record = json.loads(report.read_text())["gates"][0] if report.exists() else {}
        return run.returncode, record, run.stdout + run.stderr

    def stop(self):
        for process in self.procs:
            # Its children too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()
        self.procs = []

    def close(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def next_line(process):
    """What it says next; nothing, if that does not come in time."""
    if not select.select([process.stdout], [], [], PATIENCE_S)[0]:
        return b"(nothing)"
    return process.stdout.readline()


def has_landlock():
    create_ruleset, tell_version = 444, 1
    return ctypes.CDLL(None).syscall(create_ruleset, None, 0, tell_version) > 0


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def half_done(lab, case):
    process = lab.holder(case)
    time.sleep(0.05)
    code, record, said = lab.freeze(drain=BRIEF)
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    named = [f for f in record["blockers"] if f["program"] and (f["path"] or "").startswith(str(lab.mail))]
    check(named or case in NAMED_BY_NUMBER, f"no blocker has a program and the lock file: {record['blockers']}")
    process.stdin.write(b"g")
    process.stdin.flush()
    check(next_line(process) == b"DONE\n" or case in NOT_ITS_OWN, "the set did not end")
    time.sleep(0.05)
    code, record, said = lab.freeze()
    check(code == CONSISTENT, f"afterwards: exit {code}: {said}")


def idiom(lab, name, inside):
    """Two files that a program in another language changes under its own kind of lock."""
    locks = lab.mail if inside else lab.other
    process = lab.start(idioms.command(name, locks), LOCKS=str(locks))
    check(next_line(process) == b"READY\n", "it did not begin its set")
    time.sleep(0.05)
    code, record, said = lab.freeze(drain=BRIEF)
    expected = idioms.expected(name, inside)
    check(code == expected, f"exit {code}, not {expected}: {said}")
    if code == NOT_DRAINED:
        check(any((f["path"] or "").startswith(str(locks)) for f in record["blockers"]), f"its lock is not named: {record['blockers']}")
    elif code == UNGATED:
        check(any(f["kind"] == idioms.CAUSES[name] for f in record["findings"]), f"not the cause: {record['findings']}")
    process.stdin.write(b"g\n")
    check(next_line(process) == b"DONE\n", "the set did not end")
    if code == NOT_DRAINED:
        code, _, said = lab.freeze(extra=["--accept", "partial"])
        check(code == CONSISTENT, f"afterwards: exit {code}: {said}")


def torn(root, pattern, freezes=20):
    """How many copies of `a` and `b` hold half a set: without the library, and with it (by hand)."""
    for name in (name for name in idioms.IDIOMS if suite.fits(name, pattern)):
        if why := idioms.missing(name):
            print(f"skip  {name}: {why}", flush=True)
            continue
        said = []
        for gated in (False, True):
            lab = Lab(root, NAMED_PROFILE if name in idioms.NAMED else "")
            try:
                lab.start(idioms.command(name, lab.other), gated=gated, LOCKS=str(lab.other), HOLD_MS="5")
                while not (lab.mail / "b").exists():
                    time.sleep(0.01)
                halves, codes = 0, []
                for _ in range(freezes):
                    time.sleep(0.03)
                    copy = lab.other / "copy"
                    copy.unlink(missing_ok=True)
                    command = ["sh", "-c", f"cd {lab.mail} && stat -c %s a b > {copy}"]
                    if gated:
                        codes.append(lab.freeze(*command, drain="5s")[0])
                    else:
                        subprocess.run(command, check=True)
                    taken = (not gated or codes[-1] == CONSISTENT) and copy.exists()
                    halves += taken and len(set(copy.read_text().split())) > 1
                said.append(f"torn {halves} of {freezes}" + (f", CONSISTENT {codes.count(CONSISTENT)}" if gated else ""))
            finally:
                lab.close()
        print(f"{name:24} without: {said[0]:14}  with: {said[1]}", flush=True)


def no_set(lab, case):
    lab.holder(case)
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


def drain_goes_on(lab, case):
    lab.holder(case, HOLD_MS="300")
    code, record, said = lab.freeze("sh", "-c", f"test $(cat {lab.mail}/b | wc -c) = 1")
    check(code == CONSISTENT, f"exit {code}: {said}")
    # What goes on under the barrier is let pass: nobody had to be let in for it to come through.
    check(record["openings"] == 0, f"{record['openings']} openings: {said}")


def made_while_the_gate_is_closed(lab):
    """A lock file outside of what is protected: nothing holds that up, and the next freeze must know of it."""
    box = Path(tempfile.mkdtemp(dir="/dev/shm")) / "box.lock"
    check(box.parent.stat().st_dev != lab.mail.stat().st_dev, "/dev/shm is no file system of its own here")
    process = lab.holder("outside", OUTSIDE=str(box))
    go = lab.other / "go"
    freeze = subprocess.Popen(
        [str(BIN / "writegate"), "freeze", "-g", GATE, "-t", LIMIT, "--drain", LONG, "--", "sh", "-c",
         f"touch {lab.other}/frozen; while ! test -e {go}; do sleep 0.02; done"],
        env=lab.env(False), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not (lab.other / "frozen").exists() and freeze.poll() is None:
            time.sleep(0.01)
        process.stdin.write(b"g")
        process.stdin.flush()
        check(next_line(process) == b"LOCKED\n", "no lock file")
        check((lab.mail / "a").stat().st_size == 0, "it was not held")
        go.touch()
        said = freeze.communicate(timeout=PATIENCE_S)[0]
        check(freeze.returncode == CONSISTENT, f"the first: exit {freeze.returncode}: {said}")
    finally:
        freeze.kill()
        freeze.communicate()
    check(next_line(process) == b"READY\n", "it was held for ever")
    code, record, said = lab.freeze(drain=BRIEF)
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    check(record["blockers"][0]["path"] == str(box), record["blockers"])
    process.stdin.write(b"g")
    process.stdin.flush()
    check(next_line(process) == b"DONE\n", "the set did not end")
    box.parent.rmdir()
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"afterwards: exit {code}: {said}")


def left_by_the_dead(lab):
    """A lock file that a child has left, which failed or was killed, is no lock of its parent's."""
    lab.holder("stale")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


def what_a_child_made_is_not_known(lab, case):
    """It did not fit into the mailbox, or must not be looked at: the parent says that it does not know, until it has removed it."""
    process = lab.holder(case)
    time.sleep(0.05)
    code, record, said = lab.freeze(drain=BRIEF)
    check(code != CONSISTENT and "locks-unknown" in json.dumps(record), f"exit {code}: {said}")
    process.stdin.write(b"g")
    process.stdin.flush()
    check(next_line(process) == b"DONE\n", "the set did not end")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"afterwards: exit {code}: {said}")


def chrooted_for_life(lab):
    """By the profile's path, though the process cannot ask for it any more."""
    lab.holder("chrooted")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


def rehearse_names_what_never_ends(lab):
    def rehearse(drain):
        run = subprocess.run([str(BIN / "writegate"), "rehearse", "-g", GATE, "-n", "2", "--drain", drain, "--every", "10ms"],
                             env=lab.env(False), capture_output=True, text=True, timeout=PATIENCE_S)
        return run.returncode, f"lifetime-lock = {lab.mail}/l" in run.stdout, run.stdout + run.stderr
    process = lab.holder("raw_flock")
    code, named, said = rehearse("300ms")
    check((code, named) == (NOT_DRAINED, True), f"exit {code}: {said}")
    process.stdin.write(b"g")
    check(next_line(process) == b"DONE\n", "the set did not end")
    code, named, said = rehearse(LONG)
    check((code, named) == (0, False), f"exit {code}: {said}")


def doctor(lab):
    """Does it propose the line? And what it says."""
    run = subprocess.run([str(BIN / "writegate"), "doctor", "-g", GATE], env=lab.env(False), capture_output=True, text=True, timeout=PATIENCE_S)
    return f"\n  lifetime-lock = {lab.mail}/l\n" in run.stdout, run.stdout + run.stderr


def doctor_names_what_lasts(lab):
    """One that the kernel alone knows, and one that a region tells; not when the set is done."""
    for case in ("raw_flock", "conversion"):
        process = lab.holder(case)
        named, said = doctor(lab)
        check(named, f"{case}: {said}")
        process.stdin.write(b"g")
        check(next_line(process) == b"DONE\n", "the set did not end")
        named, said = doctor(lab)
        check(not named, f"{case}, afterwards: {said}")


def file_without_its_line(lab):
    """What a client may choose as a folder's name is no lock, unless the profile says so."""
    lab.holder("directory")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")


def lock_of_profile(lab):
    lab.holder("raw_flock")
    code, _, said = lab.freeze()
    check(code == CONSISTENT, f"exit {code}: {said}")
    named, said = doctor(lab)
    check(not named, said)


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
    check(next_line(process) == b"READY\n", "the stranger did not lock")
    return process


def strangers_elsewhere(lab):
    for kind in ("flock", "posix", "ofd"):
        stranger(lab, kind, lab.other / f"db-{kind}", lab.other / "data")
    dead_taker = lab.start(["sh", "-c", f"( flock 9; echo READY; read x ) 9>{lab.other}/job"], gated=False)
    check(next_line(dead_taker) == b"READY\n", "sh did not lock")
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
    code, record, said = lab.freeze(drain=BRIEF)
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


# Waits until the snapshot is taken, takes a lock, and becomes a program that changes something.
JOINS = """
import fcntl, os, time
other = os.environ['OTHER']
while not os.path.exists(other + '/now'): time.sleep(0.01)
lock = os.open(other + '/l', os.O_RDWR)
os.set_inheritable(lock, True)
fcntl.flock(lock, fcntl.LOCK_EX)
open(other + '/joined', 'w').close()
os.execve('/bin/sh', ['sh', '-c', 'echo 1 > b; echo DONE'], {**os.environ, 'LD_PRELOAD': os.environ['LIBRARY']})"""


def joins_with_a_lock(lab):
    """It was in no gate when it took the lock: nobody has counted its section, so that gives it no right to pass."""
    # Too large for a process id, which would be held for life.
    (lab.other / "l").write_text("x" * 100_000)
    process = lab.start([sys.executable, "-S", "-c", JOINS], gated=False, OTHER=str(lab.other), LIBRARY=str(BIN / "libwritegate.so"), WRITEGATE_GATE=GATE,
                        WRITEGATE_PATHS=str(lab.mail))
    window = f"touch {lab.other}/now; until [ -e {lab.other}/joined ]; do sleep 0.01; done; sleep 0.7; test ! -e {lab.mail}/b"
    code, _, said = lab.freeze("sh", "-c", window)
    check(code == CONSISTENT, f"exit {code}: {said}")
    check(next_line(process) == b"DONE\n", "it does not go on")


def ungated_child(lab):
    script = f"exec 8<&0; env -u LD_PRELOAD {sys.executable} -c \"$CODE\" flock {lab.other}/l <&8; true"
    process = lab.start(["sh", "-c", script], CODE=LOCKER)
    check(next_line(process) == b"READY\n", "the child did not lock")
    code, record, said = lab.freeze()
    check(code == UNGATED, f"exit {code}: {said}")
    code, record, said = lab.freeze(drain=BRIEF, extra=["--accept", "partial"])
    check(code == NOT_DRAINED, f"exit {code}: {said}")
    check(any(blocker["path"] == f"{lab.other}/l" for blocker in record["blockers"]), record["blockers"])


def in_a_pid_namespace(lab):
    """The freezer in one too: there /proc/locks leaves out what a dead process took."""
    for name in ("parent_exits", "raw_flock", "passed_on", "listed_idle", "strangers_elsewhere"):
        run = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, __file__, "--only", name],
                             capture_output=True, text=True, timeout=3 * PATIENCE_S)
        check(run.returncode == 0, f"{name}: {run.stdout}{run.stderr}")


def on_its_own_device(lab, kind):
    """What stat says of a file is not what /proc/locks says there."""
    where = lab.root / "mount"
    where.mkdir()
    if kind == "btrfs":
        image = lab.root / "image"
        subprocess.run(["truncate", "-s", "128M", image], check=True)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, where], check=True)
    else:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", where], check=True)
        for name in ("lower", "upper", "work"):
            (where / name).mkdir()
        (where / "lower/l").touch()
    over = lab.root / "over"
    over.mkdir()
    try:
        if kind == "btrfs":
            subprocess.run(["btrfs", "subvolume", "create", where / "mail"], check=True, capture_output=True)
            mail = where / "mail"
        else:
            layers = ",".join(f"{name}dir={where}/{name}" for name in ("lower", "upper", "work"))
            subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", over], check=True)
            mail = over
        lab.mail = mail
        for case, expected in (("listed_idle", CONSISTENT), ("raw_flock", NOT_DRAINED), ("conversion", NOT_DRAINED), ("raw_posix", NOT_DRAINED)):
            process = lab.holder(case)
            code, _, said = lab.freeze(drain=LONG if expected == CONSISTENT else BRIEF, extra=["--accept", "partial"])
            check(code == expected, f"{case}: exit {code}: {said}")
            process.stdin.write(b"g")
            check(next_line(process) == b"DONE\n", f"{case}: the set did not end")
            code, _, said = lab.freeze(extra=["--accept", "partial"])
            check(code == CONSISTENT, f"{case}, afterwards: exit {code}: {said}")
    finally:
        lab.stop()
        for mounted in (over, where):
            subprocess.run(["umount", mounted], capture_output=True)


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
                next_line(process)
            took = []
            for _ in range(30):
                exit_code, _, said = lab.freeze(drain="2s")
                check(exit_code == CONSISTENT, said)
                took.append(float(re.search(r"drain=([0-9.]+)ms", said)[1]))
            took.sort()
            print(f"{crowd} processes, {len(took)} freezes: drain p50 {took[len(took) // 2]:.2f} ms, max {took[-1]:.2f} ms", flush=True)
        finally:
            lab.close()


NAMED_PROFILE = "lock-file = *.lck\n"
# Outside of what is protected, and within.
IDIOMS = {f"idiom_{name}{'_inside' * inside}": (name, inside) for name in idioms.IDIOMS for inside in (False, True)
          if (name, inside) in idioms.TRIED}
CASES = {**{name: lambda lab, name=name: half_done(lab, name) for name in HALF_DONE},
         **{name: lambda lab, name=name: no_set(lab, name) for name in NO_SET},
         **{name: lambda lab, name=name: half_done(lab, name) for name in LOCK_FILES + NAMED_LOCK_FILES + RIGHTS + WAYS},
         **{f"drain_goes_on_{name}": lambda lab, name=name: drain_goes_on(lab, name) for name in FINISHES},
         "made_while_the_gate_is_closed": made_while_the_gate_is_closed, "left_by_the_dead": left_by_the_dead, "no_room_for_a_child": lambda lab: what_a_child_made_is_not_known(lab, "mailbox_full"),
         "confined_meanwhile": lambda lab: what_a_child_made_is_not_known(lab, "confined_meanwhile"),
         "chrooted_for_life": chrooted_for_life, "file_without_its_line": file_without_its_line,
         "rehearse_names_what_never_ends": rehearse_names_what_never_ends, "doctor_names_what_lasts": doctor_names_what_lasts,
         "lock_of_profile": lock_of_profile, "mapped_lock_of_profile": mapped_lock_of_profile,
         "strangers_elsewhere": strangers_elsewhere, "in_a_pid_namespace": in_a_pid_namespace,
         "on_btrfs": lambda lab: on_its_own_device(lab, "btrfs"), "on_an_overlay": lambda lab: on_its_own_device(lab, "overlay"),
         "on_its_way_to_a_member": on_its_way_to_a_member, "on_its_way_elsewhere": on_its_way_elsewhere,
         "own_lock_around": own_lock_around, "stranger_with_protected_file": stranger_with_protected_file,
         "ungated_child": ungated_child, "joins_with_a_lock": joins_with_a_lock,
         **{case: lambda lab, what=what: idiom(lab, *what) for case, what in IDIOMS.items()}}
PROFILES = {**{name: "lifetime-lock = */mail/l\n" for name in ("lock_of_profile", "mapped_lock_of_profile", "chrooted_for_life")},
            **{name: NAMED_PROFILE for name in NAMED_LOCK_FILES},
            **{case: NAMED_PROFILE for case, (name, _) in IDIOMS.items() if name in idioms.NAMED}}


def main():
    parser = suite.parser(__doc__)
    parser.add_argument("--torn", action="store_true", help="of each idiom: how many copies hold half a set, without the library and with it")
    parser.add_argument("--costs", nargs="*", type=int, metavar="PROCESSES", help="print what the drain costs")
    options = parser.parse_args()
    if options.torn:
        with tempfile.TemporaryDirectory(prefix="writegate-locks-") as root:
            os.chmod(root, 0o755)
            return torn(root, options.only)
    chosen = [name for name in CASES if suite.fits(name, options.only)]
    if not chosen:
        return suite.nothing(options.only, CASES)
    root = tempfile.mkdtemp(prefix="writegate-locks-")
    os.chmod(root, 0o755)
    try:
        if options.costs is not None:
            return costs(root, options.costs or [40, 100, 1000])
        failed = skipped = 0
        for name in chosen:
            if name.startswith("landlock_") and not has_landlock():
                skipped += 1
                print(f"skip  {name}: this kernel has no landlock", flush=True)
                continue
            if name in IDIOMS and (why := idioms.missing(IDIOMS[name][0])):
                skipped += 1
                print(f"skip  {name}: {why}", flush=True)
                continue
            lab = Lab(root, PROFILES.get(name, ""))
            try:
                CASES[name](lab)
                print(f"ok    {name}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAIL  {name}: {error}", flush=True)
            finally:
                lab.close()
        total = len(chosen)
        print(f"{total - failed - skipped} passed, {failed} failed, {skipped} skipped")
        return failed > 0
    finally:
        if Lab.programs:
            shutil.rmtree(Lab.programs, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

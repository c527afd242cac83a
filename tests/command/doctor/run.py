#!/usr/bin/env python3
"""Deliberately broken set-ups: `writegate doctor` must name the right cause, in the right sentence.

    run.py [--only PATTERN]

Each case starts processes under the library, breaks one thing, and holds what the doctor says about
the process at fault: the cause, a part of the sentence and of the cure, and the exit code. The healthy
set-up comes first and must be green, and each case's gate is its own. The binaries are those of
$WRITEGATE_BIN_DIR, else target/release. Cases that need root or a kernel feature are skipped aloud.
"""
import argparse
import fnmatch
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or ROOT / "target/release")
LIBRARY, COMMAND = BIN / "libwritegate.so", BIN / "writegate"
PAGE = 16 * 1024


class Skip(Exception):
    """The case cannot be run here, and why."""


class Bench:
    """One case's folder, gate and processes."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        folder.chmod(0o755)
        self.dir, self.library = folder / "run", folder / "lib" / "libwritegate.so"
        self.library.parent.mkdir()
        shutil.copy(LIBRARY, self.library)
        self.library.parent.chmod(0o755)

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WRITEGATE_", "LD_"))}
        env.update(LD_PRELOAD=str(self.library), WRITEGATE_GATE="mail", WRITEGATE_DIR=str(self.dir))
        env.update(more)
        return {k: str(v) for k, v in env.items() if v is not None}

    def start(self, *argv, settle=0.15, **env):
        process = subprocess.Popen([str(a) for a in argv], env=self.environment(**env),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   start_new_session=True)
        self.started.append(process)
        time.sleep(settle)
        if process.poll() is not None:
            if process.returncode < 0:
                raise AssertionError(f"{argv[0]} died of signal {-process.returncode}")
            raise Skip(f"{argv[0]} ended with {process.returncode}: "
                       f"{process.stderr.read().decode(errors='replace').strip()[-160:]}")
        return process.pid

    def healthy(self):
        """A gated process, so that the gate exists."""
        return self.start("sleep", "300")

    def doctor(self, *args, prefix=()):
        env = self.environment(LD_PRELOAD=None, WRITEGATE_GATE=None)
        done = subprocess.run([*prefix, str(COMMAND), "doctor", "--json", *map(str, args)], env=env,
                              capture_output=True, text=True, timeout=60)
        found = json.loads(done.stdout) if done.stdout.startswith("{") else None
        return done.returncode, found, done.stderr

    def about(self, pid, *args, **kw):
        """(exit code, what it says about this process)."""
        args = args or ("--pid", pid, "-g", "mail")
        code, found, error = self.doctor(*args, **kw)
        assert found, f"no JSON, exit code {code}: {error}"
        rows = [row for row in found["processes"] if row["pid"] == pid]
        assert rows, f"process {pid} is not in {found['processes']}"
        assert found["trusted"] == (code == 0)
        return code, rows[0]

    def stop(self):
        for process in self.started:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            process.stderr.close()


def expect(row, code, cause, reason, cure, exit_code=65):
    assert row["cause"] == cause, f"cause {row['cause']}: {row['reason']}"
    assert reason in row["reason"], f"the sentence is: {row['reason']}"
    assert cure in row["cure"], f"the cure is: {row['cure']}"
    assert code == exit_code, f"exit code {code}"


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def compiled(bench, *flags, text="#include <unistd.h>\nint main(void){for(;;)pause();}\n", name="prog"):
    source, program = bench.folder / f"{name}.c", bench.folder / name
    source.write_text(text)
    done = subprocess.run(["gcc", "-o", program, source, *flags], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"gcc {' '.join(flags)}: {done.stderr.strip().splitlines()[-1][:160]}")
    return program


# --- the cases --------------------------------------------------------------------------------------

def healthy_set_up_is_green(b):
    pid = b.healthy()
    code, row = b.about(pid, "-g", "mail")
    assert (code, row["state"], row["gaps"]) == (0, "gated", []), (code, row)
    code, row = b.about(pid)
    assert code == 0
    code, row = b.about(pid, "--pid", pid)                  # the gate by the process's environment
    assert code == 0
    done = subprocess.run([COMMAND, "doctor", "-g", "mail"], env=b.environment(LD_PRELOAD=None),
                          capture_output=True, text=True)
    assert "a freeze of this gate could be trusted" in done.stdout, done.stdout
    assert "\x1b[" not in done.stdout, "colours although it is no terminal"


def forked_child_that_has_done_nothing(b):
    """It maps its parent's region and none of its own until its first change (authdaemond's workers)."""
    parent = b.start(compiled(b, text="#include <unistd.h>\nint main(void){fork();for(;;)pause();}\n"))
    child = int(Path(f"/proc/{parent}/task/{parent}/children").read_text())
    code, row = b.about(child)
    assert (code, row["state"], row["cause"]) == (0, "gated", "gated"), (code, row)


def no_memory_for_a_region(b):
    """Forked, its memory locked, and no more may be locked (chrony, corosync)."""
    need_root()
    text = """#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
int main(int c, char **v) {
    struct rlimit l = {4096, 4096};
    int d = open(v[1], O_WRONLY | O_CREAT, 0666);
    fchmod(d, 0666);
    setrlimit(RLIMIT_MEMLOCK, &l);
    if (setgid(8) || setuid(8)) return 1;
    if (fork()) for (;;) pause();
    mlockall(MCL_FUTURE);
    if (write(d, "x", 1) != 1) return 2;
    for (;;) pause();
}
"""
    parent = b.start(compiled(b, text=text), b.folder / "data", settle=0.4)
    child = int(only(parent))
    end = time.monotonic() + 10
    code, row = b.about(child)
    while (row or {}).get("cause") != "no-memory" and time.monotonic() < end:
        code, row = b.about(child)
    expect(row, code, "no-memory", "found no memory for a region of its own", "LimitMEMLOCK=infinity")


def only(pid):
    """The pid of its child, as text, as soon as it has one."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return children[0]
        time.sleep(0.01)
    raise AssertionError(f"pid {pid} has no child")


def neither_a_clock_nor_a_sleep(b):
    """Forked before it meets a barrier under a clock that is not the host's: it is not held, and says so in its region."""
    need_root()
    text = """#include <sys/wait.h>
#include <unistd.h>
int main(void) { for (;;) { write(1, "x", 1); usleep(20000); } }
"""
    program = compiled(b, text=text)
    out = b.folder / "data"
    # A program of its own: whoever else runs the machine's is none of this service.
    unshare = shutil.copy(shutil.which("unshare"), b.folder / "unshare")
    pid = b.start("sh", "-c", f"exec {unshare} --time --monotonic 1000 --fork --kill-child {program} >> {out}", settle=0.4,
                  WRITEGATE_PATHS=b.folder)
    child = only(pid)
    env = b.environment(LD_PRELOAD=None)
    done = subprocess.run([COMMAND, "freeze", "-g", "mail", "--", "sleep", "0.3"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 65, (done.returncode, done.stdout, done.stderr)
    said = done.stdout + done.stderr
    assert re.search(rf"\bpid {child}\b", said), said


def nobody_there(b):
    code, found, error = b.doctor("-g", "mail")
    assert code == 69 and not found["trusted"], (code, found)
    assert "no service was started under it" in found["gate_fault"]


def not_restarted(b):
    old = b.start("sleep", "300", LD_PRELOAD=None)
    time.sleep(0.1)
    b.healthy()
    code, row = b.about(old)
    expect(row, code, "not-restarted", "started before the gate was made, and has not been restarted",
           "restart the service")


def never_asked(b):
    b.healthy()
    time.sleep(0.1)
    code, row = b.about(b.start("sleep", "300", LD_PRELOAD=None))
    expect(row, code, "not-asked", "started without LD_PRELOAD", "writegate exec -g mail -- PROGRAM")


def statically_linked(b):
    b.healthy()
    code, row = b.about(b.start(compiled(b, "-static")))
    expect(row, code, "static", "linked statically", "dynamically linked build")


def set_user_id(b):
    need_root()
    b.healthy()
    program = compiled(b)
    program.chmod(0o4755)
    pid = b.start("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program)
    code, row = b.about(pid)
    expect(row, code, "set-id", "set-user-ID or set-group-ID: there the loader takes only bare names",
           "/etc/ld.so.preload")


def environment_scrubbed(b):
    parent = b.start("sh", "-c", "env -u LD_PRELOAD sleep 300 & wait")
    code, found, _ = b.doctor("-g", "mail")
    rows = [row for row in found["processes"] if row["state"] == "not-gated"]
    assert len(rows) == 1, found["processes"]
    expect(rows[0], code, "scrubbed", f"its parent, pid {parent} (sh), has the library",
           "hand LD_PRELOAD and WRITEGATE_GATE on")


def environment_scrubbed_by_dovecot(b):
    bin_dir = b.folder / "dovecot"
    bin_dir.mkdir()
    for name in "sh", "sleep":
        shutil.copy(shutil.which(name), bin_dir / name)
    b.start(bin_dir / "sh", "-c", f"env -u LD_PRELOAD {bin_dir}/sleep 300 & wait")
    code, found, _ = b.doctor("-g", "mail")
    rows = [row for row in found["processes"] if row["state"] == "not-gated"]
    expect(rows[0], code, "scrubbed", "an environment without LD_PRELOAD", "dovecot.conf: import_environment = ")


def library_missing(b):
    b.healthy()
    code, row = b.about(b.start("sleep", "300", LD_PRELOAD=b.folder / "gone/libwritegate.so"))
    expect(row, code, "library-missing", "gone/libwritegate.so, which does not exist", "install the library")


def library_unreadable(b):
    need_root()
    b.healthy()
    closed = b.folder / "closed"
    closed.mkdir()
    shutil.copy(LIBRARY, closed / "libwritegate.so")
    closed.chmod(0o700)
    pid = b.start("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                  "sleep", "300", LD_PRELOAD=closed / "libwritegate.so")
    code, row = b.about(pid)
    expect(row, code, "library-unreadable", f"may not read the library: {closed} is closed to it", "chmod a+rX")


def wrong_word_size(b):
    """A 32-bit program of 84 + 8 bytes: pause() for ever."""
    b.healthy()
    text = bytes([0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7])
    base, offset = 0x08048000, 84
    head = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + offset, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    head += struct.pack("<IIIIIIII", 1, 0, base, base, offset + len(text), offset + len(text), 5, 4096)
    program = b.folder / "narrow"
    program.write_bytes(head + text)
    program.chmod(0o755)
    try:
        pid = b.start(program)
    except OSError as e:
        raise Skip(f"this kernel runs no 32-bit programs: {e}") from e
    code, row = b.about(pid)
    expect(row, code, "word-size", "a 32-bit program", "")


def chroot_without_the_library(b):
    need_root()
    b.healthy()
    cell = b.folder / "cell"
    libraries = subprocess.run(["ldd", shutil.which("sleep")], capture_output=True, text=True).stdout
    files = [word for line in libraries.splitlines() for word in line.split() if word.startswith("/")]
    for file in [shutil.which("sleep"), *files]:
        to = cell / file.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(file), to)
    code, row = b.about(b.start("chroot", cell, shutil.which("sleep"), "300"))
    expect(row, code, "library-missing", f"does not exist in its root directory {cell}", "")
    # With the library, but without the gate's directory: root makes a gate of its own in there,
    # others cannot.
    inside = cell / str(b.library).lstrip("/")
    inside.parent.mkdir(parents=True)
    shutil.copy(LIBRARY, inside)
    pid = b.start("chroot", "--userspec=65534:65534", cell, shutil.which("sleep"), "300")
    code, row = b.about(pid)
    expect(row, code, "page-hidden", f"cannot be seen from inside: its root directory is {cell}",
           "let it see")
    code, row = b.about(b.start("chroot", cell, shutil.which("sleep"), "300"))
    expect(row, code, "own-gate-in-chroot", f"its root directory is {cell}, and it has made a gate of its own in there",
           "let it see")


def mount_namespace_without_the_gate(b):
    need_root()
    b.healthy()
    pid = b.start("unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o ro tmpfs {b.dir} && exec sleep 300",
                  settle=0.4)
    code, row = b.about(pid)
    expect(row, code, "page-hidden", "its mount namespace hides it", "BindReadOnlyPaths=")


def old_control_page(b):
    pid = b.healthy()
    shutil.rmtree(b.dir / "mail")
    b.healthy()
    code, row = b.about(pid)
    expect(row, code, "old-page", "a control page of gate mail that was replaced since: it is detached",
           "restart the service")
    code, found, _ = b.doctor("-g", "mail")
    assert pid in [row["pid"] for row in found["processes"]], "the gate's own list must name it too"


def another_gate(b):
    b.healthy()
    pid = b.start("sleep", "300", WRITEGATE_GATE="web")
    code, row = b.about(pid)
    expect(row, code, "other-gate", "belongs to another gate, web", "writegate freeze -g mail -g web")


def deleted_library(b):
    pid = b.healthy()
    os.remove(b.library)
    shutil.copy(LIBRARY, b.library)
    code, row = b.about(pid)
    assert code == 0 and row["state"] == "gated", row
    assert any("runs the library of before an upgrade" in gap for gap in row["gaps"]), row


def other_layout_version(b):
    b.healthy()
    with open(b.dir / "mail/control", "r+b") as page:
        page.seek(8)
        page.write(struct.pack("<I", 99))
    pid = b.start("sleep", "300")
    code, row = b.about(pid)
    expect(row, code, "other-layout", "made by another version of writegate", "restart the service")


def page_that_others_may_write(b):
    b.healthy()
    (b.dir / "mail/control").chmod(0o666)
    pid = b.start("sleep", "300")
    code, row = b.about(pid)
    expect(row, code, "page", "can be written by others (mode 0666)", "restart")


def time_namespace(b):
    need_root()
    b.healthy()
    pid = b.start("unshare", "--time", "--monotonic", "1000", "--fork", "--kill-child", "sleep", "300", settle=0.4)
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    code, row = b.about(child)
    expect(row, code, "time-namespace", "whose monotonic clock is not the host's", "offset 0")


def program_not_in_the_profile(b):
    conf = b.folder / "mail.conf"
    conf.write_text("program = */imapd\n")
    shutil.copy(shutil.which("sleep"), b.folder / "imapd")
    gated = b.start(b.folder / "imapd", "300", WRITEGATE_CONF=conf)
    pid = b.start("sleep", "300", WRITEGATE_CONF=conf)
    code, row = b.about(pid)
    assert row["state"] == "left-out" and "`program` lines do not name it" in row["reason"], row
    code, row = b.about(gated)
    assert code == 0, row


def a_writer_from_outside(b):
    store = b.folder / "store"
    store.mkdir()
    b.start("sleep", "300", WRITEGATE_PATHS=store)
    code, found, _ = b.doctor("-g", "mail")
    assert code == 0, found["processes"]
    pid = b.start("sh", "-c", f"exec sleep 300 >> {store}/file", LD_PRELOAD=None, WRITEGATE_GATE=None)
    code, found, _ = b.doctor("-g", "mail")
    rows = [row for row in found["processes"] if row["pid"] == pid]
    assert code == 65 and rows, (code, found["processes"])
    assert f"has a protected file open for writing: {store}/file" in rows[0]["gaps"], rows


def gap_shared_mapping(b):
    text = """#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int c, char **v){int f=open(v[1],O_RDWR|O_CREAT,0600);ftruncate(f,4096);
mmap(0,4096,PROT_READ|PROT_WRITE,MAP_SHARED,f,0);for(;;)pause();}
"""
    store = b.folder / "store"
    store.mkdir()
    pid = b.start(compiled(b, text=text), store / "m", WRITEGATE_PATHS=store)
    code, row = b.about(pid)
    assert any("shared and writable" in gap for gap in row["gaps"]), row


def inline_system_calls(b):
    text = """#include <unistd.h>
int main(void){long r;for(;;){pause();
__asm__ volatile("mov $82,%%eax; xor %%edx,%%edx; syscall":"=a"(r):"D"("/a"),"S"("/b"):"rcx","rdx","r11","memory");}}
"""
    if os.uname().machine != "x86_64":
        raise Skip("looked for on x86-64 only")
    program = compiled(b, "-O1", text=text)
    b.start(program)
    code, found, _ = b.doctor("-g", "mail")
    assert found["inline_system_calls"].get(str(program)) == ["rename"], found["inline_system_calls"]
    assert len(found["inline_system_calls"]) == 1, found["inline_system_calls"]


def the_freezers_own_rights(b):
    need_root()
    pid = b.healthy()
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    try:
        subprocess.run([*as_nobody, COMMAND, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        copy = b.folder / "writegate"
        shutil.copy(COMMAND, copy)
        code, found, error = run_copy(b, copy, as_nobody, pid)
    else:
        code, found, error = b.doctor("--pid", pid, "-g", "mail", prefix=as_nobody)
    row = found["processes"][0]
    expect(row, code, "unseen", "its memory map may not be read by you", "CAP_SYS_PTRACE", 77)
    assert "you are not root" in found["own_rights"][0]["what"], found["own_rights"]


def run_copy(b, copy, prefix, pid):
    env = b.environment(LD_PRELOAD=None, WRITEGATE_GATE=None)
    done = subprocess.run([*prefix, copy, "doctor", "--json", "--pid", str(pid), "-g", "mail"], env=env,
                          capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout), done.stderr


def root_without_ptrace(b):
    need_root()
    other = b.start("setpriv", "--reuid=8", "--regid=8", "--clear-groups", "sleep", "300")
    prefix = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    code, found, error = b.doctor("--pid", other, "-g", "mail", prefix=prefix)
    assert code == 77, (code, found)
    assert "root without CAP_SYS_PTRACE" in found["own_rights"][0]["what"], found["own_rights"]


def control_group(b, name):
    """A systemd unit, as far as /proc shows one."""
    need_root()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    unified = [words[1] for words in mounts if words[2] == "cgroup2"]
    if not unified:
        raise Skip("no cgroup2 is mounted")
    group = Path(unified[0]) / name
    try:
        group.mkdir()
    except OSError as e:
        raise Skip(f"no control group can be made: {e}") from e
    return group


def put_into(group, pid):
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as e:
        raise Skip(f"control group: {e}") from e


def what_the_units_settings_mean(b):
    """Without systemd: a control group of the test's own, units below another root."""
    group = control_group(b, "wg-doctor-test.service")
    try:
        pid = b.start("sleep", "300", LD_PRELOAD=None)
        put_into(group, pid)
        root = b.folder / "root"
        units = root / "etc/systemd/system"
        (units / "wg-doctor-test.service.d").mkdir(parents=True)
        (units / "wg-doctor-test.service").write_text("[Service]\nProcSubset=pid\nPrivateTmp=yes\n")
        time.sleep(0.1)
        (units / "wg-doctor-test.service.d/writegate.conf").write_text(
            f"[Service]\nEnvironment=LD_PRELOAD={b.library}\n")
        code, found, error = b.doctor("wg-doctor-test", "-g", "mail", "--root", root)
        row = found["processes"][0]
        expect(row, code, "not-restarted", "before the library was set up for its unit",
               "systemctl daemon-reload; systemctl restart wg-doctor-test.service")
        meanings = found["units"]["wg-doctor-test.service"]
        assert [m["harmful"] for m in meanings] == [False, True], meanings
    finally:
        b.stop()
        time.sleep(0.1)
        group.rmdir()


def a_second_instance_of_postfix(b):
    """Debian 13: the instance has a unit of its own. A freeze is not trusted, so the doctor asked for `postfix` names it."""
    master = b.folder / "lib/postfix/sbin/master"
    master.parent.mkdir(parents=True)
    shutil.copy(shutil.which("sleep"), master)
    root = b.folder / "root"
    for name, more in ("postfix", "import_environment = LD_PRELOAD=/x/libwritegate.so\n"), ("postfix-out", ""):
        (root / "etc" / name).mkdir(parents=True)
        (root / "etc" / name / "main.cf").write_text("multi_instance_directories = /etc/postfix-out\n" + more)
    group = control_group(b, "postfix.service")
    try:
        put_into(group, b.start(master, "300"))
        other = b.start(master, "300", LD_PRELOAD=None, WRITEGATE_GATE=None)
        code, row = b.about(other, "postfix", "-g", "mail", "--root", root)
        expect(row, code, "not-asked", "without LD_PRELOAD", "writegate setup postfix")
        code, found, error = b.doctor("postfix.service", "-g", "mail", "--root", root)
        assert other not in [row["pid"] for row in found["processes"]], "a unit is that unit"
        assert found["instances_left_out"] == ["/etc/postfix-out"], found["instances_left_out"]
        done = subprocess.run([COMMAND, "doctor", "postfix", "-g", "mail", "--root", root], env=b.environment(LD_PRELOAD=None),
                              capture_output=True, text=True, timeout=60)
        assert "not set up: the Postfix of /etc/postfix-out" in done.stdout, done.stdout
    finally:
        b.stop()
        time.sleep(0.1)
        group.rmdir()


BORN = """#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int c, char **v) {
    while (c == 2) {
        if (!fork()) execl(v[0], v[0], v[1], "", (char *)0);
        wait(0);
    }
    int f = open(v[1], O_CREAT | O_RDWR, 0644);
    flock(f, LOCK_EX);
    return write(f, "x", 1) != 1;
}
"""


def processes_that_live_some_ms(b):
    """A lock that many take in turn is no lock that lasts, and who was met in its start or its end is not accused."""
    b.healthy()
    file = b.folder / "f"
    paths = {"WRITEGATE_PATHS": b.folder}
    for _ in range(2):
        b.start("sh", "-c", f"while :; do flock {file} true; done", **paths)
    if shutil.which("musl-gcc"):
        program = b.folder / "born"
        (b.folder / "born.c").write_text(BORN)
        subprocess.run(["musl-gcc", "-o", program, program.with_suffix(".c")], check=True)
        b.start(program, file, **paths)
    for _ in range(3):
        code, found, error = b.doctor("-g", "mail")
        accused = [(row["program"], row["cause"]) for row in found["processes"] if row["state"] != "gated"]
        assert (code, accused, found["lasting_locks"]) == (0, [], []), (code, accused, found["lasting_locks"], error)


def lock_that_lasts(b):
    """A freeze would wait for it in vain. (Not the lock of one that ends before the second is over.)"""
    text = BORN.replace("return write(f, \"x\", 1) != 1;", "if (write(f, \"x\", 1) != 1) return 1; for (;;) pause();")
    file = b.folder / "f"
    pid = b.start(compiled(b, text=text), file, "", WRITEGATE_PATHS=b.folder)
    code, found, error = b.doctor("-g", "mail")
    assert (code, found["lasting_locks"]) == (0, [{"pid": pid, "program": "prog", "path": str(file)}]), (found, error)
    done = subprocess.run([COMMAND, "doctor", "-g", "mail"], env=b.environment(LD_PRELOAD=None), capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1]
    assert "as long as that lock is held it ends with NOT_DRAINED" in last, last


CASES = [value for value in list(globals().values())
         if callable(value) and getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("b",)
         and value.__name__ not in ("run_copy", "control_group")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="*")
    only = parser.parse_args().only
    for file in LIBRARY, COMMAND:
        if not file.exists():
            sys.exit(f"{file} is missing: cargo build --release, or set WRITEGATE_BIN_DIR")
    passed = failed = skipped = 0
    for case in CASES:
        if not fnmatch.fnmatch(case.__name__, only):
            continue
        with tempfile.TemporaryDirectory(prefix="wg-doctor-") as folder:
            bench = Bench(Path(folder))
            try:
                case(bench)
            except Skip as why:
                print(f"SKIPPED {case.__name__}: {why}", flush=True)
                skipped += 1
            except Exception as error:                  # noqa: BLE001: one case must not hide the others
                print(f"FAILED  {case.__name__}: {type(error).__name__}: {error}", flush=True)
                failed += 1
            else:
                print(f"ok      {case.__name__}", flush=True)
                passed += 1
            finally:
                bench.stop()
    if not passed + failed + skipped:
        print(f"no case matches {only!r}: nothing was run", file=sys.stderr)
        return 64
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())

"""Hardened units: what systemd asks of the kernel for one option, on the service's side and on the freezer's.

systemd is not the first process here. Each option is made as the kernel is asked for it: prctl, filters, mounts, user
namespaces. `--table` of run.py prints what was seen, for docs/admin/systems.md.
"""
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from kernels import ALLOW, ANY_BIT, CALLS, EPERM, EQUAL, ERRNO, LOAD, RETURN, filtered, lacks, op, row
from world import BIN, GATE, PYTHON, Skip, refused, tell, whole

MMAP, MPROTECT, PKEY_MPROTECT, PTRACE = 9, 10, 329, 101
WRITE, EXECUTE = 2, 4
KILL = 0x80000000               # SECCOMP_RET_KILL_PROCESS, what systemd does without SystemCallErrorNumber=
PROTECTION = 16 + 8 * 2         # the third argument

# PR_SET_MDWE (Linux 6.3), then the program.
MDWE = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def deny_write_execute():
    """MemoryDenyWriteExecute=yes: nothing that is written becomes a program."""
    both = op(LOAD, PROTECTION) + op(ANY_BIT, WRITE, 0, 2) + op(ANY_BIT, EXECUTE, 0, 1) + op(RETURN, ERRNO | EPERM) + op(RETURN, ALLOW)
    late = op(LOAD, PROTECTION) + op(ANY_BIT, EXECUTE, 0, 1) + op(RETURN, ERRNO | EPERM) + op(RETURN, ALLOW)
    rules = b"".join(op(EQUAL, call, 0, len(body) // 8) + body for call, body in ((MMAP, both), (MPROTECT, late), (PKEY_MPROTECT, late)))
    return [*filtered(rules), PYTHON, "-c", MDWE]


def numbers():
    """Of the system calls, by name."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        raise Skip("no list of system calls is there (Debian: linux-libc-dev)")
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}


def set_of(name):
    """The system calls of a set, as systemd itself has it."""
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not there (Debian: systemd)")
    said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in said.splitlines()[1:]]
    found = set()
    for word in words:
        if word and not word.startswith("#"):
            found |= set_of(word) if word.startswith("@") else {word}
    return found


def only(name, otherwise):
    """SystemCallFilter=NAME; what is not in it is answered so."""
    known = numbers()
    calls = sorted(known[call] for call in set_of(name) if call in known)
    assert len(calls) > 200, calls
    return filtered(b"".join(op(EQUAL, call, 0, 1) + op(RETURN, ALLOW) for call in calls) + op(RETURN, otherwise))


def system_service(world):
    return only("@system-service", ERRNO | EPERM)


def system_service_or_death(world):
    return only("@system-service", KILL)


def mounted(world, script):
    """A mount namespace that is made so."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", script + '\nexec "$@"', "sh"]


def read_only(world, *writable):
    """ProtectSystem=strict with these ReadWritePaths=."""
    keep = "\n".join(f"mount --bind {shlex.quote(str(path))} {shlex.quote(str(path))}" for path in writable)
    again = "\n".join(f"mount -o remount,bind,rw {shlex.quote(str(path))}" for path in writable)
    return mounted(world, f"{keep}\nmount -o remount,bind,ro /\n{again}")


def strict(world):
    return read_only(world, world.mail, world.gates)


def everything_read_only(world):
    return read_only(world)


def root_directory(world):
    """RootDirectory= with what BindPaths= puts into it."""
    root = world.root / "root"
    # What a program needs to run, the mail and the page, and the library: wherever this checkout lies.
    shown = [path for path in ("/usr", "/lib", "/lib64", "/bin", "/etc") if os.path.exists(path)]
    shown += {str(Path(path).resolve()) for path in (world.root.parent, BIN, world.member_program.parent)}
    script = [f"mkdir -p {root}", f"mount -t tmpfs none {root}", f"mkdir -p {root}/proc {root}/dev", f"mount --rbind /dev {root}/dev",
              f"mount -t proc proc {root}/proc"]
    for path in shown:
        script += [f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}"]
    return [*mounted(world, "\n".join(script)), "chroot", str(root)]


def processes_of_others_hidden(world):
    """ProtectProc=invisible."""
    return mounted(world, "mount -t proc -o hidepid=invisible proc /proc")


def private_users(world):
    """PrivateUsers=yes for a service of root's."""
    return ["unshare", "--user", "--map-root-user"]


NO_NEW = ["setpriv", "--no-new-privs"]
NO_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
# Yama 3: nobody may trace, nor read another's memory by process_vm_readv; what lies below /proc/PID/map_files may be opened.
NOBODY_TRACES = filtered(op(EQUAL, PTRACE, 0, 1) + op(RETURN, ERRNO | EPERM) + lacks("process_vm_readv", error=EPERM))

# As kernels.ROWS: the freezer's side, the service's side, the outcome, what must be said.
ROWS = {
    "MemoryDenyWriteExecute, the service": ([], deny_write_execute(), "full", ()),
    "MemoryDenyWriteExecute, the freezer": (deny_write_execute(), [], "full", ()),
    "SystemCallFilter=@system-service, the service": ([], system_service, "full", ()),
    "the same, without SystemCallErrorNumber (a call outside of it kills)": ([], system_service_or_death, "full", ()),
    "SystemCallFilter=@system-service, the freezer": (system_service, [], "none", ("changes cannot be watched for",)),
    "NoNewPrivileges, both sides": (NO_NEW, NO_NEW, "full", ()),
    "CapabilityBoundingSet= (empty), the service": ([], NO_RIGHTS, "full", ()),
    "PrivateUsers, the service": ([], private_users, "full", ()),
    "PrivateUsers, the freezer": (private_users, [], 77, ("CAP_SYS_PTRACE",)),
    "ProtectSystem=strict, ReadWritePaths= mail and /run/writegate, the service": ([], strict, "full", ()),
    "the same, the freezer": (strict, [], "full", ()),
    "everything read-only, the freezer": (everything_read_only, [], 77, ("read-only file system", "remount,rw")),
    "RootDirectory, the service": ([], root_directory, "full", ()),
    "ProtectProc=invisible, the service": ([], processes_of_others_hidden, "full", ()),
    "ProtectProc=invisible, the freezer (root)": (processes_of_others_hidden, [], "full", ()),
}
TABLE = {}


def a_user_whom_no_list_names(world):
    """As DynamicUser=yes makes one; systemd's own lock on that number is not made here (systemd_units.py)."""
    user = 61234
    os.chown(world.mail, user, user)
    assert world.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"]).returncode == 0
    before = [*strict(world), "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    member = world.member(None, *before)
    of = (None, None, "--users", str(user))
    whole(world.freeze(*of), procs=1)
    tell(member, f"lock {world.mail}/lock")
    tell(member, f"write {world.mail}/half")
    assert world.freeze_half(*of).returncode == 75


def a_unit_that_may_only_read_the_gates_directory(world):
    """ProtectSystem=strict without ReadWritePaths=/run/writegate, on a page that is there: its processes map it to read."""
    assert world.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"]).returncode == 0
    member = world.member(None, *read_only(world, world.mail))
    whole(world.freeze(), procs=1)
    tell(member, f"lock {world.mail}/lock")
    tell(member, f"write {world.mail}/half")
    assert world.freeze_half().returncode == 75


def yama_as_with_3(world):
    """Nobody may trace or read another's memory: what a process protects cannot be asked, and that is said."""
    world.member()
    said = world.freeze(before=NOBODY_TRACES)
    assert said.returncode == 65 and "verdict=UNSEEN" in said.said and "WRITEGATE_PATHS" in said.said, said.said


def yama(world):
    """ptrace_scope 1 and 2, where this kernel has it. Never 3: it cannot be taken back."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if not scope.exists():
        raise Skip("this kernel has no Yama")
    before = scope.read_text()
    if before.strip() == "3":
        raise Skip("ptrace_scope is 3 and stays so")
    world.member()
    try:
        for value in ("1", "2"):
            scope.write_text(value)
            whole(world.freeze(), procs=1)
            refused(world.freeze(before=["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]), 77, "CAP_SYS_PTRACE")
    finally:
        scope.write_text(before)


CASES = [*(row(name, ROWS, TABLE) for name in ROWS), a_user_whom_no_list_names, a_unit_that_may_only_read_the_gates_directory, yama, yama_as_with_3]

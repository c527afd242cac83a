"""Kernels that lack a call, and rights that are missing: the right `watched`, or refused at once with the cure.

A seccomp filter says for a kernel that has not this call what such a kernel would say. `--table` of run.py prints what
was seen, for docs/admin/systems.md.
"""
import os
import pwd
import re
import struct
import subprocess
import time
from pathlib import Path
from world import BIN, GATE, PYTHON, Container, refused, tell, whole

AT_ONCE_S = 10                  # no limit of the gate's: what waits for a drain or a retry takes longer
ENOSYS, EPERM, EINVAL, ENODEV = 38, 1, 22, 19
CALLS = {"fcntl": 72, "fanotify_init": 300, "process_vm_readv": 310, "kcmp": 312, "membarrier": 324, "statx": 332,
         "pidfd_open": 434, "openat2": 437, "memfd_create": 319, "name_to_handle_at": 303, "open_by_handle_at": 304}
FIRST_AFTER_3_10 = 314          # sched_setattr came with Linux 3.14
NAMES = 0x0F00                  # FAN_REPORT_*: who is told names and directories (Linux 5.9)
OFD = range(36, 39)             # F_OFD_GETLK and its like (Linux 3.15)

# Lays the filter on itself and becomes the program. argv: the filter in hex, the program.
LAUNCHER = r"""
import ctypes, os, sys
code = bytes.fromhex(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
body = ctypes.create_string_buffer(code, len(code))
program = (ctypes.c_uint64 * 2)(len(code) // 8, ctypes.addressof(body))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])
"""


def op(code, k, yes=0, no=0):
    return struct.pack("HBBI", code, yes, no, k)


LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def lacks(*calls, error=ENOSYS):
    return b"".join(op(EQUAL, CALLS[call], 0, 1) + op(RETURN, ERRNO | error) for call in calls)


def argument(call, which, tests, error):
    """This error where one of these tests (code, value) holds for an argument of the call."""
    body = op(LOAD, 16 + 8 * which) + b"".join(op(code, k, 0, 1) + op(RETURN, ERRNO | error) for code, k in tests)
    return op(EQUAL, CALLS[call], 0, len(body) // 8 + 1) + body + op(RETURN, ALLOW)


def filtered(rules):
    """What stands before a program that is to run on such a kernel."""
    code = op(LOAD, 0) + rules + op(RETURN, ALLOW)
    return [PYTHON, "-c", LAUNCHER, code.hex()]


NO_NAMES = argument("fanotify_init", 0, [(ANY_BIT, NAMES)], EINVAL)
NO_OFD = argument("fcntl", 1, [(EQUAL, command) for command in OFD], EINVAL)
# All that came later, and the fcntl commands that did.
LINUX_3_10 = op(AT_LEAST, FIRST_AFTER_3_10, 0, 1) + op(RETURN, ERRNO | ENOSYS) + NO_OFD


def without(*capabilities):
    """Root that has not these, nor what is started by it."""
    drop = ",".join(f"-{capability}" for capability in capabilities)
    return ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"]


# name: what the freezer's side lacks, what the service's side lacks, the outcome: an exit code, or what is watched
# (exit code 0; full: as much as with everything there), and what must be said.
ROWS = {
    "everything there": ([], [], "full", ()),
    "Linux 3.10, both sides": (filtered(LINUX_3_10), filtered(LINUX_3_10), "full", ()),
    "Linux 3.10, the freezer": (filtered(LINUX_3_10), [], 78, ("membarrier",)),
    "no membarrier, both sides": (filtered(lacks("membarrier")), filtered(lacks("membarrier")), "full", ()),
    "no membarrier, the freezer": (filtered(lacks("membarrier")), [], 78, ("membarrier", "restart the service")),
    "no membarrier, the service": ([], filtered(lacks("membarrier")), "full", ()),
    "no fanotify": (filtered(lacks("fanotify_init")), [], "none", ("changes cannot be watched for",)),
    "fanotify without names": (filtered(NO_NAMES), [], "contents", ("not names",)),
    "no fanotify rights (CAP_SYS_ADMIN)": (without("sys_admin"), [], "none", ()),
    "no pidfd_open": (filtered(lacks("pidfd_open")), [], "full", ()),
    "no kcmp": (filtered(lacks("kcmp")), [], "full", ()),
    "no statx": (filtered(lacks("statx")), [], "full", ()),
    "no openat2": (filtered(lacks("openat2")), [], "full", ()),
    "no map_files (CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE)": (without("sys_admin", "checkpoint_restore"), [], "none", ()),
    "nor process_vm_readv": (without("sys_admin", "checkpoint_restore")
                             + filtered(lacks("process_vm_readv", error=EPERM)), [], 77, ("CAP_SYS_PTRACE",)),
    "no CAP_SYS_PTRACE": (without("sys_ptrace"), [], 77, ("CAP_SYS_PTRACE",)),
    "no CAP_DAC_READ_SEARCH": (without("dac_read_search"), [], "contents", ()),
    "no capability at all": (["setpriv", "--bounding-set=-all", "--inh-caps=-all"], [], 77, ("CAP_SYS_PTRACE",)),
    "as Docker's root": (["setpriv", "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,"
                          "+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"],
                         [], 77, ("CAP_SYS_PTRACE",)),
    "as Docker's root with SYS_PTRACE": (["setpriv", "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_override,+fowner,"
                                          "+fsetid,+kill,+setgid,+setuid,+setpcap,+sys_chroot,+mknod,+setfcap,+sys_ptrace"],
                                         [], "none", ()),
}


TABLE = {}


def table(cases=None, heading="without"):
    """What was seen, as docs/admin/systems.md has it."""
    rows = [f"| {case.title} | {case.seen} |" for case in (TABLE if cases is None else cases).values()]
    return "\n".join([f"| {heading} | what a freeze says |", "|---|---|", *rows])


def in_words(said):
    line = re.search(r"verdict=(\w+) coverage=(\w+) watched=(\w+)", said.said)
    if line:
        return "{}, coverage={}, watched={}".format(*line.groups())
    return f"refused, {said.returncode}"


def row(name, rows=ROWS, cases=TABLE):
    freezer_of, service_of, outcome, words = rows[name]

    def case(world):
        freezer, service = (side(world) if callable(side) else side for side in (freezer_of, service_of))
        member = world.member(None, *service)
        best = re.search(r"watched=(\w+)", world.freeze().said)
        begun = time.monotonic()
        said = world.freeze(before=freezer)
        took = time.monotonic() - begun
        case.seen = in_words(said)
        assert took < AT_ONCE_S, f"{took:.1f} s: {said.said}"
        for word in words:
            assert word in said.said, f"{word!r} is not said: {said.said}"
        if isinstance(outcome, int):
            refused(said, outcome)
            return
        ranks = ("none", "contents", "full")
        # On a file system that tells no names nobody is told them.
        whole(said, procs=1, watched=min(outcome, best[1] if best else "full", key=ranks.index))
        # It was held, and half a set is no whole one there either.
        tell(member, f"lock {world.mail}/lock")
        tell(member, f"write {world.mail}/half")
        again = world.freeze_half(before=freezer)
        assert again.returncode == 75, again.said

    case.__name__, case.title = re.sub(r"\W+", "_", name).strip("_").lower(), name
    cases[case.__name__] = case
    return case


def an_ordinary_user_whom_proc_hides_others_from(world):
    """hidepid: what is not listed is not absent."""
    user = 1234
    for folder in (world.gates, world.mail):
        os.chown(folder, user, user)
    room = Container(world, ("mnt",))
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    member = world.popen([*as_user, "env", *world.gated_env(), world.member_program], room,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert member.stdout.readline() == "done\n"
    whole(world.freeze(room, None, before=as_user))
    for hidepid, code in (("hidepid=2", 77), ("hidepid=2,gid=4321", 77), ("hidepid=1", 77), ("hidepid=0", 0)):
        done = world.run(["mount", "-t", "proc", "-o", hidepid, "proc", "/proc"], room)
        assert done.returncode == 0, done.said
        said = world.freeze(room, None, before=as_user)
        assert said.returncode == code, f"{hidepid}: {said.said}"
        assert code == 0 or "hidepid" in said.said and "verdict=" not in said.said, said.said
        if hidepid == "hidepid=2,gid=4321":
            in_group = ["setpriv", f"--reuid={user}", f"--regid={user}", "--groups=4321"]
            whole(world.freeze(room, None, before=in_group))


def a_freezer_whose_proc_has_processes_only(world):
    """ProcSubset=pid: no list of locks, no boot id."""
    world.member()
    room = Container(world, ("mnt",))
    assert world.run(["mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc"], room).returncode == 0
    begun = time.monotonic()
    said = world.freeze(room)
    assert said.returncode in (65, 77, 78) and "CONSISTENT" not in said.said, said.said
    assert "subset=pid" in said.said, said.said
    assert time.monotonic() - begun < AT_ONCE_S


def a_service_whose_proc_has_processes_only(world):
    room = Container(world, ("mnt",))
    assert world.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", str(world.gates)]).returncode == 0
    try:
        room = Container(world, ("mnt",))
        assert world.run(["mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc"], room).returncode == 0
        member = world.member(room)
        whole(world.freeze(), procs=1)
        tell(member, f"lock {world.mail}/lock")
        tell(member, f"write {world.mail}/half")
        assert world.freeze_half().returncode == 75
    finally:
        world.run(["umount", "-l", str(world.gates)])


def a_freezer_that_may_look_into_some(world):
    """Root of a container without CAP_SYS_PTRACE: it may look into root's that have no more rights, and into no one else's."""
    container = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,"
                 "+net_bind_service,+sys_chroot,+setfcap"]
    world.mail.chmod(0o777)
    room = Container(world)
    world.member(room, *container)
    whole(world.freeze(), procs=1)
    other = world.member(room, "setpriv", "--reuid=8", "--regid=8", "--clear-groups")
    tell(other, f"lock {world.mail}/lock")
    tell(other, f"write {world.mail}/half")
    assert world.freeze_half().returncode == 75
    refused(world.freeze_half(room, None, before=container), 77, "CAP_SYS_PTRACE", "may not be looked into")


def three_rights_suffice(world):
    """For a service of another user, and whatever else root may do is taken away."""
    user, of = pwd.getpwnam("nobody").pw_uid, (None, None, "--users", "nobody")
    os.chown(world.mail, user, user)
    assert world.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"]).returncode == 0
    member = world.member(None, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    said = world.freeze(*of)
    whole(said, procs=1)
    three = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+sys_ptrace,+sys_admin,+dac_read_search"]
    whole(world.freeze(*of, before=three), procs=1, watched=re.search(r"watched=(\w+)", said.said)[1])
    tell(member, f"lock {world.mail}/lock")
    tell(member, f"write {world.mail}/half")
    said = world.freeze_half(*of, before=three)
    assert said.returncode == 75 and f"{world.mail}/lock" in said.said, said.said


def a_freezer_with_another_clock(world):
    """Its limit would be another moment for those that it holds: refused, and nothing is held."""
    world.member()
    ahead = ["unshare", "--time", "--monotonic", "1000", "--fork", "--kill-child"]
    said = world.freeze(before=ahead)
    assert said.returncode == 78 and "time namespace" in said.said, said.said
    whole(world.freeze(before=["unshare", "--time", "--fork", "--kill-child"]), procs=1)


def compiled(world, name, *compiler):
    program = world.root / name
    source = Path(__file__).resolve().parents[1] / "places" / "member.c"
    done = world.run([*compiler, "-o", str(program), str(source)])
    assert done.returncode == 0, done.said
    return program


def a_static_writer_beside_the_service(world):
    world.member()
    world.member_program = compiled(world, "static", "gcc", "-O1", "-static")
    writer = world.member()
    whole(world.freeze(), procs=1)
    tell(writer, f"lock {world.mail}/lock")
    said = world.freeze()
    assert said.returncode == 65 and "verdict=" not in said.said or "verdict=UNGATED" in said.said, said.said
    assert "(static)" in said.said and "mail/lock" in said.said, said.said


def a_static_child_of_the_service(world):
    program = compiled(world, "static", "gcc", "-O1", "-static")
    shell = world.popen(["sh", "-c", f"{program}; true"], gated=True, stdin=-1, stdout=-1)
    assert shell.stdout.readline() == "done\n"
    said = world.freeze()
    assert said.returncode == 65 and "(static)" in said.said, said.said
    assert "verdict=" not in said.said or "verdict=UNGATED" in said.said, said.said


def a_musl_member(world):
    world.member_program = compiled(world, "musl", "musl-gcc", "-O1")
    member = world.member()
    whole(world.freeze(), procs=1)
    tell(member, f"lock {world.mail}/lock")
    tell(member, f"write {world.mail}/half")
    assert world.freeze_half().returncode == 75
    tell(member, "unlock")
    whole(world.freeze(), procs=1)


CASES = [row(name) for name in ROWS] + [
    three_rights_suffice, a_freezer_that_may_look_into_some, a_freezer_with_another_clock, an_ordinary_user_whom_proc_hides_others_from,
    a_freezer_whose_proc_has_processes_only, a_service_whose_proc_has_processes_only, a_static_writer_beside_the_service, a_static_child_of_the_service, a_musl_member]

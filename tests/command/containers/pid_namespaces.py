"""PID namespaces: whoever maps the gate's page is seen, or the freeze is refused by name with nobody held."""
import os
import subprocess
from world import BIN, GATE, PYTHON, Container, Skip, refused, tell, whole

# Under a filter that lets everything through: the library makes no call of its own that might be deadly.
FILTERED = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))      # RET, ALLOW
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(program)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


FIRST = 4026531836              # the machine's first PID namespace (PROC_PID_INIT_INO)


def on_the_host():
    if os.stat("/proc/self/ns/pid").st_ino != FIRST:
        raise Skip("runs in a container itself")


def in_a_section(world, member):
    """Half of its set is written, and the lock is held."""
    tell(member, f"lock {world.mail}/lock")
    tell(member, f"write {world.mail}/half")


def two(world):
    a, b = Container(world), Container(world)
    return a, b, world.member(a), world.member(b)


def both_seen_from_the_host(world):
    a, b, of_a, of_b = two(world)
    for member, other in ((of_a, of_b), (of_b, of_a)):
        in_a_section(world, member)
        said = world.freeze_half()
        assert said.returncode == 75, said.said
        tell(member, "unlock")
        whole(world.freeze(), procs=2)


def one_is_not_seen_from_the_other(world):
    a, b, of_a, of_b = two(world)
    refused(world.freeze(a), 77, "another PID namespace", "cannot be seen from here", "--pid=host")
    in_a_section(world, of_b)
    refused(world.freeze(a), 77, "another PID namespace")
    tell(of_b, "unlock")
    # It has ended: nobody is hidden any more.
    b.end()
    whole(world.freeze(a), procs=1)


def neither_is_seen_from_a_third(world):
    two(world)
    refused(world.freeze(Container(world)), 77, "another PID namespace")


def a_container_below_is_seen_and_the_one_above_is_not(world):
    above = Container(world)
    below = Container(world, outside=above)
    world.member(above)
    in_below = world.member(below)
    whole(world.freeze(above), procs=2)
    in_a_section(world, in_below)
    assert world.freeze_half(above).returncode == 75
    tell(in_below, "unlock")
    refused(world.freeze(below), 77, "another PID namespace")


def alone_it_freezes_itself(world):
    a = Container(world)
    member = world.member(a)
    whole(world.freeze(a), procs=1)
    in_a_section(world, member)
    assert world.freeze_half(a).returncode == 75


def a_sidecar_in_the_same_namespace_sees_all(world):
    pod = Container(world)
    sidecar = Container(world, namespaces=("mnt",), outside=pod)
    member = world.member(pod)
    whole(world.freeze(sidecar, ("mnt", "pid")), procs=1)
    in_a_section(world, member)
    assert world.freeze_half(sidecar, ("mnt", "pid")).returncode == 75


def a_page_of_the_host(world):
    on_the_host()
    assert world.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"]).returncode == 0
    a = Container(world)
    world.member(a)
    whole(world.freeze(), procs=1)
    refused(world.freeze(a), 77, "of the host", "cannot be seen from here")


def a_process_of_the_host_on_a_page_of_a_container(world):
    on_the_host()
    a = Container(world)
    world.member(a)
    of_host = world.member()
    refused(world.freeze(a), 77, "of the host")
    whole(world.freeze(), procs=2)
    of_host.kill()
    of_host.wait()
    whole(world.freeze(a), procs=1)


def whoever_made_the_page_is_gone(world):
    first = Container(world)
    world.member(first)
    first.end()
    second = Container(world)
    world.member(second)
    whole(world.freeze(second), procs=1)


def a_child_keeps_its_parents_mark(world):
    a, b = Container(world), Container(world)
    world.member(a)
    tell(world.member(b), "daemon")         # the process that marked is gone, its child is not
    refused(world.freeze(a), 77, "another PID namespace")


def a_filter_hides_nobody(world):
    a, b = Container(world), Container(world)
    world.member(a)
    world.member(b, PYTHON, "-c", FILTERED)
    refused(world.freeze(a), 77, "another PID namespace")


def one_that_starts_in_the_window_is_told(world):
    a, b = Container(world), Container(world)
    world.member(a)
    go, over = world.root / "go", world.root / "over"
    gated = " ".join(["env", *world.gated_env(), str(world.member_program)])
    start = world.popen(["sh", "-c", f"until [ -e {go} ]; do sleep .02; done; sleep 99 | {gated} | (read x; touch {over}; "
                         "sleep 99)"], b)
    said = world.freeze(a, command=["sh", "-c", f"touch {go}; until [ -e {over} ]; do sleep .02; done"])
    start.kill()
    assert said.returncode == 65 and "verdict=UNSEEN" in said.said and "another PID namespace" in said.said, said.said


def a_proc_of_another_namespace(world):
    a = Container(world)
    world.member(a)
    refused(world.freeze(a, ("pid",)), 78, "/proc shows another PID namespace", "--mount")


# Takes an open-file lock for writing and keeps it.
OPEN_FILE_LOCK = """
import fcntl, struct, sys, time
file = open(sys.argv[1], "w")
fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
print("done", flush=True)
time.sleep(99)
"""


def an_open_file_lock_of_a_process_outside(world):
    """The kernel shows it in every container as nobody's: from inside that is said and not trusted, from the host it is known."""
    a = Container(world)
    world.member(a)
    taker = world.popen([PYTHON, "-c", OPEN_FILE_LOCK, str(world.root / "image")], stdout=-1)
    assert taker.stdout.readline() == "done\n"
    whole(world.freeze(), procs=1)
    said = world.freeze(a)
    assert said.returncode == 65 and "verdict=UNSEEN" in said.said and "lock" in said.said, said.said
    taker.kill()
    taker.wait()
    whole(world.freeze(a), procs=1)


def an_open_file_lock_where_no_container_reaches(world):
    """systemd has one in the host's /run for each of its dynamic users: no freeze in a container could be trusted."""
    a = Container(world)
    world.member(a)
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "writegate-containers", elsewhere], check=True)
    try:
        taker = world.popen([PYTHON, "-c", OPEN_FILE_LOCK, str(elsewhere / "image")], stdout=-1)
        assert taker.stdout.readline() == "done\n"
        whole(world.freeze(a), procs=1)
        # The same file system, reached from there: the process outside may be a writer of its files.
        seen = Container(world)
        a.end()
        world.member(seen)
        said = world.freeze(seen)
        assert said.returncode == 65 and "verdict=UNSEEN" in said.said and "lock" in said.said, said.said
    finally:
        taker.kill()
        taker.wait()
        subprocess.run(["umount", "-l", elsewhere], check=True)


def doctor_and_status_say_the_same(world):
    a, b, _, _ = two(world)
    for command in (["doctor", "-g", GATE], ["status", "-g", GATE]):
        said = world.run([BIN / "writegate", *command], a)
        assert "another PID namespace" in said.said, f"{command}: {said.said}"
        assert command[0] == "status" or said.returncode == 77, said.returncode


CASES = [both_seen_from_the_host, one_is_not_seen_from_the_other, neither_is_seen_from_a_third,
         a_container_below_is_seen_and_the_one_above_is_not, alone_it_freezes_itself,
         a_sidecar_in_the_same_namespace_sees_all, a_page_of_the_host, a_process_of_the_host_on_a_page_of_a_container,
         whoever_made_the_page_is_gone, a_child_keeps_its_parents_mark, a_filter_hides_nobody,
         one_that_starts_in_the_window_is_told, a_proc_of_another_namespace, an_open_file_lock_of_a_process_outside,
         an_open_file_lock_where_no_container_reaches, doctor_and_status_say_the_same]

"""Paths and profile of a container: its /data is the container's, and so is the profile that made the page."""
import re
import subprocess
from kernels import EPERM, ROWS, filtered, lacks, without
from world import Container, tell, whole


def data_in_a_container(world):
    """The mail lies at /data for the container alone."""
    c = Container(world)
    inside = "/media"
    assert world.run(["mount", "--bind", str(world.mail), inside], c).returncode == 0
    member = world.popen(["env", f"WRITEGATE_PATHS={inside}", world.member_program], c, gated=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert member.stdout.readline() == "done\n"
    return c, member, inside


def its_directories_are_looked_up_inside(world):
    c, member, inside = data_in_a_container(world)
    whole(world.freeze(), procs=1, watched="full")
    whole(world.freeze(c), procs=1, watched="full")
    tell(member, f"lock {inside}/lock")
    tell(member, f"write {inside}/half")
    assert world.freeze_half().returncode == 75


def whoever_writes_there_from_outside_is_told(world):
    c, _, _ = data_in_a_container(world)
    for where in (None, c):
        go, over = world.root / "go", world.root / "over"
        for file in (go, over):
            file.unlink(missing_ok=True)
        world.popen(["sh", "-c", f"until [ -e {go} ]; do sleep .02; done; echo x > {world.mail}/outside; touch {over}"])
        said = world.freeze(where, command=["sh", "-c", f"touch {go}; until [ -e {over} ]; do sleep .02; done"])
        assert said.returncode == 65 and "verdict=ESCAPED" in said.said and "outside" in said.said, said.said


def a_profile_that_lies_outside_is_not_in_force(world):
    c = Container(world)
    other = world.root / "other.conf"
    other.write_text("exclude = *.nothing\n")
    assert world.run(["mount", "--bind", str(other), str(world.profile)], c).returncode == 0
    world.member(c)
    world.profile.write_text(f"path = {world.mail}\n")
    said = world.freeze()
    whole(said, procs=1)
    assert re.search("made in a container.*mount /etc/writegate into the container", said.said), said.said


# Who may not ask by handle where a file lies.
NO_HANDLES = {"no CAP_DAC_READ_SEARCH": without("dac_read_search"),
              "open_by_handle_at is refused": filtered(lacks("open_by_handle_at", error=EPERM)),
              "name_to_handle_at is refused": filtered(lacks("name_to_handle_at", error=EPERM)),
              "as Docker's root with SYS_PTRACE": ROWS["as Docker's root with SYS_PTRACE"][0]}


def writer(world, container, file):
    """A program without the library that has it open for writing."""
    p = world.popen(["sh", "-c", f"exec 9>>{file}; echo done; exec sleep 99"], container, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL)
    assert p.stdout.readline() == "done\n"


def through_a_part_of_the_mail(world):
    """Another container has one folder of the mail, at another place, and writes there without the library."""
    (world.mail / "box").mkdir()
    world.member()
    c = Container(world, ("mnt",))
    assert world.run(["mount", "--bind", str(world.mail / "box"), "/media"], c).returncode == 0
    for name, before in {"everything there": [], **NO_HANDLES}.items():
        whole(world.freeze(before=before), procs=1)
    writer(world, c, "/media/half")
    for name, before in {"everything there": [], **NO_HANDLES}.items():
        for where in None, c:
            said = world.freeze(where, before=before)
            assert said.returncode == 65 and "verdict=UNGATED" in said.said and "/media/half" in said.said, f"{name}: {said.said}"


def beside_the_mail_is_nobodys_business(world):
    """A folder on the same file system, shown alone at another place: no protected file, whatever is not known by handle."""
    beside = world.root / "mail-of-others"
    beside.mkdir()
    world.member()
    c = Container(world, ("mnt",))
    assert world.run(["mount", "--bind", str(beside), "/media"], c).returncode == 0
    writer(world, c, "/media/half")
    for name, before in {"everything there": [], **NO_HANDLES}.items():
        said = world.freeze(before=before)
        assert said.returncode == 0 and "half" not in said.said, f"{name}: {said.said}"


CASES = [through_a_part_of_the_mail, beside_the_mail_is_nobodys_business, its_directories_are_looked_up_inside, whoever_writes_there_from_outside_is_told,
         a_profile_that_lies_outside_is_not_in_force]

"""User namespaces: a gate whose page the namespace's root has made works from everywhere, or is refused at once."""
import os
import time
from world import BIN, GATE, SUBUID, Container, deepest_child, refused, tell, whole

AT_ONCE_S = 10                  # no time limit of the gate's: a refusal that waits for a drain takes longer
EVERYTHING = ("user", "pid", "mnt")


def rootless(world):
    """A container with a user namespace of its own; the gate's directory is its root's."""
    for folder in (world.gates, world.mail):
        os.chown(folder, SUBUID, SUBUID)
    return Container(world, EVERYTHING, root=SUBUID)


def in_a_section(world, member):
    tell(member, f"lock {world.mail}/lock")
    tell(member, f"write {world.mail}/half")


def a_page_of_the_namespaces_root_is_frozen_from_the_host(world):
    c = rootless(world)
    member = world.member(c)
    assert os.stat(world.gates / GATE / "control").st_uid == SUBUID
    whole(world.freeze(), procs=1)
    in_a_section(world, member)
    assert world.freeze_half().returncode == 75
    tell(member, "unlock")
    whole(world.freeze(), procs=1)


def and_from_inside(world):
    c = rootless(world)
    member = world.member(c)
    whole(world.freeze(c), procs=1)
    in_a_section(world, member)
    assert world.freeze_half(c).returncode == 75


def and_from_a_sidecar_in_it(world):
    c = rootless(world)
    sidecar = Container(world, ("mnt",), outside=c)
    world.member(c)
    whole(world.freeze(sidecar, EVERYTHING), procs=1)


def a_page_of_somebody_else_is_not_believed(world):
    """Who maps it is root's of the host: a user's page could hold it up."""
    c = rootless(world)
    world.member(c)
    os.chown(world.gates / GATE / "control", SUBUID + 1000, SUBUID + 1000)
    refused(world.freeze(), 78, f"belongs to user {SUBUID + 1000}")


def nobody_runs_there_any_more(world):
    c = rootless(world)
    world.member(c)
    c.end()
    refused(world.freeze(), 78, f"belongs to user {SUBUID}")


def a_page_of_the_host_in_a_user_namespace(world):
    """Inside, its owner is nobody: not believed, and said."""
    assert world.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"]).returncode == 0
    c = Container(world, EVERYTHING, root=SUBUID)
    os.chown(world.mail, SUBUID, SUBUID)
    member = world.member(c)
    begun = time.monotonic()
    said = world.freeze()
    assert said.returncode in (65, 69, 78) and time.monotonic() - begun < AT_ONCE_S, said.said
    said = world.run([BIN / "writegate", "doctor", "-g", GATE, "--pid", str(deepest(member))])
    assert "user namespace" in said.said, said.said


def deepest(member):
    return deepest_child(member.pid)


CASES = [a_page_of_the_namespaces_root_is_frozen_from_the_host, and_from_inside, and_from_a_sidecar_in_it,
         a_page_of_somebody_else_is_not_believed, nobody_runs_there_any_more, a_page_of_the_host_in_a_user_namespace]

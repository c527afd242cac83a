"""Podman itself, as root: what docker.py shows with Docker, where Podman goes its own way: no daemon, its own rights and its own
filter of system calls.

All that it keeps lies in a folder of its own. It runs by runc: crun wants a machine whose control groups are not mixed.
"""
import atexit
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import docker
from world import Skip, refused, tell, whole

# (Debian's default asks for more open files than a container without that right may have.)
SETTINGS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=8192:8192"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
"""
# The same, but for what these rights come to: by its filter of system calls a process may be read that has no more rights.
SIDECARS = {title.replace("Docker", "Podman"): row for title, row in docker.SIDECARS.items()}
SIDECARS["the rights that Podman gives"] = (("--pid=container:{}",), "none", ())
SEEN = {}


class Podman(docker.Daemon):
    """Called as if it were a daemon."""

    only = None

    @classmethod
    def get(cls, member):
        if not cls.only:
            cls.only = cls(member)
            atexit.register(cls.only.end)
        return cls.only

    def __init__(self, member):
        missing = [name for name in ("podman", "runc", "conmon") if not shutil.which(name)]
        if missing:
            raise Skip(f"{missing[0]} is not there (Debian: podman runc)")
        self.folder = Path(tempfile.mkdtemp(prefix="writegate-podman-", dir="/var/tmp"))
        (self.folder / "containers.conf").write_text(SETTINGS)
        self.docker = ["env", f"CONTAINERS_CONF={self.folder}/containers.conf", "podman", f"--root={self.folder}/data",
                       f"--runroot={self.folder}/run", f"--tmpdir={self.folder}/tmp", "--storage-driver=vfs"]
        self.load_image(member)
        done = self.call("run", "--rm", "--network=none", docker.IMAGE, "/bin/true")
        if done.returncode:
            self.end()
            raise Skip(f"podman runs nothing here: {done.stdout[-300:]}")

    def end(self):
        self.call("rm", "-f", "-t", "0", "--all")
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in reversed([point for point in mounted if point.startswith(str(self.folder))]):
            subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


def host(world):
    return docker.Host(world, daemon=Podman.get(world.member_program))


def podman_sidecars(world):
    docker.docker_sidecars(world, host(world), SIDECARS, SEEN)


def podman_two_containers_on_one_gate(world):
    docker.docker_two_containers_on_one_gate(world, host(world))


def podman_another_container_without_the_library(world):
    docker.docker_another_container_without_the_library(world, host(world))


def podman_a_sidecar_that_may_look_into_some(world):
    """Its filter lets a process be read that is the same user's and has no more rights: no other, and that one may be half way
    through a set."""
    here = host(world)
    name, member = here.member()
    world.mail.chmod(0o777)
    inside = lambda *options: here.freeze(f"--pid=container:{name}", *options)  # noqa: E731
    whole(inside(), procs=1)
    # One that comes in the window.
    begun = here.run("run", "-d", "--name", f"{name}-sidecar", *here.options(), f"--pid=container:{name}", docker.IMAGE,
                     *docker.FREEZE[:-1], "sleep", "15")
    assert begun.returncode == 0, begun.said
    here.names.append(f"{name}-sidecar")
    until = time.monotonic() + 60
    while time.monotonic() < until and "closed" not in world.run([docker.BIN / "writegate", "status", "-g", docker.GATE]).said:
        time.sleep(0.05)
    for gated in (False, True):
        other = (f"--pid=container:{name}", "--user=8")
        another, its = here.member(*other, gated=gated)
        if not gated:
            here.daemon.call("wait", f"{name}-sidecar")
            said = here.run("logs", f"{name}-sidecar").said
            assert "verdict=UNSEEN" in said, said
        tell(its, "lock /var/mail/lock")
        tell(its, "write /var/mail/half")
        refused(inside(), 77, "CAP_SYS_PTRACE", "may not be looked into")
        assert inside(*docker.LEAST).returncode == (75 if gated else 65)
        here.daemon.call("rm", "-f", "-t", "0", another)


CASES = [podman_sidecars, podman_two_containers_on_one_gate, podman_another_container_without_the_library,
         podman_a_sidecar_that_may_look_into_some]

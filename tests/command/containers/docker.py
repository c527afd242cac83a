"""Docker itself: a server in a container, and the ways in which people freeze it: each works, with a set half done waited for,
or is refused at once with its cure.

A daemon of its own (no network, no bridge, plain folders for storage) is started once and ended by the runner. The image
is a few programs of this machine and the libraries that they need: no registry is asked.
"""
import atexit
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from world import BIN, GATE, PATIENCE_S, SUBUID, Skip, refused, tell, whole

AT_ONCE_S = 10                  # beyond three starts of a container: a refusal that waits for a drain takes longer
LIBRARY, COMMAND = "/usr/lib/x86_64-linux-gnu/libwritegate.so", "/usr/bin/writegate"
ROOT = Path(__file__).resolve().parents[3]
IMAGE = "mail"                  # as contrib/containers/compose.yaml calls it
PROGRAMS = ("sh", "sleep", "cat", "chmod", "env", "touch", "true")


class Daemon:
    """One dockerd. `remap`: with a user namespace for each container (userns-remap)."""

    running = {}

    @classmethod
    def get(cls, member, remap=False):
        if remap not in cls.running:
            cls.running[remap] = cls(member, remap)
            atexit.register(cls.running[remap].end)
        return cls.running[remap]

    def __init__(self, member, remap):
        missing = [name for name in ("dockerd", "docker", "runc", "containerd") if not shutil.which(name)]
        if missing:
            raise Skip(f"{missing[0]} is not there (Debian: docker.io)")
        self.folder = Path(tempfile.mkdtemp(prefix="writegate-dockerd-", dir="/var/tmp"))
        # Who looks for files below it is another user there.
        self.folder.chmod(0o711)
        self.docker = ["docker", "-H", f"unix://{self.folder}/socket"]
        options, before = [], []
        if remap:
            # Its own list of subordinate users, over the machine's, for its eyes alone.
            table = self.folder / "subid"
            table.write_text(f"daemon:{SUBUID}:65536\n")          # (root may not be it)
            over = f"mount --bind {table} /etc/subuid && mount --bind {table} /etc/subgid && exec \"$@\""
            before = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", over, "sh"]
            for name in ("/etc/subuid", "/etc/subgid"):
                Path(name).touch()
            options = ["--userns-remap=daemon"]
        argv = [*before, "dockerd", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none",
                "--storage-driver=vfs", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec",
                f"--pidfile={self.folder}/pid", "-H", f"unix://{self.folder}/socket", *options]
        self.log = open(self.folder / "log", "w")
        # In a network of its own: it makes bridges, and sets what the machine's network is set to.
        self.process = subprocess.Popen(["unshare", "--net", *argv], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        if not self.answers():
            said = (self.folder / "log").read_text()[-300:]
            self.end()
            raise Skip(f"dockerd does not start here: {said}")
        self.load_image(member)

    def answers(self):
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            if self.call("version").returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def call(self, *argv, **more):
        return subprocess.run([*self.docker, *map(str, argv)], stdin=more.pop("stdin", subprocess.DEVNULL), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, **more)

    def load_image(self, member):
        root = self.folder / "image"
        for folder in ("bin", "tmp", "var/mail", "data", "etc", "run", "usr/bin"):
            (root / folder).mkdir(parents=True)
        programs = {name: shutil.which(name) for name in PROGRAMS} | {"member": str(member)}
        programs = {name: path for name, path in programs.items() if path}
        for name, path in programs.items():
            shutil.copy(path, root / "bin" / name)
        # (The command of a package is linked statically and needs none of these.)
        for path in (*programs.values(), BIN / "writegate", BIN / "libwritegate.so"):
            for line in subprocess.run(["ldd", path], capture_output=True, text=True).stdout.splitlines():
                for needed in re.findall(r"/\S+", line)[:1]:
                    (root / needed.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(needed, root / needed.lstrip("/"))
        (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
        with tarfile.open(self.folder / "image.tar", "w") as tar:
            tar.add(root, arcname=".")
        done = self.call("import", self.folder / "image.tar", IMAGE)
        assert done.returncode == 0, done.stdout

    def end(self):
        if self.process.poll() is None:
            left = self.call("ps", "-aq").stdout.split()
            if left:
                self.call("rm", "-f", *left)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in reversed([point for point in mounted if point.startswith(str(self.folder))]):
            subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Host:
    """Docker on this machine, and what one case runs in it."""

    def __init__(self, world, remap=False, daemon=None):
        self.world, self.daemon = world, daemon or Daemon.get(world.member_program, remap)
        self.names = []
        world.containers.append(self)

    def end(self):
        if self.names:
            self.daemon.call("rm", "-f", *self.names)

    def options(self, data="/var/mail", gates=True):
        """What every container here is given: the gate's directory, the mail, the library, the command."""
        shared = [f"{self.world.mail}:{data}"] * bool(data)
        shared += [f"{BIN}/libwritegate.so:{LIBRARY}:ro", f"{BIN}/writegate:{COMMAND}:ro"]
        shared += [f"{self.world.gates}:/run/writegate"] * gates
        return ["--network=none", *(word for volume in shared for word in ("-v", volume))]

    def gated(self, data="/var/mail"):
        return [word for value in (f"LD_PRELOAD={LIBRARY}", f"WRITEGATE_GATE={GATE}", f"WRITEGATE_PATHS={data}")
                for word in ("-e", value)]

    def member(self, *options, data="/var/mail", gated=True, gates=True):
        """The server: (its container's name, the process that is told what to do)."""
        name = f"{self.world.root.name}-{len(self.names)}"
        self.names.append(name)
        argv = [*self.daemon.docker, "run", "-i", "--rm", "--name", name, *self.options(data, gates),
                *(self.gated(data) if gated else []), *options, IMAGE, "/bin/member"]
        p = self.world.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert p.stdout.readline() == "done\n", "the container did not start"
        return name, p

    def freeze(self, *options, gates=True, data="/var/mail"):
        """By a container of its own."""
        return self.run("run", "--rm", *self.options(data, gates), *options, IMAGE, *FREEZE)

    def run(self, *argv):
        begun = time.monotonic()
        said = self.world.run([*self.daemon.docker, *argv])
        said.took = time.monotonic() - begun
        return said


FREEZE = (COMMAND, "freeze", "-g", GATE, "-t", "20s", "--drain", "1s", "--retries", "0", "--", "true")
LEAST = ("--cap-drop=ALL", "--cap-add=SYS_PTRACE", "--cap-add=DAC_READ_SEARCH", "--read-only")

# The sidecar's options ({}: the server's container), the outcome (an exit code, or what is watched), what must be said.
SIDECARS = {
    "SYS_PTRACE and DAC_READ_SEARCH, read-only (compose.yaml)": (("--pid=container:{}", *LEAST), "none", ()),
    "the same and SYS_ADMIN": (("--pid=container:{}", *LEAST, "--cap-add=SYS_ADMIN"), "full", ()),
    "the same, no filter of system calls": (("--pid=container:{}", *LEAST, "--security-opt=seccomp=unconfined"), "none", ()),
    "the same, no new privileges": (("--pid=container:{}", *LEAST, "--security-opt=no-new-privileges"), "none", ()),
    "DAC_READ_SEARCH alone": (("--pid=container:{}", "--cap-drop=ALL", "--cap-add=DAC_READ_SEARCH"), 77, ("CAP_SYS_PTRACE",)),
    "the rights that Docker gives": (("--pid=container:{}",), 77, ("CAP_SYS_PTRACE",)),
    "another user": (("--pid=container:{}", *LEAST, "--user=1234"), 77, ("only its owner may freeze",)),
    "PID namespace of its own": (LEAST, 77, ("another PID namespace", "--pid=host")),
    "--pid=host": (("--pid=host", *LEAST), "none", ()),
    "--pid=host, without SYS_PTRACE": (("--pid=host",), 77, ("CAP_SYS_PTRACE",)),
}
SEEN = {}


def table(seen=SEEN):
    """What was seen, as docs/admin/containers.md has it."""
    return "\n".join(["| the sidecar | what a freeze says |", "|---|---|", *(f"| {name} | {said} |" for name, said in seen.items())])


def in_words(said):
    line = re.search(r"verdict=(\w+) coverage=(\w+) watched=(\w+)", said.said)
    return "{}, coverage={}, watched={}".format(*line.groups()) if line else f"refused, {said.returncode}"


def half_is_waited_for(world, member, freeze, mail="/var/mail"):
    tell(member, f"lock {mail}/lock")
    tell(member, f"write {mail}/half")
    said = freeze()
    assert said.returncode == 75, said.said
    tell(member, "unlock")


def docker_sidecars(world, host=None, sidecars=SIDECARS, seen=SEEN):
    """One server, one sidecar after the other."""
    host = host or Host(world)
    name, member = host.member()
    ranks = ("none", "contents", "full")
    best = re.search(r"watched=(\w+)", world.freeze().said)[1]
    start_s = host.run("run", "--rm", *host.options(), IMAGE, "/bin/true").took
    for title, (options, outcome, words) in sidecars.items():
        options = [option.format(name) for option in options]
        said = host.freeze(*options)
        seen[title] = in_words(said)
        assert all(word in said.said for word in words), f"{title}: {said.said}"
        if isinstance(outcome, int):
            assert said.took < AT_ONCE_S + 3 * start_s, f"{title}: {said.took:.1f} s: {said.said}"
        try:
            if isinstance(outcome, int):
                refused(said, outcome)
            else:
                whole(said, procs=1, watched=min(outcome, best, key=ranks.index))
                half_is_waited_for(world, member, lambda: host.freeze(*options))
        except AssertionError as why:
            raise AssertionError(f"{title}: {why}") from None


def docker_exec_in_the_servers_own_container(world):
    host = Host(world)
    name, member = host.member()
    refused(host.run("exec", name, *FREEZE), 77, "CAP_SYS_PTRACE")
    name, member = host.member("--cap-add=SYS_PTRACE")
    host.daemon.call("rm", "-f", host.names[0])
    whole(host.run("exec", name, *FREEZE), procs=1)
    half_is_waited_for(world, member, lambda: host.run("exec", name, *FREEZE))


def docker_two_containers_on_one_gate(world, host=None):
    """Neither is seen from the other's sidecar; the host sees both."""
    host = host or Host(world)
    (first, one), (_, two) = host.member(), host.member()
    refused(host.freeze(f"--pid=container:{first}", *LEAST), 77, "another PID namespace", "--pid=host")
    inside = lambda: host.freeze("--pid=host", *LEAST)
    for freeze, freeze_half in ((world.freeze, world.freeze_half), (inside, inside)):
        whole(freeze(), procs=2)
        for member in (one, two):
            half_is_waited_for(world, member, freeze_half)


def docker_data_is_the_containers_data(world):
    """The container's /data is not the host's; the admin may name it either way."""
    host = Host(world)
    _, member = host.member(data="/data")
    for paths in ((), ("--paths", "/data"), ("--paths", str(world.mail))):
        whole(world.freeze(None, None, *paths), procs=1)
        half_is_waited_for(world, member, lambda paths=paths: world.freeze_half(None, None, *paths), "/data")
    # A writer of the host's, by the host's name of it.
    writer = world.popen(["sh", "-c", f"exec 9>>{world.mail}/outside; echo done; exec sleep 99"], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == "done\n"
    said = world.freeze()
    assert said.returncode == 65 and "verdict=UNGATED" in said.said and "outside" in said.said, said.said


def docker_another_container_without_the_library(world, host=None):
    """Who sees it says so: the host, and a sidecar that sees all. By a part of the mail alone, at another place."""
    host = host or Host(world)
    host.member()
    (world.mail / "box").mkdir()
    whole(world.freeze(), procs=1)
    _, other = host.member("-v", f"{world.mail}/box:/box", gated=False, gates=False, data="/elsewhere")
    tell(other, "lock /box/lock")
    for freeze in (world.freeze, lambda: host.freeze("--pid=host", *LEAST),
                   lambda: host.freeze("--pid=host", "--cap-drop=ALL", "--cap-add=SYS_PTRACE")):
        said = freeze()
        assert said.returncode == 65 and "verdict=UNGATED" in said.said and "/box/lock" in said.said, said.said


def docker_another_mail_server(world):
    """The same programs in a container that has nothing of the mail, without the library: none of the service's."""
    host = Host(world)
    host.member()
    name, its = host.member(gated=False, gates=False, data=None)
    tell(its, "lock /tmp/lock")
    whole(world.freeze(), procs=1)
    # Nor is one that asks for a gate of that name, of which it finds none there.
    host.member("--read-only", *host.gated("/tmp"), gated=False, gates=False, data=None)
    whole(world.freeze(), procs=1)
    host.member("-v", f"{world.mail}:/mail", gated=False, gates=False, data=None)
    said = world.freeze()
    assert said.returncode == 65 and "is not gated" in said.said, said.said
    host.daemon.call("rm", "-f", host.names[-1])
    # It sees none of the mail by a name, and has a directory of it open: it was that before it went into the container.
    pid = host.daemon.call("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    keeps = f"exec 9<{world.mail}; exec nsenter -t {pid} -m /bin/member"
    one = world.popen(["sh", "-c", keeps], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert one.stdout.readline() == "done\n"
    said = world.freeze()
    assert said.returncode == 65 and "is not gated" in said.said, said.said


def docker_another_gate_of_that_name(world):
    """Each of the two is frozen by itself: it is not taken for one that hears an old page. Unless it can come to the mail: then
    it may as well be ours, over whose page something was mounted since."""
    host = Host(world)
    host.member()
    # By the very name of its page; and in another directory.
    own = ("--tmpfs", f"{world.gates}:mode=755", "-e", f"WRITEGATE_DIR={world.gates}")
    for named, freeze, why in ((own, ("-e", f"WRITEGATE_DIR={world.gates}"), "that was replaced"), ((), (), "is not gated")):
        name, its = host.member(*host.gated("/tmp"), *named, "--cap-add=SYS_PTRACE", gated=False, gates=False, data=None)
        whole(world.freeze(), procs=1)
        said = world.run([BIN / "writegate", "doctor", "-g", GATE])
        assert said.returncode == 0, said.said
        tell(its, "lock /tmp/lock")
        tell(its, "write /tmp/half")
        whole(world.freeze(), procs=1)
        assert host.run("exec", *freeze, name, *FREEZE).returncode == 75
        tell(its, "unlock")
        whole(host.run("exec", *freeze, name, *FREEZE), procs=1)
        host.member(*named, gates=False)
        said = world.freeze()
        assert said.returncode == 65 and why in said.said, said.said
        host.daemon.call("rm", "-f", host.names[-1])


def docker_a_pod(world):
    """A pause container whose PID namespace all share (shareProcessNamespace), the gate's directory an emptyDir."""
    host = Host(world)
    pause = f"{world.root.name}-pause"
    host.names.append(pause)
    done = host.run("run", "-d", "--rm", "--name", pause, "--network=none", IMAGE, "/bin/sleep", "999")
    assert done.returncode == 0, done.said
    share = f"--pid=container:{pause}"
    # Everybody may write there: not believed, until the pod's first container has changed that.
    world.gates.chmod(0o1777)
    said = host.freeze(share, *LEAST)
    assert said.returncode in (69, 78) and "verdict=" not in said.said, said.said
    done = host.run("run", "--rm", *host.options(), IMAGE, "chmod", "755", "/run/writegate")
    assert done.returncode == 0, done.said
    _, member = host.member(share)
    freeze = lambda: host.freeze(share, *LEAST)
    whole(freeze(), procs=1)
    half_is_waited_for(world, member, freeze)


def docker_a_sidecar_without_the_gates_directory(world):
    host = Host(world)
    name, _ = host.member()
    refused(host.freeze(f"--pid=container:{name}", *LEAST, gates=False), 69)


def docker_a_paused_container(world):
    """docker pause stops it wherever it is: in the middle of a set it is waited for in vain."""
    host = Host(world)
    name, member = host.member()
    whole(world.freeze(), procs=1)
    tell(member, "lock /var/mail/lock")
    tell(member, "write /var/mail/half")
    assert host.run("pause", name).returncode == 0
    try:
        said = world.freeze_half()
        assert said.returncode == 75, said.said
    finally:
        host.run("unpause", name)
    tell(member, "unlock")
    whole(world.freeze(), procs=1)


def docker_compose_as_it_stands(world):
    """contrib/containers/compose.yaml itself; only where the programs lie, and what the server does, is ours."""
    host = Host(world)
    compose = next((words for words in (["docker-compose"], ["docker", "compose"])
                    if shutil.which(words[0]) and subprocess.run([*words, "version"], capture_output=True).returncode == 0), None)
    if not compose:
        raise Skip("neither docker-compose nor docker compose is there")
    ours = world.root / "ours.yaml"
    for name in ("orders", "answers"):
        os.mkfifo(world.root / name)
    ours.write_text(f"""
services:
  mail:
    command: [/bin/sh, -c, "exec /bin/member </talk/orders >/talk/answers"]
    volumes: ["{BIN}/libwritegate.so:{LIBRARY}:ro", "{world.root}:/talk"]
  writegate:
    volumes: ["{BIN}/writegate:{COMMAND}:ro"]
""")
    project = re.sub(r"\W", "", world.root.name).lower()
    env = dict(os.environ, DOCKER_HOST=host.daemon.docker[2])

    def call(*argv):
        done = subprocess.run([*compose, "-p", project, "-f", ROOT / "contrib/containers/compose.yaml", "-f", ours, *argv],
                              env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE_S)
        done.said = done.stdout
        return done

    freeze = lambda: call("run", "--rm", "-T", "writegate", "freeze", "-g", "mail", "-t", "20s", "--drain", "1s", "--retries", "0",
                          "--", "true")
    try:
        done = call("up", "-d", "mail")
        assert done.returncode == 0, done.said
        # Open at both ends: neither side waits for the other's.
        talk = [os.open(world.root / name, os.O_RDWR) for name in ("orders", "answers")]
        member = SimpleNamespace(stdin=os.fdopen(talk[0], "w"), stdout=os.fdopen(talk[1]))
        assert member.stdout.readline() == "done\n"
        whole(freeze(), procs=1)
        half_is_waited_for(world, member, freeze)
        whole(freeze(), procs=1)
    finally:
        call("down", "-v", "-t", "0")


def docker_with_user_namespaces(world):
    """userns-remap: the root inside is a user outside, and the gate's directory is that user's."""
    host = Host(world, remap=True)
    for folder in (world.gates, world.mail):
        os.chown(folder, SUBUID, SUBUID)
    name, member = host.member()
    assert os.stat(world.gates / GATE / "control").st_uid == SUBUID
    inside = lambda: host.freeze(f"--pid=container:{name}", *LEAST)
    for freeze, freeze_half in ((inside, inside), (world.freeze, world.freeze_half)):
        whole(freeze(), procs=1)
        half_is_waited_for(world, member, freeze_half)
    refused(host.freeze(f"--pid=container:{name}", "--cap-drop=ALL"), 77, "CAP_SYS_PTRACE")
    refused(host.freeze(*LEAST), 77, "another PID namespace")


def docker_with_user_namespaces_on_a_page_of_the_host(world):
    """Inside, the page is nobody's: the server is not gated, and a freeze says so."""
    assert world.run([BIN / "writegate", "exec", "-g", GATE, "--", "true"]).returncode == 0
    host = Host(world, remap=True)
    os.chown(world.mail, SUBUID, SUBUID)
    host.member()
    said = world.freeze()
    assert said.returncode in (65, 69, 78) and "CONSISTENT" not in said.said, said.said


CASES = [docker_sidecars, docker_exec_in_the_servers_own_container, docker_two_containers_on_one_gate,
         docker_data_is_the_containers_data, docker_another_container_without_the_library,
         docker_another_mail_server, docker_another_gate_of_that_name, docker_a_pod,
         docker_a_sidecar_without_the_gates_directory, docker_a_paused_container, docker_compose_as_it_stands,
         docker_with_user_namespaces, docker_with_user_namespaces_on_a_page_of_the_host]

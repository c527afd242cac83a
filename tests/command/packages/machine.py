"""A clean Debian of its own: a debootstrap root, kept between runs, and above it one run's overlay, with systemd as
its first process or without.

    with Machine("bookworm", packages=("postfix",), work=work) as m:
        m.run("dpkg", "-i", "/root/writegate.deb")              # under systemd where `systemd=True`
        m.inside("/etc/passwd")                                 # a path on this machine's side

Everything lives in namespaces of its own (mounts, processes, network, control groups): when the first process ends,
all of it is gone. Needs root, debootstrap and a mirror; Unavailable says what is missing.
"""
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

CACHE = Path(os.environ.get("WRITEGATE_ROOTS", "/var/tmp/writegate-roots"))
MIRROR = os.environ.get("WRITEGATE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
RELEASES = {"bullseye": 11, "bookworm": 12, "trixie": 13}
DEVELOPMENT = "sid"
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

START = """
set -e
cd "$ROOT"
while read -r from at; do
    [ -z "$from" ] || { mkdir -p "./$at" && mount --bind "$from" "./$at"; }
done <<END
$BINDS
END
mount -t proc proc proc
mount -t sysfs sysfs sys 2>/dev/null || :
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755,size=8m dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs shm dev/shm
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 dev/${node%:*} c 1 ${node#*:}
done
mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
if [ "$SYSTEMD" = 1 ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    set -- /lib/systemd/systemd --log-target=null
else
    set -- sleep infinity
fi
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . "$@"
"""


class Unavailable(Exception):
    """This machine cannot do it; a test says so and skips."""


def output(*argv, timeout=600, check=True, **more):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, **more)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit code {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def base(release, packages):
    """The root of a release with these packages in it; made once, under a lock."""
    if os.geteuid():
        raise Unavailable("needs root")
    if not shutil.which("debootstrap"):
        raise Unavailable("debootstrap is not there (Debian: debootstrap)")
    # A name is short, and no two lists share one.
    listed = "-".join(packages)
    digest = hashlib.sha256(listed.encode()).hexdigest()[:8]
    name = "-".join(["debian", release, *([listed[:40], digest] if packages else [])])
    root = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (CACHE / f"{name}.complete").exists():
            return root
        shutil.rmtree(root, ignore_errors=True)
        try:
            if packages:
                output("cp", "-a", base(release, ()), root)
                install(root, packages)
            else:
                output("debootstrap", "--variant=minbase", release, root, MIRROR, timeout=400)
        except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            raise Unavailable(f"no root of {release} with {packages or 'nothing'}: {str(error)[-300:]}") from None
        (CACHE / f"{name}.complete").touch()
    return root


def install(root, packages):
    policy = root / "usr/sbin/policy-rc.d"                  # maintainer scripts must not start a server here
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    answers = "postfix postfix/main_mailer_type select Local only\npostfix postfix/mailname string test.example\n"
    # A mirror that stands still serves a Release file that has expired.
    script = ("mount -t proc proc /proc; export DEBIAN_FRONTEND=noninteractive; debconf-set-selections; "
              "apt-get update -qq -o Acquire::Check-Valid-Until=false && "
              f"apt-get install -y -qq --no-install-recommends {' '.join(packages)}")
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "chroot", root, "sh", "-c", script], input=answers,
                          capture_output=True, text=True, timeout=400)
    policy.unlink()
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])


def control_groups():
    """Where the unified hierarchy is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return Path(line.split()[1])
    raise Unavailable("no cgroup2 is mounted here, and systemd needs one")


class Machine:
    def __init__(self, release, work, packages=(), systemd=False, prepare=None, binds=(), root=None):
        """`prepare` is given the folder that lies above the release's files, before the first process starts.
        `binds`: (a folder here, where it lies inside) each; no blank in either. `root`: those files, of a system that is no Debian."""
        more = ("systemd", "systemd-sysv") if systemd else ()
        self.base, self.systemd = root or base(release, (*more, *packages)), systemd
        self.name, self.work = f"wg-{release}-{os.getpid()}", Path(work)
        self.undo, self.pid, self.prepare, self.binds = contextlib.ExitStack(), None, prepare, binds

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.undo.close()
            raise
        return self

    def start(self):
        root, layer = self.work / "root", self.work / "layer"
        for folder in root, layer / "upper", layer / "work":
            folder.mkdir(parents=True)
        self.undo.callback(shutil.rmtree, layer, ignore_errors=True)
        if self.prepare:
            self.prepare(layer / "upper")
        env, before = dict(os.environ, ROOT=str(root), SYSTEMD=str(int(self.systemd)),
                           BINDS="\n".join(f"{source} {at}" for source, at in self.binds)), []
        if self.systemd:
            group = control_groups() / self.name
            try:
                group.mkdir()
            except OSError as error:
                raise Unavailable(f"no control group can be made here: {error}") from None
            self.undo.callback(remove_groups, group)
            before = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group]
        mount = f'mount -t overlay o -o "lowerdir={self.base},upperdir={layer}/upper,workdir={layer}/work" "$ROOT" && {START}'
        argv = [*before, "unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--net", "--kill-child",
                "--propagation", "private", "sh", "-c", mount]
        self.unshare = subprocess.Popen([str(a) for a in argv], env=env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.undo.callback(self.stop)
        self.wait()

    def wait(self):
        """Until the first process is there, and systemd has started what it starts."""
        deadline = time.monotonic() + 60
        wanted = "systemd" if self.systemd else "sleep"
        while time.monotonic() < deadline:
            children = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children")
            with contextlib.suppress(OSError, IndexError, ValueError):
                pid = int(children.read_text().split()[0])
                if Path(f"/proc/{pid}/comm").read_text().strip() == wanted:
                    self.pid = pid
                    break
            if self.unshare.poll() is not None:
                raise Unavailable("namespaces, mounts or an overlay are refused here")
            time.sleep(0.1)
        else:
            raise Unavailable("its first process does not start here")
        while self.systemd and time.monotonic() < deadline:
            state = output(*self.argv("systemctl", "is-system-running"), check=False, timeout=20).strip()
            if state in ("running", "degraded"):
                return
            time.sleep(0.3)
        if self.systemd:
            raise Unavailable("systemd does not come up here")

    def stop(self):
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.unshare.kill()
        self.unshare.wait()

    def __exit__(self, *_):
        self.undo.close()

    def inside(self, path):
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def argv(self, *argv):
        """The command as it is started from here."""
        return ["nsenter", "-t", self.pid, "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--root", "--wd",
                "env", "-i", PATH, "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", *argv]

    def run(self, *argv, check=True, timeout=120):
        """(exit code, what it said)"""
        done = subprocess.run([str(a) for a in self.argv(*argv)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))}: exit code {done.returncode}: {done.stdout[-2500:]}")
        return done.returncode, done.stdout

    def etc(self):
        """Everything below /etc: type, mode, owner, content."""
        found, top = {}, self.inside("/etc")
        for path in sorted(top.rglob("*")):
            info = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(top))] = (info.st_mode, info.st_uid, info.st_gid, content)
        return found


def remove_groups(group):
    """Control groups go, the innermost first, when the last process in them has gone."""
    for _ in range(50):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not group.exists():
            return
        time.sleep(0.1)

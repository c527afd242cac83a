#!/usr/bin/env python3
"""Overlay roots: a private `/` in which a conflicting Debian package is installed.

The lower layer is this machine's own root, so the machine itself stays as it
is.  The layer that apt fills is kept between runs (building one takes about
ten seconds); each run works on a copy of it, which is thrown away.  (It cannot
be a second lower layer: overlayfs refuses one that lies below the other.)
Needs root, apt and overlayfs.
"""
import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import time

from lab import procs

LIBRARY_NAME = "libwritegate.so"
LIBRARY = "/usr/lib/x86_64-linux-gnu/" + LIBRARY_NAME
CACHE = os.environ.get("WRITEGATE_ROOTS", "/var/tmp/writegate-roots")


class Unavailable(Exception):
    """This machine cannot hold such a root; a test says so and skips."""


def _run(*argv, **kw):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=kw.pop("timeout", 60), **kw)
    if done.returncode:
        raise RuntimeError("%s: exit %d: %s" % (
            " ".join(argv), done.returncode, done.stdout.decode(errors="replace")[-2000:]))
    return done.stdout.decode(errors="replace")


def _mount_overlay(lower, upper, work, where):
    for path in (upper, work, where):
        os.makedirs(path, exist_ok=True)
    try:
        _run("mount", "-t", "overlay", "writegate-test", "-o",
             "lowerdir=%s,upperdir=%s,workdir=%s" % (lower, upper, work), where)
    except RuntimeError as error:
        raise Unavailable("overlayfs: %s" % error) from None


def _unmount(where):
    # Lazily as a last resort: a mount left behind would outlive the test run.
    for flags in ((), (), ("-l",)):
        if subprocess.run(["umount", *flags, where], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.2)


def _mount_special(where, undo):
    """proc, and a /dev of its own: were the machine's shown here, a careless `rm -r` of what a
    killed run left behind would empty it."""
    proc, dev = os.path.join(where, "proc"), os.path.join(where, "dev")
    _run("mount", "--bind", "/proc", proc)
    undo.callback(_unmount, proc)
    _run("mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "writegate-test", dev)
    undo.callback(_unmount, dev)
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        node = os.path.join(dev, name)
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        os.chmod(node, 0o666)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"),
                         ("stderr", "fd/2")):
        os.symlink(target, os.path.join(dev, name))


def _installed_layer(packages, prepare):
    """The layer with `packages` in it; built once, under a lock."""
    name = "-".join(packages)[:40] + "-" + hashlib.sha1(
        repr((packages, prepare)).encode()).hexdigest()[:8]
    base = os.path.join(CACHE, name)
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(base, "complete")):
            return os.path.join(base, "upper")
        if os.geteuid() or not shutil.which("apt-get"):
            raise Unavailable("needs root and apt")
        for part in ("upper", "work"):
            shutil.rmtree(os.path.join(base, part), ignore_errors=True)
        where = os.path.join(base, "root")
        _mount_overlay("/", os.path.join(base, "upper"), os.path.join(base, "work"), where)
        with contextlib.ExitStack() as undo:
            undo.callback(_unmount, where)
            _mount_special(where, undo)
            # Maintainer scripts must not start a server.
            policy = os.path.join(where, "usr/sbin/policy-rc.d")
            with open(policy, "w") as out:
                out.write("#!/bin/sh\nexit 101\n")
            os.chmod(policy, 0o755)
            script = ("export DEBIAN_FRONTEND=noninteractive; "
                      "apt-get install -y --no-install-recommends %s || "
                      "{ apt-get update && apt-get install -y --no-install-recommends %s; }\n%s"
                      % (" ".join(packages), " ".join(packages), prepare))
            try:
                _run("chroot", where, "/bin/sh", "-ec", script, timeout=300)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                raise Unavailable("cannot install %s: %s" % (packages, error)) from None
        with open(os.path.join(base, "complete"), "w"):
            pass
        return os.path.join(base, "upper")


class Service(procs.Service):
    """A server in a root.  Orphans without a mark may be another root's (a restore runs beside
    the server that was snapshotted): here only the root, by kill_all, says whose they are."""

    def stop(self):
        if self.process is not None:
            procs.kill_family([self.process.pid], self._sessions, self.grace_s, self.stop_signal)
            self.process.poll()


class Root:
    """One run's root.  `with Root(...) as root: root.popen(...)`."""

    def __init__(self, packages, work, name="root", prepare="", binds=()):
        self.packages, self.prepare = tuple(packages), prepare
        self.binds = [str(b) for b in binds]
        # The mount point lies directly in the work folder, where the lab looks for
        # what is still mounted before it removes the folder.
        self.path = os.path.join(str(work), name)
        self.scratch = self.path + ".layer"
        self._undo = contextlib.ExitStack()

    def __enter__(self):
        layer = _installed_layer(self.packages, self.prepare)
        try:
            os.makedirs(self.scratch, exist_ok=True)
            # -a keeps the whiteouts and overlayfs's own attributes.
            _run("cp", "-a", layer, os.path.join(self.scratch, "upper"))
            _mount_overlay("/", os.path.join(self.scratch, "upper"),
                           os.path.join(self.scratch, "work"), self.path)
            self._undo.callback(_unmount, self.path)
            _mount_special(self.path, self._undo)
            for path in self.binds:
                self.bind(path)
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_):
        self.kill_all()
        self._undo.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def bind(self, source, target=None):
        """Show `source` inside the root, by default under its own name."""
        inside = self.inside(target or source)
        os.makedirs(inside, exist_ok=True)
        _run("mount", "--bind", source, inside)
        self._undo.callback(_unmount, inside)

    def inside(self, path):
        return os.path.join(self.path, path.lstrip("/"))

    def write(self, path, text, mode=0o644):
        full = self.inside(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as out:
            out.write(text)
        os.chmod(full, mode)

    def argv(self, *argv):
        return ["chroot", self.path, *argv]

    def run(self, *argv, **kw):
        return _run(*self.argv(*argv), **kw)

    def install_library(self, gate):
        """The library as a set-user-ID program takes it: in a standard directory, mode 4755.

        In secure mode no variable is believed, only a root-owned file: so the gate has its
        default name and its default place inside this root, where the run's gate is shown.
        """
        target = self.inside(LIBRARY)
        shutil.copyfile(gate.library, target)
        os.chmod(target, 0o4755)
        self.bind(str(gate.directory), "/run/writegate")
        self.write("/etc/writegate/%s.conf" % gate.name, gate.profile.read_text())

    def preload_everywhere(self, gate):
        """The library in this root's own /etc/ld.so.preload: the loader then takes it into every
        program that is started here, whatever its environment or its set-id bits.

        Set-id programs believe no variable, so the directories stand in the profile; and a library
        that nobody has asked for by name makes no gate, so it is made before the server starts.
        """
        gate.paths = []                             # they stand in gate.profile
        self.install_library(gate)
        done = gate.run("exec", "-g", gate.name, "--", "/bin/true")
        if done.returncode:
            raise RuntimeError("no gate: %s" % done.stderr)
        self.write("/etc/ld.so.preload", LIBRARY + "\n")

    def popen(self, *argv, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.argv(*argv), **kw)

    def processes(self):
        """Pids whose root directory is this root or lies below one of its binds.

        Only this run's server can have such a root, so these are ours to end.
        """
        prefixes = [self.path]
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                root = os.readlink("/proc/%s/root" % entry)
            except OSError:
                continue
            if any(root == p or root.startswith(p + "/") for p in prefixes):
                found.append(int(entry))
        return found

    def kill_all(self):
        for attempt in range(50):
            pids = self.processes()
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, 15 if attempt < 10 else 9)
                except OSError:
                    pass
            time.sleep(0.1)

"""One system with one server in it: a debootstrap root under a systemd of its own, the server as its package configures it.
Its mail lies on two btrfs subvolumes of this machine, so that a snapshot of them is what an admin would take.

    with Site("bullseye", mail.KINDS["exim"], work) as site:
        with site.network(): ...                    # what is started here reaches the server on 127.0.0.1
        said = site.snapshot("s1", gate="default")  # through `writegate freeze`; gate=None: at once
        site.taken("s1")                            # {"/var/mail": where its snapshot lies, ...}
        site.forget("s1")
"""
import contextlib
import ctypes
import os
import shutil
import subprocess
import time
from pathlib import Path

import machine as machines

from lab import gate as gates, procs, volume

INSIDE = "/srv/volume"                                  # where the system sees the volume
TOOLS = "/opt/lab"
STAMP = "/run/stamp"
PAUSE_S = 0.1                                           # between the snapshots of the two subvolumes
CLONE_NEWNET = 0x40000000


def carry(program, folder):
    """A program of this machine with its libraries, where another system, whose libc is older, can run it by its name."""
    (folder / "bin").mkdir(parents=True)
    path = Path(shutil.which(program)).resolve()
    files = [Path(word) for word in subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout.split()
             if word.startswith("/")]
    for file in path, *files:
        shutil.copy(file, folder / file.name)
    loader = next(file.name for file in files if file.name.startswith("ld-"))
    wrapper = folder / "bin" / program
    wrapper.write_text(f'#!/bin/sh\nexec {TOOLS}/{loader} --library-path {TOOLS} {TOOLS}/{path.name} "$@"\n')
    wrapper.chmod(0o755)


class Site:
    def __init__(self, release, kind, work):
        self.release, self.kind, self.work = release, kind, Path(work)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        if (why := volume.unavailable()):
            raise machines.Unavailable(why)
        with self._stack as stack:
            self.volume = stack.enter_context(volume.Volume(self.work))
            self.places = {path: self.volume.subvolume(path.strip("/").replace("/", "-")) for path in self.kind.paths}
            binds = [(place, path) for path, place in self.places.items()] + [(self.volume.root, INSIDE)]
            self.machine = machines.Machine(self.release, self.work / "machine", self.kind.packages, systemd=True,
                                            prepare=self._prepare, binds=binds)
            stack.enter_context(self.machine)
            for command in self.kind.prepare:
                self.machine.run(*command)
            self.machine.run("systemctl", "restart", self.kind.service)
            with self.network():
                procs.wait_for_port(self.kind.port)
            self._stack = stack.pop_all()
        return self

    def _prepare(self, upper):
        """What the packages have put on a subvolume's place lies on the subvolume."""
        for path, place in self.places.items():
            there = self.machine.base / path.lstrip("/")
            if there.exists():
                machines.output("cp", "-a", f"{there}/.", place)
        carry("btrfs", upper / TOOLS.lstrip("/"))

    def __exit__(self, *exc):
        return self._stack.__exit__(*exc)

    @contextlib.contextmanager
    def network(self):
        """This thread, and what it starts, in the network of the system."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(path):
            with open(path, "rb") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
        own = f"/proc/{os.getpid()}/task/{os.getpid()}/ns/net"
        with open(own, "rb") as before:
            enter(f"/proc/{self.machine.pid}/ns/net")
            try:
                yield
            finally:
                if libc.setns(before.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")

    def install(self, debs):
        for deb in debs:
            shutil.copy(deb, self.machine.inside("/root"))
        self.machine.run("sh", "-c", "dpkg -i /root/writegate_*.deb")

    def version(self, package):
        return self.machine.run("dpkg-query", "-W", "-f", "${Version}", package)[1].strip()

    def snapshot(self, name, gate=None, swapped=False, limit="5s", drain="3s"):
        """Both subvolumes, one after the other: (exit code, what was said, when the command began), the last None if it did not."""
        order = list(self.places.values())[::-1 if swapped else 1]
        argv = [word.replace(str(self.volume.root), INSIDE)
                for word in self.volume.snapshot_command(order, name, PAUSE_S)]
        command = ["env", f"PATH={TOOLS}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c",
                   f'date +%s.%N >{STAMP}; exec "$@"', "sh", *argv]
        stamp = self.machine.inside(STAMP)
        stamp.unlink(missing_ok=True)
        if gate:
            command = ["writegate", "freeze", "-g", gate, "-t", limit, "--drain", drain, "--", *command]
        code, said = self.machine.run(*command, check=False)
        began = float(stamp.read_text()) - time.time() + time.monotonic() if stamp.exists() else None
        return code, said, began

    def taken(self, name):
        return {path: self.volume.taken(place, name) for path, place in self.places.items()}

    def forget(self, name):
        self.volume.delete(name)


def verdict(said):
    """(verdict, drain in ms, held in ms) of what a freeze said."""
    fields = gates.parse(said)
    return fields.get("verdict", "NONE"), gates.milliseconds(fields.get("drain")), gates.milliseconds(fields.get("held"))

"""Runs a command with everything that descends from it under the kernel's tracing, and keeps the record.

A record is a folder: meta.json, cpuN.raw (the kernel's own pages), freezes/, names.json. Whether it is whole is
the judge's question (`ended` in meta.json, the kernel's count of events against what decodes).
"""
import contextlib
import json
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path

from . import events, tracefs

POLL_S, CLOCK_S = 0.2, 0.1


def filesystem(path):
    """(kind, device number as events print it, mount point) of a directory."""
    path, best = os.path.realpath(path), None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            left, _, right = line.partition(" - ")
            fields = left.split()
            mount = fields[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
            if path == mount or path.startswith(mount.rstrip("/") + "/"):
                major, minor = map(int, fields[2].split(":"))
                best = right.split()[0], major << 20 | minor, mount
    return best


def symbol(name):
    """[first, behind last] address of a kernel function, or None."""
    begin = None
    with open("/proc/kallsyms", encoding="ascii") as f:
        for line in f:
            address, _, found = line.split()[:3]
            if begin is not None:
                return [begin, int(address, 16)]
            if found == name:
                begin = int(address, 16)
    return None


class Drain(threading.Thread):
    """Takes the kernel's pages away, of all processors, into files."""

    def __init__(self, instance, folder):
        super().__init__(daemon=True)
        self.page, self.stop = instance.page_size(), threading.Event()
        self.ends = [(instance.open_raw(cpu), open(folder / f"cpu{cpu}.raw", "wb")) for cpu in instance.cpus()]

    def run(self):
        while not self.stop.is_set():
            self.once()
            self.stop.wait(0.05)

    def once(self):
        for fd, out in self.ends:
            while True:
                try:
                    data = os.read(fd, self.page)
                except BlockingIOError:
                    break
                if not data:
                    break
                out.write(data)

    def close(self):
        self.stop.set()
        self.join()
        self.once()
        for fd, out in self.ends:
            os.close(fd)
            out.close()


class LockNames(threading.Thread):
    """Which path a locked file has, and whether it holds its locker's own process id and nothing else."""

    def __init__(self):
        super().__init__(daemon=True)
        self.found, self.stop = {}, threading.Event()

    def run(self):
        while not self.stop.wait(POLL_S):
            self.once()

    def once(self):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = [f for f in line.split() if f != "->"]
            if fields[1] == "LEASE":
                continue                                # to open the file would break it
            major, minor, ino = fields[5].split(":")
            key = f"{int(major, 16) << 20 | int(minor, 16)}:{ino}"
            if key not in self.found and fields[4].isdigit():
                self._look(key, ino, fields[4])

    def _look(self, key, ino, pid):
        try:
            for fd in os.listdir(f"/proc/{pid}/fdinfo"):
                info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
                if "lock:" in info and f":{ino} " in info:
                    path = os.readlink(f"/proc/{pid}/fd/{fd}")
                    with open(f"/proc/{pid}/fd/{fd}", "rb") as f:
                        text = f.read(32).strip()
                    self.found[key] = {"path": path, "pid_file": text == pid.encode()}
                    return
        except OSError:
            pass                                        # it ended meanwhile, or the file cannot be read again


def clock(instance, stop):
    """Says the time in the record, so that a clock which jumps shows."""
    fd = os.open(instance.marker, os.O_WRONLY)
    while True:
        os.write(fd, b"witness clock %d" % time.monotonic_ns())
        if stop.wait(CLOCK_S):
            break
    os.close(fd)


def start_held(command, env):
    """(pid, go): a child that becomes the command when go() is called."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(writing)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            if os.read(reading, 1):
                os.close(reading)
                os.execvpe(command[0], command, env)
        except OSError as why:
            print(f"witness: {command[0]}: {why}", file=sys.stderr)
        os._exit(127)
    os.close(reading)

    def go():
        os.write(writing, b"g")
        os.close(writing)
    return pid, go


def wait_for(pid):
    """Its exit code. Whoever stops the recorder stops the command, which then cleans up."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        raise


def binaries(folder, writegate, library):
    """A folder with `writegate` (wrapped) and the library, for rigs that look there ($WRITEGATE_BIN_DIR)."""
    place = folder / "bin"
    place.mkdir()
    wrapper = Path(__file__).with_name("wrapper.py")
    script = place / "writegate"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -S {wrapper} {folder} {writegate} \"$@\"\n")
    script.chmod(0o755)
    (place / "libwritegate.so").symlink_to(library)
    return place


def record(folder, command, places, writegate, library, limit_s=None, buffer_kb=32768):
    """Records while `command` runs; its exit code. `places`: protected directories, of whole file systems."""
    folder = Path(folder).resolve()
    (folder / "freezes").mkdir(parents=True)
    folder.chmod(0o755)
    protected = [dict(zip(("kind", "dev", "mount"), filesystem(p)), path=str(Path(p).resolve())) for p in places]
    for one in protected:
        if Path(one["mount"]) not in (Path(one["path"]), *Path(one["path"]).parents):
            raise tracefs.Unavailable(f"{one['path']} is not below a mount point")
    (folder / "places").write_text("".join(f"{p['path']}\n" for p in protected))
    place = binaries(folder, Path(writegate).resolve(), Path(library).resolve())
    env = dict(os.environ, WRITEGATE_BIN_DIR=str(place), WG=str(place / "writegate"), LIB=str(place / "libwritegate.so"),
               WITNESS=str(folder))
    kinds = sorted({p["kind"] for p in protected})
    with tracefs.Instance(kinds, sorted({p["dev"] for p in protected}), buffer_kb) as instance:
        (folder / "marker").write_text(str(instance.marker))
        meta = {"format": 1, "kernel": platform.release(), "machine": platform.machine(), "clock": tracefs.CLOCK,
                "page": instance.page_size(), "cpus": instance.cpus(), "formats": instance.formats,
                "touch": symbol(events.TOUCH), "protected": protected, "limit_s": limit_s,
                "began": time.monotonic_ns(), "command": command}
        write_json(folder / "meta.json", meta)
        drain, names, stop = Drain(instance, folder), LockNames(), threading.Event()
        ticking = threading.Thread(target=clock, args=(instance, stop), daemon=True)
        pid, go = start_held(command, env)
        meta["family"] = pid
        instance.follow([pid])
        instance.on()
        for thread in (drain, names, ticking):
            thread.start()
        begun = os.times()
        go()
        status = wait_for(pid)
        stop.set()
        ticking.join()
        names.stop.set()
        names.join()
        instance.off()
        drain.close()
        spent = os.times()
        meta["statistics"] = instance.statistics()
        meta["recorder_cpu_s"] = round(spent.user + spent.system - begun.user - begun.system, 3)
        meta["ended"] = time.monotonic_ns()
        write_json(folder / "names.json", names.found)
        write_json(folder / "meta.json", meta)
    return status


def write_json(path, what):
    path.write_text(json.dumps(what, indent=1), encoding="utf-8", errors="surrogateescape")

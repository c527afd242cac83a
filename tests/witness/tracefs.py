"""An instance of the kernel's tracing of the witness's own: nobody else's tracing is touched.

    with Instance(["ext4"], devices=[...]) as t:
        t.follow([pid]); t.on() ... t.off(); t.statistics()

Raises `Unavailable` with a sentence where the kernel, the rights or an event are missing.
"""
import errno
import os
import re
import subprocess
import time
from pathlib import Path

from . import events

ROOT = Path("/sys/kernel/tracing")
CLOCK = "mono"                                          # CLOCK_MONOTONIC, as freezes tell their instants
FIELD = re.compile(rb"field:(?P<type>[^;]*?)(?P<name>\w+)(?:\[[^\]]*\])?;\s*offset:(?P<at>\d+);\s*size:(?P<size>\d+);"
                   rb"\s*signed:(?P<signed>\d);")


class Unavailable(Exception):
    """Why this machine cannot be a witness."""


def root():
    """The mounted tracefs; mounts it where it is not yet."""
    if os.geteuid() != 0:
        raise Unavailable("the kernel's tracing needs root")
    if not (ROOT / "instances").is_dir():
        done = subprocess.run(["mount", "-t", "tracefs", "nodev", ROOT], capture_output=True, text=True)
        if done.returncode or not (ROOT / "instances").is_dir():
            raise Unavailable(f"no tracefs here: {done.stderr.strip() or 'it has no instances'}")
    return ROOT


def read_format(text, wanted):
    """(id, {field: [offset, size, signed, kind]}) of an event's format file; KeyError: a field is missing."""
    number = int(re.search(rb"^ID: (\d+)", text, re.M)[1])
    have = {}
    for found in FIELD.finditer(text):
        kind = "data_loc" if b"__data_loc" in found["type"] else "plain"
        have[found["name"].decode()] = [int(found["at"]), int(found["size"]), int(found["signed"]), kind]
    return number, {name: have[name] for name in wanted}


class Instance:
    def __init__(self, kinds, devices, buffer_kb=32768):
        base = root() / "instances"
        self.path = base / f"writegate-witness-{os.getpid()}-{time.monotonic_ns()}"
        self.wanted = dict(events.COMMON)
        for kind in kinds:
            if kind not in events.FILE_SYSTEMS:
                why = events.REFUSED.get(kind, f"of this kind no events are known to the witness, only of {', '.join(events.FILE_SYSTEMS)}")
                raise Unavailable(f"protected files on {kind}: {why}")
            self.wanted.update(events.FILE_SYSTEMS[kind])
        self.devices, self.buffer_kb, self.formats = list(devices), buffer_kb, {}

    def __enter__(self):
        self.path.mkdir()
        try:
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _prepare(self):
        self._write("tracing_on", "0")
        self._write("trace_clock", CLOCK)
        if f"[{CLOCK}]" not in (self.path / "trace_clock").read_text():
            raise Unavailable(f"the kernel does not take the clock {CLOCK}")
        # What does not fit is lost and counted, instead of what is older.
        self._write("options/overwrite", "0")
        self._write("options/event-fork", "1")
        self._write("buffer_size_kb", str(self.buffer_kb))
        for event, wanted in self.wanted.items():
            folder = self.path / "events" / event
            if not (folder / "format").exists():
                # ftrace's own events are listed, with their formats, at the top only.
                folder = ROOT / "events" / event
            try:
                self.formats[event] = read_format((folder / "format").read_bytes(), wanted)
            except (OSError, KeyError, TypeError) as why:
                if event in events.OPTIONAL:
                    continue
                raise Unavailable(f"this kernel's event {event} is not as expected: {why!r}") from None
        calls = "||".join(f"id=={n}" for n in events.RECORDED_CALLS)
        for event in self.formats:
            if event == "ftrace/print":
                continue
            if event.startswith("raw_syscalls/"):
                self._write(f"events/{event}/filter", calls)
            elif event.split("/")[0] in events.FILE_SYSTEMS:
                self._write(f"events/{event}/filter", "||".join(f"dev=={d}" for d in self.devices))
            self._write(f"events/{event}/enable", "1")

    def _write(self, name, text):
        try:
            with open(self.path / name, "w", encoding="ascii") as f:
                f.write(text)
        except OSError as why:
            raise Unavailable(f"tracefs refuses {name}: {why}") from None

    def follow(self, tids):
        """Only these tasks and what descends from them."""
        self._write("set_event_pid", "\n".join(str(t) for t in tids) or "0")

    def on(self):
        self._write("tracing_on", "1")

    def off(self):
        self._write("tracing_on", "0")

    @property
    def marker(self):
        return self.path / "trace_marker"

    def cpus(self):
        return sorted(int(p.name[3:]) for p in (self.path / "per_cpu").iterdir())

    def page_size(self):
        text = (self.path / "buffer_subbuf_size_kb")
        return int(text.read_text()) * 1024 if text.exists() else os.sysconf("SC_PAGE_SIZE")

    def open_raw(self, cpu):
        return os.open(self.path / f"per_cpu/cpu{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)

    def statistics(self):
        """{cpu: {what: number}} as the kernel counts: what was read, and what was lost."""
        found = {}
        for cpu in self.cpus():
            text = (self.path / f"per_cpu/cpu{cpu}/stats").read_text()
            pairs = (line.rpartition(":") for line in text.splitlines())
            found[cpu] = {name: int(value) for name, _, value in pairs if value.strip().isdigit()}
        return found

    def __exit__(self, *_):
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError as why:
                if why.errno != errno.EBUSY:
                    raise
                time.sleep(0.1)
        raise RuntimeError(f"still in use: {self.path}")

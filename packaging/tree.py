"""What a package installs: one tree for .deb, .rpm and the tarball, in which only the library's directory differs.

    tree = Tree(stage, binaries, library="/usr/lib64")     # stage: where it is laid out
    tree.lay_out()
"""
import gzip
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import licences

ROOT = Path(__file__).resolve().parents[1]
CARGO = (ROOT / "Cargo.toml").read_text()
VERSION = re.search(r'^version = "(.*)"', CARGO, re.M)[1]
MAINTAINER = re.search(r'^authors = \["(.*)"\]', CARGO, re.M)[1]
SUMMARY = "hold a mail server's writes back for the moment of a snapshot"
DESCRIPTION = """\
libwritegate.so is put in front of an unmodified mail server by LD_PRELOAD. It
counts what is in flight and holds new writes back while a barrier is up. The
command writegate raises the barrier, waits until nothing is in flight, lets
any tool take its snapshot, lowers the barrier, and says whether the snapshot
can be trusted. No writer waits longer than a set limit, whatever happens."""
SETUID_DESCRIPTION = """\
Programs that run set-user-ID, such as Exim's deliveries, take a preloaded
library only from a standard directory and only with the set-user-ID bit.
This package sets that bit on libwritegate.so. What it allows: any user can
then have the library loaded into a set-user-ID program by LD_PRELOAD."""


def output(*argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **more)
    if done.returncode:
        raise SystemExit(f"{argv[0]}: exit code {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout


def epoch():
    """The time that every file of a package has: $SOURCE_DATE_EPOCH, else that of the last commit."""
    if (given := os.environ.get("SOURCE_DATE_EPOCH")):
        return int(given)
    try:
        return int(output("git", "-C", ROOT, "log", "-1", "--format=%ct"))
    except (OSError, SystemExit, ValueError):
        raise SystemExit("no commit here says of when this version is: set SOURCE_DATE_EPOCH") from None


def put(source, target, mode=0o644):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write(target, text, mode=0o644):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text if isinstance(text, bytes) else text.encode())
    target.chmod(mode)


def packed(text):
    """gzip without a name or a time in it."""
    return gzip.compress(text if isinstance(text, bytes) else text.encode(), 9, mtime=0)


class Tree:
    def __init__(self, stage, binaries, library, documents="usr/share/doc/writegate"):
        self.stage, self.binaries, self.library = stage, binaries, library
        self.documents = stage / documents

    def lay_out(self):
        command = self.binaries / "writegate"
        put(command, self.stage / "usr/bin/writegate", 0o755)
        put(self.binaries / "libwritegate.so", self.stage / self.library.lstrip("/") / "libwritegate.so")
        put(ROOT / "packaging/tmpfiles.conf", self.stage / "usr/lib/tmpfiles.d/writegate.conf")
        put(ROOT / "packaging/apparmor/writegate", self.stage / "etc/apparmor.d/abstractions/writegate")
        self.manual(command)
        for shell, target in ("bash", "bash-completion/completions/writegate"), \
                             ("zsh", "zsh/vendor-completions/_writegate"), \
                             ("fish", "fish/vendor_completions.d/writegate.fish"):
            write(self.stage / "usr/share" / target, output(command, "completions", shell))
        for folder in "contrib", "profiles":
            self.folder(folder, self.stage / "usr/share/writegate" / folder)
        self.folder("docs", self.documents / "docs")
        put(ROOT / "README.md", self.documents / "README.md")
        write(self.documents / "sbom.cdx.json", licences.sbom(VERSION))
        return self

    def manual(self, command):
        with tempfile.TemporaryDirectory() as pages:
            output(command, "man", "--dir", pages)
            for page in sorted(Path(pages).iterdir()):
                folder = self.stage / f"usr/share/man/man{page.suffix[1:]}"
                write(folder / f"{page.name}.gz", packed(page.read_bytes()))

    def folder(self, name, target):
        for file in sorted(path for path in (ROOT / name).rglob("*") if path.is_file()):
            mode = 0o755 if os.access(file, os.X_OK) else 0o644
            put(file, target / file.relative_to(ROOT / name), mode)

    def debug(self, stage):
        """The debug symbols, as a tree of their own."""
        for file in (self.binaries / "debug").rglob("*.debug"):
            put(file, stage / "usr/lib/debug" / file.relative_to(self.binaries / "debug"))


def settle(stage):
    """Modes of directories and times of everything, so that the same tree makes the same package."""
    when = epoch()
    for path in [*stage.rglob("*"), stage]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (when, when), follow_symlinks=False)

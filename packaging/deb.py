"""Debian packages, with dpkg-deb alone.

  writegate          the library in the multiarch directory (mode 644), the command, manual, completions, documents
  writegate-setuid   opt-in: gives the library mode 4755, which set-user-ID programs (Exim's deliveries) need. Kept
                     over upgrades by dpkg-statoverride, taken back when it is removed
  writegate-dbgsym   debug symbols
"""
import hashlib
import os
import re
import shutil
import tempfile
from email.utils import formatdate
from pathlib import Path

from . import licences
from .tree import (DESCRIPTION, MAINTAINER, ROOT, SETUID_DESCRIPTION, SUMMARY, VERSION, Tree, epoch, output, packed, put,
                   settle, write)

HERE = ROOT / "packaging/debian"
# What lintian says and is as it is meant; the reason stands before each.
OVERRIDES = {
    "writegate": """\
# Never linked against: it is preloaded, by its one name, and has no interface that could have versions.
# The command is linked statically: it runs on every Debian.
writegate: shared-library-lacks-prerequisites *
writegate: shared-library-lacks-version *
writegate: package-name-doesnt-match-sonames *
writegate: no-symbols-control-file *
""",
    "writegate-setuid": """\
# The bit on the library is all that it is for.
writegate-setuid: empty-binary-package
""",
}


def changelog():
    """Debian's form, from CHANGELOG.md."""
    text = (ROOT / "CHANGELOG.md").read_text()
    date = formatdate(epoch(), localtime=False, usegmt=False).replace("-0000", "+0000")
    parts = []
    for version, body in re.findall(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S):
        items = re.findall(r"^- (.*?)(?=^- |\Z)", body, re.M | re.S)
        lines = []
        for item in items:
            words, line = item.split(), "  *"
            for word in words:
                if len(line) + 1 + len(word) > 78:
                    lines.append(line)
                    line = "   "
                line += " " + word
            lines.append(line)
        parts.append(f"writegate ({version}) unstable; urgency=medium\n\n" + "\n".join(lines)
                     + f"\n\n -- {MAINTAINER}  {date}\n")
    return "\n".join(parts)


def control(package, relations, summary, description, size, section="admin"):
    fields = [f"Package: {package}", f"Version: {VERSION}", f"Architecture: {output('dpkg', '--print-architecture').strip()}",
              f"Maintainer: {MAINTAINER}", f"Installed-Size: {size}", *relations, f"Section: {section}", "Priority: optional",
              f"Description: {summary}", *(f" {line}" for line in description.splitlines())]
    return "\n".join(fields) + "\n"


def build(stage, out, package, **fields):
    documents = stage / "usr/share/doc" / package
    if package.endswith("-dbgsym"):
        documents.parent.mkdir(parents=True)
        documents.symlink_to("writegate")
    else:
        write(documents / "changelog.gz", packed(changelog()))
        write(documents / "copyright", licences.copyright_file(MAINTAINER))
        write(stage / "usr/share/lintian/overrides" / package, OVERRIDES[package])
    files = sorted(path for path in stage.rglob("*") if path.is_file() and "DEBIAN" not in path.parts)
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n" for path in files)
    write(stage / "DEBIAN/md5sums", "".join(sums))
    conffiles = [f"/{path.relative_to(stage)}\n" for path in files if path.relative_to(stage).parts[0] == "etc"]
    if conffiles:
        write(stage / "DEBIAN/conffiles", "".join(conffiles))
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    write(stage / "DEBIAN/control", control(package, size=size, **fields))
    settle(stage)
    architecture = output("dpkg", "--print-architecture").strip()
    target = out / f"{package}_{VERSION}_{architecture}.deb"
    env = dict(os.environ, SOURCE_DATE_EPOCH=str(epoch()))
    output("dpkg-deb", "--root-owner-group", "-Zxz", "--build", stage, target, env=env)
    return target


def packages(binaries, out):
    """Builds all three; their files."""
    if not shutil.which("dpkg-deb"):
        raise SystemExit("dpkg-deb is not there: Debian packages are built where it is")
    library = f"/usr/lib/{os.uname().machine}-linux-gnu"
    made = []
    with tempfile.TemporaryDirectory() as work:
        stage = Path(work) / "writegate"
        tree = Tree(stage, binaries, library).lay_out()
        scripts(stage, "", library)
        write(stage / "DEBIAN/triggers", "activate-noawait ldconfig\n")
        made.append(build(stage, out, "writegate", relations=["Suggests: apparmor, btrfs-progs | lvm2 | zfsutils-linux"],
                          summary=SUMMARY, description=DESCRIPTION))
        stage = Path(work) / "setuid"
        scripts(stage, "setuid.", library)
        made.append(build(stage, out, "writegate-setuid", relations=[f"Depends: writegate (= {VERSION})"],
                          summary="set-user-ID bit for libwritegate.so (opt-in)", description=SETUID_DESCRIPTION))
        stage = Path(work) / "debug"
        tree.debug(stage)
        made.append(build(stage, out, "writegate-dbgsym", section="debug",
                          relations=[f"Depends: writegate (= {VERSION})", "Auto-Built-Package: debug-symbols",
                                     f"Build-Ids: {' '.join(sorted(build_ids(binaries)))}"],
                          summary="debug symbols for writegate", description="For debuggers, and for reading a core file."))
    return made


def build_ids(binaries):
    return [path.parent.name + path.stem for path in (binaries / "debug").rglob("*.debug")]


def scripts(stage, prefix, library):
    for name in "postinst", "prerm", "postrm":
        source = HERE / f"{prefix}{name}"
        if source.exists():
            write(stage / "DEBIAN" / name, source.read_text().replace("@LIBRARY@", f"{library}/libwritegate.so"), 0o755)

"""RPM packages, with rpmbuild: writegate, writegate-debuginfo, and writegate-selinux where checkmodule is there."""
import os
import re
import shutil
import tempfile
from pathlib import Path
from time import gmtime, strftime

from . import licences
from .tree import DESCRIPTION, MAINTAINER, ROOT, VERSION, Tree, epoch, output, put, settle, write

HERE = ROOT / "packaging"


def policy(work):
    """The compiled SELinux module; None where its compiler is not there."""
    if not (shutil.which("checkmodule") and shutil.which("semodule_package")):
        return None
    module, package = work / "writegate.mod", work / "writegate.pp"
    output("checkmodule", "-M", "-m", "-o", module, HERE / "selinux/writegate.te")
    output("semodule_package", "-o", package, "-m", module, "-f", HERE / "selinux/writegate.fc")
    return package


def spec(stage, has_policy):
    text = (HERE / "rpm/writegate.spec").read_text()
    if not has_policy:
        text = re.sub(r"^%package selinux\n.*?(?=^%package debuginfo)", "", text, flags=re.M | re.S)
        text = re.sub(r"^%post selinux\n.*?(?=^%files\n)", "", text, flags=re.M | re.S)
        text = re.sub(r"^%files selinux\n.*?(?=^%files debuginfo)", "", text, flags=re.M | re.S)
    date = strftime("%a %b %d %Y", gmtime(epoch()))
    entry = f"* {date} {MAINTAINER} - {VERSION}-1\n- See CHANGELOG.md in the documents."
    for name, value in ("VERSION", VERSION), ("STAGE", str(stage)), ("DESCRIPTION", DESCRIPTION), ("CHANGELOG", entry):
        text = text.replace(f"@{name}@", value)
    return text


def packages(binaries, out):
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stage = work / "stage"
        tree = Tree(stage, binaries, "/usr/lib64").lay_out()
        tree.debug(stage)
        # zsh of Fedora and SUSE looks there; vendor-completions is Debian's.
        (stage / "usr/share/zsh/vendor-completions").rename(stage / "usr/share/zsh/site-functions")
        put(ROOT / "CHANGELOG.md", stage / "usr/share/doc/writegate/CHANGELOG.md")
        write(stage / "usr/share/licenses/writegate/LICENSE", licences.copyright_file(MAINTAINER))
        if (module := policy(work)):
            put(module, stage / "usr/share/selinux/packages/writegate.pp")
        settle(stage)
        write(work / "writegate.spec", spec(stage, module))
        output("rpmbuild", "-bb", "--define", f"_topdir {work}/rpm", "--define", f"_rpmdir {work}/made",
               "--define", "_buildhost localhost", "--define", "use_source_date_epoch_as_buildtime 1",
               "--define", "clamp_mtime_to_source_date_epoch 1", "--target", "x86_64", work / "writegate.spec",
               env=dict(os.environ, SOURCE_DATE_EPOCH=str(epoch())))
        made = []
        for path in sorted((work / "made").rglob("*.rpm")):
            shutil.copy(path, out / path.name)
            made.append(out / path.name)
    return made

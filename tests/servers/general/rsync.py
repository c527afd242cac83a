"""rsync --inplace into two trees under one flock: both must be of one generation of the source.

The source lies outside the protected trees; each generation changes every file and the manifest.
"""
import hashlib
import shutil
import sys
import time
from pathlib import Path

NAME, FILES = "rsync", 12
# -I: two generations may fall into one second, and rsync would think the files unchanged.
SCRIPT = """
set -e
while :; do
  {python} {me} {source}
  flock {lock} sh -ec 'rsync -aI --inplace --no-whole-file --delete {source}/files/ {one}/files/;
                       rsync -aI --inplace {source}/manifest/ {two}/manifest/'
  sleep 0.03
done
"""


def unavailable():
    missing = [tool for tool in ("rsync", "flock") if not shutil.which(tool)]
    return f"not installed: {' '.join(missing)}" if missing else None


def generation(source):
    """The next generation: every file with its number, and a manifest of their sums."""
    source = Path(source)
    (source / "files").mkdir(parents=True, exist_ok=True)
    (source / "manifest").mkdir(exist_ok=True)
    lines, stamp = [], str(time.time_ns())
    for n in range(FILES):
        data = (f"{stamp} file {n}\n" * (500 * (1 + n % 4))).encode()
        (source / "files" / f"f{n}").write_bytes(data)
        lines.append(f"{hashlib.sha1(data).hexdigest()} f{n}\n")
    (source / "manifest" / "sums").write_text("".join(lines))


def prepare(trees):
    for tree, name in ((trees[0], "files"), (trees[-1], "manifest")):
        (Path(tree) / name).mkdir()


def workers(trees, work):
    return [["sh", "-c", SCRIPT.format(python=sys.executable, me=__file__, source=Path(work) / "source",
                                       lock=Path(trees[0]) / "lock", one=trees[0], two=trees[-1])]]


def locks(trees):
    return [Path(trees[0]) / "lock"]


def check(trees):
    manifest = Path(trees[-1]) / "manifest" / "sums"
    if not manifest.exists():
        return ["no manifest"] if any((Path(trees[0]) / "files").iterdir()) else []
    wrong = []
    for line in manifest.read_text().splitlines():
        want, _, name = line.partition(" ")
        file = Path(trees[0]) / "files" / name
        if not file.is_file() or hashlib.sha1(file.read_bytes()).hexdigest() != want:
            wrong.append(f"{name} is not the manifest's")
    if len(manifest.read_text().splitlines()) != FILES:
        wrong.append("the manifest is not whole")
    return wrong


if __name__ == "__main__":
    generation(sys.argv[1])

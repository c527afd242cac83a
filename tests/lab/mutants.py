"""What the runners of mutants share: a copy of the tree in which one place after the other is broken, and a line for each."""
import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the crates are built of, and what their tests read.
TREE = ["Cargo.*", "src", "gate", "preload", "tests/*.rs", "tests/*.toml", "examples", "docs", "profiles", "contrib", "README.md"]


def run(argv, longest_s, **more):
    return subprocess.run(["timeout", "-k", "5", str(longest_s), *map(str, argv)], capture_output=True, text=True, errors="replace",
                          check=False, **more)


def misplaced(changes):
    """Why these, (file, what stands there, what is put instead), cannot be made; None if they can."""
    for file, old, _ in changes:
        if (count := (ROOT / file).read_text().count(old)) != 1:
            return f"its place stands {count} times in {file}"
    return None


@contextlib.contextmanager
def broken(folder, changes):
    """The copy with these changes made, until it is left."""
    try:
        for file, old, new in changes:
            (folder / file).write_text((ROOT / file).read_text().replace(old, new))
        yield
    finally:
        for file, _, _ in changes:
            shutil.copyfile(ROOT / file, folder / file)


def main(says, mutants, judge):
    """`judge`: (folder of the copy, folder of what is built, name) -> why it was not caught; None if it was."""
    parser = argparse.ArgumentParser(description=says, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="the names")
    parser.add_argument("--target", type=Path, help="keep what is built there")
    options = parser.parse_args()
    if options.list:
        print(*mutants, sep="\n")
        return 0
    if unknown := [name for name in options.names if name not in mutants]:
        print(f"no such mutant: {unknown}", file=sys.stderr)
        return 64
    caught = failed = 0
    with tempfile.TemporaryDirectory(prefix="writegate-mutants-") as made:
        folder = Path(made) / "tree"
        files = subprocess.run(["git", "ls-files", *TREE], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in files.split():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        target = (options.target or Path(made) / "target").resolve()
        for name in options.names or mutants:
            wrong = judge(folder, target, name)
            caught, failed = caught + (wrong is None), failed + (wrong is not None)
            print(f"{'caught    ' if wrong is None else 'NOT CAUGHT'} {name}{': ' + wrong if wrong else ''}", flush=True)
    print(f"{caught} caught, {failed} not")
    return 1 if failed else 0

"""git: clones that commit and push under a flock, one that fetches without any.

Under its lock a worker writes its files, commits, pushes, and notes the number elsewhere: at a
moment without a lock all four agree. The fetching clone has only git's own lock files.
"""
import shutil
import subprocess
from pathlib import Path

NAME, CLONES = "git", 2
GIT = "/usr/bin/git"
# The parent shell takes the lock itself: `flock FILE COMMAND` runs all of this below it.
SCRIPT = """
set -e
cd {clone}
n=0
while :; do
  n=$((n+1))
  export n
  flock {lock} sh -ec '
    for f in 1 2 3; do echo "$n $f" > file$f; done
    {git} add -A
    {git} commit -q -m "number $n"
    {git} push -q origin HEAD:{branch}
    echo $n > {note}
  '
  sleep 0.02
done
"""
FETCH = """
set -e
cd {clone}
while :; do {git} fetch -q origin; sleep 0.02; done
"""


def unavailable():
    missing = [tool for tool in (GIT, "flock") if not shutil.which(tool)]
    return f"not installed: {' '.join(missing)}" if missing else None


def git(folder, *arguments, check=True):
    return subprocess.run([GIT, "-c", "safe.directory=*", "-C", str(folder), *arguments], check=check,
                          capture_output=True, text=True, timeout=60)


def places(trees):
    one, two = Path(trees[0]), Path(trees[-1])
    return [(one / f"clone{i}", one / f"lock{i}", two / f"note{i}", f"branch{i}") for i in range(CLONES)]


def prepare(trees):
    bare = Path(trees[-1]) / "bare.git"
    subprocess.run([GIT, "init", "-q", "--bare", str(bare)], check=True, timeout=60)
    for clone in [p[0] for p in places(trees)] + [Path(trees[0]) / "fetcher"]:
        subprocess.run([GIT, "clone", "-q", str(bare), str(clone)], check=True, timeout=60, capture_output=True)
        git(clone, "config", "user.email", "lab@localhost")
        git(clone, "config", "user.name", "lab")
        git(clone, "config", "gc.auto", "0")


def workers(trees, work):
    made = [["sh", "-c", SCRIPT.format(git=GIT, clone=clone, lock=lock, note=note, branch=branch)]
            for clone, lock, note, branch in places(trees)]
    return made + [["sh", "-c", FETCH.format(git=GIT, clone=Path(trees[0]) / "fetcher")]]


def locks(trees):
    return [p[1] for p in places(trees)]


def check(trees):
    wrong = []
    bare = Path(trees[-1]) / "bare.git"
    for folder in [bare, Path(trees[0]) / "fetcher"] + [p[0] for p in places(trees)]:
        found = git(folder, "fsck", "--full", "--no-dangling", "--no-progress", check=False)
        if found.returncode:
            wrong.append(f"git fsck {folder.name}: {(found.stdout + found.stderr).strip()[:200]}")
        home = folder if folder == bare else folder / ".git"
        wrong += [f"{folder.name}: a lock file was left: {f.relative_to(home)}" for f in home.rglob("*.lock")]
    for clone, _, note, branch in places(trees):
        numbers = {"note": note.read_text().strip() if note.exists() else "0"}
        for where, folder, ref in (("clone", clone, "HEAD"), ("bare", bare, branch)):
            said = git(folder, "log", "-1", "--format=%s", ref, check=False).stdout.strip()
            numbers[where] = said.removeprefix("number ") or "0"
        for file in sorted(clone.glob("file*")):
            numbers[file.name] = (file.read_text() or "nothing").split()[0]
        if len(set(numbers.values())) > 1:
            wrong.append(f"{clone.name}: {numbers}")
    return wrong

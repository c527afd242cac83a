"""A shell script with flock(1), in both of its forms, over several files.

`flock FILE COMMAND` holds the lock around a command; `exec 9>FILE; flock 9` lets a short-lived
child take the lock on a descriptor that the shell keeps: the shell itself never calls flock().
"""
import shutil
from pathlib import Path

NAME, FORMS = "shell", ("command", "descriptor")
COMMAND = """
set -e
n=0
while :; do
  n=$((n+1))
  flock {one}/command.lock sh -ec '
    echo "'$n'" > {one}/command.a
    echo "'$n'" > {two}/command.b
    echo "'$n'" > {two}/command.tmp
    cp {two}/command.tmp {one}/command.c
    mv {two}/command.tmp {two}/command.d'
  sleep 0.01
done
"""
DESCRIPTOR = """
set -e
n=0
while :; do
  n=$((n+1))
  exec 9>{one}/descriptor.lock
  flock 9
  echo $n > {one}/descriptor.a
  echo $n > {two}/descriptor.b
  echo $n > {two}/descriptor.tmp
  cp {two}/descriptor.tmp {one}/descriptor.c
  mv {two}/descriptor.tmp {two}/descriptor.d
  flock -u 9
  exec 9>&-
  sleep 0.01
done
"""


def unavailable():
    return None if shutil.which("flock") else "not installed: flock"


def prepare(trees):
    pass


def workers(trees, work):
    return [["sh", "-c", text.format(one=trees[0], two=trees[-1])] for text in (COMMAND, DESCRIPTOR)]


def locks(trees):
    return [Path(trees[0]) / f"{form}.lock" for form in FORMS]


def check(trees):
    wrong = []
    for form in FORMS:
        numbers = {}
        for tree, name in ((trees[0], "a"), (trees[-1], "b"), (trees[0], "c"), (trees[-1], "d")):
            file = Path(tree) / f"{form}.{name}"
            numbers[name] = (file.read_text().strip() or "nothing") if file.exists() else "0"
        if len(set(numbers.values())) > 1:
            wrong.append(f"{form}: {numbers}")
        if (Path(trees[-1]) / f"{form}.tmp").exists():
            wrong.append(f"{form}: the temporary file is still there")
    return wrong

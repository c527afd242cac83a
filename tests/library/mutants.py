#!/usr/bin/env python3
"""Breaks the library at one place after the other, and sees a test go red for each.

    tests/library/mutants.py [NAME ...] [--list] [--target FOLDER]

Copies the crates to a folder of its own, changes one place of one file, builds the library as it is shipped (with full LTO: some
ten seconds each), and runs the test that is named beside it with the command of $WRITEGATE_BIN_DIR or target/release. Prints a line for
each; exit 1 if one survives, or its place is no longer there to be changed. Not a part of scripts/test: some 5 min.
"""
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lab import mutants                                      # noqa: E402
from lab.mutants import ROOT, run                                # noqa: E402

TESTED_WITHIN_S, BUILT_WITHIN_S = 400, 1800
STRAIGHT, RULES = "preload/src/arch/x86_64/straight.rs", "preload/src/rules"
STRESS = "tests/stress/run.py --only barrier --seconds 8"

# name: (file, what stands there, what is put instead, the test that must go red)
MUTANTS = {
    "what came over an exec gives a right": (
        "preload/src/start/after_exec.rs", "_ => word.came_over_exec(),", "_ => word.section_begun(),",
        "tests/command/locks/run.py --only joins_with_a_lock"),
    "a call that is over shows still": (
        STRAIGHT, '            "and [r10 + {slots_offset} - {slot_size}], r11",\n', '            "/* {slots_offset} {slot_size} */",\n', STRESS),
    "the straight way looks at no barrier": (
        STRAIGHT, '            "cmp qword ptr [rax], 0",\n            "jne 8f",\n', '            "cmp qword ptr [rax], 0",\n',
        "tests/library/harmless/run.py steps"),
    "a call is shown only after the look": (
        STRAIGHT, '            "mov [r10], rax",\n            // The freezer', '            // The freezer',
        "tests/library/harmless/run.py steps"),
    "what is protected goes on at the barrier": (
        "preload/src/announce.rs", "        if !change.protected() {\n            // A call on a socket",
        "        if !change.protected() || true {\n            // A call on a socket", STRESS),
    "the first change begins no section": (
        "preload/src/change.rs", "                word.section_begun()\n", "                word\n", STRESS),
    "the end of a wait is not looked at": (
        "preload/src/barrier.rs", "        if barrier != seen || may || look(waiting, barrier) != Look::Closed {",
        "        if barrier != seen || may {", "tests/stress/run.py --only freezer_stopped"),
    "flock is not put down": (
        f"{RULES}/locks.rs", "    let table = Table(&region.header.locks);\n    let TableFull(full) = match kind {",
        "    if kind == LockKind::Flock {\n        return;\n    }\n    let table = Table(&region.header.locks);\n"
        "    let TableFull(full) = match kind {", STRESS),
    "what dup2 replaces keeps its lock": (
        f"{RULES}/descriptors.rs", "            table.closed(new, file);\n            let TableFull", "            let _ = file;\n            let TableFull",
        "tests/library/habits/test_habits.py --only test_what_is_replaced_loses_its_lock"),
    "close_range ends no lock": (
        f"{RULES}/descriptors.rs", "        table.closed_range(first, last);\n", "",
        "tests/library/habits/test_habits.py --only test_a_range_ends_the_locks_in_it"),
    "a close_range that fails closes": (
        f"{RULES}/descriptors.rs", " && closes_ranges(frame.arg(2)) {", " {",
        "tests/library/habits/test_habits.py --only test_a_range_that_the_kernel_refuses_closes_none"),
    "closefrom asks the kernel alone": (
        "preload/src/resolve/fallback.rs", "        close_from(low);\n", "", "tests/library/hosts/run.py filters --only closefrom*"),
    "a child goes by its parent's clock": (
        "preload/src/clock.rs", "UNASKED if confined::by_itself() =>", "UNASKED =>", "tests/library/harmless/run.py clocks"),
    "the kernel tells one's own clock": (
        "preload/src/clock.rs", "    if own != childrens {", "    if false {", "tests/library/harmless/run.py clocks"),
    "a clock that is ahead is not said": (
        "preload/src/barrier.rs", "            clock::is_foreign();\n", "", "tests/library/harmless/run.py clocks"),
    "errno is not kept": (
        "preload/src/resolve/libc.rs", "            *errno.0 = errno.1;\n", "            let _ = errno;\n",
        "tests/library/calls/run.py --only *memory*"),
}


def judge(folder, target, name):
    """Why it was not caught; None if it was."""
    file, old, new, test = MUTANTS[name]
    changes = [(file, old, new)]
    if wrong := mutants.misplaced(changes):
        return wrong
    with mutants.broken(folder, changes):
        # In the order in which a shipped library is built; warnings of what is not used any more are no matter.
        built = run(["cargo", "build", "--release", "-p", "writegate-preload"], BUILT_WITHIN_S, cwd=folder,
                    env={**os.environ, "CARGO_TARGET_DIR": str(target)})
        if built.returncode:
            return f"does not build: {built.stderr[-600:]}"
        binaries = target / "mutant"
        binaries.mkdir(exist_ok=True)
        command = Path(os.environ.get("WRITEGATE_BIN_DIR") or ROOT / "target/release") / "writegate"
        # Never over a file that a process has mapped.
        for source, copy in ((command, binaries / "writegate"), (target / "release/libwritegate.so", binaries / "libwritegate.so")):
            copy.unlink(missing_ok=True)
            shutil.copy2(source, copy)
        said = run([sys.executable, *test.split()], TESTED_WITHIN_S, cwd=ROOT, env={**os.environ, "WRITEGATE_BIN_DIR": str(binaries)})
        return None if said.returncode not in (0, 64, 77) else f"green: {said.stdout[-300:]}"


if __name__ == "__main__":
    sys.exit(mutants.main(__doc__, MUTANTS, judge))

#!/usr/bin/env python3
"""Breaks the shipped protocol, a line at a time, and sees the model go red.

    tests/protocol/model/mutants.py [N ...]

Copies gate/src/ and the model into a folder of its own, changes one line of one
file, runs some scenarios of model_protocol. Prints a line for each mutant; exit
1 if one of them survives, or its line is no longer there to be changed.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCENARIOS = ("single torn_pair sets crossed late_thaw settled settled_two child child_lives_on threads exec "
             "back_to_back").split()
LONGEST_S = 400

# (file, what stands there, what is put instead)
MUTANTS = [
    ("word/thread.rs", "let sequence = self.sequence().wrapping_sub(1) as u64;", "let sequence = self.sequence() as u64;"),
    ("summary.rs", "summary.candidate = candidate(processes, grants, scratch);", "summary.candidate = None;"),
    ("summary.rs", "summary.outstanding = grants.iter().filter(|g| outstanding(g, processes)).count() as u32;",
     "summary.outstanding = 0;"),
    ("settled.rs", "if !unchanged || !processes", "if !processes"),
    ("admission.rs", "Some(at) => processes[at].process.section_open() && processes[at].settled,",
     "Some(_) => false,"),
    ("admission.rs", "Some(at) if childs => !works_for_a_section(at, processes),", "Some(_) if childs => false,"),
    # (One quiet pass, and newcomers ignored, are covered by the pass that follows the listing.)
    ("drain/machine.rs", "if self.listed {", "if true {"),
    ("thaw.rs", "if before_opening.digest != drained.digest || before_opening.calling != 0 {",
     "if before_opening.calling != 0 {"),
    ("thaw.rs", "if opened_at >= deadline {", "if opened_at > deadline + 1000 {"),
    ("entry.rs", "(process.section_open() && !process.recorded())", "process.section_open()"),
    ("entry.rs", "if now >= self.until {", "if false {"),
]

MANIFEST = """
[workspace]
[package]
name = "mutant"
version = "0.0.0"
edition = "2024"
autobins = false
[lib]
name = "gate"
[dev-dependencies]
stateright = "0.31"
[profile.test]
opt-level = 2
debug = 0
"""


def is_caught(folder, file, old, new):
    """Runs the model on the mutant; says what it saw."""
    shutil.rmtree(folder / "src", ignore_errors=True)
    shutil.copytree(ROOT / "gate/src", folder / "src")
    path = folder / "src" / file
    text = path.read_text()
    if old not in text:
        return False, "the line is not there any more"
    path.write_text(text.replace(old, new, 1))
    done = subprocess.run(
        ["timeout", str(LONGEST_S), "cargo", "test", "--test", "model_protocol", "--", "--nocapture",
         "--test-threads", "1", *SCENARIOS],
        cwd=folder, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    if "running " not in done.stdout:
        return False, "does not build"
    failed = [line for line in said if line.startswith("test result: FAILED")]
    why = [line for line in said if "violated: " in line or "panicked" in line]
    return bool(failed), (why or ["survived"])[0]


def main():
    chosen = [int(n) for n in sys.argv[1:]] or range(len(MUTANTS))
    survived = 0
    with tempfile.TemporaryDirectory(prefix="writegate-mutants-") as name:
        folder = pathlib.Path(name)
        shutil.copytree(ROOT / "tests/protocol/model", folder / "tests/model")
        shutil.copy(ROOT / "tests/protocol/model_protocol.rs", folder / "tests")
        shutil.copy(ROOT / "Cargo.lock", folder)
        (folder / "Cargo.toml").write_text(MANIFEST)
        for n in chosen:
            file, old, new = MUTANTS[n]
            caught, why = is_caught(folder, file, old, new)
            survived += not caught
            print(f"{n}: {file}: {new[:60]} ... {'caught' if caught else 'NOT CAUGHT'}: {why}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Takes the freezer's defences out, one by one, and sees a test go red for each.

    tests/command/hostile/mutants.py [NAME ...] [--list] [--target FOLDER]

Copies the crates to a folder of its own, changes one place of one file, builds the command (LTO off), runs the
tests that are named beside it. Prints a line for each; exit 1 if one survives, or its place is no longer there to
be changed. The library is this checkout's own. Not a part of scripts/test: some 20 min.

A test is one of this folder, `unit:NAME` of the command's unit tests, `gate:NAME` of the gate's, or `cli:NAME`
of tests/command/cli.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LONGEST_S = 240
FAST = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16", "CARGO_INCREMENTAL": "1"}

# name: (file, what stands there, what is put instead, tests)
MUTANTS = {
    # Who belongs to a service.
    "outsiders count": (
        "src/census/list.rs", "let outsider = outsiders.contains(&looked.pid);", "let outsider = false;",
        "test_delay.Delay.test_one_that_never_goes_idle"),
    "a page's name accuses": (
        "src/census/list.rs", "looked.other_page.filter(|gate| self.belongs(*gate, pid))", "looked.other_page",
        "test_accuse.Accuse.test_a_mapping_named_like_the_page"),
    "a file called control hides": (
        "src/linux/helper/look.rs", "looked.elsewhere |= pages.others.iter().any(is_it);",
        'looked.elsewhere |= line.path_once().ends_with("/control");',
        "test_accuse.Accuse.test_an_ungated_writer_behind_a_file_called_control"),
    "another gate's page hides strangers": (
        "src/census/list.rs", "looked.elsewhere && looked.page.is_none() && !outsider {",
        "looked.elsewhere && looked.page.is_none() {",
        "test_accuse.Accuse.test_an_ungated_writer_behind_the_page_of_another_gate"),
    "lineage without login": (
        "src/census/belonging.rs", "let same_login = above.login == origin.login;", "let same_login = true;", "unit:belonging"),
    "lineage in any unit": (
        "src/census/belonging.rs", "origin.cgroup.starts_with(base_of(&above.cgroup));", "true;", "unit:belonging"),
    "ancestors without end": (
        "src/census/belonging.rs", "for _ in 0..GENERATIONS {", "loop {", "unit:belonging"),
    "any program in the unit": (
        "src/census/belonging.rs", "let meant = || own_program() && self.is_meant(pid, origin, facts);", "let meant = || true;",
        "unit:belonging"),
    "a unit of another service": (
        "src/census/belonging.rs", "_ if roots => UnitIs::Foreign,", "_ if roots => UnitIs::Unclear,", "unit:belonging"),
    "set-id of anybody": (
        "src/linux/procfs/origin.rs", "file.uid() == 0 && (user || group)", "user || group",
        "test_delay.Delay.test_a_set_id_program_that_is_not_roots"),
    "root is the fourth id too": (
        "src/census/belonging.rs", "DYNAMIC_USERS.contains(user);", "DYNAMIC_USERS.contains(user) || true;", "unit:belonging"),
    # Foreign memory.
    "a file that is called /dev/zero": (
        "src/linux/helper/pages.rs", "&& self.anonymous.as_deref() == Some(line.dev)", "", "unit:is_not_anonymous"),
    "any file is mapped": (
        "src/linux/helper/region.rs", "fs::read_link(&link).is_ok_and(|to| is_anonymous_link(&to))", "true",
        "unit:only_what_is_anonymous_is_mapped"),
    "every look-alike is opened": (
        "src/linux/helper/look.rs", "const CANDIDATES: usize = 16;", "const CANDIDATES: usize = 1 << 40;",
        "test_bounds.Bounds.test_a_member_with_very_many_mappings_that_look_like_regions"),
    # How much, and how long.
    "all of maps is read": (
        "src/linux/procfs/maps.rs", "bytes: 8 << 20, ns: 50_000_000", "bytes: 8 << 40, ns: 50_000_000_000", "unit:so_much_of_maps"),
    "bounded lines": (
        "src/linux/procfs/bounded.rs", "if read >= bounds.bytes || clock::now_ns() >= until {", "if false {", "unit:bounds_allow"),
    "bounded bytes": (
        "src/linux/procfs/bounded.rs", ".take(most as u64)", ".take(u64::MAX)", "unit:bounds_allow"),
    "a user has all the time": (
        "src/linux/helper/patience.rs", "const PER_USER_NS: u64 = 1_000_000_000;", "const PER_USER_NS: u64 = u64::MAX;",
        "test_bounds.Bounds.test_one_user_has_very_many_processes_that_are_slow_to_look_at"),
    "subordinate ids are users": (
        "src/linux/helper/patience.rs", "_ => Some(user / RANGE * RANGE),", "_ => Some(user),", "unit:subordinate"),
    "words are judged without end": (
        "src/drive/pause.rs", "const JUDGED_WITHIN_NS: u64 = 30_000_000;", "const JUDGED_WITHIN_NS: u64 = u64::MAX >> 1;",
        "test_bounds.Bounds.test_members_show_more_calls_than_can_be_judged"),
    "waits are followed again": (
        "gate/src/admission.rs", "} else if !scratch.places[holder].followed {", "} else if true {", "gate:admission"),
    "a circle of ancestors": (
        "gate/src/scratch.rs", "self.places[at].lineage = Lineage::Climbing;", "", "gate:admission"),
    "descriptors without end": (
        "src/linux/procfs/locks.rs", "const LOOK_NS: u64 = 50_000_000;", "const LOOK_NS: u64 = u64::MAX >> 1;",
        "test_bounds.Bounds.test_a_member_with_very_many_descriptors"),
    # Places.
    "a FIFO is opened": (
        "src/linux/directory.rs", "const LOOK: OFlag = OFlag::O_PATH", "const LOOK: OFlag = OFlag::O_RDONLY",
        "unit:links_of_our_own"),
    "links of others are followed": (
        "src/linux/directory.rs", "SFlag::S_IFLNK if found.st_uid != 0 && found.st_uid != us =>", "SFlag::S_IFLNK if false =>",
        "unit:a_link_of_another_user"),
    "links without end": (
        "src/linux/directory.rs", "if links > LINKS_MAX {", "if false {", "unit:links_of_our_own"),
    # Signals.
    "nobody opens beside the freezer": (
        "src/linux/signals.rs", "            open();\n", "            let _ = open;\n", "unit:opened"),
    "the thread ends nothing": (
        "src/linux/signals.rs", "        self.end(signal);\n", "        loop { std::thread::park(); }\n",
        "test_signals.Signals.test_at_many_moments"),
    "a caller may go": (
        "src/linux/signals.rs", "if is(2, PollFlags::POLLHUP) &&", "if false && is(2, PollFlags::POLLHUP) &&",
        "test_signals.Signals.test_the_one_who_waits_for_a_token_is_gone unit:a_caller_that_goes"),
    "raised after it was given up": (
        "src/drive/barrier.rs", "if GIVEN_UP.load(SeqCst) {", "if false {", "unit:given_up"),
    "signals wait behind the freezer": (
        "src/linux/signals.rs", "        priority::above_the_freezer();\n", "",
        "test_signals.Signals.test_what_ends_it_runs_before_it"),
    "real-time without a limit": (
        "src/linux/priority.rs", "let limit = REAL_TIME_US.min(limits().rlim_max);", "let limit = libc::RLIM_INFINITY;",
        "test_signals.Signals.test_while_the_freezer_itself_is_slow"),
    "real-time for good": (
        "src/linux/priority.rs", "            give_real_time_up_at_its_limit();\n", "", "unit:real_time_ends"),
    "the command inherits the limit": (
        "src/linux/priority.rs", "                self.restore();\n", "",
        "test_signals.Signals.test_while_the_freezer_itself_is_slow"),
    # Text.
    "names are shown raw": (
        "src/foreign_text.rs", "f.pad(&escape(&self.0))", "f.pad(&self.0)", "unit:nothing_acts"),
    "remarks are written raw": (
        "src/command/output.rs", '"writegate: {}", escape(message)', '"writegate: {}", message',
        "test_text.Text.test_what_is_given_on_the_command_line"),
    "JSON acts": (
        "src/foreign_text.rs", "    if !text.contains(escapes) {", "    if true {",
        "unit:json_is_faithful test_text.Text.test_names_of_gated_programs"),
    "C1, bidi and separators": (
        "src/foreign_text.rs", "    c.is_control()\n        || matches!(", "    c.is_ascii_control()\n        && matches!(", "unit:nothing_acts"),
}


def run(argv, **more):
    return subprocess.run(["timeout", "-k", "5", str(LONGEST_S), *map(str, argv)], capture_output=True, text=True, errors="replace", **more)


def tests_of(names):
    """Commands that run these tests."""
    here = Path(__file__).parent
    for name in names.split():
        kind, _, rest = name.partition(":")
        if kind == "unit":
            yield name, ["cargo", "test", "--bin", "writegate", rest]
        elif kind == "gate":
            yield name, ["cargo", "test", "-p", "writegate-gate", rest]
        elif kind == "cli":
            yield name, [sys.executable, here.parent / "cli" / "run", "--only", rest]
        else:
            yield name, [sys.executable, here / "run.py", "--only", name]


def ran(said):
    """Did one test run at least?"""
    text = said.stdout + said.stderr
    return "running 1 test" in text or "running " in text and "running 0 tests" not in text.split("Doc-tests")[0] or "Ran " in text


def judge(folder, target, name):
    """None if a test went red, else what is wrong."""
    file, old, new, tests = MUTANTS[name]
    path, text = folder / file, (ROOT / file).read_text()
    if text.count(old) != 1:
        return f"its place stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
    env = {**os.environ, **FAST, "CARGO_TARGET_DIR": str(target)}
    try:
        survived = []
        for test, argv in tests_of(tests):
            if argv[0] != "cargo":
                built = run(["cargo", "build", "--release", "-p", "writegate", "--bin", "writegate"], cwd=folder, env=env)
                if built.returncode:
                    return f"does not build: {built.stderr[-600:]}"
                shutil.copy(ROOT / "target/release/libwritegate.so", target / "release")
                env["WRITEGATE_BIN_DIR"] = str(target / "release")
            said = run(argv, cwd=folder, env=env)
            if "error: could not compile" in said.stderr:
                return f"does not build: {said.stderr[-600:]}"
            if said.returncode in (124, 137):
                continue                                  # it never ends: red
            if said.returncode == 0 or not ran(said):
                survived.append(test)
        return f"green: {' '.join(survived)}" if survived else None
    finally:
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="the names")
    parser.add_argument("--target", type=Path, help="keep what is built there")
    options = parser.parse_args()
    if options.list:
        print(*MUTANTS, sep="\n")
        return 0
    if unknown := [name for name in options.names if name not in MUTANTS]:
        print(f"no such defence: {unknown}", file=sys.stderr)
        return 64
    caught, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="writegate-mutants-") as made:
        folder = Path(made) / "tree"
        folder.mkdir()
        for name in subprocess.run(["git", "ls-files", "Cargo.*", "src", "gate", "preload", "tests/protocol", "tests/library/loads.rs",
                                    "tests/command/*.rs", "docs", "profiles", "contrib", "README.md"], cwd=ROOT, capture_output=True,
                                   text=True, check=True).stdout.split():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        target = (options.target or Path(made) / "target").resolve()
        for name in options.names or MUTANTS:
            wrong = judge(folder, target, name)
            caught, failed = caught + (wrong is None), failed + (wrong is not None)
            print(f"{'caught    ' if wrong is None else 'NOT CAUGHT'} {name}{': ' + wrong if wrong else ''}", flush=True)
    print(f"{caught} caught, {failed} not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

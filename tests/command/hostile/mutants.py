#!/usr/bin/env python3
"""Takes the freezer's defences out, one by one, and sees a test go red for each.

    tests/command/hostile/mutants.py [NAME ...] [--list] [--target FOLDER]

Copies the crates to a folder of its own, changes one place of one file, builds the command (LTO off), runs the
tests that are named beside it. Prints a line for each; exit 1 if one survives, or its place is no longer there to
be changed. The library is this checkout's own. Not a part of scripts/test: some 30 min.

A test is one of this folder, `unit:NAME` of the command's unit tests, `gate:NAME` of the gate's, or `cli:NAME`
of tests/command/cli.
"""
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lab import mutants                                      # noqa: E402
from lab.mutants import ROOT, run                                # noqa: E402

LONGEST_S = 240
BUILT_WITHIN_S = 1200
FAST = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "256", "CARGO_INCREMENTAL": "1",
        "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1", "CARGO_PROFILE_RELEASE_DEBUG": "0"}

# name: (file, what stands there, what is put instead, tests), or one such triple for each place and then the tests
MUTANTS = {
    # Who belongs to a service.
    "outsiders count": (
        "src/census/list.rs", "let outsider = outsiders.contains(&looked.pid);", "let outsider = false;",
        "test_delay.Delay.test_one_that_never_goes_idle test_delay.Delay.test_one_that_maps_the_page_and_shows_no_region "
        "test_container.Container.test_it_shows_what_never_goes_idle "
        "test_container.Container.test_it_puts_itself_behind_the_gate"),
    "a page's name accuses": (
        "src/census/list.rs", "looked.other_page.filter(|gate| self.belongs(*gate, pid))", "looked.other_page",
        "test_accuse.Accuse.test_a_mapping_named_like_the_page"),
    "a name in any mount namespace": (
        "src/places/mod.rs", "if by_text && self.has_names_of_ours(pid) {", "if by_text {",
        "test_accuse.Accuse.test_a_file_of_its_own_under_a_protected_name"),
    "another name of the file disproves the one that it is open by": (
        "src/linux/file.rs", "            && found.stx_nlink == 1\n", "",
        "test_accuse.Accuse.test_a_writer_that_covers_the_name_of_its_file"),
    "a name that leads nowhere any more": (
        "src/places/mod.rs", "                by_text\n                    || !matches!(", "                !matches!(",
        "test_container.Container.test_it_writes_here_behind_a_page_of_its_own"),
    "a file called control hides": (
        ("src/linux/helper/look.rs", "looked.elsewhere |= pages.others.iter().any(is_it);",
         'looked.elsewhere |= line.path_once().ends_with("/control");'),
        ("src/census/list.rs", "looked.elsewhere && looked.page.is_none() && !outsider {",
         "looked.elsewhere && looked.page.is_none() {"),
        "test_accuse.Accuse.test_an_ungated_writer_behind_a_file_called_control "
        "test_container.Container.test_it_writes_here_behind_a_page_of_its_own"),
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
        "src/census/belonging.rs", "origin.set_id.is_some_and(by_root)", "origin.set_id.is_some()",
        "test_delay.Delay.test_a_set_id_program_that_is_not_roots"),
    "root is the fourth id too": (
        "src/census/belonging.rs", "DYNAMIC_USERS.contains(&user)\n", "DYNAMIC_USERS.contains(&user) || true\n", "unit:belonging"),
    # Foreign memory.
    "a file that is called /dev/zero": (
        "src/linux/helper/pages.rs", "&& self.anonymous.as_deref() == Some(line.dev)", "", "unit:is_not_anonymous"),
    "any file is mapped": (
        "src/linux/helper/region.rs", "fs::read_link(&link).is_ok_and(|to| is_anonymous_link(&to))", "true",
        "unit:only_what_is_anonymous_is_mapped"),
    "a count of threads is believed": (
        ("gate/src/check.rs", "            || self.slots_used.load(Relaxed) as usize > SLOTS\n", ""),
        ("gate/src/claimed.rs", "self.memory.some(SLOTS_OFFSET, self.slots_used(), SLOTS)",
         "&self.memory.some(SLOTS_OFFSET, SLOTS, SLOTS)[..self.header.slots_used.load(Acquire) as usize]"),
        "test_service.Service.test_its_region_changes_while_it_is_read"),
    "every look-alike is opened": (
        "src/linux/helper/look.rs", "const CANDIDATES: usize = 16;", "const CANDIDATES: usize = 1 << 40;",
        "test_bounds.Bounds.test_a_member_with_very_many_mappings_that_look_like_regions"),
    # How much, and how long.
    "all of maps is read": (
        "src/linux/procfs/maps.rs", "bytes: 8 << 20, ns: 50_000_000", "bytes: 8 << 40, ns: 50_000_000_000", "unit:so_much_of_maps"),
    "bounded lines": (
        "src/linux/procfs/bounded.rs", "if read >= bounds.bytes || time.is_over() {", "if false {", "unit:bounds_allow"),
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
        "test_signals.Signals.test_at_many_moments test_signals.Signals.test_while_the_helper_hangs"),
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
    # Rights.
    "the page is everybody's": (
        "src/gatedir/page.rs", "fs::Permissions::from_mode(0o644)", "fs::Permissions::from_mode(0o666)",
        "test_rights.Rights.test_another_local_user test_rights.Rights.test_the_services_own_user "
        "test_rights.Rights.test_root_of_a_user_namespace"),
    "the lock is everybody's": (
        "src/gatedir/lock.rs", ".mode(0o600)", ".mode(0o666)",
        "test_rights.Rights.test_another_local_user test_rights.Rights.test_the_services_own_user "
        "test_rights.Rights.test_root_of_a_user_namespace"),
    "the socket is everybody's": (
        "src/freeze/keeper.rs", "let before = umask(OWNER_ONLY);", "let before = umask(Mode::empty());",
        "test_rights.Rights.test_another_local_user test_rights.Rights.test_a_stranger_has_the_token"),
    "a page of anybody": (
        "src/gatedir/dir.rs", "    user != 0 && user != nix::unistd::geteuid().as_raw()\n", "    user == 1\n",
        "cli:test_bad_days.Page.test_somebody_elses"),
    "a page that others may write": (
        "src/gatedir/dir.rs", "if meta.mode() & OTHERS_WRITE != 0 {", "if false {",
        "cli:test_bad_days.Page.test_writable_by_others"),
    "a report through links": (
        "src/outcome/record.rs", "replace(path, text.as_bytes(), READABLE).map_err(failed)",
        'std::fs::write(path.with_extension(format!("json.{}", std::process::id())), &text)\n'
        "            .and_then(|()| replace(path, text.as_bytes(), READABLE)).map_err(failed)",
        "test_rights.Report.test_a_report_into_a_folder_of_another_user"),
    "set-id programs believe variables": (
        "preload/src/start/environment.rs", "if auxiliary(AT_SECURE) != Some(0) {", "if false {",
        "test_rights.SetId.test_a_set_id_program_believes_no_variable"),
    # The kernel's watch, and who may speak for whom.
    "a change is not put down": (
        "src/evidence/watch.rs", "if !is_none && !own(pid) {", "if !is_none && new_dir && !own(pid) {",
        "test_service.Service.test_it_says_that_it_does_nothing_and_writes"),
    "all speak for all": (
        "src/places/mod.rs", "let own = self.own_exclude.get(&pid).map(Vec::as_slice).unwrap_or_default();",
        "let own = &self.own_exclude.values().flatten().cloned().collect::<Vec<_>>()[..]; let _ = pid;",
        "test_accuse.Accuse.test_a_member_excludes_everything"),
    "what is in flight is no matter": (
        "gate/src/summary.rs", "        if p.in_flight() {\n", "        if false {\n",
        "test_bounds.Bounds.test_a_member_shows_a_web_of_locks test_service.Service.test_it_stops_inside_of_a_set"),
    "who can no more be told": (
        "src/linux/fanotify.rs", "Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => {}",
        "Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => return None,",
        "test_accuse.Accuse.test_a_change_below_a_path_that_is_too_long_to_be_told"),
    # Who names directories, and who is another gate's.
    "another image is still another gate's": (
        "src/census/elsewhere.rs", "self.elsewhere.contains(&pid) && is_the_one_seen()",
        "let _ = is_the_one_seen;\n        self.elsewhere.contains(&pid)", "unit:what_another_gate_held_is_asked_again"),
    "a list that was not seen is empty": (
        "src/places/named.rs", "(None, Some(why)) => Look::NotSeen(*why),", "(None, Some(_)) => Look::Seen(vec![NAMED_SEPARATOR]),",
        "unit:a_member_whose_memory_was_not_seen"),
    "a list of any bytes": (
        "src/places/named.rs", "            self.cannot_tell(member, WhyNot::Malformed);\n", "", "unit:a_list_that_is_none_is_said"),
    "whoever asks first has answered": (
        "src/places/named.rs", "ancestors.take(members.len()).any(|i| asked.contains(&i))",
        "ancestors.take(members.len()).any(|i| i == i || asked.contains(&i))", "unit:one_that_claims_to_be_its_own_ancestor"),
    # Root's own accidents.
    "a page that was replaced is the same": (
        "src/evidence/judged.rs", "if session.gates[at].was_replaced() {", "if false {",
        "cli:test_bad_days.Page.test_replaced_during_the_freeze"),
    "a signal to the one who asks stays there": (
        "src/freeze/caller.rs", "let _ = kill(self.keeper, signal);", "let _ = kill(self.keeper, None::<Signal>);",
        "cli:test_token.Token.test_a_signal_in_the_drain_ends_it_when_the_gate_is_open"),
    "a deadline that is later than the limit": (
        "src/drive/barrier.rs", "let rounded = now.saturating_add(limit_ns) & !mask;",
        "let rounded = now.saturating_add(limit_ns * 8) & !mask;", "cli:test_token.Token.test_keeper_killed_and_late"),
    "the clock is not read": (
        "gate/src/thaw.rs", "    if opened_at >= deadline {\n", "    if opened_at == deadline {\n",
        "gate:thaw"),
    "a keeper that was killed is believed": (
        "src/command/thaw.rs", "{ Verdict::Expired } else { Verdict::Unproven };",
        "{ Verdict::Expired } else { Verdict::Consistent };", "cli:test_token.Token.test_keeper_killed"),
    "two have the lock": (
        "src/linux/file.rs", "FlockArg::LockExclusiveNonblock", "FlockArg::LockSharedNonblock",
        "cli:test_bad_days.Freezers.test_two_at_once_take_turns"),
    # Text.
    "names are shown raw": (
        "src/foreign_text.rs", "f.pad(&escape(&self.0))", "f.pad(&self.0)", "unit:nothing_acts test_text.Text.test_names_of_programs"),
    "remarks are written raw": (
        "src/command/output.rs", '"writegate: {}", escape(message)', '"writegate: {}", message',
        "test_text.Text.test_what_is_given_on_the_command_line test_text.Text.test_a_verdict_in_the_name_of_a_mailbox "
        "test_text.Text.test_a_verdict_in_the_path_of_a_change"),
    "JSON acts": (
        "src/foreign_text.rs", "    if !text.contains(escapes) {", "    if true {",
        "unit:json_is_faithful test_text.Text.test_names_of_gated_programs"),
    "C1, bidi and separators": (
        "src/foreign_text.rs", "    c.is_control()\n        || matches!(", "    c.is_ascii_control()\n        && matches!(", "unit:nothing_acts"),
}


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


def places(name):
    """[(file, what stands there, what is put instead)] and the tests of a mutant."""
    *changes, tests = MUTANTS[name]
    return [tuple(changes)] if isinstance(changes[0], str) else changes, tests


def build(folder, target, env, library):
    """The command, and the library if that was changed; what went wrong."""
    packages = [("writegate", {**env, **FAST}, ["--bin", "writegate"])]
    if library:
        packages.append(("writegate-preload", env, []))    # (with LTO, or it does not load)
    else:
        (target / "release").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "target/release/libwritegate.so", target / "release")
    for package, settings, more in packages:
        built = run(["cargo", "build", "--release", "-p", package, *more], BUILT_WITHIN_S, cwd=folder, env=settings)
        if built.returncode:
            return f"does not build: {built.stderr[-600:]}"
    return None


def judge(folder, target, name):
    """None if a test went red, else what is wrong."""
    changes, tests = places(name)
    if wrong := mutants.misplaced(changes):
        return wrong
    env = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    survived = []
    with mutants.broken(folder, changes):
        for test, argv in tests_of(tests):
            if argv[0] != "cargo":
                if wrong := build(folder, target, env, any(file.startswith("preload/") for file, _, _ in changes)):
                    return wrong
                env["WRITEGATE_BIN_DIR"] = str(target / "release")
            else:
                run([*argv, "--no-run"], BUILT_WITHIN_S, cwd=folder, env={**env, **FAST})
            said = run(argv, LONGEST_S, cwd=folder, env={**env, **FAST})
            if "error: could not compile" in said.stderr:
                return f"does not build: {said.stderr[-600:]}"
            if said.returncode in (124, 137):
                continue                                  # it never ends: red
            if said.returncode == 0 or not ran(said):
                survived.append(test)
    return f"green: {' '.join(survived)}" if survived else None


if __name__ == "__main__":
    sys.exit(mutants.main(__doc__, MUTANTS, judge))

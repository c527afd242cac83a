"""Small programs with a set half-done, or with a change while the gate is closed: the witness must find each lie,
and nothing where there is none. Ends with a line "N passed, N failed"."""
import json
import os
import sys
import tempfile
from pathlib import Path

from . import recorder, tracefs, verdict, volumes

HERE = Path(__file__).resolve().parent
HALF_DONE = ["dup_of_dup", "raw_flock", "raw_shared_writer", "raw_posix", "raw_ofd", "missed_conversion", "write_lease",
             "child_locks", "tool_locks", "parent_closes", "parent_exits", "passed_on", "closed_but_mapped",
             "table_of_its_own", "first_thread_ends", "odd_name"]
NO_SET = ["read_flock", "read_posix", "listed_idle"]
LATE = ["raw_write", "raw_truncate", "raw_rename", "raw_unlink", "raw_create", "raw_link", "raw_chmod", "raw_mkdir",
        "raw_chown", "raw_proc_fd", "mapping", "nothing"]
CASES = [f"holders:{n}" for n in HALF_DONE + NO_SET] + [f"window:{n}" for n in LATE]


def arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--build", type=Path, help="folder with writegate and libwritegate.so (default target/release)")
    parser.add_argument("--liar", action="store_true", help="a `writegate` that holds nobody and says CONSISTENT")
    parser.add_argument("--expect", choices=["true", "lies"], help="that build must be true, or must lie")
    parser.add_argument("--file-system", choices=sorted(volumes.MAKE), default="ext4", help="of the protected files (default %(default)s)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="leave the record there")


def run(options):
    if options.names and (unknown := [n for n in options.names if n not in CASES]):
        print(f"no such program: {' '.join(unknown)}; there are: {' '.join(CASES)}", file=sys.stderr)
        return 64
    if (why := volumes.unavailable(options.file_system)):
        raise tracefs.Unavailable(why)
    build = options.build or Path(os.environ.get("WRITEGATE_BIN_DIR") or HERE.parents[1] / "target/release")
    base = os.environ.get("WRITEGATE_LAB_DIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="writegate-witness-", dir=base) as work, volumes.volume(work, "400M", options.file_system) as place:
        os.chmod(work, 0o755)
        command = build / "writegate"
        if options.liar:
            command = Path(work) / "liar"
            command.write_text(f"#!/bin/sh\nexec {sys.executable} -S {HERE / 'liar.py'} \"$@\"\n")
            command.chmod(0o755)
        folder, out = options.keep or Path(work) / "record", Path(work) / "said"
        code = recorder.record(folder, [sys.executable, str(HERE / "small_programs.py"), str(place), str(out),
                                        *(options.names or CASES)], [place], command, build / "libwritegate.so")
        if code:
            print(f"the programs' run ended with {code}\n0 passed, 1 failed")
            return 1
        said, found = json.loads(out.read_text()), verdict.judge(folder)
    return report(options, said, found)


def report(options, said, found):
    wrong_freezes = set(found["cut_freezes"]) | {int(n) for n in found["changed_while_closed"]}
    failed = lies = 0
    for one in said:
        lie = one.get("exit") == 0 and one["case"].partition(":")[2] not in NO_SET and one["changed"]
        # Stores through mappings cannot be held; a verdict whose coverage says so is true.
        lie = lie and not (one["case"] == "window:mapping" and one["partial"])
        seen = one.get("freeze") in wrong_freezes
        lies += lie
        one.update(lie=bool(lie), found=seen)
        failed += lie != seen or "freeze" not in one
        print(f"{'ok  ' if lie == seen else 'FAIL'}  {one['case']:28} exit {one.get('exit')}: "
              + ("a lie" if lie else "no lie") + (", found" if seen else ", nothing found"))
    for fault in found["faults"]:
        failed += 1
        print(f"FAIL  {fault}")
    if options.expect == "true" and lies:
        failed += 1
        print(f"FAIL  this build lies {lies} times")
    if options.expect == "lies" and lies < 15:
        failed += 1
        print(f"FAIL  only {lies} lies: the witness has been shown too little")
    print(verdict.render(found))
    print(f"{lies} lies of {len(said)} programs\n{len(said) - min(failed, len(said))} passed, {failed} failed")
    if options.json:
        options.json.write_text(json.dumps({"command": ["scripts/witness", *sys.argv[1:]], "programs": said, "judged": found}, indent=1) + "\n")
    return 1 if failed else 0

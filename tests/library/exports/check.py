#!/usr/bin/env python3
"""No libc call and no system call that changes a file may be forgotten.

Compared: the hook table (gate/src/calls/table.rs) and the built library's exports (nm -D) with
  - the committed lists of what each libc exports (glibc-*.txt, musl-*.txt), and the libcs of this machine,
  - the kernel's system calls (syscalls-*.txt), with the ones that the library's syscall() knows.
Each name must be in exactly one of: the table, not-a-change.txt, not-gated.txt (for system calls: the
library's list, syscalls-not-a-change.txt, syscalls-not-gated.txt). A libc that adds a call turns this red, and so does a name
that stands in two places or in none of the libcs. And each call of the table has a way in tests/library/calls, or its reason in
no-way.txt.

    check.py [--library libwritegate.so]
    check.py --write-list OUT.txt "heading" LIBRARY...      make a list of a new libc
"""
import argparse
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
COMPANIONS = ("libc.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libdl.so.2", "libanl.so.1")
PRIVATE = "GLIBC_PRIVATE"           # only libraries of the very same glibc can bind to these


def exported(path):
    """name -> versions of the functions that a library exports."""
    r = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", path], capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"nm {path}: {r.stderr}")
    found = {}
    for line in r.stdout.splitlines():
        f = line.split()
        if len(f) == 3 and f[1] in "TWi":
            name, _, version = f[2].partition("@")
            found.setdefault(name, set()).add(version.lstrip("@"))
    return found


def merged(paths):
    found = {}
    for p in paths:
        for n, v in exported(p).items():
            found.setdefault(n, set()).update(v)
    return found


def public(found):
    return {n for n, v in found.items() if v != {PRIVATE}}


def listed(path):
    """A committed list: names; those marked private are left out."""
    with open(path) as f:
        return {x.strip() for x in f if x.strip() and not x.startswith("#") and " private" not in x}


def reasons(path):
    """name -> reason, from a file of 'reason:' lines with indented names below. A name twice is an error."""
    found, why, problems = {}, None, []
    with open(path) as f:
        for line in f:
            if line.startswith("#") or not line.strip():
                continue
            if not line.startswith(" "):
                why = line.strip()
                continue
            for n in line.split():
                if n in found:
                    problems.append(f"{os.path.basename(path)}: {n} stands twice")
                found[n] = why
    return found, problems


def rows():
    """The names of each row of gate/src/calls/table.rs: a call and its aliases."""
    with open(os.path.join(ROOT, "gate", "src", "calls", "table.rs")) as f:
        text = f.read()
    found = re.findall(r"^\s*(?:call|variadic|listed|look_up)\s+(\w+)\s+\[([^\]]*)\]", text, re.M)
    if len(found) < 100:
        raise SystemExit("gate/src/calls/table.rs: fewer than 100 calls found; has its form changed?")
    return [[name, *aliases.split()] for name, aliases in found]


def waiters():
    """Names that are hooked and change nothing: by a rule of a profile (they wait, they send), or they look others up."""
    with open(os.path.join(ROOT, "gate", "src", "calls", "table.rs")) as f:
        text = f.read()
    found = re.findall(r"^\s*call\s+(\w+)\s+\[([^\]]*)\]\s*\(?(?:Wait(?:Fd)?|Reap|Send)\b", text, re.M)
    found += re.findall(r"^\s*look_up\s+(\w+)\s+\[([^\]]*)\]", text, re.M)
    return {n for name, aliases in found for n in (name, *aliases.split())}


def known_syscalls(arch):
    """number -> (its name there, the call of the table that it is, or None where nothing of it is held)."""
    with open(os.path.join(ROOT, "gate", "src", "calls", "syscalls.rs")) as f:
        text = f.read()
    lists = {m.group(1): m.group(2) for m in re.finditer(r"^(?:syscalls|set_ups)! \{ (\w+).*?:\n(.*?)^\}", text, re.S | re.M)}
    if arch.upper() not in lists:
        return {}
    known = {int(n): (name, None) for name, n in re.findall(r"(\w+) = (\d+);", lists[arch.upper() + "_UNHELD"])}
    known.update({int(n): (name, call) for name, n, call in re.findall(r"(\w+) = (\d+) => (\w+);", lists[arch.upper()])})
    if len(known) < 40:
        raise SystemExit("gate/src/calls/syscalls.rs: fewer than 40 system calls found; has the list's form changed?")
    return known


def check_names(libcs, hooked, harmless, gaps):
    problems = []
    every = set().union(*libcs.values())
    for n in sorted(every - hooked - harmless.keys() - gaps.keys()):
        who = ", ".join(sorted(name for name, exports in libcs.items() if n in exports))
        problems.append(f"{n}: neither in the table nor in a list with its reason ({who})")
    for n in sorted((hooked - waiters()) & (harmless.keys() | gaps.keys())):
        problems.append(f"{n} is hooked, and yet listed: {harmless.get(n) or gaps.get(n)}")
    for n in sorted(harmless.keys() & gaps.keys()):
        problems.append(f"{n} stands in both lists")
    for n in sorted((harmless.keys() | gaps.keys() | hooked) - every):
        problems.append(f"{n} is in none of the libcs: a slip of the pen?")
    return problems


def check_ways(table, reason):
    """A row has a way if its call, by any of its names, stands in a program of tests/library/calls."""
    programs = ""
    for path in glob.glob(os.path.join(HERE, os.pardir, "calls", "*.c")):
        with open(path) as f:
            programs += f.read()
    words = set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", programs, flags=re.S)))
    problems = [f"{row[0]}: no way in tests/library/calls, and no reason in no-way.txt" for row in table
                if not words.intersection(row) and row[0] not in reason and row[0] not in waiters()]
    firsts = {row[0]: row for row in table}
    problems += [f"no-way.txt: {n} is no row of the table" for n in reason if n not in firsts]
    problems += [f"no-way.txt: {n} has a way in tests/library/calls" for n in reason if words.intersection(firsts.get(n, ()))]
    return problems


def check_library(path, names):
    have = {n for n in exported(path) if not n.startswith("_init") and n != "_fini"}
    return ([f"{os.path.basename(path)} does not export {n}, which the table names" for n in sorted(set(names) - have)]
            + [f"{os.path.basename(path)} exports {n}, which no line of the table names" for n in sorted(have - set(names))])


def check_parts(path):
    """Nothing in the library may panic, and it may need nothing that is not in every process."""
    symbols = subprocess.run(["nm", path], capture_output=True, text=True).stdout
    problems = []
    if "writegate_enter" not in symbols:
        return [f"{os.path.basename(path)} has no symbol table, so panics cannot be looked for: build it unstripped"]
    # A panic's message comes through one of these, the handler through the last.
    for line in symbols.splitlines():
        n = line.split()[-1]
        if re.search(r"panic|slice_\w*fail|unwrap_failed|expect_failed|rust_begin_unwind|core3fmt", n):
            problems.append(f"{os.path.basename(path)} contains {n}: some path leads to a panic (objdump -d shows from where)")
    dynamic = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True).stdout
    if "SONAME" not in dynamic and "SYMTAB" not in dynamic:
        problems.append(f"readelf says nothing of {path}")
    for n in re.findall(r"\(NEEDED\).*\[(.*?)\]", dynamic):
        if not re.match(r"libc\.so", n):
            problems.append(f"{os.path.basename(path)} needs {n}")
    return problems


def check_syscalls(arch):
    """Each number of the kernel is known to syscall(), or has its reason."""
    harmless, problems = reasons(os.path.join(HERE, "syscalls-not-a-change.txt"))
    gaps, p = reasons(os.path.join(HERE, "syscalls-not-gated.txt"))
    problems += p
    with open(os.path.join(HERE, f"syscalls-{arch}.txt")) as f:
        numbers = {int(x.split()[0]): x.split()[1] for x in f if not x.startswith("#")}
    known = known_syscalls(arch)
    same = {"pwrite64": "pwrite", "io_submit": "lio_listio", "fchmodat2": "fchmodat", "setxattrat": "fchmodat", "removexattrat": "fchmodat", "file_setattr": "fchmodat"}
    for nr, n in sorted(numbers.items()):
        if nr not in known and n not in harmless and n not in gaps:
            problems.append(f"{arch} system call {nr} {n}: neither known to syscall() nor listed with its reason")
        if nr in known and known[nr][0] != n:
            problems.append(f"{arch} system call {nr} is {n}; the list calls it {known[nr][0]}")
        if nr in known and n in harmless:
            problems.append(f"{arch} system call {nr} {n}: known to syscall(), and yet listed: {harmless[n]}")
        if nr in known and known[nr][1] not in (None, same.get(n, n)):
            problems.append(f"{arch} system call {nr} is {n}; the library takes it for {known[nr][1]}")
    for nr in sorted(known.keys() - numbers.keys()):
        problems.append(f"{arch} system call {nr}: no kernel has it")
    return len(numbers), len(known), problems


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--library")
    a.add_argument("--write-list", nargs="+", metavar="OUT HEADING LIBRARY...")
    o = a.parse_args()
    if o.write_list:
        out, heading, *libs = o.write_list
        found = merged(libs)
        with open(out, "w") as f:
            f.write(f"# {heading}\n# One name a line; \"private\" where only {PRIVATE} has it. Made by: check.py --write-list\n")
            f.writelines(n + (" private" if found[n] == {PRIVATE} else "") + "\n" for n in sorted(found))
        return 0
    table = rows()
    names = [name for row in table for name in row]
    hooked = set(names)
    problems = [f"gate/src/calls/table.rs: {n} stands twice" for n in sorted(hooked) if names.count(n) > 1]
    harmless, p = reasons(os.path.join(HERE, "not-a-change.txt"))
    problems += p
    gaps, p = reasons(os.path.join(HERE, "not-gated.txt"))
    problems += p
    reason, p = reasons(os.path.join(HERE, "no-way.txt"))
    problems += p + check_ways(table, reason)
    libcs = {os.path.basename(f)[:-4]: listed(f) for f in glob.glob(os.path.join(HERE, "*libc-*.txt")) + glob.glob(os.path.join(HERE, "musl-*.txt"))}
    skipped = 0
    for what, pattern in (("this machine's glibc", "/lib/*-linux-gnu*"), ("this machine's musl", "/lib/*-linux-musl*")):
        found = [os.path.join(d, n) for d in glob.glob(pattern) for n in (*COMPANIONS, "libc.so") if os.path.exists(os.path.join(d, n))
                 and not (n == "libc.so" and "musl" not in d)]
        if found:
            libcs[what] = public(merged(found))
        else:
            print(f"skip {what}: not installed")
            skipped += 1
    problems += check_names(libcs, hooked, harmless, gaps)
    library = o.library or os.path.join(os.environ.get("WRITEGATE_BIN_DIR") or os.path.join(ROOT, "target", "release"), "libwritegate.so")
    if os.path.exists(library):
        problems += check_library(library, names) + check_parts(library)
    else:
        print("skip the built library's exports: not built")
        skipped += 1
    total = len(set().union(*libcs.values()))
    for arch in ("x86_64", "aarch64"):
        if known_syscalls(arch):
            n, k, p = check_syscalls(arch)
            problems += p
            print(f"{n} system calls of {arch}, {k} known to syscall()")
        else:
            print(f"skip system calls of {arch}: the library has no such architecture yet")
            skipped += 1
    for x in problems:
        print("FAIL " + x)
    print(f"{total} exports of {len(libcs)} libcs: {len(hooked)} in the table, {len(harmless)} no change, {len(gaps)} not gated")
    print(f"{total - len(problems)} passed, {len(problems)} failed, {skipped} skipped")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

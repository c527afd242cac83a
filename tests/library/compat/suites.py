"""The third-party suites: which programs each is made of, and what their output says test by test.

A suite is a function (options, work folder) -> list of Job. It makes every folder that its jobs need, so that
nothing ungated writes below the gate's folder while they run.
"""
import os
import re
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Callable

CPYTHON = "test_os test_io test_fcntl test_subprocess test_mailbox test_shutil test_sqlite3".split()
# Families of LTP's runtest/syscalls that work on files, descriptors, locks and processes.
LTP = ("access chmod chown close copy_file_range creat dup dup2 dup3 exec execl execle execlp execv execve execvp faccessat fallocate "
       "fchmod fchmodat fchown fchownat fcntl fdatasync flock fork fremovexattr fsetxattr fsync ftruncate futimesat getdents lchown "
       "lgetxattr link linkat lremovexattr lseek mkdir mkdirat mknod mknodat mkfifo mmap msync open openat openat2 open_by_handle_at "
       "posix_fadvise preadv pread pwrite pwritev read readlink readv remove removexattr rename renameat rmdir sendfile setxattr "
       "splice statx stat symlink symlinkat sync sync_file_range syncfs tee truncate unlink unlinkat utime utimes utimensat vfork "
       "vmsplice write writev close_range nftw ftw posix_spawn").split()
GIT = "t000[0-9] t00[1-9]* t1[0-5]* t2[0-2]* t3[0-5]*".split()
COREUTILS = "cp mv rm ln mkdir touch dd truncate install chmod chown chgrp tail-2 rmdir shred du".split()


@dataclass
class Job:
    """One program of a suite."""
    name: str
    command: list
    cwd: str
    seconds: float
    input: str = None
    env: dict = field(default_factory=dict)
    # (exit code or "timeout", output) -> {test: result}
    parse: Callable = lambda code, out: {}


def folder(work, mode=0o755):
    d = tempfile.mkdtemp(dir=work)
    os.chmod(d, mode)
    return d


def cpython(o, work):
    """Each unittest by its name, from -v's lines."""
    def parse(code, out):
        # A warning of an interpreter that forks may stand between a test's name and its result.
        lines = re.findall(r"^(test\w+ \([\w.]+\))(?:\n[^\n]*)? ?\.\.\. (ok|FAIL|ERROR|skipped|expected failure)?", out, re.M)
        return {name: status or "?" for name, status in lines}

    # A virtual machine whose host answers no vsock waits there for ever, also bare.
    return [Job(module, [o.python, "-m", "test", "-v", "-i", "*VSOCK*", "--tempdir", folder(work), module], work, o.timeout * 5, parse=parse)
            for module in o.rest or CPYTHON]


def sqlite(o, work):
    """The shell: write, roll back, vacuum, WAL, integrity check."""
    script = """
.bail on
PRAGMA journal_mode={mode}; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000) INSERT INTO t(b) SELECT 'row ' || i FROM n;
BEGIN; UPDATE t SET b = b || '!' WHERE a % 3 = 0; ROLLBACK; DELETE FROM t WHERE a % 5 = 0; VACUUM;
PRAGMA integrity_check; SELECT count(*), sum(length(b)) FROM t;
"""
    return [Job(f"{mode}.{i}", ["sqlite3", os.path.join(folder(work), "t.db")], work, o.timeout, input=script.format(mode=mode),
                parse=lambda code, out: {"answers": " ".join(out.split())})
            for mode in ("delete", "truncate", "persist", "wal") for i in range(15)]


def tap(code, out):
    """Test Anything Protocol: each number's result."""
    return {number: status for status, number in re.findall(r"^(ok|not ok) (\d+)", out, re.M)}


def pjdfstest(o, work):
    """Each check of each .t file."""
    top = os.path.abspath(o.rest[0])
    files = sorted(os.path.join(t, n) for t, _, names in os.walk(os.path.join(top, "tests")) for n in names if n.endswith(".t"))
    return [Job(os.path.relpath(f, top), ["sh", f], folder(work), o.timeout, parse=tap) for f in files]


def ltp(o, work):
    """Each program of runtest/syscalls in the families above: its exit code and its counts."""
    top, wanted = os.path.abspath(o.rest[0]), o.rest[1:]
    bins, devices = {}, set()
    for t, _, names in os.walk(os.path.join(top, "testcases")):
        for n in names:
            p = os.path.join(t, n)
            if os.access(p, os.X_OK) and os.path.isfile(p) and "." not in n:
                bins.setdefault(n, p)
            if n.endswith(".c") and "/syscalls/" in t:
                with open(p, errors="replace") as f:
                    if re.search(r"all_filesystems|needs_device|mount_device|format_device|tst_acquire_device", f.read()):
                        devices.add(n[:-2])
    path = os.environ.get("PATH", "") + ":" + ":".join(sorted({os.path.dirname(b) for b in bins.values()}))

    def parse(code, out):
        return {k: n for k, n in re.findall(r"^(passed|failed|broken)\s+(\d+)", out, re.M)}

    jobs = []
    with open(os.path.join(top, "runtest", "syscalls")) as f:
        for line in f:
            words = line.split()
            if len(words) < 2 or line.startswith("#") or words[1] not in bins or words[1] in devices and not o.devices:
                continue
            if words[0] in wanted or not wanted and re.sub(r"(\d+.*|_\d+.*)$", "", words[0]) in LTP:
                d = folder(work, 0o777)
                jobs.append(Job(words[0], [bins[words[1]], *words[2:]], d, o.timeout, parse=parse,
                                env={"LTPROOT": top, "LTP_SINGLE_FS_TYPE": "ext4", "TMPDIR": d, "PATH": path}))
    return jobs


def git(o, work):
    """git's own t/*.sh, run in a built source tree."""
    t = os.path.join(os.path.abspath(o.rest[0]), "t")
    from fnmatch import fnmatch
    names = sorted(n for n in os.listdir(t) if n.endswith(".sh") and any(fnmatch(n, p + "*") for p in o.rest[1:] or GIT)
                   and re.match(r"t\d{4}", n))
    return [Job(n[:-3], ["sh", n, "--no-color", f"--root={folder(work)}"], t, o.timeout * 3, parse=tap,
                env={"TEST_OUTPUT_DIRECTORY": folder(work), "TEST_NO_MALLOC_CHECK": "1"}) for n in names]


def coreutils(o, work):
    """coreutils' tests/*/*.sh, run as its make does (`TEST: result` by exit code: 0 pass, 77 skipped)."""
    top = os.path.abspath(o.rest[0])
    jobs = []
    for family in o.rest[1:] or COREUTILS:
        d = os.path.join(top, "tests", family)
        for n in sorted(os.listdir(d)) if os.path.isdir(d) else []:
            if n.endswith(".sh"):
                env = {"srcdir": top, "abs_srcdir": top, "abs_top_srcdir": top, "abs_top_builddir": top, "top_srcdir": top,
                       "built_programs": built(top), "VERSION": "9.1", "LC_ALL": "C", "CONFIG_HEADER": os.path.join(top, "lib/config.h"),
                       "CC": "gcc", "fail": "", "SHELL": "/bin/sh", "PERL": "perl", "AWK": "awk", "host_os": "linux-gnu",
                       "host_triplet": "x86_64-pc-linux-gnu", "TMPDIR": folder(work), "NON_ROOT_USERNAME": "nobody",
                       "NON_ROOT_GROUP": "nogroup", "PACKAGE_VERSION": "9.1", "RUN_EXPENSIVE_TESTS": "no", "EGREP": "grep -E",
                       "PATH": os.path.join(top, "src") + ":" + os.environ.get("PATH", "")}
                jobs.append(Job(f"{family}/{n}", ["sh", "-c", 'exec 9>&2; exec sh "$1"', "sh", os.path.join(d, n)],
                                folder(work), o.timeout, env=env))
    return jobs


def built(top):
    """Names of the programs that were built."""
    src = os.path.join(top, "src")
    return " ".join(sorted(n for n in os.listdir(src) if os.access(os.path.join(src, n), os.X_OK)
                           and os.path.isfile(os.path.join(src, n)) and re.fullmatch(r"[a-z0-9]+|\[", n)))


ALL = {f.__name__: f for f in (cpython, sqlite, pjdfstest, ltp, git, coreutils)}
PARALLEL = {"cpython": 1, "sqlite": 2, "pjdfstest": 8, "ltp": 6, "git": 2, "coreutils": 2}   # many of them sleep
NEEDS_FOLDER = {"pjdfstest", "ltp", "git", "coreutils"}

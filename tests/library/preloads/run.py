#!/usr/bin/env python3
"""Other preloaded libraries before and after ours: the same results, and the barrier holds.

    run.py [--only LIBRARY] [--library F] [--command F]

Libraries that are not installed are skipped, and said so (Debian: libeatmydata1 faketime libjemalloc2 fakeroot).
"""
import argparse
import fnmatch
import glob
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "calls"))
import gate as gates                                     # noqa: E402
import run as calls                                      # noqa: E402

# Stands in front of libc as we do, and finds it by its own handle: behind ours it must not find ours, or the two
# would call each other without end.
BY_HANDLE = r"""
#include <dlfcn.h>
#include <unistd.h>
static void *real(const char *name) { return dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), name); }
ssize_t write(int fd, const void *data, size_t size)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = real("write");
    return next(fd, data, size);
}
int rename(const char *from, const char *to)
{
    static int (*next)(const char *, const char *);
    if (!next) next = real("rename");
    return next(from, to);
}
"""
OTHERS = {"by-handle": None, "eatmydata": "libeatmydata.so*", "faketime": "faketime/libfaketime.so.1", "jemalloc": "libjemalloc.so.2",
          "fakeroot": "libfakeroot/libfakeroot-sysv.so"}
# A few ways of each kind.
WAYS = {"write.write", "write.pwritev", "open.open", "open.mkstemp", "names.rename", "names.unlink", "meta.fsync", "meta.ftruncate",
        "stdio.fprintf", "stdio.fclose", "exit.return", "process.fork", "process.system", "process.pthread_create", "write.write.pipe"}
# Without its daemon fakeroot knows nothing about owners, and its answer about extended attributes, which these set first, is
# whatever lies on the stack: seen 0, and seen -1 with an errno of 32766.
NOT_WITH = {"fakeroot": {"meta.fsync", "meta.ftruncate"}}


class Both(gates.Gate):
    """A gate whose programs load another library too."""
    order = ()

    def environment(self, whole_storage=False):
        env = super().environment(whole_storage)
        env["LD_PRELOAD"] = ":".join(x or self.library for x in self.order)
        return env


def by_handle(work):
    source, library = os.path.join(work, "by-handle.c"), os.path.join(work, "by-handle.so")
    with open(source, "w") as f:
        f.write(BY_HANDLE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--only", default="*", metavar="LIBRARY", help="a pattern for the other library's name")
    a.add_argument("--library")
    a.add_argument("--command")
    a.add_argument("--work", default="/var/tmp")
    o = a.parse_args()
    others = {name: pattern for name, pattern in OTHERS.items() if fnmatch.fnmatch(name, o.only)}
    if not others:
        print(f"no library matches {o.only!r}: nothing was run", file=sys.stderr)
        return 64
    library, command = gates.binary("libwritegate.so", o.library), gates.binary("writegate", o.command)
    if not (library and command):
        print("skip: no binaries\n0 passed, 0 failed, 1 skipped")
        return 0
    passed = failed = skipped = 0
    work = tempfile.mkdtemp(prefix="writegate-preloads-", dir=o.work)
    try:
        programs = calls.build("glibc", os.path.join(work, "bin"))
        for name, pattern in others.items():
            found = sorted(glob.glob("/usr/lib/*/" + pattern)) if pattern else [by_handle(work)]
            if not found:
                print(f"skip {name}: not installed")
                skipped += 1
                continue
            for place, order in (("before", (found[0], "")), ("after", ("", found[0]))):
                wanted = WAYS - NOT_WITH.get(name, set())
                ways = [w for f, (p, listed) in programs.items() for n, k in listed for w in [calls.Way(f, p, n, k)] if w.id in wanted]
                top = os.path.join(work, f"{name}-{place}")
                os.makedirs(os.path.join(top, "bare"))
                gate = Both(library, command, os.path.join(top, "p"), "preloads")
                gate.order = order
                try:
                    os.environ["LD_PRELOAD"] = found[0]
                    for w in ways:
                        calls.bare(w, os.path.join(top, "bare"))
                    del os.environ["LD_PRELOAD"]
                    os.makedirs(os.path.join(top, "p", "gated"))
                    for w in ways:
                        if w.bare:
                            calls.gated(w, os.path.join(top, "p", "gated"), gate.environment())
                    if not os.geteuid():
                        calls.rounds(ways, os.path.join(top, "p"), gate)
                finally:
                    os.environ.pop("LD_PRELOAD", None)
                    gate.close()
                unknown = wanted - {w.id for w in ways}
                if unknown:
                    sys.exit(f"no such ways in tests/library/calls: {' '.join(sorted(unknown))}")
                bad = [(w.id, f) for w in ways for f in dict.fromkeys(w.failures)]
                for way, what in bad:
                    print(f"FAIL {name} {place} ours: {way}: {what}")
                passed, failed = (passed, failed + 1) if bad else (passed + 1, failed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if os.geteuid():
        print(f"skip {calls.NO_ROUNDS}")
        skipped += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

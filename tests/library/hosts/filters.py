"""System call filters: a whole service under systemd's @system-service, and a process that confines itself.

tests/library/calls/run.py --filter runs every way of changing a file under a filter; here is a family of them, and what
no filter list says: SECCOMP_MODE_STRICT after the start.
"""
import os
import shutil
import subprocess
import sys

import confine

HERE = os.path.dirname(os.path.abspath(__file__))
CALLS = os.path.join(os.path.dirname(HERE), "calls", "run.py")

CLOSEFROM = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int left = 0;
    struct rlimit l;
    void (*closefrom)(int) = dlsym(RTLD_DEFAULT, "closefrom");
    if (!closefrom) return puts("none");
    for (int n = 0; n < 40; n++) dup(1);
    dup2(1, 900);
    if (argc > 1) {
        getrlimit(RLIMIT_NOFILE, &l);
        l.rlim_cur = 200;
        setrlimit(RLIMIT_NOFILE, &l);
        while (dup(1) >= 0)
            ;
    }
    errno = 0;
    closefrom(3);
    int e = errno;
    for (int fd = 3; fd < 1000; fd++) left += fcntl(fd, F_GETFD) >= 0;
    printf("%d left, errno %d\n", left, e);
}
'''


def strict(work, gate):
    program = os.path.join(work, "strict")
    subprocess.run(["gcc", "-w", "-O1", "-pthread", "-o", program, os.path.join(HERE, "strict.c")], check=True)
    os.makedirs(gate.paths, exist_ok=True)
    for case in ("cold", "warm", "thread"):
        got = []
        for env in (None, gate.environment()):
            path = os.path.join(gate.paths, f"{case}-{bool(env)}")
            code = subprocess.run([program, case, path], env=env, stdin=subprocess.DEVNULL).returncode
            with open(path) as f:
                got.append((code, f.read()))
        if not got[0][1].endswith("end\n"):
            yield f"strict {case}", f"skip: does not work here bare: {got[0]}"
        else:
            yield f"strict {case}", None if got[0] == got[1] else f"bare {got[0]}, gated {got[1]}"


def no_close_range(work, gate):
    """A libc without closefrom (musl) on a kernel without close_range: ours is called, and must close."""
    if not shutil.which("musl-gcc"):
        yield "closefrom", "skip: musl-gcc is not there (Debian: musl-tools)"
        return
    source, program = os.path.join(work, "closefrom.c"), os.path.join(work, "closefrom")
    with open(source, "w") as f:
        f.write(CLOSEFROM)
    subprocess.run(["musl-gcc", "-w", "-O1", "-o", program, source], check=True)
    refuses = confine.program((), refused=("close_range",), otherwise=confine.ALLOW)
    for name, more in (("closefrom where close_range is refused", []), ("closefrom where no descriptor is free either", ["full"])):
        said = [subprocess.run([program, *more], env=env, capture_output=True, text=True,
                               preexec_fn=lambda: confine.install(refuses)).stdout for env in (None, gate.environment())]
        yield name, None if said == ["none\n", "0 left, errno 0\n"] else f"bare, gated: {said}"


def cases(work, gate):
    yield from no_close_range(work, gate)
    yield from strict(work, gate)
    for name in ("service", "membarrier"):
        r = subprocess.run([sys.executable, CALLS, "--filter", name, "--only", "write", "--library", gate.library, "--command", gate.command],
                           capture_output=True, text=True, timeout=200)
        problem = None if r.returncode == 0 else (r.stdout + r.stderr)[-1500:]
        yield f"filter {name}: the ways of tests/library/calls/write.c", problem

"""The spy: what came in at the library, and what it let through to libc, call by call.

Two small libraries made from the hook table (gate/src/calls/table.rs), one loaded before ours and one behind it. Each has, for every
name of the table that this libc has, a naked forwarder: count, go on. So

  held      means not called: it came in, and has not gone out;
  forwarded means one call in, one call out, and no other.

Where the front cannot see what comes in (a function that was looked up in libc's own handle: ours is handed out), or what is held is
no call (the flush at a process's end), ways are left out: UNSEEN.

dlsym and dlvsym are left out: both libraries are found through them. A variadic function goes out by its va_list sibling, and
execl and its kin by their array siblings: the table says which.
"""
import ctypes
import fnmatch
import os
import re
import struct
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
TABLE = os.path.join(ROOT, "gate", "src", "calls", "table.rs")
ROW = re.compile(r"^            (call|variadic|listed) (\w+) \[([^\]]*)\] \(([^;]*)\) \"", re.M)

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define HIDDEN __attribute__((visibility("hidden")))
static unsigned long own[COUNT];
HIDDEN unsigned long *spy_counts = own;
HIDDEN void *spy_real[COUNT];
/* tests/library/spy: with `answering` set, the one function of this number is not called; the spy keeps the arguments and answers. */
int spy_answering;
long spy_answer;
HIDDEN long spy_target = -1;
unsigned long spy_answered, spy_arguments[6];
static const char *const names[COUNT] = { NAMES };

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 asm("r10") = d, r8 asm("r8") = e, r9 asm("r9") = f;
    long r;
    asm volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return r;
}

/* No call of libc but these two: each other one would be counted. Another library's constructor may come before ours. */
HIDDEN __attribute__((constructor)) void spy_start(void)
{
    if (spy_real[0]) return;
    for (int n = 0; n < COUNT; n++) spy_real[n] = dlsym(RTLD_NEXT, names[n]);
    const char *target = getenv("SPY_ANSWERS");
    spy_target = target ? atol(target) : -1;
    const char *file = getenv(VARIABLE);
    long fd = file ? raw(SYS_open, (long)file, O_RDWR | O_CLOEXEC, 0, 0, 0, 0) : -1;
    if (fd < 0) return;
    long at = raw(SYS_mmap, 0, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at > 0) spy_counts = (void *)at;
    raw(SYS_close, fd, 0, 0, 0, 0, 0);
}

HIDDEN long spy_keep(long a, long b, long c, long d, long e, long f)
{
    unsigned long kept[6] = { a, b, c, d, e, f };
    for (int n = 0; n < 6; n++) spy_arguments[n] = kept[n];
    spy_answered++;
    return spy_answer;
}

/* A call before the constructor: every register that may hold an argument outlives the look-up. */
asm(".type spy_first,@function\\nspy_first:\\n"
    " push %rdi\\n push %rsi\\n push %rdx\\n push %rcx\\n push %r8\\n push %r9\\n push %rax\\n sub $136, %rsp\\n"
    " movups %xmm0, (%rsp)\\n movups %xmm1, 16(%rsp)\\n movups %xmm2, 32(%rsp)\\n movups %xmm3, 48(%rsp)\\n"
    " movups %xmm4, 64(%rsp)\\n movups %xmm5, 80(%rsp)\\n movups %xmm6, 96(%rsp)\\n movups %xmm7, 112(%rsp)\\n"
    " call spy_start\\n"
    " movups (%rsp), %xmm0\\n movups 16(%rsp), %xmm1\\n movups 32(%rsp), %xmm2\\n movups 48(%rsp), %xmm3\\n"
    " movups 64(%rsp), %xmm4\\n movups 80(%rsp), %xmm5\\n movups 96(%rsp), %xmm6\\n movups 112(%rsp), %xmm7\\n"
    " add $136, %rsp\\n pop %rax\\n pop %r9\\n pop %r8\\n pop %rcx\\n pop %rdx\\n pop %rsi\\n pop %rdi\\n ret\\n");
"""
FORWARDER = """
asm(".globl {name}\\n.type {name},@function\\n{name}:\\n"
    " cmpq $0, spy_real+{at}(%rip)\\n jne 1f\\n call spy_first\\n"
    "1: mov spy_counts(%rip), %r11\\n lock incq {at}(%r11)\\n"
    " mov spy_answering@GOTPCREL(%rip), %r11\\n cmpl $0, (%r11)\\n je 2f\\n cmpq ${n}, spy_target(%rip)\\n je spy_keep\\n"
    "2: jmp *spy_real+{at}(%rip)\\n.size {name},.-{name}\\n");
"""
UNSEEN = ("inline.dlsym.*", "inline.dlvsym.*", "exit.exit", "exit.exit.thread", "exit.return", "exit.pthread_exit.last")
# A hook that is broken on purpose stands in front of the spy behind: it calls twice, or not at all.
BROKEN = """
#define _GNU_SOURCE
#include <dlfcn.h>
long {name}(long a, long b, long c, long d)
{{
    static long (*real)(long, long, long, long);
    if (!real) real = dlsym(RTLD_NEXT, "{name}");
    long r = 0;
    for (int n = 0; n < {times}; n++) r = real(a, b, c, d);
    return r;
}}
"""


def rows():
    """{call: its names}, {call: the call by which it goes out}; of what this libc has."""
    libc = ctypes.CDLL(None)
    names, out = {}, {}
    with open(TABLE, encoding="utf-8") as f:
        found = ROW.findall(f.read())
    if len(found) < 100:
        raise SystemExit("gate/src/calls/table.rs: fewer than 100 calls found; has its form changed?")
    for kind, name, aliases, body in found:
        names[name] = [n for n in (name, *aliases.split()) if hasattr(libc, n)]
        out[name] = body.split(",")[0] if kind != "call" else name
    return names, out


def sees(way):
    return not any(fnmatch.fnmatch(way, pattern) for pattern in UNSEEN)


class Spy:
    def __init__(self, folder, broken=None):
        """broken: NAME=TIMES, of a hook."""
        self.names, self.out = rows()
        self.folder = folder
        self.flat = [n for names in self.names.values() for n in names]
        self.libraries = {side: self._build(folder, side) for side in ("front", "back")}
        self.broken = self._break(folder, *broken.split("=")) if broken else None
        self.came_in = set()                            # calls that any way has made

    def _build(self, folder, side):
        text = SOURCE.replace("COUNT", str(len(self.flat))).replace("VARIABLE", f'"SPY_{side.upper()}"')
        text = text.replace("NAMES", ", ".join(f'"{n}"' for n in self.flat))
        text += "".join(FORWARDER.format(name=name, at=8 * n, n=n) for n, name in enumerate(self.flat))
        return compiled(folder, f"libspy-{side}", text)

    def _break(self, folder, name, times):
        return compiled(folder, "libbroken", BROKEN.format(name=name, times=times))

    def environment(self, env, folder):
        """Of a program of its own, whose counts lie in this folder."""
        files = {side: os.path.join(folder, side) for side in self.libraries}
        for file in files.values():
            with open(file, "wb") as f:
                f.truncate(8 * len(self.flat))
            os.chmod(file, 0o666)
        between = [env["LD_PRELOAD"], *([self.broken] if self.broken else [])]
        preload = ":".join([self.libraries["front"], *between, self.libraries["back"]])
        return {**env, "LD_PRELOAD": preload, "SPY_FRONT": files["front"], "SPY_BACK": files["back"]}

    def _counts(self, folder, side):
        with open(os.path.join(folder, side), "rb") as f:
            return dict(zip(self.flat, struct.unpack(f"<{len(self.flat)}Q", f.read())))

    def inside(self, folder):
        """{call: how many came in and have not gone out}; fewer than none went out oftener than they came in."""
        # Out before in: what comes meanwhile is not taken for one that went out alone.
        out, into = self._counts(folder, "back"), self._counts(folder, "front")
        sums = {}
        for row, names in self.names.items():
            came, went = sum(into[n] for n in names), sum(out[n] for n in names)
            if came:
                self.came_in.add(row)
            sums[self.out[row]] = sums.get(self.out[row], 0) + came
            sums[row] = sums.get(row, 0) - went
        return {row: n for row, n in sums.items() if n}

    def never(self):
        """The calls that this libc has and nobody made."""
        return sorted(row for row, names in self.names.items() if names and row not in self.came_in)


def compiled(folder, name, text):
    source, library = os.path.join(folder, f"{name}.c"), os.path.join(folder, f"{name}.so")
    with open(source, "w", encoding="utf-8") as f:
        f.write(text)
    subprocess.run(["gcc", "-O1", "-w", "-fno-builtin", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library

"""A libc that keeps a call of the table only under an old version, for old programs.

Such a program finds our export, which has no version; what stands behind it must be the old function, not
"missing". (fgetln is a call of the table that glibc lacks: a library of the test's own has it.)
"""
import os
import subprocess

LIBRARY = r'''
#include <stddef.h>
char *old_fgetln(void *stream, size_t *len) { *len = 3; return "old"; }
__asm__(".symver old_fgetln, fgetln@OLD_1.0");
'''
PROGRAM = r'''
#include <stdio.h>
__asm__(".symver fgetln, fgetln@OLD_1.0");
char *fgetln(FILE *, size_t *);
int main(void) { size_t n = 0; char *t = fgetln(stdin, &n); printf("%s %zu\n", t ? t : "nothing", n); return 0; }
'''


def cases(work, gate):
    def put(name, text):
        with open(os.path.join(work, name), "w") as f:
            f.write(text)
        return f.name

    library, program = os.path.join(work, "libold.so"), os.path.join(work, "old")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, put("old.c", LIBRARY),
                    "-Wl,--version-script=" + put("old.map", "OLD_1.0 { global: fgetln; local: *; };\n")], check=True)
    subprocess.run(["gcc", "-w", "-o", program, put("program.c", PROGRAM), library, "-Wl,-rpath," + work], check=True)
    bare = subprocess.run([program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    gated = subprocess.run([program], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=gate.environment())
    same = (bare.returncode, bare.stdout) == (gated.returncode, gated.stdout) == (0, "old 3\n")
    yield "old_version", None if same else f"bare {bare.returncode} {bare.stdout!r}, gated {gated.returncode} {gated.stdout!r}"

"""Programs with many libraries: every hooked call is libc's own, wherever libc stands in the order of loading."""
import subprocess

import rig

ROUND = "ending"


def _program(work, count, dlopened=False):
    """One with so many libraries before libc."""
    directory = work / "many"
    directory.mkdir(exist_ok=True)
    for n in range(1, count + 1):
        if not (directory / f"libd{n}.so").exists():
            # One compiler run for each would take a minute: one object, many copies with another soname.
            source = directory / "d.s"
            source.write_text(f".globl d{n}\nd{n}: mov ${n}, %eax\nret\n.section .note.GNU-stack,\"\",@progbits\n")
            subprocess.run(["gcc", "-nostdlib", "-shared", "-o", directory / f"libd{n}.so", source], check=True)
    names = range(1, count + 1)
    main = directory / f"main{count}.c"
    main.write_text((rig.HERE / "host.c").read_text().replace("int main(", "int host(", 1)
                    + "".join(f"int d{n}(void);" for n in names)
                    + "int main(int c, char **v) { int s = 0" + "".join(f"+d{n}()" for n in names)
                    + '; printf("sum=%d\\n", s); return host(c, v); }')
    out = directory / f"main{count}"
    subprocess.run(["gcc", "-std=gnu11", "-w", "-o", out, main, f"-L{directory}", *(f"-ld{n}" for n in names), f"-Wl,-rpath,{directory}"], check=True)
    return out


def cases(work):
    for count in (44, 60, 300):
        program = _program(work, count)
        bare = rig.run([program, work], rig.clean())
        with rig.Tmpfs() as gates:
            for name, env in (("gated", rig.loaded(gates)), ("not gated", rig.loaded(rig.NOWHERE))):
                got = rig.run([program, work], env)
                yield f"{count} libraries before libc, {name}", None if got == bare else f"bare {bare}, with the library {got}"
    host = rig.build(work, "host.c")
    bare = rig.run([host, work], rig.clean())
    libc = subprocess.run(["gcc", "-print-file-name=libc.so.6"], capture_output=True, text=True, check=True).stdout.strip()
    with rig.Tmpfs() as gates:
        # Nothing but the loader lies behind the library then.
        got = rig.run([host, work], rig.loaded(gates) | {"LD_PRELOAD": f"{libc}:{rig.LIBRARY}"})
        yield "libc before the library", None if got == bare else f"bare {bare}, with the library {got}"
        late = rig.build(work, "dlopened.c")
        got, want = rig.run([late, rig.LIBRARY], rig.clean(WRITEGATE_DIR=str(gates), WRITEGATE_GATE=rig.GATE)), (0, b"write=2 rename=-1 2\n", b"")
        yield "opened by dlopen, called by dlsym", None if got == want else str(got)

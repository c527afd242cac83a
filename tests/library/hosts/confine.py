"""A system call filter as a service manager sets one: whoever makes a call that is not listed is killed.

    confine.py PROGRAM [ARG...]      run it under systemd's @system-service
"""
import ctypes
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# linux/seccomp.h, linux/filter.h, linux/audit.h
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
KILL_PROCESS, ALLOW, ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
LD_W_ABS, JEQ, JGE, RET = 0x20, 0x15, 0x35, 0x06
ARCH_X86_64 = 0xC000003E
LIBC = ctypes.CDLL(None, use_errno=True)


def numbers():
    with open(os.path.join(os.path.dirname(HERE), "exports", "syscalls-x86_64.txt")) as f:
        return {x.split()[1]: int(x.split()[0]) for x in f if not x.startswith("#")}


def system_service():
    with open(os.path.join(HERE, "system-service.txt")) as f:
        return [n for line in f if not line.startswith("#") for n in line.split()]


def program(allowed, refused=(), otherwise=KILL_PROCESS):
    """The filter's instructions; `refused` get EPERM."""
    known = numbers()

    def op(code, jt, jf, k):
        return struct.pack("=HBBI", code, jt, jf, k)

    out = [op(LD_W_ABS, 0, 0, 4), op(JEQ, 1, 0, ARCH_X86_64), op(RET, 0, 0, KILL_PROCESS), op(LD_W_ABS, 0, 0, 0)]
    for n in refused:
        out += [op(JEQ, 0, 1, known[n]), op(RET, 0, 0, ERRNO | 1)]
    for n in allowed:
        out += [op(JEQ, 0, 1, known[n]), op(RET, 0, 0, ALLOW)]
    out.append(op(RET, 0, 0, otherwise))
    return b"".join(out)


def install(code):
    """For the calling process and all that come of it. Between fork and exec: no imports, no allocation to speak of."""
    buf = ctypes.create_string_buffer(code, len(code))
    prog = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(buf))
    arg = ctypes.create_string_buffer(prog, len(prog))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        os._exit(97)
    if LIBC.prctl(PR_SET_SECCOMP, MODE_FILTER, arg, 0, 0):
        os._exit(96)


if __name__ == "__main__":
    install(program(system_service()))
    os.execvp(sys.argv[1], sys.argv[1:])

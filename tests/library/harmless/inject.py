"""Every system call of the library's start fails, one after the other, with each of these errors: the program runs.

Between the library's first call (it opens the page) and the program's main stands the start; host.c marks main by
getpgid. The number of a call among all of its kind is what strace injects at. Without --all: one error only.
"""
import re
import subprocess

import rig

ERRORS = ("ENOSYS", "EPERM", "EACCES", "ENOMEM", "EINTR", "EMFILE", "ENOSPC", "EIO")
SLICE = ("EPERM",)
CALL = re.compile(r"^(\w+)\(")


def _strace(host, work, env, *more):
    sets = [x for key in ("LD_PRELOAD", "WRITEGATE_DIR", "WRITEGATE_GATE") if key in env for x in ("-E", f"{key}={env[key]}")]
    code, out, err = rig.run(["strace", "-qq", "-e", "signal=none", *more, *sets, host, work], rig.clean(), 20)
    return code, out, err.decode(errors="replace").splitlines()


def _calls_of_the_start(host, work, env):
    """(name, how many-eth of its name) of each call from the first look at the page to main."""
    code, out, lines = _strace(host, work, env)
    seen, found, inside = {}, [], False
    for line in lines:
        call = CALL.match(line)
        if not call:
            continue
        name = call[1]
        if name == "getpgid":
            return found
        seen[name] = seen.get(name, 0) + 1
        inside = inside or rig.GATE + "/control" in line
        if inside:
            found.append((name, seen[name], line))
    raise RuntimeError(f"the start was not found: exit {code}, {lines[-3:]}")


def cases(work):
    host = rig.build(work, "host.c")
    want = rig.run([host, work], rig.clean())
    for first in (True, False):
        with rig.Tmpfs() as gates:
            if not first:
                rig.make_page(gates)

            def fresh():
                if first:
                    subprocess.run(["rm", "-rf", gates / rig.GATE], check=True)
            env = rig.loaded(gates)
            calls = _calls_of_the_start(host, work, env)
            for error in ERRORS if rig.ALL else SLICE:
                bad = []
                for name, number, line in calls:
                    fresh()
                    code, out, err = _strace(host, work, env, "-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}")
                    if (code, out) != want[:2]:
                        bad.append(f"{line[:90]}: exit {code}, {out[:60]}")
                    if left := [x for x in rig.left_behind(gates) if name not in ("unlink", "unlinkat")]:
                        bad.append(f"{line[:90]}: left behind {left}")
                yield f"{'first' if first else 'later'} start, each of {len(calls)} calls: {error}", "; ".join(bad[:4]) or None

"""Programs of this machine, each with --version and --help: with the library the same output and exit as bare.

    A slice of them; --all: all. HARMLESS_ROOT: those of another Debian that was unpacked there (chroot).

Preloaded by LD_PRELOAD, gated and not: /etc/ld.so.preload does the same in a chroot (--all, with HARMLESS_ROOT). A
program whose two bare runs differ, or that hangs bare, says nothing.
"""
import concurrent.futures
import hashlib
import os
import re
import subprocess
from pathlib import Path

import rig

SLICE = 60
SECONDS = 5
# They end or disturb the machine or the session whatever their argument, or wait for a terminal or a network.
LEFT_OUT = re.compile(r"^(halt|poweroff|reboot|shutdown|telinit|init|runlevel|killall5?|pkill|kill|skill|snice|kexec|agetty|getty|login|su|sulogin|"
                      r"runuser|sg|newgrp|script|scriptlive|screen|tmux|watch|top|htop|vlock|chvt|openvt|deallocvt|update-.*|dpkg-reconfigure|"
                      r"apt.*|unattended-upgrade.*|invoke-rc.d|service|systemctl|journalctl|udevadm|yes|mkfs.*|mke2fs|wipefs|fsfreeze|swapoff|swapon|"
                      r"ctrlaltdel|raw|rtcwake|hwclock|modprobe|rmmod|insmod|depmod|strace|ltrace|gdb.*|valgrind.*|perf|fakeroot.*|faketime|issues|"
                      r"writegate|cron|atd|.*sendmail.*|newaliases|mailq|postfix|dovecot|exim.*|smtpd|farm.*)$")


def _programs(root):
    found = {}
    for directory in ("usr/bin", "usr/sbin", "bin", "sbin"):
        for path in sorted((root / directory).glob("*")) if (root / directory).is_dir() else ():
            name = path.name
            if name in found or LEFT_OUT.match(name) or not os.access(path, os.X_OK) or path.is_dir():
                continue
            with open(path, "rb") as f:
                if f.read(4) != b"\x7fELF":
                    continue
            real = path.resolve() if root == Path("/") else path
            found.setdefault(name, real)
    # One name for each file is not enough: busybox and its kind are many programs. Names it is.
    return [f"/{d}/{n}" for n in sorted(found) for d in ("usr/bin", "usr/sbin", "bin", "sbin") if (root / d / n).exists()][:]


def _unique(paths):
    seen, out = set(), []
    for path in paths:
        name = os.path.basename(path)
        if name not in seen:
            seen.add(name)
            out.append(path)
    return out


def _run(path, argument, env, root, cwd):
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"] if os.geteuid() == 0 and root == Path("/") else []
    if root != Path("/"):
        argv = ["chroot", "--userspec=65534:65534", str(root)]
    assignments = rig.assignments(env) if "LD_PRELOAD" in env or any(k.startswith("WRITEGATE_") for k in env) else ["/usr/bin/env"]
    code, out, err = rig.run([*argv, *assignments, path, argument], rig.clean(TERM="dumb", HOME="/nonexistent"), SECONDS, cwd=cwd)
    scrub = lambda b: re.sub(rb"0x[0-9a-f]+|\b\d{3,}\b|/tmp/[\w./-]+", b"#", b)            # addresses, process ids, times
    return code, scrub(out), scrub(err)


def _judge(job):
    path, argument, environments, root, cwd = job
    first = _run(path, argument, rig.clean(), root, cwd)
    if first[0] == "hangs":
        return "unstable", None
    if _run(path, argument, rig.clean(), root, cwd) != first:
        return "unstable", None
    for name, env in environments.items():
        got = _run(path, argument, env, root, cwd)
        if got != first:
            # Once more, bare and with it: what differs of itself now and then is no finding.
            if _run(path, argument, rig.clean(), root, cwd) != first or _run(path, argument, env, root, cwd) == first:
                return "unstable", None
            return "bad", f"{path} {argument} {name}: bare {_short(first)}, with the library {_short(got)}"
    return "same", None


def _short(result):
    code, out, err = result
    return f"exit {code}, {len(out)} bytes {hashlib.md5(out).hexdigest()[:6]}, {err[-160:]!r}"


def cases(work):
    root = Path(os.environ.get("HARMLESS_ROOT", "/"))
    paths = _unique(_programs(root))
    if not rig.ALL:
        paths = paths[::max(1, len(paths) // SLICE)][:SLICE]
    in_root = root == Path("/")
    (work / "cwd").mkdir(mode=0o777)
    (work / "cwd").chmod(0o777)
    with rig.Tmpfs("size=8m") as gates:
        environments = {"gated": rig.loaded(gates), "not gated": {"LD_PRELOAD": str(rig.LIBRARY), "WRITEGATE_DIR": "/nonexistent"}}
        if not in_root:
            # As /etc/ld.so.preload: the library lies in the other root.
            inside = root / "usr/lib/libwritegate.so"
            inside.unlink(missing_ok=True)
            subprocess.run(["cp", rig.LIBRARY, inside], check=True)
            (root / "run/writegate").mkdir(exist_ok=True)
            subprocess.run(["mount", "--bind", gates, root / "run/writegate"], check=True)
            environments = {"gated": {"LD_PRELOAD": "/usr/lib/libwritegate.so", "WRITEGATE_GATE": rig.GATE},
                            "not gated": {"LD_PRELOAD": "/usr/lib/libwritegate.so", "WRITEGATE_DIR": "/nonexistent"}}
        try:
            rig.make_page(gates)
            jobs = [(path, argument, environments, root, work / "cwd") for path in paths for argument in ("--version", "--help")]
            count = {"same": 0, "unstable": 0, "bad": 0}
            bad, steady = [], set()
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                for job, (kind, text) in zip(jobs, pool.map(_judge, jobs)):
                    count[kind] += 1
                    if kind == "same":
                        steady.add(job[0])
                    if text:
                        bad.append(text)
            yield (f"{len(paths)} programs, {len(jobs)} runs: {count['same']} the same, {count['unstable']} unstable bare; {len(steady)} programs count",
                   "; ".join(bad[:8]) or (None if len(steady) > len(paths) // 2 else "too few ran"))
        finally:
            if not in_root:
                subprocess.run(["umount", "-l", root / "run/writegate"], check=False)
                inside.unlink(missing_ok=True)

"""Programs of this machine, each with --version and --help: with the library the same output and exit as bare.

    A slice of them; --all: all. HARMLESS_ROOT=DIR: those of another Debian that was unpacked there (debootstrap), in a
    chroot, with the library in its /etc/ld.so.preload; else by LD_PRELOAD.

Four passes: bare, bare again, gated, loaded but without a gate. A program whose two bare passes differ, or that hangs
bare, says nothing. What differs is tried once more, bare and with the library.
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


def _scrub(text):
    """Without addresses, process ids, times, temporary names."""
    return re.sub(rb"0x[0-9a-f]+|\b\d{3,}\b|/tmp/[\w./-]+", b"#", text)


def _short(result):
    code, out, err = result
    return f"exit {code}, {len(out)} bytes {hashlib.md5(out).hexdigest()[:6]}, {err[-160:]!r}"


class Here:
    """Programs of this machine, by LD_PRELOAD, as nobody."""

    def __init__(self, gates, cwd):
        self.root, self.cwd = Path("/"), cwd
        self.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"] if os.geteuid() == 0 else []
        self.env = {"bare": {}, "gated": rig.loaded(gates), "not gated": {"LD_PRELOAD": str(rig.LIBRARY), "WRITEGATE_DIR": rig.NOWHERE}}

    def enter(self, kind):
        self.assignments = rig.assignments(self.env[kind])

    def run(self, argv, scrub=_scrub):
        env = rig.clean(TERM="dumb", HOME="/nonexistent")
        code, out, err = rig.run([*self.prefix, *self.assignments, *argv], env, SECONDS, cwd=self.cwd)
        return code, scrub(out), scrub(err)

    def leave(self):
        pass


class There(Here):
    """Programs of another root, by its /etc/ld.so.preload, gated by the default gate."""

    def __init__(self, gates, cwd, root):
        self.root, self.cwd, self.gates = root, "/", gates
        self.prefix, self.assignments = ["chroot", "--userspec=65534:65534", str(root)], ["/usr/bin/env"]
        (root / "run/writegate").mkdir(exist_ok=True)
        subprocess.run(["install", "-m", "0755", rig.LIBRARY, root / "usr/lib/libwritegate.so"], check=True)
        subprocess.run(["mount", "--bind", gates, root / "run/writegate"], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        subprocess.run(["mount", "--bind", "/dev", root / "dev"], check=True)

    def enter(self, kind):
        (self.root / "etc/ld.so.preload").write_text("" if kind == "bare" else "/usr/lib/libwritegate.so\n")
        page = self.gates / "default"
        if kind == "gated" and not page.exists():
            (self.gates / rig.GATE).rename(page)
        elif kind == "not gated" and page.exists():
            page.rename(self.gates / rig.GATE)

    def leave(self):
        (self.root / "etc/ld.so.preload").unlink(missing_ok=True)
        for place in ("run/writegate", "proc", "dev"):
            subprocess.run(["umount", "-l", self.root / place], check=False)


def cases(work):
    root = Path(os.environ.get("HARMLESS_ROOT", "/"))
    paths = _unique(_programs(root))
    if not rig.ALL:
        paths = paths[::max(1, len(paths) // SLICE)][:SLICE]
    (work / "cwd").mkdir()
    (work / "cwd").chmod(0o777)
    jobs = [(path, argument) for path in paths for argument in ("--version", "--help")]
    with rig.Tmpfs("size=8m") as gates:
        rig.make_page(gates)
        place = Here(gates, work / "cwd") if root == Path("/") else There(gates, work / "cwd", root)
        try:
            results, maps = {}, {}
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                def judge(kind, jobs):
                    place.enter(kind)
                    maps[kind] = place.run(["/bin/cat", "/proc/self/maps"], scrub=bytes)[1]
                    return dict(zip(jobs, pool.map(place.run, jobs)))
                results["bare"] = judge("bare", jobs)
                again = judge("bare", jobs)
                steady = [job for job in jobs if results["bare"][job] == again[job] and again[job][0] != "hangs"]
                bad = []
                for kind in ("gated", "not gated"):
                    got = judge(kind, steady)
                    suspects = [job for job in steady if got[job] != again[job]]
                    twice = judge("bare", suspects), judge(kind, suspects)
                    bad += [f"{' '.join(job)} {kind}: bare {_short(again[job])}, with the library {_short(twice[1][job])}"
                            for job in suspects if twice[0][job] == again[job] and twice[1][job] != again[job]]
        finally:
            place.leave()
    there = {kind: (b"libwritegate" in text, b"/control" in text) for kind, text in maps.items()}
    if there != {"bare": (False, False), "gated": (True, True), "not gated": (True, False)}:
        bad.append(f"library and page are mapped thus: {there}")
    count = len({path for path, _ in steady})
    if count < len(paths) * 0.8:
        bad.append("too few say the same twice")
    yield f"{count} programs of {len(paths)}, {len(steady)} runs of {len(jobs)} each gated and not", "; ".join(bad[:8]) or None

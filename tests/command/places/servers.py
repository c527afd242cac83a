#!/usr/bin/env python3
"""Outsiders who write by six paths below what `setup` has found protected, on real servers from their Debian packages.

    servers.py [--only PATTERN] [--freezes N] [--out FILE]

For each server, in an overlay root and a network of its own, its directories on an ext4 volume: `setup --install`; the
unit's ExecStart with the drop-in's environment; then N freezes for each path by which somebody who is not gated writes in
the window (each must be ESCAPED or UNGATED and name the file), and N without (each CONSISTENT, full, watched=full).
Needs root, apt and overlayfs. WRITEGATE_BIN_DIR: where writegate and libwritegate.so lie (target/release).
"""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "servers"), str(TESTS)]
from lab import suite                                    # noqa: E402
from mta import root as roots                            # noqa: E402



def program(name, file):
    """A neighbour's script, as a module."""
    spec = importlib.util.spec_from_file_location(name, TESTS / "command" / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


real, machine = program("real", "setup/real.py"), program("machine", "packages/machine.py")
# The servers of this Debian, and of another: its name and packages there.
SERVERS = {**dict.fromkeys(real.SERVERS), "dovecot-2.4": ("trixie", ("systemd", "systemd-sysv", "dovecot-imapd"))}
VOLUME = "/srv/volume"
# How each server's own setting names the directory that an outsider writes to.
TARGETS = {"cyrus": "/var/spool/cyrus/mail", "dovecot": "/var/mail", "postfix": "/var/spool/postfix", "exim": "/var/spool/exim4"}


class Released(roots.Root):
    """The root of another release of Debian."""

    def __init__(self, release, packages, work, name):
        super().__init__(packages, work, name=name)
        self.release = release

    def __enter__(self):
        try:
            base = machine.base(self.release, self.packages)
        except machine.Unavailable as why:
            raise roots.Unavailable(str(why)) from None
        try:
            roots._mount_overlay(str(base), f"{self.scratch}/upper", f"{self.scratch}/work", self.path)
            self._undo.callback(roots._unmount, self.path)
            roots._mount_special(self.path, self._undo)
        except BaseException:
            self._undo.close()
            raise
        return self


class Server:
    """A server that was set up, its directories on a volume."""

    def __init__(self, name, root, image):
        self.name, self.root = name, root
        self.packages, self.unit, self.gate, self.argv, self.count = real.SERVERS[name]
        self.target = TARGETS[name]
        self.mounts, self.others = [], []
        self.volume(image)

    def inside(self, path):
        return Path(self.root.inside(path))

    def mount(self, *args):
        subprocess.run(["mount", *map(str, args)], check=True)
        self.mounts.append(args[-1])

    def volume(self, image):
        with open(image, "wb") as f:
            f.truncate(256 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        self.inside(VOLUME).mkdir(parents=True)
        self.mount("-o", "loop", image, self.inside(VOLUME))
        self.inside(VOLUME + "/elsewhere").mkdir()

    def set_up(self):
        """Returns the directories that setup has found."""
        if self.name == "dovecot":                       # a home directory, as a user has one
            self.root.run("useradd", "-m", "-d", "/home/ann", "ann")
        real.writegate(self.root, "setup", self.name, "--install", "--library", real.LIBRARY)
        profile = self.inside(f"/etc/writegate/{self.gate}.conf").read_text()
        found = re.findall(r"^path = (.*)$", profile, flags=re.M)
        assert any(Path(self.target).is_relative_to(path) for path in found), (self.target, found)
        for path in found:
            on_volume = self.inside(VOLUME + path)
            on_volume.parent.mkdir(parents=True, exist_ok=True)
            if self.inside(path).exists():
                subprocess.run(["cp", "-a", self.inside(path), on_volume], check=True)
            else:
                on_volume.mkdir()
            self.inside(path).mkdir(parents=True, exist_ok=True)
            self.mount("--bind", on_volume, self.inside(path))
        return found

    def freeze(self, script=None):
        """One freeze; `script` is done meanwhile by somebody who is not gated."""
        command = ["true"]
        if script:
            go, over = self.inside("/tmp/go"), self.inside("/tmp/over")
            for file in (go, over):
                file.unlink(missing_ok=True)
            other = subprocess.Popen(["unshare", "-m", "--propagation", "unchanged", "sh", "-ec",
                                      f"while [ ! -e {go} ]; do sleep .01; done; {script}; touch {over}"],
                                     env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)
            command = ["sh", "-c", "touch /tmp/go; n=0; while [ ! -e /tmp/over ] && [ $n -lt 6000 ]; do sleep .01; n=$((n+1)); done"]
        said = subprocess.run(self.root.argv("/usr/bin/writegate", "freeze", "-g", self.gate, "-t", "60s", "--", *command),
                              capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if script:
            try:
                assert other.wait(timeout=10) == 0, "the outsider failed"
            except subprocess.TimeoutExpired:            # the command was not run: the verdict says why
                other.kill()
                other.wait()
        return said

    def paths(self):
        """By which an outsider writes: a name, what is made ready, what it does, and the name that must be told."""
        top = self.inside(self.target)
        bound, link, elsewhere = (self.inside(VOLUME + "/" + name) for name in ("bound", "link", "elsewhere"))
        bound.mkdir()
        link.symlink_to(top)
        (top / "below").mkdir()
        (top / "message").write_text("one\n")
        os.link(self.inside(VOLUME + self.target) / "message", elsewhere / "same")
        new = "by-an-outsider-%d"
        yield "direct", None, f"echo x > {top}/{new}", new
        yield "bind mount", lambda: self.mount("--bind", top, bound), f"echo x > {bound}/{new}", new
        yield "other mount namespace", None, f"mount --make-private {elsewhere.parent} && mount --bind {top} {elsewhere} && " \
            f"echo x > {elsewhere}/{new}", new
        yield "link", None, f"echo x > {link}/{new}", new
        yield "mount below", lambda: self.mount("-t", "tmpfs", "none", top / "below"), f"echo x > {top}/below/{new}", new
        yield "hard link", None, f"echo x >> {elsewhere}/same", "message"

    def close(self):
        for at in reversed(self.mounts):
            if subprocess.run(["umount", at], stderr=subprocess.DEVNULL).returncode:
                subprocess.run(["umount", "-l", at])


def trust(said):
    line = said.stderr.strip().splitlines()[-1] if said.stderr.strip() else ""
    return said.returncode == 0 and "verdict=CONSISTENT coverage=full watched=full" in line


def accused(said, name):
    return said.returncode == 65 and re.search(r"verdict=(ESCAPED|UNGATED)", said.stderr) and name in said.stderr


def others(name):
    """Processes of this server that run on the machine already: ungated, they would speak against each freeze."""
    part = {"cyrus": "/cyr"}.get(name, "/" + name)
    found = []
    for exe in Path("/proc").glob("[0-9]*/exe"):
        try:
            if part in os.readlink(exe):
                found.append(exe.parent.name)
        except OSError:
            pass
    return found


def of_server(what, work, freezes, tell):
    """How many paths went wrong."""
    name = what.split("-")[0]
    packages, unit, gate, argv, count = real.SERVERS[name]
    bad, other = 0, SERVERS[what]
    if running := others(name):
        raise roots.Unavailable(f"another {name} runs on this machine (processes {' '.join(running[:5])})")
    with Released(*other, work, name=name) if other else roots.Root(packages, work, name=name) as root:
        shutil.copy(real.BIN / "writegate", root.inside("/usr/bin/writegate"))
        shutil.copy(real.BIN / "libwritegate.so", root.inside(real.LIBRARY))
        os.chmod(root.inside(real.LIBRARY), 0o4755 if name == "exim" else 0o644)
        real.clean(root)
        server = Server(name, root, os.path.join(work, "image"))
        try:
            found = server.set_up()
            real.prepare(name, root)
            with real.Running(root, argv, real.environment(root, unit)) as running:
                code, doctor, pids = running.doctor(gate, count)
                assert code == 0 and len(pids) >= count, f"doctor: {code}, {len(pids)} processes: {doctor}"
                tell(f"{what}: {len(pids)} processes, protected: {' '.join(found)}")
                for path, ready, script, told in [("nobody", None, None, None), *server.paths()]:
                    if ready:
                        ready()
                    right, wrong = 0, None
                    for n in range(freezes):
                        said = server.freeze(script and script.replace("%d", str(n)))
                        good = accused(said, told.replace("%d", str(n))) if script else trust(said)
                        right += bool(good)
                        wrong = wrong or (None if good else said.stdout + said.stderr)
                    bad += right != freezes
                    tell(f"  {what:11} {path:22} {'ESCAPED or UNGATED, file named' if script else 'CONSISTENT full watched=full':32}"
                         f"{right:3} of {freezes}")
                    if wrong:
                        print(wrong.strip(), flush=True)
        finally:
            root.kill_all()
            time.sleep(0.1)
            server.close()
    return bad


def main():
    options = suite.parser(__doc__)
    options.add_argument("--freezes", type=int, default=20)
    options.add_argument("--out", type=Path, help="write the table there, too")
    options = options.parse_args()
    if os.geteuid():
        print("SKIPPED: needs root for overlay roots")
        return 77
    chosen = [name for name in SERVERS if suite.fits(name, options.only)]
    if not chosen:
        return suite.nothing(options.only, SERVERS)
    lines = []

    def tell(line):
        print(line, flush=True)
        lines.append(line)

    passed = failed = skipped = 0
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="wg-places-", dir="/var/tmp", ignore_cleanup_errors=True) as work:
            os.chmod(work, 0o755)
            try:
                bad = of_server(name, work, options.freezes, tell)
            except roots.Unavailable as why:
                print(f"SKIPPED {name}: {why}", flush=True)
                skipped += 1
                continue
            except Exception as why:                     # noqa: BLE001: one server must not hide the others
                print(f"FAILED  {name}: {type(why).__name__}: {why}", flush=True)
                bad = 1
            failed += bool(bad)
            passed += not bad
    if options.out:
        options.out.write_text(f"# tests/command/places/servers.py --freezes {options.freezes}\n" + "\n".join(lines) + "\n")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

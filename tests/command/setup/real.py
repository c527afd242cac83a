#!/usr/bin/env python3
"""`writegate setup` on the real servers, with the configuration that Debian's packages bring.

    real.py [--only PATTERN]

For each server, in an overlay root and a network of its own: setup --install; the unit's ExecStart with the
drop-in's environment; `doctor` must be green and list every process of the server as gated; a freeze must be
CONSISTENT; stop; setup --remove must leave /etc as it was, to the byte. And the control: without the set-up,
`doctor` must not be green. Needs root, apt and overlayfs. Binaries: $WRITEGATE_BIN_DIR, else target/release.
"""
import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "servers"), str(TESTS)]
from mta import root as roots                            # noqa: E402

BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or TESTS.parent / "target/release")
LIBRARY = "/usr/lib/x86_64-linux-gnu/libwritegate.so"

# server: packages, unit, gate, ExecStart, how many processes at least
SERVERS = {
    "cyrus": (("cyrus-imapd", "cyrus-pop3d", "cyrus-nntpd", "cyrus-caldav", "cyrus-admin"), "cyrus-imapd.service", "cyrus",
              ["/usr/sbin/cyrmaster", "-l", "32", "-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"], 2),
    "dovecot": (("dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-pop3d"), "dovecot.service", "dovecot",
                ["/usr/sbin/dovecot", "-F"], 3),
    "postfix": (("postfix",), None, "postfix", ["/usr/sbin/postfix", "start-fg"], 3),
    "exim": (("exim4-daemon-light",), "exim4.service", "default", ["/usr/sbin/exim4", "-bdf", "-q30m"], 1),
}


def etc(root):
    """Everything below /etc: type, mode, owner, content."""
    found = {}
    base = Path(root.inside("/etc"))
    for path in base.rglob("*"):
        info = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(base))] = (info.st_mode, info.st_uid, info.st_gid, content)
    return found


def changed(before, after):
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def environment(root, unit):
    """What the unit's drop-in sets."""
    if unit is None:
        return {}
    text = Path(root.inside(f"/etc/systemd/system/{unit}.d/writegate.conf")).read_text()
    lines = [line.removeprefix("Environment=") for line in text.splitlines() if line.startswith("Environment=")]
    return dict(line.split("=", 1) for line in lines)


def writegate(root, *argv, check=True):
    done = subprocess.run(root.argv("/usr/bin/writegate", *argv), capture_output=True, text=True, timeout=60,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, stdin=subprocess.DEVNULL)
    if check and done.returncode:
        raise AssertionError(f"writegate {' '.join(argv)}: {done.returncode}: {done.stdout[-1500:]}{done.stderr[-500:]}")
    return done


class Running:
    """The server in a network of its own, until the end of the `with`."""

    def __init__(self, root, argv, env):
        words = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *(f"{k}={v}" for k, v in env.items()), *argv]
        self.root = root
        self.process = subprocess.Popen(["unshare", "--net", *root.argv("sh", "-c", 'ip link set lo up; exec "$@"',
                                                                        "sh", *words)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Who exactly belongs to it: only its processes have this root.
        self.root.kill_all()
        self.process.kill()
        self.process.wait()

    def doctor(self, gate, count, patience_s=20):
        """The doctor's answer once the server is up, and once it is green if it ever is."""
        deadline = time.monotonic() + patience_s
        while True:
            pids = set(self.root.processes())
            done = writegate(self.root, "doctor", "--json", "--pid", str(self.process.pid), "-g", gate, check=False)
            found = json.loads(done.stdout) if done.stdout.startswith("{") else {"processes": []}
            listed = {row["pid"] for row in found["processes"]}
            up = len(pids) >= count and pids == set(self.root.processes()) and pids <= listed
            if (up and done.returncode == 0) or time.monotonic() > deadline:
                return done.returncode, found, pids
            time.sleep(0.3)


def check(name, work):
    packages, unit, gate, argv, count = SERVERS[name]
    with roots.Root(packages, work, name=name) as root:
        shutil.copy(BIN / "writegate", root.inside("/usr/bin/writegate"))
        shutil.copy(BIN / "libwritegate.so", root.inside(LIBRARY))
        os.chmod(root.inside(LIBRARY), 0o4755 if name == "exim" else 0o644)
        shutil.rmtree(root.inside("/run/writegate"), ignore_errors=True)
        before = etc(root)

        prepare(name, root)
        with Running(root, argv, {}) as bare:
            code, found, pids = bare.doctor(gate, count, patience_s=6)
            assert len(pids) >= count, f"without the set-up only {len(pids)} processes came up"
            assert code not in (0,), "green without the set-up: this check is blind"
        clean(root)
        base = etc(root)

        said = writegate(root, "setup", name, "--install", "--library", LIBRARY).stdout
        assert changed(base, etc(root)), "nothing was installed"
        assert "nothing to change" in writegate(root, "setup", name, "--install", "--library", LIBRARY).stdout
        prepare(name, root)
        with Running(root, argv, environment(root, unit)) as server:
            code, found, pids = server.doctor(gate, count)
            wrong = [(row["program"], row["cause"], row["reason"]) for row in found["processes"] if row["state"] != "gated"]
            assert code == 0 and len(pids) >= count, f"doctor: {code}, {len(pids)} processes, {wrong}"
            gated = {row["pid"] for row in found["processes"] if row["state"] == "gated"}
            done = writegate(root, "freeze", "-g", gate, "--", "true", check=False)
            assert done.returncode == 0 and "verdict=CONSISTENT" in done.stderr, done.stdout + done.stderr
            print(f"        {name}: {len(gated)} processes gated; {done.stderr.strip()}")
        if name == "exim":
            # Without the set-user-ID bit the daemon is gated and its deliveries are not.
            os.chmod(root.inside(LIBRARY), 0o644)
            with Running(root, argv, environment(root, unit)) as server:
                code, found, pids = server.doctor(gate, count, patience_s=4)
                causes = {row["cause"] for row in found["processes"]}
                assert code == 65 and causes == {"deliveries-outside"}, (code, causes)
        clean(root)
        writegate(root, "setup", name, "--remove")
        left = changed(base, etc(root))
        assert not left, f"after --remove: {left}"
        assert base == before or name == "exim", changed(before, base)
        assert not os.path.exists(root.inside("/var/lib/writegate")), "its record is left over"
        return said


def prepare(name, root):
    """What the unit's own ExecStartPre or the package's scripts do."""
    if name == "exim":
        root.run("update-exim4.conf")
        root.run("install", "-d", "-o", "Debian-exim", "-g", "Debian-exim", "/run/exim4")
    if name == "cyrus":
        for folder in "/run/cyrus", "/run/cyrus/lock", "/run/cyrus/proc", "/run/cyrus/socket":
            root.run("install", "-d", "-o", "cyrus", "-g", "mail", folder)


def clean(root):
    """/run is empty after a restart of the machine."""
    shutil.rmtree(root.inside("/run/writegate"), ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="*")
    only = parser.parse_args().only
    if os.geteuid() != 0:
        print("SKIPPED: needs root for overlay roots")
        return 77
    passed = failed = skipped = 0
    for name in SERVERS:
        if not fnmatch.fnmatch(name, only):
            continue
        with tempfile.TemporaryDirectory(prefix="wg-real-", dir="/var/tmp", ignore_cleanup_errors=True) as work:
            os.chmod(work, 0o755)
            try:
                check(name, work)
            except roots.Unavailable as why:
                print(f"SKIPPED {name}: {why}", flush=True)
                skipped += 1
            except Exception as error:                   # noqa: BLE001: one server must not hide the others
                print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
                failed += 1
            else:
                print(f"ok      {name}", flush=True)
                passed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

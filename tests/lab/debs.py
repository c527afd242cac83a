"""Programs of Debian packages that conflict with each other (cyrus-imapd, dovecot-imapd, the MTAs).

    imapd = debs.program("/usr/lib/cyrus/bin/imapd", package="cyrus-imapd")

The installed file where there is one; else the package is downloaded with apt and unpacked, not
installed, into $WRITEGATE_LAB_DEBS (default /var/tmp/writegate-debs), and the file there is given.
Its libraries must come from packages that can be installed side by side.
"""
import fcntl
import os
import subprocess
from pathlib import Path


def folder():
    return Path(os.environ.get("WRITEGATE_LAB_DEBS", "/var/tmp/writegate-debs"))


def program(path, package):
    """The file's path, installed or unpacked. OSError when neither can be had."""
    if os.path.exists(path):
        return Path(path)
    unpacked = unpack(package) / path.lstrip("/")
    if not unpacked.exists():
        raise FileNotFoundError(f"package {package} has no {path}")
    return unpacked


def unpack(package):
    """Download and unpack a package once; where it lies. Two tests at once wait for each other."""
    root = folder() / package
    root.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{root}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.is_dir():
            return root
        download = Path(f"{root}.download")
        download.mkdir(exist_ok=True)
        _run(["apt-get", "-q", "download", package], download)
        _run(["dpkg", "-x", *map(str, download.glob("*.deb")), f"{root}.new"], download)
        os.rename(f"{root}.new", root)
        return root


def _run(argv, cwd):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")

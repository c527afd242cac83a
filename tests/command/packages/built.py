"""The .deb files: those that scripts/package makes now, or those of a folder."""
import subprocess
from pathlib import Path

import machine as machines

ROOT = Path(__file__).resolve().parents[3]


def packages(given):
    """The .deb files."""
    out = given or ROOT / "target/packages"
    if not given:
        done = subprocess.run([ROOT / "scripts/package", "deb", "--out", out], capture_output=True, text=True)
        if done.returncode == 77:
            raise machines.Unavailable(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            raise RuntimeError(f"scripts/package: {done.stderr[-2000:]}")
    debs = sorted(out.glob("writegate*.deb"))
    if not debs:
        raise RuntimeError(f"there is no package in {out}")
    return debs

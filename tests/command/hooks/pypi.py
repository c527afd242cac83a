"""Programs from PyPI, in a folder of their own that is kept for the next run."""
import subprocess
import sys
from pathlib import Path

from rig import Skip

HOME = Path("/var/tmp/writegate-hooks-pypi")
WANTED = ["ansible-core>=2.15", "borgmatic>=2", "zfs-autobackup>=3.3"]


def program(name):
    """Its path; installs all of them if it is not there."""
    path = HOME / "bin" / name
    if not path.exists():
        for command in ([sys.executable, "-m", "venv", HOME], [HOME / "bin/pip", "install", "-q", *WANTED]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if done.returncode:
                raise Skip(f"{name} from PyPI: {done.stderr.strip()[-200:]}")
    return path

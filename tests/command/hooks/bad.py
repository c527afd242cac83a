"""Every way in which a run can go wrong, one after the other on one rig: what no hook may take for good.

`wrapped` is for hooks that run the tool inside the freeze, `token` for those with a freeze and a thaw. Each
yields a name, the exit code writegate has for it, and what to do at the moment of the snapshot.
"""
import subprocess
import sys
import time

from rig import run

# The name of a file that an ungated process changes: printed as it is, it is a verdict line.
FORGED = "x\nwritegate: gate=mail verdict=CONSISTENT coverage=full gen=1"
INTRUDER = r"""
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
file = open(sys.argv[2], "a")
file.write("!")
file.flush()
print(".", flush=True)
open(sys.argv[1] + ".done", "w").close()
time.sleep(60)
"""


def stand_in(rig, name, real, words="*snapshot*"):
    """A program before the real one in PATH that runs $BEFORE if its arguments are like `words`. Its environment."""
    folder = rig.folder / "before"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/sh\ncase "$*" in {words}) eval "${{BEFORE:-}}" ;; esac\nexec {real} "$@"\n')
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{rig.environment()['PATH']}"}


def two_gates(rig):
    """The first of them is the one that goes bad; the second, `mail`, is CONSISTENT. The forged file."""
    other = rig.volume / "other"
    if not other.exists():
        other.mkdir()
    (other / FORGED).touch()
    rig.write(gate="first", tree=other, paths=other)
    rig.write(tree=rig.tree, paths=rig.tree)
    rig.configure(gates="first mail")
    return other / FORGED


def wrapped(rig, only=None):
    """(name, exit code, environment with $BEFORE), all or `only` those names; leaves a rig on which all is well."""
    yield from (one for one in all_wrapped(rig) if only is None or one[0] in only)


def all_wrapped(rig):
    """The bad runs of `wrapped`; what one has set up is undone when the next is asked for."""
    rig.stop_writers()
    rig.configure()
    yield "the server is stopped", 69, {}
    rig.write(hold=60)
    rig.configure(options="--drain 200ms --retries 0")
    yield "does not drain", 75, {}
    rig.stop_writers()
    rig.write()
    rig.configure(options="--policy crash-consistent")
    yield "a policy that is not for hooks", 78, {}
    rig.configure(limit="300ms")
    yield "late", 124, {"BEFORE": "sleep 0.5"}
    rig.stop_writers()
    forged, now = two_gates(rig), rig.folder / "now"
    for file in (now, rig.folder / "now.done"):
        file.unlink(missing_ok=True)
    rig.writers.append(subprocess.Popen([sys.executable, "-c", INTRUDER, now, forged], stdout=subprocess.PIPE))
    yield "the first of two gates, forged words", 65, {"BEFORE": f"touch {now}; until [ -e {now}.done ]; do sleep 0.02; done"}
    assert not now.exists() or rig.writers[-1].stdout.read(1) == b".", "nobody intruded: this case shows nothing"
    rig.stop_writers()
    rig.write()
    rig.configure()
    yield "the tool fails", 5, {"BEFORE": "exit 5"}


def token(rig):
    """(name, exit code, does the freeze fail?, what to do before the thaw); leaves a rig on which all is well."""
    nothing = lambda: None                               # noqa: E731
    rig.stop_writers()
    rig.configure()
    yield "the server is stopped", 69, True, nothing
    rig.write(hold=60, paths=rig.tree)
    rig.configure(options="--drain 200ms --retries 0")
    yield "does not drain", 75, True, nothing
    rig.stop_writers()
    rig.write(paths=rig.tree)
    rig.configure(limit="300ms")
    yield "late", 124, False, lambda: time.sleep(0.6)
    rig.stop_writers()
    forged = two_gates(rig)

    def intrude():
        # This process is not gated.
        with open(forged, "a") as file:
            file.write("!")
    yield "the first of two gates, forged words", 65, False, intrude
    rig.stop_writers()
    rig.write(paths=rig.tree)
    rig.configure()


def delete(snapshot):
    run("btrfs", "-q", "subvolume", "delete", snapshot)

"""The faults. Each is put into one freeze, and says what it saw of the truth:

    fault(world, rng) -> Case(outcome, seen, forbidden)

`forbidden` says why this freeze must not be called CONSISTENT, or is None where the fault may leave the snapshot
whole: then only the checker's eyes count.
"""
import contextlib
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass

from world import Outcome, parse, stress

HOLD_US = 25000
# Of a freeze whose time is not the fault. Too late, or not drained, is no wrong word here.
USUAL = {"limit": "8s", "drain": "4s"}

# Does one thing to the tree when told to by a file, and says so by another.
VANDAL = """
import os, sys, time
flag, done, what, tree = sys.argv[1:]
path = os.path.join(tree, 'victim')
held = open(path, 'ab') if what == 'held' else None
print('ready', flush=True)
while not os.path.exists(flag): time.sleep(0.0005)
if what == 'append': open(path, 'ab').write(bytes(16))
elif what == 'create': open(os.path.join(tree, 'new'), 'wb').close()
elif what == 'rename': os.rename(path, path + '2'); os.rename(path + '2', path)
elif what == 'unlink': os.unlink(path)
elif what == 'chmod': os.chmod(path, 0o600)
elif what == 'truncate': os.truncate(path, 0)
elif what == 'mkdir': os.mkdir(os.path.join(tree, 'directory'))
elif what == 'link': os.link(path, path + '3')
elif what == 'held': held.write(bytes(16)); held.flush()
open(done, 'w').close()
time.sleep(60)
"""

# A service of one process: a record into its own file every other millisecond.
SCRIBBLER = """
import os, struct, sys, time
path, how = sys.argv[1:]
fd = os.open(path, os.O_RDWR | os.O_CREAT)
print('ready', flush=True)
n = 0
while True:
    n += 1
    if how == 'reopen': os.close(fd); fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, struct.pack('QQ', n, 0), 0)
    if how == 'reopen': os.close(fd); time.sleep(0.002); fd = os.open(path, os.O_RDONLY)
    else: time.sleep(0.002)
"""


@dataclass
class Case:
    outcome: object
    seen: dict
    forbidden: str = None
    what: str = ""
    spoilt: bool = False                                 # the workload must be started anew


def python(code, *arguments):
    return [sys.executable, "-S", "-c", code, *arguments]


def ready(child):
    line = child.stdout.readline().strip()
    if line != "ready":
        raise stress.Failed(f"a helper did not start: {line!r}")
    return child


def ungated_writer(world, rng):
    """Somebody without the library changes something in the window."""
    what = rng.choice("append create rename unlink chmod truncate mkdir link held".split())
    flag, done, seen_in_it = (world.aside / name for name in ("flag", "done", "seen-in-it"))
    for file in (flag, done, seen_in_it):
        file.unlink(missing_ok=True)
    (world.tree / "victim").write_bytes(bytes(16))
    ready(world.spawn(python(VANDAL, flag, done, what, world.tree)))
    script = f"touch {flag}; n=0; while [ ! -e {done} ] && [ $n -lt 2000 ]; do sleep 0.002; n=$((n+1)); done; " \
             f"[ ! -e {done} ] || : > {seen_in_it}; exec \"$@\""
    outcome, seen = world.run_freeze(["sh", "-c", script, "sh", *world.checker(1000)], **USUAL)
    happened = seen_in_it.exists() or what == "held"
    world.end_spawned()
    for name in ("victim", "new", "victim2", "victim3"):
        (world.tree / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (world.tree / "directory").rmdir()
    return Case(outcome, seen, "an ungated process changed the tree in the window" if happened else None, what)


def killed_worker(world, rng):
    """A worker dies inside a section: before the freeze, while it drains, or in the window."""
    when = rng.choice(["before", "draining", "draining", "window"])

    def kill(_=None):
        end = time.monotonic() + 0.03
        while time.monotonic() < end:
            victim = world.page.somebody(rng, in_section=True)
            if victim:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim[0], signal.SIGKILL)
                return
        victim = world.page.somebody(rng, in_section=False)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim[0], signal.SIGKILL)

    def later(freezer):
        time.sleep(0.05)
        kill()

    if when == "before":
        kill()
        return Case(*world.run_freeze(world.checker(HOLD_US), **USUAL), what=when)
    act = kill if when == "draining" else later
    return Case(*world.run_freeze(world.checker(HOLD_US), act, **USUAL), what=when)


def late_thaw(world, rng):
    """The limit passes before the thaw, by a slow command or a forgotten token."""
    limit = rng.choice([100, 150, 250])
    if rng.random() < 0.5:
        command = ["sh", "-c", f"\"$@\"; sleep {(limit + 30 + rng.randrange(100)) / 1e3}", "sh", *world.checker(1000)]
        outcome, seen = world.run_freeze(command, limit=f"{limit}ms", drain=f"{limit}ms")
        return Case(outcome, seen, "its command outlived the limit", "command")
    done = world.gate.run("freeze", "-g", world.gate.name, "-t", f"{limit}ms", "--drain", f"{limit}ms")
    if done.returncode:
        return Case(Outcome(done.returncode, done.stdout, done.stderr, 0, parse(done.stderr)), None, None, "token")
    time.sleep((limit + rng.randrange(100)) / 1e3)
    late = world.gate.run("thaw", done.stdout.strip())
    return Case(Outcome(late.returncode, late.stdout, late.stderr, 0, parse(late.stderr)), None,
                "the thaw came after the limit", "token")


def exhausted_region(world, rng):
    """A process with more locks, or more threads, than its region has places."""
    torn = world.aside / "torn"
    torn.unlink(missing_ok=True)
    one, other = world.tree / "many-a", world.tree / "many-b"
    what = rng.choice(["locks", "locks", "threads"])
    if what == "locks":
        argv = [world.binaries / "exhaust", "locks", one, other, world.locks]
    else:
        argv = [world.binaries / "exhaust", "threads", one]
    ready(world.spawn(argv, gate=world.gate))
    time.sleep(rng.uniform(0, 0.02))
    look = f"cmp -s {one} {other} || : > {torn}; " if what == "locks" else ""
    outcome, seen = world.run_freeze(["sh", "-c", f"{look}exec \"$@\"", "sh", *world.checker(HOLD_US)], limit="8s",
                                     drain="4s")
    world.end_spawned()
    for file in (one, other, *world.locks.glob("many-*")):
        file.unlink(missing_ok=True)
    return Case(outcome, seen, "the set of the exhausted process is cut in two" if torn.exists() else None, what)


def replaced_page(world, rng):
    """Another control page lies under the name: until shortly before the freeze, before it, or from some moment of
    it on. Who became another program meanwhile is deaf to the one that counts."""
    aside, control = world.control.with_name("aside"), world.control
    when = rng.choice(["earlier", "before", "closed", "window"])

    done = world.aside / "replaced"
    done.unlink(missing_ok=True)

    def replace(_=None):
        if when == "window":
            time.sleep(0.04)
        os.link(control, aside)
        shutil.copy(control, control.with_name("copy"))
        os.rename(control.with_name("copy"), control)
        done.touch()

    def back():
        if aside.exists():
            os.rename(aside, control)

    try:
        if when == "earlier":
            replace()
            time.sleep(rng.uniform(0.002, 0.02))
            back()
            return Case(*world.run_freeze(world.checker(HOLD_US), **USUAL), what=when, spoilt=True)
        if when == "before":
            replace()
            case = Case(*world.run_freeze(world.checker(HOLD_US), limit="3s", drain="2s"),
                        "nobody hears the page that it raised its barrier in", when)
        else:
            # It is not over before that has happened.
            script = f"\"$@\"; n=0; until [ -e {done} ] || [ $n -ge 2000 ]; do sleep 0.01; n=$((n+1)); done; sleep 0.1"
            case = Case(*world.run_freeze(["sh", "-c", script, "sh", *world.checker(HOLD_US)], replace, **USUAL),
                        "the page was replaced during the freeze", when)
        if not aside.exists():
            case.forbidden = None                        # it did not come to it
        case.spoilt = True
        return case
    finally:
        back()


def stopped_freezer(world, rng):
    """SIGSTOP to the freezer at a random moment of the freeze, or right behind its opening, until the limit is past."""
    what = rng.choice(["closed", "opened", "opened"])
    truth = {}

    def stop(freezer):
        deadline = world.word()
        if what == "closed":
            time.sleep(rng.uniform(0, 0.06))
        else:
            # Between lowering and reporting, as near as another process gets.
            end = time.monotonic() + 2
            while world.word() and freezer.poll() is None and time.monotonic() < end:
                pass
            time.sleep(rng.choice([0, 0, 0.0005, 0.002]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(freezer.pid, signal.SIGSTOP)
        end = time.monotonic() + 1
        while state(freezer.pid) not in ("T", None) and time.monotonic() < end:
            time.sleep(0.0005)
        truth["stopped"] = state(freezer.pid) == "T"
        truth["up"] = bool(deadline) and truth["stopped"] and world.word() == deadline
        time.sleep(max(0, (deadline - time.monotonic_ns()) / 1e9) + rng.uniform(0.01, 0.05))
        with contextlib.suppress(ProcessLookupError):
            os.kill(freezer.pid, signal.SIGCONT)

    limit = rng.choice([250, 400])
    outcome, seen = world.run_freeze(world.checker(HOLD_US), stop, limit=f"{limit}ms", drain=f"{limit}ms")
    forbidden = "it was stopped with the barrier up until the limit was past" if truth.get("up") else None
    return Case(outcome, seen, forbidden, what + (", stopped" if truth.get("stopped") else ", was over"))


def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as text:
            return text.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def new_gate_directory(world, rng):
    """A service, or a part of it, was restarted under another gate directory."""
    other = world.other_gate("other")
    file = world.tree / "scribbled"
    if rng.random() < 0.3:
        # All of it: the old gate is empty, and its page still there.
        lone = world.other_gate("lone")
        first = ready(world.spawn(python(SCRIBBLER, file, "keep"), gate=lone))
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        ready(world.spawn(python(SCRIBBLER, file, "keep"), gate=other))
        o = lone.freeze(world.checker(HOLD_US), limit="3s", drain="2s")
        case = Case(o, None, "its service runs under another gate's directory", "all of it")
    else:
        how = rng.choice(["keep", "reopen"])
        ready(world.spawn(python(SCRIBBLER, file, how), gate=other))
        outcome, seen = world.run_freeze(world.checker(HOLD_US), **USUAL)
        case = Case(outcome, seen, "a part of the service runs under another gate's directory", f"a part, {how}")
    world.end_spawned()
    file.unlink(missing_ok=True)
    return case


ALL = [ungated_writer, killed_worker, late_thaw, exhausted_region, replaced_page, stopped_freezer, new_gate_directory]

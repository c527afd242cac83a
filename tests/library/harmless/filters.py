"""System call filters: they may forbid whatever the library would like to call, at the start and under the barrier.

Under a closed barrier whose freezer was killed, a writer goes on at the deadline: not before, not 50 ms after it.
"""
import concurrent.futures
import os
import subprocess
import time
from pathlib import Path

import rig

EPERM, ENOSYS = 1, 38
CLOCK, FUTEX, NANOSLEEP, YIELD, CLOCK_NANOSLEEP = 228, 202, 35, 24, 230
LIMIT_S = 0.8
# Nobody waits beyond the limit and so much more.
ROOM_MS = 50
LATE = []
# confined.c: its call comes so long after it is ready.
CALLS_AFTER_MS = 300
# What a program of ours needs that writes and exits: everything else kills.
WRITES_AND_EXITS = "+1,60,231,15"


def _waits(work, confined, how, action, calls, before=(), held=True, blind=(), storage=False, from_ms=0):
    """None, or what was wrong with a writer under the barrier of a killed freezer. `storage`: the gate's directory lies there.
    `from_ms`: so long after the closing the limit begins to count."""
    for last in (False, False, True):
        with rig.Work() if storage else rig.Tmpfs() as gates, rig.Work() as places:
            wrong = _waits_there(places, confined, gates, rig.make_page(gates), how, action, calls, before, held, blind, from_ms)
        # What the machine does to it is left out as far as it is known; it may be more.
        if last or not (wrong or "").startswith("late"):
            return wrong


def _waited_for_a_processor(pid):
    """How long this process was ready to run and did not, ns; None where that cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
    except (OSError, IndexError):
        return None


def _writer(pid, blind):
    """The process that writes: with `blind` before it that one's child."""
    if not blind:
        return pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(children.read_text().split()[0]) if children.exists() else pid


def _ended(p, writer, deadline):
    """Waits for its end, and leaves it to be reaped; what it waited for a processor from just before the deadline on, ns.
    None: it does not end."""
    before = last = 0
    while time.clock_gettime_ns(time.CLOCK_MONOTONIC) < deadline + 4_000_000_000:
        over = os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        last = _waited_for_a_processor(writer) or last
        if time.clock_gettime_ns(time.CLOCK_MONOTONIC) < deadline:
            before = last
        if over:
            return last - before
        time.sleep(0.002)
    return None


def _waits_there(work, confined, gates, page, how, action, calls, before, held, blind, from_ms):
    path = work / "told"
    env = rig.loaded(gates, WRITEGATE_PATHS=str(work))
    p = subprocess.Popen([*map(str, before), *rig.assignments(env), *map(str, blind), str(confined), how, action, calls, str(path)], env=rig.clean(),
                         stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 5
        while not path.exists() or path.read_text() != "ready\n":
            if time.monotonic() > until or p.poll() is not None:
                return f"did not come to its start: exit {p.poll()}"
            time.sleep(0.002)
        writer = _writer(p.pid, blind)
        deadline = rig.close_barrier(page, LIMIT_S)
        queued = _ended(p, writer, deadline)
        told = path.read_text()
        if queued is None:
            return f"waits for ever: {told!r}"
        code = p.wait()
        if code != 0 or told != "ready\n" + 3 * "waited\n":
            return f"exit {code}, wrote {told!r}"
        # When it wrote, by the file itself: how soon this test sees it is no part of the bound.
        wrote = path.stat().st_mtime_ns - (time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        late_ms = (wrote - deadline) / 1e6 - from_ms
        LATE.append(late_ms - queued / 1e6)
        if late_ms - queued / 1e6 > ROOM_MS:
            return f"late by {late_ms:.0f} ms, {queued / 1e6:.0f} of them for want of a processor"
        if held and late_ms < -10:
            return f"was not held: {-late_ms:.0f} ms before the deadline"
        return None
    finally:
        rig.open_barrier(page)
        p.kill()
        p.wait()


def under_the_barrier(work):
    confined, blind = rig.build(work, "confined.c"), rig.build(work, "blind.c")
    errno_cases = {"the clock": f"{CLOCK}", "futex": f"{FUTEX}", "clock and futex": f"{CLOCK},{FUTEX}",
                   "clock, futex, nanosleep": f"{CLOCK},{FUTEX},{NANOSLEEP},{CLOCK_NANOSLEEP}",
                   "clock, futex, nanosleep, sched_yield": f"{CLOCK},{FUTEX},{NANOSLEEP},{CLOCK_NANOSLEEP},{YIELD}"}
    errnos, ways = ((EPERM, ENOSYS), ("OWN", "CALL")) if rig.ALL else ((EPERM,), ("OWN",))
    cases = [("no filter", "NEITHER", "1", "0")]
    for name, calls in errno_cases.items():
        for how in ways:
            cases += [(f"own filter ({how}), {name}: {errno}", how, str(errno), calls) for errno in errnos]
    for name, calls in {**errno_cases, "all but write and exit": WRITES_AND_EXITS}.items():
        cases += [(f"own filter ({how}), {name}: kill", how, "kill", calls) for how in ("OWN", "CALL")]
    cases.append(("own filter, all but write and exit: EPERM", "OWN", "1", WRITES_AND_EXITS))
    cases.append(("strict mode", "STRICT", "kill", "0"))
    # A filter from before: the program was started under it, as a service's is.
    for name, calls in errno_cases.items():
        cases.append((f"filter from before, {name}: EPERM", "NEITHER", "1", "0", [confined, "BEFORE", "1", calls]))
    cases.append(("filter from before, the clock: kill", "NEITHER", "1", "0", [confined, "BEFORE", "kill", f"{CLOCK}"]))
    # No vDSO: the system call is the only clock. It is taken away at the last exec.
    no_vdso = [blind]
    cases.append(("no vDSO", "NEITHER", "1", "0", (), True, no_vdso))
    cases.append(("no vDSO, filter from before, the clock: EPERM", "NEITHER", "1", "0", [confined, "BEFORE", "1", f"{CLOCK}"], True, no_vdso))
    cases.append(("no vDSO, filter from before, clock and futex: EPERM", "NEITHER", "1", "0", [confined, "BEFORE", "1", f"{CLOCK},{FUTEX}"], True, no_vdso))
    # By nanosleep alone sleeps are counted, from the call on, which comes 0.3 s after the closing.
    cases.append(("no vDSO, filter from before, clock, futex and clock_nanosleep: EPERM", "NEITHER", "1", "0",
                  [confined, "BEFORE", "1", f"{CLOCK},{FUTEX},{CLOCK_NANOSLEEP}"], True, no_vdso, False, CALLS_AFTER_MS))
    # Neither a clock nor a sleep that may be made: such a process is not held, and its region says so.
    for action in ("1", "kill"):
        cases.append((f"no vDSO, own filter, all but write and exit: {action}", "OWN", action, WRITES_AND_EXITS, (), False, no_vdso))
    cases.append(("no vDSO, own filter, the clock: EPERM", "OWN", "1", f"{CLOCK}", (), False, no_vdso))
    yield from _all(work, confined, cases)


def boots(work):
    """A container may be shown a boot id of its own, ProcSubset=pid hides it: such a process is held like any other."""
    confined = rig.build(work, "confined.c")
    own = work / "boot_id"
    own.write_text("00010203-0405-4607-8809-0a0b0c0d0e0f\n")
    shown = {"a boot id of its own": f"mount --bind {own} /proc/sys/kernel/random/boot_id",
             "no boot id": "mount -t proc -o subset=pid proc /proc"}
    cases = []
    for name, mount in shown.items():
        there = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
        for storage in (False, True):
            where = "the page on a disk" if storage else "the page on a tmpfs"
            cases.append((f"{name}, {where}", "NEITHER", "1", "0", there, True, (), storage))
        # Under a filter a page is doubtful, however old it is: on a disk nothing proves its boot.
        cases.append((f"{name}, the page on a tmpfs, filter from before", "NEITHER", "1", "0", [*there, confined, "BEFORE", "1", f"{CLOCK}"]))
    yield from _all(work, confined, cases)


def _all(work, confined, cases):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = pool.map(lambda case: _waits(work, confined, *case[1:]), cases)
        yield from zip((case[0] for case in cases), results)


def at_the_start(work):
    """A filter from before the start kills what the library may live without, each call in turn."""
    confined, host = rig.build(work, "confined.c"), rig.build(work, "host.c")
    with rig.Tmpfs() as gates:
        for first in (True, False):
            environment = rig.loaded(gates)
            if first:
                # Every start is a first one.
                environment["WRITEGATE_DIR"] = str(gates / "new")
            else:
                rig.make_page(gates)
            traced = environment | {"WRITEGATE_DIR": str(gates / "traced")} if first else environment
            made = subprocess.run(["strace", "-qq", "-n", "-e", "signal=none", *(x for a in rig.assignments(traced)[1:] for x in ("-E", a)), "/bin/true"],
                                  env=rig.clean(), capture_output=True, text=True).stderr
            numbers = sorted({int(line[1:].split("]")[0]) for line in made.splitlines() if line.startswith("[")})
            for number in numbers:
                for action in ("kill", "1", "38") if rig.ALL else ("kill", "1"):
                    launch = [confined, "BEFORE", action, str(number)]
                    bare = rig.run([*launch, "/usr/bin/env", "LD_PRELOAD=libm.so.6", "/bin/echo", "fine"], rig.clean())
                    if bare[:2] != (0, b"fine\n"):
                        continue
                    got = rig.run([*launch, *rig.assignments(environment), "/bin/echo", "fine"], rig.clean())
                    yield (f"{'first' if first else 'later'} start, call {number}: {action}", None if got == bare else f"bare {bare}, with the library {got}")
                    if first:
                        subprocess.run(["rm", "-rf", gates / "new"], check=True)


def locks(work):
    """Lock files and locks under a filter that kills for what the program does not call itself."""
    names = rig.build(work, "names.c")
    for profile in ("", "lock-file = *.lck\n"):
        with rig.Tmpfs() as gates, rig.Work() as places:
            (gates / "profile").write_text(profile)
            environment = rig.loaded(gates, WRITEGATE_PATHS=str(places), WRITEGATE_CONF=str(gates / "profile"))
            code, out, err = rig.run([names], environment, cwd=places)
            made = (gates / rig.GATE / "control").exists()
            problem = None if (code, out) == (0, b"done\n") and made else f"exit {code}, wrote {out!r}, {err!r}, page: {made}"
            yield f"own filter, lock files{' of a profile' if profile else ''}: all but its own calls kill", problem


def cases(work):
    yield from under_the_barrier(work)
    yield from locks(work)
    yield from boots(work)
    yield from at_the_start(work)

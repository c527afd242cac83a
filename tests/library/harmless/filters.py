"""System call filters: they may forbid whatever the library would like to call, at the start and under the barrier.

Under a closed barrier whose freezer was killed, a writer goes on at the deadline: not before, not 50 ms after it.
"""
import concurrent.futures
import subprocess
import time

import rig

EPERM, ENOSYS = 1, 38
CLOCK, FUTEX, NANOSLEEP, YIELD, CLOCK_NANOSLEEP = 228, 202, 35, 24, 230
LIMIT_S = 0.8
# What a program of ours needs that writes and exits: everything else kills.
WRITES_AND_EXITS = "+1,60,231,15"


def _waits(work, confined, how, action, calls, before=(), held=True, blind=()):
    """None, or what was wrong with a writer under the barrier of a killed freezer."""
    for last in (False, False, True):
        with rig.Tmpfs() as gates, rig.Work() as places:
            wrong = _waits_there(places, confined, gates, rig.make_page(gates), how, action, calls, before, held, blind)
        # A busy machine makes one late now and then, a fault each time.
        if last or not (wrong or "").startswith("took"):
            return wrong


def _waits_there(work, confined, gates, page, how, action, calls, before, held, blind):
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
        rig.close_barrier(page, LIMIT_S)
        closed = time.monotonic()
        try:
            code = p.wait(timeout=LIMIT_S + 4)
        except subprocess.TimeoutExpired:
            return f"waits for ever: {path.read_text()!r}"
        took = time.monotonic() - closed
        told = path.read_text()
        if code != 0 or told != "ready\n" + 3 * "waited\n":
            return f"exit {code}, wrote {told!r}"
        # Starting and reaping is no part of the bound; the machine is busy. Without any clock the bound counts from
        # the call, which comes 0.3 s after the barrier.
        late = 0.3 if blind and before else 0
        if took > LIMIT_S + late + 0.15:
            return f"took {took * 1e3:.0f} ms of {LIMIT_S * 1e3:.0f}"
        if held and took < LIMIT_S - 0.01:
            return f"was not held: {took * 1e3:.0f} ms of {LIMIT_S * 1e3:.0f}"
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
        calls = calls.replace(f",{NANOSLEEP},{CLOCK_NANOSLEEP}", "")                 # the program itself sleeps
        cases.append((f"filter from before, {name}: EPERM", "NEITHER", "1", "0", [confined, "BEFORE", "1", calls]))
    cases.append(("filter from before, the clock: kill", "NEITHER", "1", "0", [confined, "BEFORE", "kill", f"{CLOCK}"]))
    # No vDSO: the system call is the only clock. It is taken away at the last exec.
    no_vdso = [blind]
    cases.append(("no vDSO", "NEITHER", "1", "0", (), True, no_vdso))
    cases.append(("no vDSO, filter from before, the clock: EPERM", "NEITHER", "1", "0", [confined, "BEFORE", "1", f"{CLOCK}"], True, no_vdso))
    cases.append(("no vDSO, filter from before, clock and futex: EPERM", "NEITHER", "1", "0", [confined, "BEFORE", "1", f"{CLOCK},{FUTEX}"], True, no_vdso))
    # Neither a clock nor a sleep that may be made: such a process is not held, and its region says so.
    for action in ("1", "kill"):
        cases.append((f"no vDSO, own filter, all but write and exit: {action}", "OWN", action, WRITES_AND_EXITS, (), False, no_vdso))
    cases.append(("no vDSO, own filter, the clock: EPERM", "OWN", "1", f"{CLOCK}", (), False, no_vdso))
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


def cases(work):
    yield from under_the_barrier(work)
    yield from at_the_start(work)

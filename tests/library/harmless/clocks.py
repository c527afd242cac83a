"""A time namespace: whoever makes one stays in its own, and its children are born in the new one.

Under the barrier of a killed freezer. Whose clock is the machine's is held until the deadline; to whose is another a deadline
means nothing: it does not wait, and the next freeze says so.
"""
import subprocess
import time

import rig

LIMIT_MS = 800


def _tells(p, word):
    p.stdin.write(word)
    p.stdin.flush()
    return int(p.stdout.readline())


def _runs(work, newtime, offset, asked_before, writer):
    """How long after the deadline it wrote, ms; and what a freeze says then."""
    with rig.Tmpfs() as gates, rig.Work() as places:
        page = rig.make_page(gates)
        env = rig.loaded(gates, WRITEGATE_PATHS=str(places))
        p = subprocess.Popen([newtime, str(offset), places / "told"], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            _tells(p, "p")
            if asked_before:
                # It meets a barrier, and so has asked for its clock, before it makes the namespace.
                rig.close_barrier(page, 0.05)
                _tells(p, "p")
                rig.open_barrier(page)
            if not _tells(p, "u"):
                return "skip: this kernel makes no time namespace"
            deadline = rig.close_barrier(page, LIMIT_MS / 1000)
            late_ms = (_tells(p, writer) - time.time_ns() + time.clock_gettime_ns(time.CLOCK_MONOTONIC) - deadline) / 1e6
            rig.open_barrier(page)
            said = subprocess.run([rig.COMMAND, "freeze", "-g", rig.GATE, "--", "true"], env=rig.clean(WRITEGATE_DIR=str(gates)),
                                  capture_output=True, text=True).stderr
        finally:
            p.kill()
            p.communicate()
    is_other, says_so = writer == "c", "its clock is not this machine's" in said
    if not is_other and not -10 < late_ms < LIMIT_MS / 2:
        return f"wrote {late_ms:.0f} ms after the deadline"
    if is_other and not -LIMIT_MS <= late_ms < -LIMIT_MS / 2:
        return f"wrote {late_ms:.0f} ms after the deadline, which means nothing to it"
    return None if says_so == is_other else f"the next freeze says: {said}"


def cases(work):
    newtime = rig.build(work, "newtime.c")
    for offset in (-1000, 100_000):
        for asked_before in (True, False):
            for writer, name in (("p", "who made it"), ("c", "a child")):
                yield (f"a clock {offset:+} s, {name}{', which had met a barrier before' if asked_before and writer == 'p' else ''}"
                       f"{' of one that had met a barrier' if asked_before and writer == 'c' else ''}",
                       _runs(work, newtime, offset, asked_before, writer))

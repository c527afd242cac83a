"""A gated writer that measures how long single calls are held, with a plain sleep beside it.

    with Probe(gate, tree / "probe", work / "probe.log", beside_s=0.2) as probe:
        ...freezes with a limit of 0.2 s...
    probe.waits_ms()            # ms of every call that took 5 ms or more
    probe.oversleep_ms()        # the most by which a sleep of beside_s was late: an ungated process
                                # sleeps so all the time; what a busy machine adds to any wait

It writes one byte to a file of its own below the protected tree, again and again; it holds no lock
and never changes what a server knows. (A server's own folder must tolerate a foreign file.)
"""
import contextlib
import json
import sys
from pathlib import Path

try:
    from . import procs
except ImportError:                                    # run as the child, by path
    procs = None

SLOW_MS = 5.0


class Probe:
    def __init__(self, gate, file, log, beside_s):
        self.log, self.beside_s = Path(log), beside_s
        self.services = [
            procs.Service([sys.executable, "-S", __file__, "write", file, log],
                          env=gate.environment(), log=f"{log}.err", grace_s=2),
            procs.Service([sys.executable, "-S", __file__, "sleep", str(beside_s), log],
                          log=f"{log}.err", grace_s=2)]

    def start(self):
        self.log.write_text("")
        for service in self.services:
            service.start()
        return self

    def stop(self):
        for service in self.services:
            service.stop()

    def _records(self, kind):
        lines = (json.loads(line) for line in self.log.read_text().split("\n")[:-1])
        return [ms for what, ms in lines if what == kind]

    def waits_ms(self):
        return self._records("write")

    def oversleep_ms(self):
        return max((ms - self.beside_s * 1e3 for ms in self._records("sleep")), default=0.0)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def _run(kind, what, log):
    """The child. The writer runs under the library; the log lies outside the protected tree."""
    import os
    import time
    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    if kind == "write":
        fd = os.open(what, os.O_RDWR | os.O_CREAT, 0o600)

        def act():
            os.pwrite(fd, b"x", 0)
    else:
        def act():
            time.sleep(float(what))
    while True:
        begun = time.monotonic()
        act()
        ms = (time.monotonic() - begun) * 1e3
        if ms >= SLOW_MS:
            os.write(out, (json.dumps([kind, ms]) + "\n").encode())
        time.sleep(0.001)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _run(*sys.argv[1:])

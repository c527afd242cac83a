"""A gated writer that measures how long single calls are held, with a sleep of its own beside it.

    with Probe(gate, tree / "probe", work / "probe.log") as probe:
        ...freezes...
    probe.waits_ms()            # calls that took 5 ms or more: (start, end, ms), CLOCK_MONOTONIC s
    probe.oversleep_ms()        # the worst a 1 ms sleep took: what the busy machine adds by itself

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
    def __init__(self, gate, file, log):
        self.file, self.log = file, Path(log)
        self.service = procs.Service([sys.executable, "-S", __file__, file, log],
                                     env=gate.environment(), log=f"{log}.err", grace_s=2)

    def start(self):
        self.log.write_text("")
        self.service.start()
        return self

    def stop(self):
        self.service.stop()

    def records(self):
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1]]

    def waits_ms(self):
        return [(a, b, (b - a) * 1e3) for kind, a, b in self.records() if kind == "write"]

    def oversleep_ms(self):
        return max(((b - a) * 1e3 for kind, a, b in self.records() if kind == "sleep"), default=0.0)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def _run(file, log):
    """The child: runs under the library. The log lies outside the protected tree."""
    import os
    import time
    fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    while True:
        for kind, act in (("write", lambda: os.pwrite(fd, b"x", 0)),
                          ("sleep", lambda: time.sleep(0.001))):
            begun = time.monotonic()
            act()
            ended = time.monotonic()
            if (ended - begun) * 1e3 >= SLOW_MS:
                os.write(out, (json.dumps([kind, begun, ended]) + "\n").encode())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _run(*sys.argv[1:])

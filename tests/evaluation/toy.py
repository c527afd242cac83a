"""A server of a few lines, so that the machinery of `scripts/evaluate all` can be tried in seconds: no figure of it is published.

It answers each line that it gets after it has counted up in two files under one lock. A snapshot with two different numbers
is torn.
"""
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path

if __name__ != "__main__":
    from lab import gate as gates, load, procs, ways

BETWEEN_S = 0.004                                       # between the two files


def serve(port, store):
    """The child: a process for each connection."""
    # As a server that ends well: what was begun is finished.
    children, over = [], []
    signal.signal(signal.SIGTERM, lambda *_: over.append(1))
    paths = [Path(store) / half / "number" for half in ("one", "two")]
    listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
    listener.settimeout(0.02)
    while not over:
        try:
            talk, _ = listener.accept()
        except TimeoutError:
            continue
        talk.settimeout(None)
        if child := os.fork():
            children.append(child)
            talk.close()
            continue
        listener.close()
        talk.settimeout(0.02)
        lock = os.open(Path(store) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        files = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in paths]
        while asked(talk, over):
            fcntl.lockf(lock, fcntl.LOCK_EX)
            number = int(os.pread(files[0], 20, 0) or b"0") + 1
            os.pwrite(files[0], b"%020d" % number, 0)
            time.sleep(BETWEEN_S)
            os.pwrite(files[1], b"%020d" % number, 0)
            fcntl.lockf(lock, fcntl.LOCK_UN)
            talk.send(b"done\n")
        os._exit(0)
    for child in children:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def asked(talk, over):
    """Somebody wants something, and the server does not end."""
    while not over:
        with contextlib.suppress(TimeoutError):
            return talk.recv(16)
    return None


def read(store):
    return [(store / half / "number").read_bytes() for half in ("one", "two")]


def make(folder, way, count, seed, progress, result):
    """Its cell. `result` is what cells.py makes of every server's record."""
    class Asker(load.Client):
        def connect(self):
            self.talk = socket.create_connection(("127.0.0.1", self.port), timeout=10)

        def step(self):
            self.talk.send(b"next\n")
            if not self.talk.recv(16):
                raise ConnectionError("closed")
            return "NEXT"

        def close(self):
            self.talk.close()

    with contextlib.ExitStack() as stack:
        volume = stack.enter_context(way.volume(folder, size="1G"))
        store = volume.subvolume("store")
        for half in ("one", "two"):
            (store / half).mkdir()
        profile = {} if way.locks else ways.counting_profile(folder)
        gate = way.shim(folder) if way.shim else gates.Gate(folder, name="toy", paths=[store], profile=profile) if way.gated else None
        port, services = procs.free_port(), []

        def resume():
            services.append(procs.Service([sys.executable, "-S", __file__, str(port), str(store)],
                                          env=gate.environment() if gate else None, log=folder / "toy.log", grace_s=5).start())
            procs.wait_for_port(port, service=services[-1])
        stack.callback(lambda: services[-1].stop())
        resume()
        running = stack.enter_context(load.Load([Asker(n, seed=seed + n, port=port) for n in range(3)], folder / "operations"))
        time.sleep(0.3)
        moments, torn, taken, begun = [], 0, 0, time.monotonic()
        for n in range(count):
            time.sleep(0.05)
            target = ways.Target(folder, lambda: services[-1].members(), [store], volume.root, gate, None,
                                 lambda: services[-1].stop(), resume)
            moments.append(way.run(target, volume.snapshot_command([store], f"s{n}")))
            copy = volume.taken(store, f"s{n}")
            if moments[-1].exit in (None, 0) and copy.exists():
                one, two = read(copy)
                torn, taken = torn + (one != two), taken + 1
            volume.delete(f"s{n}")
            progress.step(f"{torn} torn")
        seconds = time.monotonic() - begun
        came_to_rest = running.pause()
        one, two = read(store)
        problems = [] if came_to_rest and one == two else [f"at rest: {one} and {two}"]
        records = running.records()
    done = sum(not r["error"] for r in records)
    return result(moments, torn, taken, records, round(done / seconds, 1), problems)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])

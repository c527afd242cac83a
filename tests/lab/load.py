"""Clients that load a server, in a process of their own, with a log of every operation.

    class Imap(load.Client):
        def connect(self): ...                      # called before the first step and after errors
        def step(self): ...; return "APPEND"        # one operation; self.random is seeded
        def close(self): ...

    with load.Load([Imap(i, seed=7 + i, port=...) for i in range(8)], log=work / "ops") as running:
        ...
        running.pause(); running.resume()
        records = running.records()                 # so far; complete after stop()
    running.errors()

A record is {"client", "op", "start", "end", "error", ...}; times are seconds of CLOCK_MONOTONIC,
as time.monotonic() and the gate have them. What step() puts into self.notes goes into the record
(a message's number, say: what was acknowledged when). The clients run as threads of one forked
process, so that a checker's work on the caller's side does not stand in their latencies.
"""
import json
import multiprocessing
import os
import random
import signal
import threading
import time
import traceback
from pathlib import Path

POLL_S = 0.01                                           # of who waits for the other side


class Client:
    #: Seconds to sleep between two operations; 0 loads as fast as the server answers.
    think_s = 0.0
    #: The kind in the log, for latencies by kind.
    kind = "client"

    def __init__(self, number, seed=0, **settings):
        self.number, self.seed, self.notes = number, seed, {}
        self.random = random.Random(seed)
        self.__dict__.update(settings)

    def connect(self):
        pass

    def step(self):
        raise NotImplementedError

    def close(self):
        pass


class Load:
    def __init__(self, clients, log):
        self.clients, self.log = clients, Path(log)
        context = multiprocessing.get_context("fork")
        # Plain shared numbers, no Event and no Semaphore: to set those waits for their sleepers, for
        # ever where the load's process has died meanwhile.
        self._stop = context.RawValue("b", 0)
        self._turn = context.RawValue("Q", 0)           # odd: paused
        self._seen = context.RawArray("Q", len(clients))    # the odd turn at which each came to rest
        self._process = context.Process(target=self._main, name="load", daemon=False)

    def start(self):
        self.log.write_text("")
        self._process.start()
        return self

    def pause(self, timeout_s=30):
        """No new operation begins; returns when those under way have ended (True: all have)."""
        self._turn.value += 1 - self._turn.value % 2
        until = time.monotonic() + timeout_s
        while any(seen != self._turn.value for seen in self._seen):
            if time.monotonic() > until or not self.alive():
                return False
            time.sleep(POLL_S)
        return True

    def resume(self):
        self._turn.value += self._turn.value % 2

    def stop(self, timeout_s=60):
        self._stop.value = 1
        self._process.join(timeout_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def alive(self):
        return self._process.is_alive()

    def records(self):
        """What the log holds now (a line still being written is left out)."""
        text = self.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def errors(self):
        return [r for r in self.records() if r["error"]]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # What follows runs in the child.

    def _main(self):
        # Ctrl-C is the parent's to handle: it stops us by the event, so that the log is whole.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        parent = os.getppid()
        self._out = os.open(self.log, os.O_WRONLY | os.O_APPEND)
        threads = [threading.Thread(target=self._drive, args=(n, c), daemon=True)
                   for n, c in enumerate(self.clients)]
        for t in threads:
            t.start()
        for t in threads:
            while t.is_alive():
                t.join(0.5)
                if os.getppid() != parent:              # the parent was killed
                    os._exit(1)
        os._exit(0)

    def _drive(self, place, client):
        connected = False
        while not self._stop.value:
            turn = self._turn.value
            if turn % 2:
                self._seen[place] = turn
                time.sleep(POLL_S)
                continue
            begun, op, error = time.monotonic(), "CONNECT", None
            client.notes = {}
            try:
                if not connected:
                    client.connect()
                    connected = True
                else:
                    op = "STEP"
                    op = client.step() or op
            except Exception as wrong:                  # every failure is a finding: log it
                error = f"{type(wrong).__name__}: {wrong}"[:400]
                op = getattr(client, "op", op)
                if os.environ.get("WRITEGATE_LAB_TRACE"):
                    traceback.print_exc()
                connected = False
                try:
                    client.close()
                except Exception:
                    pass
            self._write(client, op, begun, error)
            if error:
                time.sleep(0.1)
            if client.think_s:
                time.sleep(client.think_s)
        try:
            client.close()
        except Exception:
            pass

    def _write(self, client, op, begun, error):
        line = json.dumps({"client": client.number, "kind": client.kind, "op": op,
                           "start": round(begun, 6), "end": round(time.monotonic(), 6),
                           "error": error, **client.notes})
        os.write(self._out, (line + "\n").encode())     # one write: lines never mix


def latencies_ms(records, windows=None, outside=False):
    """Milliseconds of every operation without error. With windows [(start, end) ...]: of those
    that overlap one of them (what clients felt under a barrier), or of the others."""
    picked = [r for r in records if not r["error"] and r["op"] != "CONNECT"]
    if windows is not None:
        windows = sorted(windows)
        picked = [r for r in picked if _overlaps(r, windows) != outside]
    return [(r["end"] - r["start"]) * 1e3 for r in picked]


def wishes(records):
    """The same records as a client's user sees them: tries that failed, and new connections, belong to the next
    operation that succeeds; it began with the first of them. What never succeeds is left out."""
    found, since = [], {}
    for r in sorted(records, key=lambda r: r["start"]):
        begun = since.setdefault(r["client"], r["start"])
        if not r["error"] and r["op"] != "CONNECT":
            found.append({**r, "start": begun})
            del since[r["client"]]
    return found


def _overlaps(record, windows):
    return any(a < record["end"] and record["start"] < b for a, b in windows)

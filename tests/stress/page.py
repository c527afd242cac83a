"""The counters' page (stress.h) as the driver sees it: a memfd of its own, on no protected file system."""
import mmap
import os
import struct

MAGIC, WORKERS, SETS = 0x7365727473677731, 128, 64
BOUND, SLEEP, OVERSLEPT, STOP, FAILED, DEATHS, PAUSE, FAILURE, SEEN = 8, 16, 24, 32, 36, 40, 48, 52, 216
FIRST_WORKER, FIRST_SET = 472, 472 + WORKERS * 64
SIZE = FIRST_SET + SETS * 24
_WORKER = struct.Struct("=QQQQii16sQ")
_SET = struct.Struct("=iiiIQ")
_SEEN = struct.Struct("=7Q200s")


class Page:
    def __init__(self):
        self.fd = os.memfd_create("stress")
        os.ftruncate(self.fd, SIZE)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.map = mmap.mmap(self.fd, SIZE)
        self.map[0:8] = struct.pack("=Q", MAGIC)
        for n in range(WORKERS):
            self._put("=i", FIRST_WORKER + n * 64 + 36, -1)

    def close(self):
        self.map.close()
        os.close(self.fd)

    def _put(self, form, at, value):
        struct.pack_into(form, self.map, at, value)

    def _get(self, form, at):
        return struct.unpack_from(form, self.map, at)[0]

    def workers(self):
        rows = (_WORKER.unpack_from(self.map, FIRST_WORKER + n * 64) for n in range(WORKERS))
        keys = ("calls", "longest_ns", "longest_at_ns", "late", "pid", "set", "role", "_")
        return [dict(zip(keys, r), role=r[6].split(b"\0")[0].decode()) for r in rows if r[4]]

    def set_bound_ms(self, ms): self._put("=Q", BOUND, int(ms * 1e6))
    def set_sleep_ms(self, ms): self._put("=Q", SLEEP, int(ms * 1e6))
    def set_pause_us(self, us): self._put("=i", PAUSE, us)
    def stop(self): self._put("=i", STOP, 1)
    def calls(self): return sum(w["calls"] for w in self.workers())
    def deaths(self): return self._get("=Q", DEATHS)
    def overslept_ms(self): return self._get("=Q", OVERSLEPT) / 1e6
    def longest_ms(self): return max((w["longest_ns"] for w in self.workers()), default=0) / 1e6
    def repaired(self): return sum(_SET.unpack_from(self.map, FIRST_SET + n * 24)[3] for n in range(SETS))

    def forget_longest(self):
        for n in range(WORKERS):
            struct.pack_into("=QQQ", self.map, FIRST_WORKER + n * 64 + 8, 0, 0, 0)

    def waits_text(self, limit_ms):
        late = sum(w["late"] for w in self.workers())
        return (f"longest call {self.longest_ms():.1f} ms at a limit of {limit_ms} ms, {late} above it + 50 ms; "
                f"a nanosleep of {limit_ms} ms beside it took {limit_ms + self.overslept_ms():.1f} ms at worst")

    def failure(self):
        text = self.map[FAILURE:FAILURE + 160].split(b"\0")[0].decode(errors="replace")
        who = self._get("=i", FAILED)
        return f"pid {who}: {text}" if who else ""

    def seen(self):
        keys = ("checks", "torn", "cut", "changed", "inside", "files", "took_ns", "first")
        row = _SEEN.unpack_from(self.map, SEEN)
        return dict(zip(keys, row), first=row[7].split(b"\0")[0].decode(errors="replace"))

    def calls_by_role(self):
        sums = {}
        for w in self.workers():
            sums[w["role"]] = sums.get(w["role"], 0) + w["calls"]
        return sums

    def somebody(self, rng, in_section):
        """(pid, role, set or -1) of a worker, in a section or anywhere; None if nobody is."""
        found = [w for w in self.workers() if w["set"] >= 0 or not in_section]
        if not found:
            return None
        w = rng.choice(found)
        return w["pid"], w["role"], w["set"]


def barrier_word(control):
    """The barrier of a control page; 0: open, else the deadline, CLOCK_MONOTONIC ns."""
    try:
        with open(control, "rb") as f:
            f.seek(32)
            return struct.unpack("=Q", f.read(8))[0]
    except OSError:
        return 0

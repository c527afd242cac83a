"""Reads a record back: the kernel's ring buffer pages, as they were read from it, into events.

An event is (time in ns, task, name, values); values stand in the order of `events.py`. What does not decode is
a fault, a sentence; so is every event that the kernel says it lost.
"""
import heapq
import struct

HEADER = struct.Struct("<QQ")
MISSED, MISSED_STORED = 1 << 31, 1 << 30
COMMON = struct.Struct("<HBBi")
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
# Where one processor's events stand in time may differ from what another says by less than this.
SIZES = {(1, 0): "B", (1, 1): "b", (2, 0): "H", (2, 1): "h", (4, 0): "I", (4, 1): "i", (8, 0): "Q", (8, 1): "q"}


def decoder(fields):
    """A function payload -> tuple, for the fields [(offset, size, signed, kind)] of one event."""
    parts = []
    for offset, size, signed, kind in fields:
        if kind == "data_loc":
            parts.append((offset, None))
        elif (size, signed) in SIZES:
            parts.append((offset, struct.Struct("<" + SIZES[size, signed])))
        elif size == 48:                                # the six arguments of a system call
            parts.append((offset, struct.Struct("<6Q")))
        elif size == 0:                                 # a text up to the end
            parts.append((offset, "text"))
        else:
            raise ValueError(f"a field of {size} bytes")

    def decode(data, at, end):
        values = []
        for offset, how in parts:
            if how is None:
                where = struct.unpack_from("<I", data, at + offset)[0]
                values.append(bytes(data[at + (where & 0xffff):at + (where & 0xffff) + (where >> 16)]).rstrip(b"\0"))
            elif how == "text":
                values.append(bytes(data[at + offset:end]).split(b"\0")[0])
            else:
                got = how.unpack_from(data, at + offset)
                values.append(got[0] if len(got) == 1 else got)
        return tuple(values)
    return decode


class Reader:
    """The events of one record, in the order of time; `faults` and `count` are complete when they are used up."""

    def __init__(self, folder, meta):
        self.folder, self.meta, self.faults, self.count = folder, meta, [], {}
        self.names = {number: (event, decoder(fields.values())) for event, (number, fields) in meta["formats"].items()}

    def __iter__(self):
        return heapq.merge(*(self._processor(cpu) for cpu in self.meta["cpus"]), key=lambda e: e[0])

    def _processor(self, cpu):
        try:
            data = (self.folder / f"cpu{cpu}.raw").read_bytes()
        except OSError as why:
            self.faults.append(f"processor {cpu}: its record cannot be read: {why}")
            return
        page, before, self.count[cpu] = self.meta["page"], 0, 0
        if len(data) % page:
            self.faults.append(f"processor {cpu}: the record is cut inside a page")
        for start in range(0, len(data) - page + 1, page):
            stamp, commit = HEADER.unpack_from(data, start)
            length = commit & (MISSED_STORED - 1)
            if length > page - HEADER.size:
                self.faults.append(f"processor {cpu}: page {start // page} claims {length} bytes")
                return
            end = start + HEADER.size + length
            if commit & MISSED:
                lost = struct.unpack_from("<Q", data, end)[0] if commit & MISSED_STORED else "some"
                self.faults.append(f"processor {cpu}: the kernel lost {lost} events before {stamp} ns")
            if stamp < before:
                self.faults.append(f"processor {cpu}: its clock went back from {before} to {stamp} ns")
            for event in self._page(cpu, data, start + HEADER.size, end, stamp):
                if event[0] < before:
                    self.faults.append(f"processor {cpu}: its clock went back from {before} to {event[0]} ns")
                before = event[0]
                yield event

    def _page(self, cpu, data, at, end, now):
        unpack = struct.unpack_from
        while at < end:
            word = unpack("<I", data, at)[0]
            kind, delta = word & 31, word >> 5
            if kind == TIME_EXTEND:
                now += delta + (unpack("<I", data, at + 4)[0] << 27)
                at += 8
                continue
            if kind == TIME_STAMP:
                low = delta + (unpack("<I", data, at + 4)[0] << 27)
                now = low | (now & ~((1 << 59) - 1))
                at += 8
                continue
            if kind == PADDING:
                if not delta:
                    return
                now += delta
                at += 4 + unpack("<I", data, at + 4)[0]
                continue
            now += delta
            if kind:
                payload, size = at + 4, kind * 4
            else:
                payload, size = at + 8, unpack("<I", data, at + 4)[0] - 4
            at = payload + size
            if size < COMMON.size or at > end:
                self.faults.append(f"processor {cpu}: an event reaches beyond its page")
                return
            self.count[cpu] += 1
            number, _, _, task = COMMON.unpack_from(data, payload)
            known = self.names.get(number)
            if known is None:
                self.faults.append(f"processor {cpu}: an event of the unknown kind {number}")
                continue
            try:
                yield now, task, known[0], known[1](data, payload, at)
            except struct.error:
                self.faults.append(f"processor {cpu}: an event {known[0]} is shorter than its fields")

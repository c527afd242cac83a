"""Reads a Dovecot mail index (dovecot.index + its transaction log) without Dovecot.

Why not `doveadm dump`: it shows the index file and the log file apart, and only
both together say what the mailbox contains; and opening the mailbox with Dovecot
repairs what we want to see. The layout is that of Dovecot 2.3
(src/lib-index/mail-index.h, mail-transaction-log.h); test_reader.py holds this
reader against Dovecot's own answer.
"""

import os
import struct

APPEND, EXPUNGE, FLAGS, HEADER = 0x2, 0x1, 0x4, 0x20
EXT_INTRO, EXT_RESET, EXT_HDR, EXT_REC, EXT_INC = 0x40, 0x80, 0x100, 0x200, 0x1000
EXPUNGE_GUID, EXT_HDR32, KEYWORDS = 0x2000, 0x10000, 0x400
INDEX_DELETED, INDEX_UNDELETED, BOUNDARY = 0x20000, 0x40000, 0x80000
EXPUNGE_PROT, TYPE_MASK, EXTERNAL = 0xcd90, 0x0fffffff, 0x10000000
NEXT_UID_OFFSET = 28    # of next_uid in struct mail_index_header
TAIL_OFFSET = 64        # of log_file_tail_offset, likewise


class Broken(Exception):
    """The files contradict each other in a way that Dovecot calls corrupted."""


def _align4(n):
    return (n + 3) & ~3


def _align8(n):
    return (n + 7) & ~7


def _size(raw):
    """The size field of a log record; 0 while the record is not committed."""
    (v,) = struct.unpack(">I", raw)
    if v & 0x80808080 != 0x80808080:
        return 0
    return ((v & 0x7f) | (v & 0x7f00) >> 1 | (v & 0x7f0000) >> 2 | (v & 0x7f000000) >> 3) << 2


class Log:
    """One transaction log file: its header and its committed records."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as f:
            self.data = f.read()
        if len(self.data) < 24:
            raise Broken(f"{path}: log shorter than its header")
        (self.major, self.minor, self.hdr_size, self.indexid, self.seq,
         self.prev_seq, self.prev_offset, self.stamp) = struct.unpack_from("<BBHIIIII", self.data)
        if self.indexid == 0:
            raise Broken(f"{path}: log marked corrupted")

    def records(self, start):
        """Yields (offset, type, payload); sets self.end to where committed data ends."""
        data, pos = self.data, max(start, self.hdr_size)
        self.end = pos
        while pos + 8 <= len(data):
            size = _size(data[pos:pos + 4])
            if size < 8 or pos + size > len(data):
                break
            (kind,) = struct.unpack_from("<I", data, pos + 4)
            if kind & TYPE_MASK == BOUNDARY:
                (whole,) = struct.unpack_from("<I", data, pos + 8)
                if pos + whole > len(data):
                    break   # a transaction that is not whole counts for nothing
            yield pos, kind, data[pos + 8:pos + size]
            pos += size
            self.end = pos
        self.leftover = len(data) - self.end


class Ext:
    def __init__(self, name, reset_id, hdr_size, rec_size):
        self.name, self.reset_id, self.rec_size = name, reset_id, rec_size
        self.header = bytearray(hdr_size)


class Rec:
    __slots__ = ("uid", "flags", "ext")

    def __init__(self, uid, flags):
        self.uid, self.flags, self.ext = uid, flags, {}


class Index:
    """What Dovecot sees when it opens `directory`/`name` (and its .log, .log.2)."""

    def __init__(self, directory, name="dovecot.index"):
        self.path = os.path.join(directory, name)
        self.exts, self.recs = [], {}
        self.uid_validity, self.next_uid = 0, 1
        self.indexid = 0
        self.fsckd = False
        self.problems = []
        self.deleted = False
        self.pending_expunges = set()
        seq, head, self.tail = self._read_base()
        self._replay(seq, head)

    # -- the index file ---------------------------------------------------

    def _read_base(self):
        try:
            with open(self.path, "rb") as f:
                data = f.read()
        except FileNotFoundError:
            return 0, 0, 0
        if len(data) < 120:
            raise Broken(f"{self.path}: shorter than its header")
        _, _, base, hdr_size, rec_size = struct.unpack_from("<BBHII", data)
        (self.indexid, flags, self.uid_validity, self.next_uid,
         count, _, seen, deleted) = struct.unpack_from("<IIIIIIII", data, 16)
        seq, tail, head = struct.unpack_from("<III", data, 60)
        self.fsckd = bool(flags & 0x0008)
        layout, pos = [], _align8(base)
        while pos + 16 < hdr_size:
            h, reset, off, rsize, _, nlen = struct.unpack_from("<IIHHHH", data, pos)
            name = data[pos + 16:pos + 16 + nlen].decode("ascii", "replace")
            body = pos + _align8(16 + nlen)
            ext = Ext(name, reset, h, rsize)
            ext.header[:] = data[body:body + h]
            self.exts.append(ext)
            layout.append((name, off, rsize))
            pos = body + _align8(h)
        if len(data) < hdr_size + count * rec_size:
            raise Broken(f"{self.path}: {count} records promised, file is shorter")
        for i in range(count):
            at = hdr_size + i * rec_size
            uid, fl = struct.unpack_from("<IB", data, at)
            rec = Rec(uid, fl)
            for name, off, rsize in layout:
                rec.ext[name] = data[at + off:at + off + rsize]
            self.recs[uid] = rec
        return seq, head, tail

    # -- the logs ---------------------------------------------------------

    def _replay(self, seq, head):
        logs = {}
        for suffix in (".log.2", ".log"):
            try:
                log = Log(self.path + suffix)
            except FileNotFoundError:
                continue
            logs[log.seq] = log
        if not logs:
            if seq:
                raise Broken(f"{self.path}: index without a log")
            return
        newest = max(logs)
        if seq == 0:                       # no index file yet: the log is everything
            seq = min(logs)
            if logs[seq].prev_seq and len(logs) == 1:
                raise Broken(f"{self.path}: no index, and its log begins at sequence {seq}")
            head = 0
        if seq not in logs:
            if seq + 1 in logs and head == logs[seq + 1].prev_offset:
                seq, head = seq + 1, 0     # fully synced before the rotation
            else:
                raise Broken(f"{self.path}: index wants log {seq}, there are {sorted(logs)}")
        if self.indexid and logs[newest].indexid != self.indexid:
            raise Broken(f"{self.path}: indexid {self.indexid}, log has {logs[newest].indexid}")
        self._cur = None
        for s in range(seq, newest + 1):
            log = logs.get(s)
            if log is None:
                raise Broken(f"{self.path}: log {s} is missing")
            if head > len(log.data):
                raise Broken(f"{log.path}: index is synced to {head}, log ends at {len(log.data)}")
            if s != seq:
                self.tail = 0
            for offset, kind, body in log.records(head):
                self._apply(offset, kind, body)
            if log.leftover:
                self.problems.append(f"{log.path}: {log.leftover} bytes after the last whole transaction")
            head = 0
        self.log_end = logs[newest].end

    def _apply(self, offset, kind, body):
        t = kind & TYPE_MASK
        if t & (EXPUNGE | EXPUNGE_GUID) and t & ~(EXPUNGE | EXPUNGE_GUID | EXPUNGE_PROT) == 0:
            self._expunge(t, kind, body)
        elif t == APPEND:
            for at in range(0, len(body), 8):
                uid, flags = struct.unpack_from("<IB", body, at)
                if uid < self.next_uid:
                    self.problems.append(f"{self.path}: append of uid {uid} below next uid {self.next_uid}")
                    continue
                rec = Rec(uid, flags)
                for e in self.exts:
                    rec.ext[e.name] = bytes(e.rec_size)
                self.recs[uid], self.next_uid = rec, uid + 1
        elif t == FLAGS:
            for at in range(0, len(body), 12):
                u1, u2, add, remove = struct.unpack_from("<IIBB", body, at)
                for rec in self._range(u1, u2):
                    rec.flags = rec.flags & ~remove & 0xff | add
        elif t == HEADER:
            at = 0
            while at < len(body):
                off, size = struct.unpack_from("<HH", body, at)
                self._header(off, body[at + 4:at + 4 + size])
                at += _align4(4 + size)
        elif t == EXT_INTRO:
            self._intro(body)
        elif t == EXT_RESET and self._cur:
            new, keep = struct.unpack_from("<IB", body)
            self._cur.reset_id, self._ignore = new, False
            if not keep:
                self._cur.header[:] = bytes(len(self._cur.header))
                for rec in self.recs.values():
                    rec.ext[self._cur.name] = bytes(self._cur.rec_size)
        elif t in (EXT_HDR, EXT_HDR32) and self._cur and not self._ignore:
            fmt, n = ("<HH", 4) if t == EXT_HDR else ("<II", 8)
            at = 0
            while at < len(body):
                off, size = struct.unpack_from(fmt, body, at)
                self._cur.header[off:off + size] = body[at + n:at + n + size]
                at += _align4(n + size)
        elif t == EXT_REC and self._cur and not self._ignore:
            step = _align4(4 + self._cur_size)
            for at in range(0, len(body) - step + 1, step):
                (uid,) = struct.unpack_from("<I", body, at)
                if uid in self.recs:
                    new = body[at + 4:at + 4 + self._cur_size]
                    self.recs[uid].ext[self._cur.name] = new.ljust(self._cur.rec_size, b"\0")
        elif t == EXT_INC and self._cur and not self._ignore:
            for at in range(0, len(body), 8):
                uid, diff = struct.unpack_from("<Ii", body, at)
                if uid in self.recs:
                    raw = self.recs[uid].ext.get(self._cur.name) or bytes(self._cur.rec_size)
                    value = int.from_bytes(raw, "little") + diff
                    if value < 0:
                        self.problems.append(f"{self.path}: uid {uid}: {self._cur.name} falls below zero")
                        continue
                    self.recs[uid].ext[self._cur.name] = value.to_bytes(len(raw), "little")
        elif t == KEYWORDS and self.ext("keywords") is None:
            # Dovecot makes this extension by itself; it counts in the numbering of the others.
            self.exts.append(Ext("keywords", 0, 0, 4))
            for rec in self.recs.values():
                rec.ext["keywords"] = bytes(4)
        elif t == INDEX_DELETED:
            self.deleted = True
        elif t == INDEX_UNDELETED:
            self.deleted = False

    def _range(self, u1, u2):
        if u2 - u1 < 64:
            return [self.recs[u] for u in range(u1, u2 + 1) if u in self.recs]
        return [r for u, r in self.recs.items() if u1 <= u <= u2]

    def _expunge(self, t, kind, body):
        if t & EXPUNGE_GUID:
            uids = [struct.unpack_from("<I", body, at)[0] for at in range(0, len(body), 20)]
        else:
            uids = [r.uid for at in range(0, len(body), 8)
                    for r in self._range(*struct.unpack_from("<II", body, at))]
        for uid in uids:
            if kind & EXTERNAL:            # done; else a request that a later sync carries out
                self.recs.pop(uid, None)
                self.pending_expunges.discard(uid)
            else:
                self.pending_expunges.add(uid)

    def _header(self, off, data):
        for at, name in ((24, "uid_validity"), (NEXT_UID_OFFSET, "next_uid"), (TAIL_OFFSET, "tail")):
            if off <= at and at + 4 <= off + len(data):
                (v,) = struct.unpack_from("<I", data, at - off)
                if name == "next_uid":
                    v = max(v, self.next_uid)
                setattr(self, name, v)

    def _intro(self, body):
        at = 0
        while at + 20 <= len(body):
            ext_id, reset, hsize, rsize, _, _, nlen = struct.unpack_from("<IIIHHHH", body, at)
            name = body[at + 20:at + 20 + nlen].decode("ascii", "replace")
            at += _align4(20 + nlen)
            if ext_id != 0xffffffff:
                if ext_id >= len(self.exts):
                    self.problems.append(f"{self.path}: update for unknown extension {ext_id}")
                    self._cur = None
                    continue
                ext = self.exts[ext_id]
            else:
                ext = next((e for e in self.exts if e.name == name), None)
                if ext is None:
                    ext = Ext(name, reset, hsize, rsize)
                    self.exts.append(ext)
                    for rec in self.recs.values():
                        rec.ext[name] = bytes(rsize)
            self._cur, self._cur_size = ext, rsize
            self._ignore = ext.reset_id != reset
            if not self._ignore:
                if hsize > len(ext.header):
                    ext.header.extend(bytes(hsize - len(ext.header)))
                if rsize > ext.rec_size:
                    ext.rec_size = rsize
                    for rec in self.recs.values():
                        rec.ext[ext.name] = rec.ext.get(ext.name, b"").ljust(rsize, b"\0")

    # -- for checkers -----------------------------------------------------

    def ext(self, name):
        return next((e for e in self.exts if e.name == name), None)

    def has_files(self):
        return any(os.path.exists(self.path + s) for s in ("", ".log"))

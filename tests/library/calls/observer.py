"""The outside observer: sees what changes on disk without asking the gate or its regions.

Two independent witnesses: a full walk (type, mode, owner, links, size, mtime, ctime in ns of every entry,
compared before and after) and fanotify on the whole file system (which also sees a change that was undone).
Neither sees a store through a mapping before write-back dirties the times; the walk sees it by its mtime.
"""
import ctypes
import hashlib
import os
import stat
import struct

LIBC = ctypes.CDLL(None, use_errno=True)

# linux/fanotify.h
FAN_CLOEXEC, FAN_NONBLOCK, FAN_UNLIMITED_QUEUE, FAN_REPORT_DFID_NAME = 0x1, 0x2, 0x10, 0xC00
FAN_MARK_ADD, FAN_MARK_FILESYSTEM = 0x1, 0x100
EVENTS = {0x2: "modify", 0x4: "attrib", 0x40: "moved-from", 0x80: "moved-to", 0x100: "create", 0x200: "delete"}
FAN_ONDIR, FAN_Q_OVERFLOW = 0x40000000, 0x4000
AT_FDCWD = -100


def walk(top):
    """path -> what statx shows; '' is the directory itself. Access times are left out: reading moves them."""
    seen = {}

    def entry(path, name):
        try:
            s = os.lstat(path)
        except PermissionError:     # (not root: below a directory that may not be searched; for both runs alike)
            return
        seen[name] = (s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        if stat.S_ISDIR(s.st_mode):
            try:
                names = sorted(os.listdir(path))
            except PermissionError:
                names = []
            for e in names:
                entry(os.path.join(path, e), os.path.join(name, e) if name else e)

    entry(top, "")
    return seen


def differences(before, after):
    """What changed between two walks, in words."""
    words = ("inode", "mode", "links", "uid", "gid", "size", "mtime", "ctime")
    out = []
    for p in sorted(before.keys() | after.keys()):
        a, b = before.get(p), after.get(p)
        if a is None:
            out.append(f"new {p}")
        elif b is None:
            out.append(f"gone {p}")
        elif a != b:
            out.append(f"{p or '.'}: " + " ".join(w for w, x, y in zip(words, a, b) if x != y))
    return out


def outcome(top):
    """What a run leaves behind, comparable between two runs: contents, metadata, set times, attributes."""
    left = {}
    for p in walk(top):
        full = os.path.join(top, p) if p else top
        s = os.lstat(full)
        content = None
        if stat.S_ISREG(s.st_mode):
            with open(full, "rb") as f:
                data = f.read()
            content = data.decode("latin1") if len(data) < 200 else hashlib.sha1(data).hexdigest()
        elif stat.S_ISLNK(s.st_mode):
            content = os.readlink(full)
        attrs = {n: os.getxattr(full, n, follow_symlinks=False).decode("latin1")
                 for n in os.listxattr(full, follow_symlinks=False)}
        times = s.st_mtime_ns if s.st_mtime < 10**7 else None     # only times that a way set by itself
        size = s.st_size if stat.S_ISREG(s.st_mode) else None
        left[p] = (oct(s.st_mode), s.st_uid, s.st_gid, size, s.st_nlink, s.st_rdev, content, attrs, times,
                   s.st_blocks if stat.S_ISREG(s.st_mode) and content is None else None)
    return left


def special(path):
    """What is written to a pipe, socket or device goes elsewhere: its node is not changed."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def handle_of(path):
    """The kernel's handle of a directory, as fanotify reports it."""
    buf = ctypes.create_string_buffer(8 + 128)
    struct.pack_into("=Ii", buf, 0, 128, 0)
    mount = ctypes.c_int()
    if LIBC.name_to_handle_at(AT_FDCWD, path.encode(), buf, ctypes.byref(mount), 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    n, kind = struct.unpack_from("=Ii", buf, 0)
    return kind, buf.raw[8:8 + n]


class Fanotify:
    """Changes below a directory's file system, told apart by the directory they happened in."""

    def __init__(self, top):
        fd = LIBC.fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_REPORT_DFID_NAME, os.O_RDONLY)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init: " + os.strerror(ctypes.get_errno()))
        self.fd = fd
        mask = ctypes.c_uint64(sum(EVENTS) | FAN_ONDIR)
        if LIBC.fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, AT_FDCWD, os.fsencode(top)):
            e = ctypes.get_errno()
            os.close(fd)
            raise OSError(e, "fanotify_mark: " + os.strerror(e))
        self.known = {}

    def learn(self, directory, label):
        """Every directory that exists below `directory` now belongs to `label`."""
        for d, _, _ in os.walk(directory):
            self.known[handle_of(d)] = label, d

    def drain(self):
        """label -> list of 'event name' since the last call; overflow is an error, never silence."""
        seen = {}
        while True:
            try:
                data = os.read(self.fd, 262144)
            except BlockingIOError:
                return seen
            at = 0
            while at < len(data):
                length, _, _, meta, mask, _, _ = struct.unpack_from("=IBBHQii", data, at)
                if mask & FAN_Q_OVERFLOW:
                    raise RuntimeError("fanotify's queue overflowed: what changed is unknown")
                info = at + meta
                while info < at + length:
                    _, _, size = struct.unpack_from("=BBH", data, info)
                    n, kind = struct.unpack_from("=Ii", data, info + 12)
                    handle = data[info + 20:info + 20 + n]
                    name = data[info + 20 + n:info + size].split(b"\0")[0].decode(errors="replace")
                    label, directory = self.known.get((kind, handle), (None, None))
                    written = mask & sum(EVENTS) == 0x2
                    if label is not None and not (written and special(os.path.join(directory, name))):
                        kinds = "+".join(w for b, w in EVENTS.items() if mask & b)
                        seen.setdefault(label, []).append(f"{kinds} {name}")
                    info += size
                at += length

    def close(self):
        os.close(self.fd)

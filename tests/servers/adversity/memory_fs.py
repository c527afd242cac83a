"""A small FUSE file system in memory: one directory of files, enough for locks and mail.

    with MemoryFs(folder): ...          # mounted there; root only

The kernel keeps flock and fcntl locks of it itself (no FUSE_POSIX_LOCKS is asked for), as for
most FUSE file systems. Node numbers are never used twice.
"""
import ctypes
import os
import struct
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
(LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT,
 OPENDIR, READDIR, RELEASEDIR, ACCESS, CREATE, INTERRUPT, BATCH_FORGET, RENAME2) = (
    1, 2, 3, 4, 10, 12, 14, 15, 16, 17, 18, 20, 25, 26, 27, 28, 29, 34, 35, 36, 42, 45)
ENOENT, EEXIST, ENOSYS, ROOT = 2, 17, 38, 1


class MemoryFs:
    def __init__(self, where):
        self.where, self.files, self.names, self.next = where, {}, {}, 2

    def __enter__(self):
        os.makedirs(self.where)
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"memory", os.fsencode(self.where), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount of FUSE")
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        LIBC.umount2(os.fsencode(self.where), 2)        # MNT_DETACH
        os.close(self.fd)

    def _serve(self):
        while True:
            try:
                request = os.read(self.fd, 1 << 20)
            except OSError:
                return
            _, what, unique, node = struct.unpack_from("<IIQQ", request)
            if what in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            error, answer = 0, b""
            try:
                answer = self._answer(what, node, request[40:])
            except OSError as wrong:
                error = wrong.errno
            try:
                os.write(self.fd, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)
            except OSError:
                continue                                # the caller was killed meanwhile

    def _answer(self, what, node, rest):
        name = rest.split(b"\0")[0]
        if what == INIT:
            return struct.pack("<IIIIHHII32x", 7, 31, 65536, 0, 16, 12, 65536, 1)
        if what == LOOKUP:
            return self._entry(self._named(name))
        if what in (GETATTR, SETATTR):
            if what == SETATTR and struct.unpack_from("<I", rest)[0] & 8:       # FATTR_SIZE
                size = struct.unpack_from("<Q", rest, 16)[0]
                self.files[node][:] = self.files[node][:size].ljust(size, b"\0")
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if what == CREATE:
            name = rest[16:].split(b"\0")[0]
            if name not in self.names:
                self.names[name], self.files[self.next] = self.next, bytearray()
                self.next += 1
            elif struct.unpack_from("<I", rest)[0] & os.O_EXCL:
                raise OSError(EEXIST, "")
            return self._entry(self.names[name]) + struct.pack("<QII", 0, 0, 0)
        if what in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if what == READ:
            _, at, size = struct.unpack_from("<QQI", rest)
            return bytes(self.files[node][at:at + size])
        if what == WRITE:
            _, at, size = struct.unpack_from("<QQI", rest)
            data = self.files[node]
            data[:] = data.ljust(at, b"\0")
            data[at:at + size] = rest[40:40 + size]
            return struct.pack("<II", size, 0)
        if what == UNLINK:
            self._named(name)
            del self.names[name]
            return b""
        if what in (RENAME, RENAME2):
            old, new = rest[8 if what == RENAME else 16:].split(b"\0")[:2]
            self.names[new] = self._named(old)
            del self.names[old]
            return b""
        if what == READDIR:
            return b""
        if what == STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 1 << 10, 1 << 9, 4096, 255, 4096, 0)
        if what in (RELEASE, RELEASEDIR, FSYNC, FLUSH, ACCESS):
            return b""
        raise OSError(ENOSYS, "")

    def _named(self, name):
        if name not in self.names:
            raise OSError(ENOENT, "")
        return self.names[name]

    def _entry(self, node):
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node)

    def _attributes(self, node):
        size, now = len(self.files.get(node, b"")), int(time.time())
        mode = 0o040755 if node == ROOT else 0o100666
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, (size + 511) // 512, now, now, now, 0, 0, 0,
                           mode, 1, 0, 0, 0, 4096, 0)

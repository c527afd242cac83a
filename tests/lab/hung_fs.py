"""A FUSE file system with one file, `f`, whose server keeps every request for good from the first write on."""
import ctypes
import os
import struct
import threading

WHY_NOT = ("needs root" if os.geteuid() != 0 else
           None if os.path.exists("/dev/fuse") else "needs /dev/fuse")
LIBC = ctypes.CDLL(None, use_errno=True)
LOOKUP, GETATTR, OPEN, READ, WRITE, INIT = 1, 3, 14, 15, 16, 26
FORGET, BATCH_FORGET, INTERRUPT = 2, 42, 36
ENOSYS = 38
SIZE = 4096


class HungFs:
    """The mount. Its file can be opened, read and mapped. Whoever writes to it waits for good."""

    def __init__(self, where):
        self.where, self.hung = where, threading.Event()
        os.makedirs(where)
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"hung", where.encode(), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount of FUSE")
        self.server = threading.Thread(target=self.serve, daemon=True)
        self.server.start()

    def serve(self):
        while True:
            try:
                request = os.read(self.fd, 1 << 20)
            except OSError:
                return
            _, what, unique, node = struct.unpack_from("<IIQQ", request)
            if what in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            if what == WRITE:
                self.hung.set()
            if self.hung.is_set():
                continue                                # no answer, to anything, ever
            answer, error = self.answer(what, node)
            head = struct.pack("<IiQ", 16 + len(answer), -error, unique)
            os.write(self.fd, head + answer)

    @staticmethod
    def answer(what, node):
        size = SIZE if node == 2 or what == LOOKUP else 0
        attributes = struct.pack("<QQQQQQIIIIIIIIII", 1 + (node == 2 or what == LOOKUP), size, 0, 0, 0, 0, 0, 0, 0,
                                 0o100666 if node == 2 or what == LOOKUP else 0o040755, 1, 0, 0, 0, 4096, 0)
        if what == INIT:
            return struct.pack("<IIIIHHII32x", 7, 31, 65536, 0, 16, 12, 65536, 1), 0
        if what == LOOKUP:
            return struct.pack("<QQQQII", 2, 0, 3600, 3600, 0, 0) + attributes, 0
        if what == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + attributes, 0     # valid for no time: asked for each time
        if what == OPEN:
            return struct.pack("<QII", 1, 0, 0), 0
        if what == READ:
            return bytes(SIZE), 0
        return b"", ENOSYS

    def close(self):
        LIBC.umount2(self.where.encode(), 1)            # MNT_FORCE ends the connection: nobody waits any longer
        LIBC.umount2(self.where.encode(), 2)            # MNT_DETACH
        self.server.join(10)
        os.close(self.fd)

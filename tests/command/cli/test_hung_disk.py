"""A file system that answers no more: FUSE, whose server keeps a request for good."""
import ctypes
import os
import struct
import subprocess
import sys
import threading
import time
import unittest

from rig import LIBRARY, Rig

WHY_NOT = ("needs root" if os.geteuid() != 0 else
           None if os.path.exists("/dev/fuse") else "needs /dev/fuse")
LIBC = ctypes.CDLL(None, use_errno=True)
LOOKUP, GETATTR, OPEN, WRITE, INIT = 1, 3, 14, 16, 26
FORGET, BATCH_FORGET, INTERRUPT = 2, 42, 36
ENOSYS = 38


class Fuse:
    """A mount with one file, `f`, that can be opened. Whoever writes to it waits for good."""

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
        attributes = struct.pack("<QQQQQQIIIIIIIIII", 1 + (node == 2 or what == LOOKUP), 0, 0, 0, 0, 0, 0, 0, 0,
                                 0o100666 if node == 2 or what == LOOKUP else 0o040755, 1, 0, 0, 0, 4096, 0)
        if what == INIT:
            return struct.pack("<IIIIHHII32x", 7, 31, 65536, 0, 16, 12, 65536, 1), 0
        if what == LOOKUP:
            return struct.pack("<QQQQII", 2, 0, 3600, 3600, 0, 0) + attributes, 0
        if what == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + attributes, 0     # valid for no time: asked for each time
        if what == OPEN:
            return struct.pack("<QII", 1, 0, 0), 0
        return b"", ENOSYS

    def close(self):
        LIBC.umount2(self.where.encode(), 1)            # MNT_FORCE ends the connection: nobody waits any longer
        LIBC.umount2(self.where.encode(), 2)            # MNT_DETACH
        self.server.join(10)
        os.close(self.fd)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class HungDisk(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.worker("idle")

    def stuck_writer(self, where):
        fuse = Fuse(where)
        code = "import os, sys; os.write(os.open(sys.argv[1], os.O_WRONLY), b'x')"
        env = self.rig.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE=self.rig.gate,
                           WRITEGATE_PATHS=str(self.rig.data))
        writer = subprocess.Popen([sys.executable, "-c", code, where + "/f"], env=env,
                                  stderr=subprocess.DEVNULL)
        self.addCleanup(writer.wait, 10)
        self.addCleanup(fuse.close)                     # before that: cleanups run backwards
        self.assertTrue(fuse.hung.wait(20), "nobody wrote")
        return writer

    def not_drained(self, writer, path):
        other = self.rig.worker("work", self.rig.file("a"))
        begun = time.monotonic()
        said = self.rig.freeze("-t", "1s", "--drain", "300ms", "--retries", "0")
        self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), said)
        self.assertIn(str(writer.pid), said.err)
        self.assertIn(path, said.err)
        self.assertLess(time.monotonic() - begun, 5, "the freezer itself hung")
        self.assertLess(max(self.rig.held(other)), 1050)
        self.assertIsNone(writer.poll())

    def test_a_writer_stuck_on_a_protected_file(self):
        where = str(self.rig.file("mnt"))
        self.not_drained(self.stuck_writer(where), where + "/f")

    def test_a_writer_stuck_elsewhere(self):
        """Whether it matters cannot be told without asking that file system."""
        where = str(self.rig.work / "elsewhere")
        self.not_drained(self.stuck_writer(where), where + "/f")

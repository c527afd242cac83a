"""The line that each freeze leaves in the system's log."""
import os
import re
import socket
import threading
import time
import unittest

from rig import Rig, wait_for

FORM = re.compile(r"^<(\d+)>writegate\[(\d+)\]: (gate=.*)$")
DAEMON = 3 << 3


class Log:
    """A log socket that notes what it was sent, and how the barrier stood then."""

    def __init__(self, path, control):
        self.path, self.control, self.lines, self.barriers = path, control, [], []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                text = self.socket.recv(65536).decode()
                page = self.control.read_bytes()
            except OSError:
                return
            if not text:
                return
            self.barriers.append(int.from_bytes(page[32:40], "little"))
            self.lines.append(text)

    def take(self, count=1):
        """So many lines, and none more: (priority, text)."""
        wait_for(lambda: len(self.lines) >= count, what=f"{count} lines in the log")
        time.sleep(0.1)
        lines, self.lines = self.lines, []
        assert len(lines) == count, lines
        found = [FORM.match(line) for line in lines]
        assert all(found), lines
        return [(int(f[1]) - DAEMON, f[3]) for f in found]

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Syslog(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.path = self.rig.work / "log"
        self.log = Log(self.path, self.rig.control())
        self.addCleanup(self.log.close)
        self.env = self.rig.env(WRITEGATE_TEST_LOG_SOCKET=str(self.path))

    def freeze(self, *args, **kw):
        return self.rig.freeze(*args, env=self.env, **kw)

    def test_each_verdict_and_its_severity(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        said = self.freeze(command=["sleep", "0.1"])
        [(severity, text)] = self.log.take()
        self.assertEqual((severity, text), (6, said.lines[0].removeprefix("writegate: ")
                                            + " exit=0"), said)
        self.freeze(command=["sh", "-c", "exit 3"])
        self.assertRegex(self.log.take()[0][1], r"verdict=CONSISTENT .* exit=3$")
        self.freeze("-t", "100ms", command=["sleep", "0.3"])
        [(severity, text)] = self.log.take()
        self.assertEqual(severity, 3)
        self.assertRegex(text, r"verdict=EXPIRED .* exit=124$")
        self.rig.worker("stuck", self.rig.file("b"))
        self.freeze("--retries", "1", "--drain", "100ms")
        [(severity, text)] = self.log.take()
        self.assertEqual(severity, 4)
        self.assertRegex(text, r"verdict=NOT_DRAINED .* exit=75$")
        self.assertEqual(set(self.log.barriers), {0}, "never while somebody is held")
        self.assertIsNone(worker.poll())

    def test_a_line_for_each_gate(self):
        self.rig.make_gate("u")
        self.rig.worker("idle")
        self.rig.worker("idle", gate="u")
        self.freeze("-g", "u")
        self.assertEqual([text.split()[0] for _, text in self.log.take(2)], ["gate=t", "gate=u"])

    def test_no_freeze_at_all_is_said_too(self):
        self.assertEqual(self.freeze().code, 69)
        [(severity, text)] = self.log.take()
        self.assertEqual(severity, 3)
        self.assertRegex(text, r"^gate=t verdict=NONE exit=69: gate t: no process maps")
        self.assertEqual(self.freeze("-t", "5").code, 64)
        self.log.take(0)

    def test_token_mode_says_it_once(self):
        self.rig.worker("idle")
        token = self.freeze(command=None).out.strip()
        self.assertEqual(self.rig.run("thaw", token, env=self.env).code, 0)
        self.assertRegex(self.log.take()[0][1], r"verdict=CONSISTENT .* exit=0$")
        self.freeze("-t", "200ms", command=None)
        self.assertRegex(self.log.take()[0][1], r"verdict=EXPIRED .* exit=124$")
        self.rig.worker("stuck", self.rig.file("b"))
        self.freeze("--retries", "0", "--drain", "100ms", command=None)
        self.assertRegex(self.log.take()[0][1], r"verdict=NOT_DRAINED .* exit=75$")

    def test_a_log_that_is_full_holds_nobody_up(self):
        self.rig.worker("idle")
        full = self.rig.work / "full"
        deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(deaf.close)
        deaf.bind(str(full))
        stuffer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(stuffer.close)
        stuffer.setblocking(False)
        stuffer.connect(str(full))
        with self.assertRaises(BlockingIOError):
            for _ in range(100000):
                stuffer.send(b"x")
        env = self.rig.env(WRITEGATE_TEST_LOG_SOCKET=str(full))
        said = self.rig.freeze(env=env, timeout=10)
        self.assertEqual((said.code, said.verdict, said.fields["against"]), (0, "CONSISTENT", "0"), said)

    def test_no_log_is_no_fault(self):
        self.rig.worker("idle")
        os.mkfifo(self.rig.work / "pipe")
        for other in ("absent", "pipe", "gates"):
            env = self.rig.env(WRITEGATE_TEST_LOG_SOCKET=str(self.rig.work / other))
            said = self.rig.freeze(env=env, timeout=10)
            self.assertEqual((said.code, said.verdict, said.fields["against"]), (0, "CONSISTENT", "0"), said)

    def test_a_rehearsal_leaves_no_line(self):
        self.rig.worker("idle")
        self.rig.run("rehearse", "-g", "t", "-n", "2", "--every", "10ms", env=self.env)
        self.log.take(0)

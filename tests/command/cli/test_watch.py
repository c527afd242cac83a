"""`status --watch`: a live screen on a terminal, plain lines elsewhere, and a clean end."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from rig import Rig, WRITEGATE, wait_for

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (gate t: |no gates)")


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, argv, env, rows=24, columns=100):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(argv[0], [str(a) for a in argv], env)
            finally:
                os._exit(99)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.seen = ""

    def read(self, seconds):
        """What is shown within so many seconds."""
        until, new = time.monotonic() + seconds, b""
        while (left := until - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    part = os.read(self.fd, 65536)
                except OSError:
                    break
                if not part:
                    break
                new += part
        self.seen += new.decode()
        return new.decode()

    def until(self, text, seconds=5):
        wait_for(lambda: text in (self.read(0.1) and self.seen), seconds, repr(text))

    def type(self, keys):
        os.write(self.fd, keys)

    def end(self):
        """Its exit code; killed if it does not end by itself."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            self.read(0.05)
            time.sleep(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        raise AssertionError("it did not end")


class Watch(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def terminal(self, *args, rows=24, columns=100, **env):
        env = {"NO_COLOR": "", "TERM": "xterm", **env}
        return Terminal([WRITEGATE, "status", "--watch", *args], self.rig.env(**env), rows, columns)

    def test_a_screen_that_follows(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        screen = self.terminal("100ms", columns=250)
        screen.until("gate t: open")
        self.assertTrue(screen.seen.startswith("\x1b[?25l\x1b[2J\x1b[H"), screen.seen[:40])
        self.rig.freeze("-t", "3s", command=["sleep", "0.6"])
        screen.until("\x1b[31mclosed\x1b[0m")
        screen.until("waits at the barrier")
        screen.seen = ""
        screen.until("gate t: open")
        screen.type(b"\x03")
        self.assertEqual(screen.end(), 0)
        self.assertIn("\x1b[?25h", screen.seen, "the cursor is there again")
        self.assertIsNone(worker.poll())

    def test_no_colours_where_somebody_said_no(self):
        self.rig.worker("stuck", self.rig.file("a"))
        screen = self.terminal("100ms", NO_COLOR="1")
        screen.until("in-flight")
        self.assertNotRegex(screen.seen, r"\x1b\[[0-9;]*m")
        screen.type(b"\x03")
        self.assertEqual(screen.end(), 0)

    def test_cut_to_the_window(self):
        for _ in range(12):
            self.rig.worker("idle")
        screen = self.terminal("100ms", rows=8, columns=40)
        screen.until("lines more")
        screen.seen = ""
        screen.read(0.5)
        for one in screen.seen.split("\x1b[H")[1:-1]:
            lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in one.split("\r\n")]
            self.assertLessEqual(len(lines), 8)
            self.assertLessEqual(max(map(len, lines)), 40, lines)
        screen.type(b"\x03")
        self.assertEqual(screen.end(), 0)

    def test_a_signal_is_128_and_the_cursor_comes_back(self):
        self.rig.worker("idle")
        screen = self.terminal("100ms")
        screen.until("gate t: open")
        os.kill(screen.pid, signal.SIGTERM)
        self.assertEqual(screen.end(), 143)
        self.assertIn("\x1b[?25h", screen.seen)

    def test_lines_where_there_is_no_terminal(self):
        self.rig.worker("work", self.rig.file("a"))
        watch = self.rig.start("status", "-g", "t", "--watch", "100ms")
        time.sleep(0.3)
        self.rig.freeze("-t", "3s", command=["sleep", "0.6"])
        time.sleep(0.3)
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=5)
        self.assertEqual((watch.returncode, err), (0, ""), out)
        self.assertNotIn("\x1b", out)
        for line in out.splitlines():
            self.assertRegex(line, LINE)
        # How many in a second is the machine's business.
        self.assertGreater(len(out.splitlines()), 2)
        for words in ("gate t: open; ", "gate t: closed", " held: write "):
            self.assertIn(words, out)

    def test_a_gate_that_comes_later(self):
        os.rename(self.rig.dir / "t", self.rig.work / "hidden")
        watch = self.rig.start("status", "--watch", "100ms")
        time.sleep(0.3)
        os.rename(self.rig.work / "hidden", self.rig.dir / "t")
        time.sleep(0.3)
        watch.terminate()
        out, _ = watch.communicate(timeout=5)
        self.assertEqual(watch.returncode, 143)
        self.assertRegex(out, r"(?s)no gates in .*gate t: open")

    def test_a_reader_that_went_away_ends_it(self):
        watch = subprocess.Popen([WRITEGATE, "status", "--watch", "100ms"], env=self.rig.env(),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(watch.kill)
        watch.stdout.readline()
        watch.stdout.close()
        self.assertEqual(watch.wait(timeout=5), 0)
        watch.stderr.close()

    def test_usage(self):
        for args in (["--watch", "5"], ["--watch", "1ms"], ["--watch", "1s", "--json"],
                     ["--watch", "1s", "--prom"]):
            self.assertEqual(self.rig.run("status", *args).code, 64, args)

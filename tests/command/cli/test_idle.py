"""One that waits, or that failed at something, has nothing half-done: it is not waited for."""
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from rig import HERE, LIBRARY, Rig, wait_for

WAITS = ("open", "open-to-read", "openat", "fopen", "creat", "syscall")
FAILS = ("execl", "execlp", "execle", "execv", "execve", "execvp", "fexecve")


def waits_to_open(pid):
    """Does it sleep in open(2) or its kind?"""
    with open(f"/proc/{pid}/syscall") as f:
        return f.read().split()[0] in ("2", "85", "257")


class Idle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.built.cleanup)
        cls.idler = Path(cls.built.name) / "idler"
        subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-Wno-unused-result", "-o", cls.idler, HERE / "idler.c"], check=True)

    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.fifo = self.rig.file("fifo")
        os.mkfifo(self.fifo)

    def start(self, mode):
        env = self.rig.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE=self.rig.gate, WRITEGATE_PATHS=str(self.rig.data))
        child = subprocess.Popen([self.idler, mode, self.fifo, self.rig.file(mode)], env=env, stdout=subprocess.PIPE,
                                 start_new_session=True, text=True)
        self.rig.children.append(child)
        return child

    def freeze(self, drain="2s"):
        return self.rig.freeze("--drain", drain, "--retries", "0")

    def drains(self, mode):
        said = self.freeze()
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), (mode, said))

    def test_one_that_opens_a_fifo_which_nobody_else_opens(self):
        for mode in WAITS:
            with self.subTest(mode):
                child = self.start(mode)
                wait_for(lambda: waits_to_open(child.pid), what=mode)
                self.drains(mode)
                self.assertIsNone(child.poll(), "it has waited all the time")
                # And goes on as ever once somebody comes.
                end = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
                self.assertEqual(child.stdout.readline(), "idle\n", mode)
                os.close(end)
                child.kill()
                child.wait()

    def test_one_whose_exec_failed(self):
        for mode in FAILS:
            with self.subTest(mode):
                child = self.start(mode)
                self.assertEqual(child.stdout.readline(), "idle\n", mode)
                self.drains(mode)
                child.kill()
                child.wait()

    def test_under_a_lock_the_section_goes_on(self):
        for mode in ("locked-open", "locked-execl"):
            with self.subTest(mode):
                child = self.start(mode)
                if mode == "locked-open":
                    wait_for(lambda: waits_to_open(child.pid), what=mode)
                else:
                    self.assertEqual(child.stdout.readline(), "idle\n")
                said = self.freeze("300ms")
                self.assertEqual((said.code, said.verdict), (75, "NOT_DRAINED"), (mode, said))
                self.assertIn(str(child.pid), said.err)
                child.kill()
                child.wait()

    def test_a_shell_that_opens_a_fifo(self):
        env = self.rig.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE=self.rig.gate, WRITEGATE_PATHS=str(self.rig.data))
        child = subprocess.Popen(["sh", "-c", f"echo x > {self.fifo}"], env=env, start_new_session=True)
        self.rig.children.append(child)
        wait_for(lambda: waits_to_open(child.pid), what="the shell")
        time.sleep(0.05)
        self.drains("sh")

"""What others say, in their environment and mappings, counts for nobody but themselves."""
import os
import subprocess
import threading
import time
import unittest
from pathlib import Path

from rig import LIBRARY, MAIL, NOBODY, Rig, built, has_open, wait_for


SECONDS = 5          # a freeze of this service takes far less than 1


class Accuse(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def consistent(self, said, seconds=SECONDS):
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertLess(said.seconds, seconds, said)

    def test_a_fifo_is_named_as_protected(self):
        fifo = self.rig.theirs / "fifo"
        os.mkfifo(fifo)
        os.chown(fifo, NOBODY, NOBODY)
        self.rig.gated_stranger(WRITEGATE_PATHS=fifo.as_posix())
        self.consistent(self.rig.soon(SECONDS, timeout=30))

    def test_a_fifo_is_named_by_root(self):
        """By mistake, or because somebody put it in a folder's place."""
        fifo = self.rig.theirs / "fifo"
        os.mkfifo(fifo)
        said = self.rig.soon(SECONDS, "--paths", fifo, timeout=30)
        self.assertLess(said.seconds, SECONDS, said)
        self.assertNotEqual(said.code, -9, said)

    def test_the_whole_machine_is_named_as_protected(self):
        """A change anywhere would be an escape."""
        self.rig.gated_stranger(WRITEGATE_PATHS="/")
        elsewhere = self.rig.work / "elsewhere"
        said = self.rig.freeze(command=["sh", "-c", "sleep 0.3"])
        stop = threading.Event()

        def write():
            while not stop.is_set():
                elsewhere.write_text("x")
                time.sleep(0.02)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            said = self.rig.soon(SECONDS, command=["sleep", "0.3"])
        finally:
            stop.set()
            writer.join()
        self.consistent(said)

    def test_a_file_whose_path_is_too_long_to_be_told(self):
        """Any user can make such a path, and keep a file there open."""
        code = ("import os, sys, time\nos.chdir(sys.argv[1])\nfor _ in range(30):\n os.mkdir('d' * 200)\n os.chdir('d' * 200)\n"
                "f = open('f', 'w')\nprint('ready', flush=True)\ntime.sleep(1000)\n")
        stranger = self.rig.start(["python3", "-S", "-c", code, self.rig.theirs], self.rig.env(), NOBODY, stdout=subprocess.PIPE)
        self.assertEqual(stranger.stdout.readline(), b"ready\n")
        self.assertRaises(OSError, os.readlink, f"/proc/{stranger.pid}/fd/3")
        said = self.rig.soon(SECONDS)
        self.consistent(said)
        self.assertEqual(said.found(stranger.pid), ["outsider"], said)

    def test_a_change_below_a_path_that_is_too_long_to_be_told(self):
        """Elsewhere on the disk that is watched."""
        closed, done = self.rig.work / "closed", self.rig.theirs / "done"
        code = ("import os, sys, time\nclosed, done = map(os.path.abspath, sys.argv[2:])\nos.chdir(sys.argv[1])\n"
                "for _ in range(30):\n os.mkdir('d' * 200)\n os.chdir('d' * 200)\nprint('ready', flush=True)\n"
                "while not os.path.exists(closed): time.sleep(0.01)\nopen('f', 'w').write('x')\nopen(done, 'w')\ntime.sleep(1000)\n")
        stranger = self.rig.start(["python3", "-S", "-c", code, self.rig.theirs, closed, done], self.rig.env(), NOBODY,
                                  stdout=subprocess.PIPE)
        self.assertEqual(stranger.stdout.readline(), b"ready\n")
        said = self.rig.freeze("-t", "20s", command=["sh", "-c", f": > {closed}; until [ -e {done} ]; do sleep 0.01; done"])
        self.consistent(said, 20)

    def escape(self):
        """A change past the gate in the window, by a program that is not gated."""
        change = f"echo x >> {self.rig.data / 'a'}"
        closed, done = self.rig.work / "closed", self.rig.work / "done"
        done.mkdir(mode=0o777)
        done.chmod(0o777)
        later = self.rig.start(["sh", "-c", f"until [ -e {closed} ]; do sleep 0.01; done; {change}; sleep 0.3; {change}; "
                                f": > {done}/1"], self.rig.env(), MAIL)
        said = self.rig.freeze("-t", "20s", command=["sh", "-c", f": > {closed}; until [ -e {done}/1 ]; do sleep 0.01; done"])
        later.wait()
        return said

    def test_a_stranger_excludes_everything(self):
        self.rig.gated_stranger(WRITEGATE_EXCLUDE="*")
        said = self.escape()
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)

    def test_a_member_excludes_everything(self):
        """One process of the service cannot speak for the others."""
        self.rig.start(["sleep", "1000"], self.rig.gated(WRITEGATE_EXCLUDE="*"), MAIL)
        said = self.escape()
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)

    def test_an_ungated_writer_behind_a_file_called_control(self):
        os.chmod(self.rig.data / "a", 0o666)
        os.chmod(self.rig.theirs, 0o777)
        # A stranger's, and one under the service's own account.
        for user in (NOBODY, MAIL):
            writer = self.rig.attack("decoy", self.rig.data / "a", self.rig.theirs, uid=user)
            said = self.rig.freeze()
            self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
            self.assertIn(str(writer.pid).encode(), said.err)
            writer.kill()
            writer.wait()
            (self.rig.theirs / "control").unlink()

    def test_an_ungated_writer_that_maps_the_page(self):
        """Outside of the service it is not waited for; so it is what any other writer is."""
        os.chmod(self.rig.data / "a", 0o666)
        env = self.rig.gated()
        writer = self.rig.start(["sh", "-c", f"exec sleep 1000 >> {self.rig.data / 'a'}"], env, NOBODY)
        wait_for(lambda: has_open(writer.pid, self.rig.data / "a"), what="the open file")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(str(writer.pid).encode(), said.err)

    def test_an_ungated_writer_behind_the_page_of_another_gate(self):
        """It puts itself behind a gate whose service it does not belong to either."""
        other = self.rig.run("exec", "-g", "other", "--library", LIBRARY, "--", "true")
        self.assertEqual(other.code, 0, other)
        os.chmod(self.rig.data / "a", 0o666)
        env = {**self.rig.gated(), "WRITEGATE_GATE": "other"}
        writer = self.rig.start(["sh", "-c", f"exec sleep 1000 >> {self.rig.data / 'a'}"], env, NOBODY)
        wait_for(lambda: has_open(writer.pid, self.rig.data / "a"), what="the open file")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(str(writer.pid).encode(), said.err)

    def test_a_mapping_named_like_the_page(self):
        """As if a page had been replaced under one of the service."""
        self.rig.attack("page-name", self.rig.theirs)
        self.consistent(self.rig.soon(SECONDS))

    def test_a_file_of_its_own_under_a_protected_name(self):
        """In a mount namespace of its own any user puts a directory of its own in the place of a protected one."""
        script = f"mount --bind {self.rig.theirs} {self.rig.data} && exec sleep 1000 >> {self.rig.data / 'mine'}"
        self.rig.start(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], self.rig.env(), NOBODY)
        wait_for((self.rig.theirs / "mine").exists, what="its file")
        time.sleep(0.2)
        self.consistent(self.rig.soon(SECONDS))

    def test_a_writer_that_covers_the_name_of_its_file(self):
        """It has a protected file open, and puts a directory of its own over it: an empty one, one with a link to the file, one
        with a mount of it."""
        file, mine = self.rig.data / "a", self.rig.theirs / "a"
        os.chmod(file, 0o666)
        os.chmod(self.rig.theirs, 0o777)
        for cover in ("true", f"ln {file} {mine}", f"touch {mine} && mount --bind {file} {mine}"):
            script = f"exec 9>>{file}; {cover} && mount --rbind {self.rig.theirs} {self.rig.data} && exec sleep 1000"
            writer = self.rig.start(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], self.rig.env(), NOBODY)
            wait_for(lambda: b"sleep" in Path(f"/proc/{writer.pid}/cmdline").read_bytes().split(b"\0")[0], what="the cover")
            said = self.rig.freeze()
            self.assertEqual((said.code, said.verdict), (65, "UNGATED"), (cover, said))
            self.assertIn(str(writer.pid).encode(), said.err)
            writer.kill()
            writer.wait()
            mine.unlink(missing_ok=True)

    def test_a_stranger_with_a_lock_runs_the_services_program(self):
        self.rig.start([built("honest"), self.rig.theirs, 1, NOBODY], self.rig.env(), NOBODY,
                       stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        for _ in range(3):
            self.consistent(self.rig.soon(SECONDS))

    def test_a_region_that_is_cut_off(self):
        attack = self.rig.attack("cut-off", self.rig.theirs)
        self.consistent(self.rig.soon(SECONDS))
        self.assertIsNone(attack.poll(), "it has done its worst")

    def test_a_process_of_another_gate_writes_here(self):
        """Many gates, real ones: this one does not hold what another holds."""
        made = self.rig.run("exec", "-g", "other", "--library", LIBRARY, "--", "true")
        self.assertEqual(made.code, 0, made)
        env = {**self.rig.gated(), "WRITEGATE_GATE": "other"}
        other = self.rig.start(["sh", "-c", f"exec sleep 1000 >> {self.rig.data / 'a'}"], env)
        wait_for(lambda: has_open(other.pid, self.rig.data / "a"), what="the open file")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(str(other.pid).encode(), said.err)

"""Bad input and bad days: each has its message and its exit code, and nothing hangs."""
import os
import random
import shutil
import subprocess
import time
import unittest
from pathlib import Path

from rig import LIBRARY, Rig, SIGKILL, SIGSTOP, WRITEGATE, children_of, fake_worker, wait_for

ROOT = os.geteuid() == 0
OTHER_BOOT = bytes(range(16))


def file_system(path):
    """What kind of file system it lies in."""
    said = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True)
    return said.stdout.strip()


class Page(unittest.TestCase):
    """A control page that cannot be used."""

    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.page = self.rig.control()

    def refused(self, code, *words):
        said = self.rig.freeze()
        self.assertEqual(said.code, code, said)
        for word in words:
            self.assertIn(word, said.err)
        self.assertEqual(said.lines, [])

    def test_no_gate_directory(self):
        shutil.rmtree(self.rig.dir)
        self.refused(69, "does not exist")

    def test_foreign(self):
        self.page.write_bytes(bytes(16384))
        self.refused(78, "is not a control page")

    def test_another_version(self):
        content = bytearray(self.page.read_bytes())
        content[8] = 99
        self.page.write_bytes(content)
        self.refused(78, "another version", "restart the service")

    def test_another_boot(self):
        if file_system(self.page) in ("tmpfs", "ramfs"):
            self.skipTest("on a tmpfs no page is of another boot")
        self.put_boot_id(OTHER_BOOT)
        self.refused(78, "another boot", "tmpfs")

    def put_boot_id(self, new):
        own = bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
        content = self.page.read_bytes()
        self.assertEqual(content.count(own), 1)
        self.page.write_bytes(content.replace(own, new))

    def test_made_by_a_process_that_sees_no_boot_id(self):
        """A unit with ProcSubset=pid made it: just now, so in this boot."""
        if time.clock_gettime(time.CLOCK_BOOTTIME) < 300:
            self.skipTest("the machine has just been booted")
        self.put_boot_id(bytes(16))
        self.rig.worker("idle")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)

    @unittest.skipUnless(ROOT, "needs root to mount")
    def test_made_in_a_container_with_a_boot_id_of_its_own(self):
        """What lies on a tmpfs is of this boot."""
        content = self.page.read_bytes()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=1m", "tmpfs", self.page.parent], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.page.parent], check=True)
        self.page.write_bytes(content)
        for boot_id in (OTHER_BOOT, bytes(16)):
            self.page.write_bytes(content)
            self.put_boot_id(boot_id)
            worker = self.rig.worker("idle")
            said = self.rig.freeze()
            self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
            worker.kill()
            worker.wait()

    def test_truncated(self):
        os.truncate(self.page, 100)
        self.refused(78, "100 bytes")

    def test_symlinked(self):
        self.page.rename(self.page.with_name("elsewhere"))
        self.page.symlink_to("elsewhere")
        self.refused(78, "symbolic link")

    def test_writable_by_others(self):
        self.page.chmod(0o666)
        self.refused(78, "written by others", "chmod go-w")
        self.page.chmod(0o644)
        self.page.parent.chmod(0o777)
        self.refused(78, "written by others")

    def test_a_directory_or_a_pipe_in_its_place(self):
        self.page.unlink()
        self.page.mkdir()
        self.refused(78)
        self.page.rmdir()
        os.mkfifo(self.page, 0o644)
        self.refused(78, "not a regular file")

    @unittest.skipUnless(ROOT, "needs root to give files away")
    def test_somebody_elses(self):
        os.chown(self.page, 65534, 65534)
        self.refused(78, "belongs to user 65534")

    @unittest.skipUnless(ROOT, "needs root to become somebody else")
    def test_not_the_owner(self):
        self.rig.worker("idle")
        self.rig.uid = 65534
        self.refused(77, "only its owner")

    def test_replaced_under_living_processes(self):
        worker = self.rig.worker("idle")
        content = self.page.read_bytes()
        self.page.unlink()
        self.page.write_bytes(content)
        self.refused(69, "nothing was frozen", f"{worker.pid} (fake_worker)", "restart")
        # One hears, one is deaf: this is no freeze of the service.
        self.rig.worker("idle")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn(f"pid {worker.pid}", said.err)

    def test_replaced_during_the_freeze(self):
        self.rig.worker("idle")
        script = f"cp {self.page} {self.page}.new && mv {self.page}.new {self.page}"
        said = self.rig.freeze(command=["sh", "-c", script])
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.assertIn("replaced", said.err)

    def test_a_profile_with_a_fault_has_line_and_column(self):
        conf = self.rig.file("bad.conf")
        conf.write_text("# fine\nexlude = *.log\n")
        said = self.rig.run("exec", "-g", "new", "--config", conf, "--", "true")
        self.assertEqual(said.code, 78, said)
        self.assertIn(f"{conf}:2:1: unknown key", said.err)

    def test_no_library(self):
        said = self.rig.run("exec", "-g", "t", "--library", "/nonexistent.so", "--", "true")
        self.assertEqual(said.code, 78, said)
        self.assertIn("--library", said.err)


class Freezers(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def test_two_at_once_take_turns(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        both = [self.rig.start("freeze", "-g", "t", "--", "sleep", "0.5") for _ in range(2)]
        for freezer in both:
            out, err = freezer.communicate(timeout=20)
            self.assertEqual(freezer.returncode, 0, out + err)
        self.assertLess(max(self.rig.held(worker)), 900, "held for one freeze at a time")

    def test_a_look_at_the_gate_does_not_hold_it_up(self):
        self.rig.worker("idle")
        self.rig.plain(["sh", "-c", f"while :; do {WRITEGATE} status >/dev/null; done"],
                       start_new_session=True)
        for _ in range(5):
            said = self.rig.freeze("--retries", "0", "--drain", "1s")
            self.assertEqual((said.code, said.fields["procs"]), (0, "1"), said)

    def test_three_tools_back_to_back(self):
        """No single wait is longer than one limit, whoever asks how often."""
        worker = self.rig.worker("work", self.rig.file("a"))
        until = time.monotonic() + 6
        loop = ["sh", "-c", f"while :; do {WRITEGATE} freeze -g t -t 200ms --retries 0 -- "
                            "sleep 0.15; done"]
        tools = [self.rig.plain(loop, start_new_session=True) for _ in range(3)]
        time.sleep(max(0, until - time.monotonic()))
        for tool in tools:
            os.killpg(tool.pid, SIGKILL)
        held = self.rig.held(worker)
        self.assertGreater(len(held), 2)
        self.assertLess(max(held), 250, held)

    def test_killed_at_random_moments(self):
        worker = self.rig.worker("work", self.rig.file("a"))
        chance = random.Random(7)
        for _ in range(50):
            freezer = self.rig.start("freeze", "-g", "t", "-t", "300ms", "--", "sleep", "0.25")
            time.sleep(chance.uniform(0, 0.25))
            freezer.kill()
            freezer.wait()
            said = self.rig.freeze("-t", "300ms", command=["true"])
            self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertIsNone(worker.poll())
        held = self.rig.held(worker)
        self.assertLess(max(held), 350, held)

    def test_a_stopped_waiter_does_not_block_later_freezes(self):
        self.rig.worker("idle")
        worker = self.rig.worker("work", self.rig.file("a"))
        self.rig.freeze("-t", "2s", command=["sh", "-c", f"sleep 0.1; kill -STOP {worker.pid}"])
        begun = time.monotonic()
        said = self.rig.freeze("-t", "2s")
        self.assertEqual(said.code, 0, said)
        self.assertLess(time.monotonic() - begun, 1.5)

    def test_the_gate_rests_as_long_as_it_was_closed(self):
        self.rig.worker("idle")
        first, second = (self.rig.freeze("-t", "2s", command=["sleep", s]) for s in ("0.5", "0"))
        opened, closed = (said.record["gates"][0][moment]["monotonic_ns"]
                          for said, moment in ((first, "opened"), (second, "closed")))
        self.assertGreater((closed - opened) / 1e9, 0.4)

    def test_closed_streams(self):
        self.rig.worker("idle")
        for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            done = subprocess.run(["sh", "-c", f"exec {WRITEGATE} freeze -g t -- true {closing}"],
                                  env=self.rig.env(), timeout=20, capture_output=True)
            # What it says is lost: the snapshot may be good, and nobody could know.
            code = 0 if closing == "<&-" else 74
            self.assertEqual(done.returncode, code, (closing, done))

    def test_a_reader_that_went_away(self):
        self.rig.worker("idle")
        done = subprocess.run(["bash", "-c", f"{WRITEGATE} freeze -g t --json -- true | true; "
                                             "exit ${PIPESTATUS[0]}"],
                              env=self.rig.env(), timeout=20, capture_output=True)
        self.assertEqual(done.returncode, 74, done)

    @unittest.skipUnless(LIBRARY.exists(), f"no {LIBRARY}")
    def test_a_freezer_started_from_a_gated_shell(self):
        """It holds a lock and forks: gated itself it would wait for itself."""
        self.rig.worker("idle")
        env = self.rig.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE="t")
        said = self.rig.freeze("-t", "3s", command=["sh", "-c", "echo $LD_PRELOAD"], env=env)
        self.assertEqual((said.code, said.verdict), (0, "CONSISTENT"), said)
        self.assertEqual(said.fields["procs"], "1")
        self.assertEqual(said.out.splitlines()[0], "")

    def test_interrupted_in_the_queue(self):
        self.rig.worker("idle")
        self.rig.start("freeze", "-g", "t", "--", "sleep", "3")
        time.sleep(0.3)
        second = self.rig.start("freeze", "-g", "t", "--", "true")
        time.sleep(0.3)
        second.terminate()
        self.assertEqual(second.wait(timeout=5), 143)

    def test_a_helper_that_hangs_is_replaced(self):
        """As on a process stuck on a dead disk: its look never comes back."""
        self.rig.worker("idle")
        freezer = self.rig.start("freeze", "-g", "t", "--", "sleep", "0.4")
        wait_for(lambda: len(children_of(freezer.pid)) == 2, what="helper and command")
        helper = [pid for pid in children_of(freezer.pid) if comm(pid) == "writegate"]
        os.kill(helper[0], SIGSTOP)
        out, err = freezer.communicate(timeout=15)
        self.assertEqual(freezer.returncode, 0, out + err)

    def test_a_user_who_requeues_the_waiters(self):
        """Anybody can read the page, and so move its waiters to another word."""
        worker = self.rig.worker("work", self.rig.file("a"))
        self.rig.freeze("-t", "2s", command=["sh", "-c", f"sleep 0.1; {fake_worker()} "
                                             f"{self.rig.control()} requeue"])
        time.sleep(0.2)
        held = self.rig.held(worker)
        self.assertLess(max(held), 300, held)

    def test_a_foreign_user_who_never_goes_idle_can_be_left_out(self):
        if not ROOT:
            self.skipTest("needs root to become somebody else")
        named = self.rig.file("named")
        named.mkdir()
        self.rig.worker("work", self.rig.file("a"), paths=named)
        self.rig.uid = 65534
        os.chown(self.rig.data, 65534, 65534)
        hog = self.rig.worker("stuck", self.rig.file("b"))
        self.rig.uid = None
        said = self.rig.freeze("--retries", "0", "--drain", "1s")
        self.assertEqual((said.code, said.verdict, said.fields["coverage"]),
                         (0, "CONSISTENT", "full"), said)
        self.assertIn("outsider", said.kinds(), said)
        said = self.rig.freeze("--retries", "0", "--drain", "200ms", "--users", "nobody")
        self.assertEqual(said.code, 75, said)
        said = self.rig.freeze("--retries", "0", "--drain", "1s", "--users", "root")
        self.assertEqual((said.code, said.verdict, said.fields["coverage"]),
                         (0, "CONSISTENT", "full"), said)
        self.assertIn("outsider", said.kinds())
        self.assertIn(hog.pid, [f["pid"] for f in said.record["gates"][0]["findings"]])


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as text:
            return text.read().strip()
    except OSError:
        return ""


@unittest.skipUnless(ROOT, "needs root to mount")
class Disks(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.at = self.rig.work / "mnt"
        self.at.mkdir()

    def mount(self, *args):
        subprocess.run(["mount", *args, str(self.at)], check=True, capture_output=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.at)], capture_output=True)

    def test_a_read_only_run(self):
        self.mount("-t", "tmpfs", "-o", "mode=755", "tmpfs")
        subprocess.run(["mount", "-o", "remount,ro", str(self.at)], check=True)
        said = self.rig.run("exec", "-g", "new", "--library", self.rig.work / "libwritegate.so",
                            "--", "true", env={**self.rig.env(), "WRITEGATE_DIR": str(self.at)})
        self.assertEqual(said.code, 77, said)
        self.assertIn("Read-only file system", said.err)

    def test_a_full_run(self):
        self.mount("-t", "tmpfs", "-o", "mode=755,size=8k", "tmpfs")
        said = self.rig.run("exec", "-g", "new", "--library", self.rig.work / "libwritegate.so",
                            "--", "true", env={**self.rig.env(), "WRITEGATE_DIR": str(self.at)})
        self.assertEqual(said.code, 78, said)
        self.assertIn("No space left", said.err)
        self.assertEqual(list((self.at / "new").iterdir()), [], "nothing half-made is left")

    def test_stdout_and_report_on_the_frozen_disk(self):
        image = self.rig.work / "disk"
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        self.mount("-o", "loop", str(image))
        self.rig.worker("idle")
        self.addCleanup(subprocess.run, ["fsfreeze", "-u", str(self.at)], capture_output=True)
        script = f"fsfreeze -f {self.at}; sleep 0.3; fsfreeze -u {self.at}"
        with open(self.at / "out", "w") as stream:
            done = subprocess.run([WRITEGATE, "freeze", "-g", "t", "--report", self.at / "r.json",
                                   "--", "sh", "-c", script], env=self.rig.env(), stdout=stream,
                                  stderr=stream, timeout=20)
        self.assertEqual(done.returncode, 0)
        self.assertIn("verdict=CONSISTENT", (self.at / "out").read_text())
        self.assertIn('"schema": 2', (self.at / "r.json").read_text())

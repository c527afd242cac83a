#!/usr/bin/env python3
"""Two builds of different layout on one gate: they agree, or say who is who; never a silent CONSISTENT.

    run.py [--only PATTERN]        WRITEGATE_BIN_DIR: the build to test, else target/release

"Ours" is the command and library to test. "Other" is a second library, built here with another layout
(WRITEGATE_TEST_LAYOUT, see gate/src/layout.rs) into target/other-layout: some 10 s when it is built anew. It plays the
old version in an upgrade and the new one as well: layouts are equal or not, and there is no order among them.
A command of the other build has nothing to show that ours does not show the other way round.
"""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))
from lab import suite  # noqa: E402

BIN = Path(os.environ.get("WRITEGATE_BIN_DIR") or ROOT / "target" / "release")
COMMAND, OURS = BIN / "writegate", BIN / "libwritegate.so"
BUILD = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "other-layout"
NOTE = struct.pack("<III12s", 10, 4, 1, b"writegate")

# Writes to the file of its argument until it is ended; with a second argument, first starts that program.
WRITER = """
import os, subprocess, sys, time
print("ready", flush=True)
while True:
    with open(sys.argv[1], "w") as f:
        f.write("x")
    if sys.stdin in __import__("select").select([sys.stdin], [], [], 0.01)[0] and sys.stdin.readline():
        child = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1] + ".child", ""],
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        print(child.pid, flush=True)
"""


def other_library():
    """The second build, made once."""
    begun = time.monotonic()
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "writegate-preload"], cwd=ROOT, check=True,
                   env=dict(os.environ, WRITEGATE_TEST_LAYOUT="other", CARGO_TARGET_DIR=str(BUILD)))
    print(f"the library of another layout: {time.monotonic() - begun:.1f} s", flush=True)
    return BUILD / "release" / "libwritegate.so"


def noted(library):
    """The layout that a library's note says."""
    content = library.read_bytes()
    assert content.count(NOTE) == 1, f"{library}: {content.count(NOTE)} notes"
    return struct.unpack_from("<I", content, content.index(NOTE) + len(NOTE))[0]


class Case(unittest.TestCase):
    def setUp(self):
        # Not /tmp itself, which is everybody's.
        self.work = Path(tempfile.mkdtemp(prefix="writegate-layout-"))
        self.work.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.work, True)
        for name in ("gates", "data", "lib"):
            (self.work / name).mkdir(mode=0o755)
        self.library = self.work / "lib" / "libwritegate.so"
        self.page = self.work / "gates" / "mail" / "control"
        self.conf = self.work / "mail.conf"
        self.conf.write_text("")
        self.children = []
        self.addCleanup(self.stop)

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("WRITEGATE_")}
        return dict(env, WRITEGATE_DIR=str(self.work / "gates"), WRITEGATE_CONF=str(self.conf),
                    WRITEGATE_PATHS=str(self.work / "data"), WRITEGATE_TEST_LOG_SOCKET="", LC_ALL="C")

    def install(self, library):
        """As a package does: another file at the same place."""
        self.library.unlink(missing_ok=True)
        shutil.copy(library, self.library)

    def service(self, name="a", argv=None):
        """A process under the library that is installed now."""
        argv = argv or [sys.executable, "-c", WRITER, str(self.work / "data" / name), WRITER]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                                 env=dict(self.env(), LD_PRELOAD=str(self.library), WRITEGATE_GATE="mail"))
        self.children.append(child)
        if argv[0] == sys.executable:
            assert child.stdout.readline() == "ready\n"
        time.sleep(0.1)
        return child

    def child_of(self, service):
        """The process that a service starts now, under the library that is installed now."""
        service.stdin.write("\n")
        service.stdin.flush()
        return int(service.stdout.readline())

    def end(self, child):
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()

    def stop(self):
        for child in self.children:
            self.end(child)
            child.stdin.close()
            child.stdout.close()

    def run_command(self, *args):
        return subprocess.run([COMMAND, *map(str, args)], env=self.env(), capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)

    def freeze(self):
        """(exit code, verdict or None, all that was said)"""
        said = self.run_command("freeze", "-g", "mail", "-t", "3s", "--", "sleep", "0.1")
        lines = [line for line in said.stderr.splitlines() if "verdict=" in line]
        verdict = lines[-1].split("verdict=")[1].split()[0] if lines else None
        return said.returncode, verdict, said.stdout + said.stderr

    def doctor(self):
        said = self.run_command("doctor", "-g", "mail", "--json")
        found = json.loads(said.stdout)
        return said.returncode, {row["pid"]: row for row in found["processes"]}

    def status(self):
        said = self.run_command("status", "-g", "mail")
        return said.stdout + said.stderr

    def maps_page(self, pid):
        maps = Path(f"/proc/{pid}/maps").read_text()
        return f" {self.page}\n" in maps and f" {os.stat(self.page).st_ino} " in maps

    def assert_names(self, text, pids):
        for pid in pids:
            self.assertRegex(text, rf"\b{pid}\b")


class Layouts(Case):
    def test_the_two_builds_have_two_layouts_and_say_them(self):
        said = self.run_command("doctor", "--layout").stdout.split()
        self.assertEqual(said[0], "layout")
        self.assertEqual(int(said[1], 16), noted(OURS))
        self.assertNotEqual(noted(OURS), noted(OTHER))

    def test_one_layout_agrees(self):
        self.install(OURS)
        service = self.service()
        child = self.child_of(service)
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (0, "CONSISTENT"), said)
        code, rows = self.doctor()
        self.assertEqual((code, {row["state"] for row in rows.values()}), (0, {"gated"}), rows)
        self.assertLessEqual({service.pid, child}, rows.keys())


class Upgrade(Case):
    """The page and the first processes are the other version's, the command is ours."""

    def setUp(self):
        super().setUp()
        self.install(OTHER)
        self.old = self.service()
        self.assertTrue(self.maps_page(self.old.pid), "the other build gates by its own page")
        self.install(OURS)
        self.new = self.child_of(self.old)

    def test_is_refused_with_names_and_leaves_the_old_page_to_the_old_processes(self):
        before = (os.stat(self.page).st_ino, self.page.read_bytes())
        self.assertFalse(self.maps_page(self.new), "a library that does not know the page must not take it")
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (78, None), said)
        self.assert_names(said, [self.old.pid])
        for words in ("another version", f"{noted(OTHER):08x}", f"{noted(OURS):08x}", f"rm {self.page}"):
            self.assertIn(words, said)
        self.run_command("exec", "-g", "mail", "--library", OURS, "--", "true")
        self.assertEqual((os.stat(self.page).st_ino, self.page.read_bytes()), before)
        self.assertTrue(self.maps_page(self.old.pid))

    def test_doctor_and_status_say_which_process_is_of_which_layout(self):
        code, rows = self.doctor()
        self.assertEqual(code, 65, rows)
        for pid in (self.old.pid, self.new):
            self.assertEqual((rows[pid]["state"], rows[pid]["cause"]), ("not-gated", "other-layout"), rows[pid])
            self.assertIn("restart", rows[pid]["cure"])
        self.assertIn("runs that version's library", rows[self.old.pid]["reason"])
        self.assertIn("the gate's page was made by another version", rows[self.new]["reason"])
        self.assertIn(f"{noted(OTHER):08x}", self.status())
        self.assert_names(self.status(), [self.old.pid])

    def test_half_done_is_ungated_and_done_is_consistent(self):
        self.page.unlink()
        restarted = self.service("b")
        self.assertTrue(self.maps_page(restarted.pid))
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (65, "UNGATED"), said)
        self.assert_names(said, [self.old.pid])
        self.end(self.old)
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (0, "CONSISTENT"), said)


class Downgrade(Case):
    """The page and the first processes are ours, what starts later is the other version's."""

    def setUp(self):
        super().setUp()
        self.install(OURS)
        self.first = self.service()
        self.install(OTHER)

    def test_a_child_of_another_layout_makes_it_ungated(self):
        self.assertEqual(self.freeze()[:2], (0, "CONSISTENT"), "before it is there")
        child = self.child_of(self.first)
        self.assertFalse(self.maps_page(child))
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (65, "UNGATED"), said)
        self.assert_names(said, [child])
        self.assertIn(f"{noted(OTHER):08x}", said)
        self.assert_names(self.status(), [child])
        self.assertIn(f"{noted(OTHER):08x}", self.status())
        code, rows = self.doctor()
        self.assertEqual((code, rows[child]["cause"]), (65, "other-layout"), rows)
        self.assertEqual(rows[self.first.pid]["state"], "gated", rows)

    def test_a_service_of_another_layout_that_asks_for_the_gate_makes_it_ungated(self):
        # It does nothing, so no change of its gives it away.
        other = self.service(argv=[shutil.which("sleep"), "60"])
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (65, "UNGATED"), said)
        self.assert_names(said, [other.pid])
        self.end(self.first)
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (69, None), said)
        self.assert_names(said, [other.pid])

    def test_a_library_from_before_there_were_notes_is_of_another_layout(self):
        content = OTHER.read_bytes().replace(NOTE, NOTE.replace(b"writegate", b"something"))
        self.library.write_bytes(content)
        child = self.child_of(self.first)
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (65, "UNGATED"), said)
        self.assert_names(said, [child])
        self.assertIn("an old layout without a name", said)

    def test_a_program_that_the_profile_leaves_out_may_have_any_layout(self):
        self.stop()
        self.children.clear()
        self.page.unlink()
        self.conf.write_text(f"program = {Path(sys.executable).resolve()}*\n")
        self.install(OURS)
        self.service()
        self.install(OTHER)
        self.service(argv=[shutil.which("sleep"), "60"])
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (0, "CONSISTENT"), said)


class InTheMiddle(Case):
    """Library and command are replaced while a snapshot is taken, and a service starts before the barrier is down."""

    def replaced_by(self, library):
        """(exit code, verdict, what was said, did the new service write while the barrier was up)"""
        command, frozen, done = (self.work / "lib" / name for name in ("writegate", "frozen", "done"))
        shutil.copy(COMMAND, command)
        self.install(OURS)
        self.service("a")
        wait = f"touch {frozen}; while [ ! -e {done} ]; do sleep 0.02; done"
        freezer = subprocess.Popen([command, "freeze", "-g", "mail", "-t", "50s", "--drain", "20s", "--", "sh", "-c", wait], env=self.env(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            until = time.monotonic() + 60
            while not frozen.exists():
                self.assertIsNone(freezer.poll(), "it ended before the snapshot began")
                self.assertLess(time.monotonic(), until)
                time.sleep(0.01)
            self.install(library)
            command.unlink()
            shutil.copy(COMMAND, command)
            self.service("b")
            time.sleep(0.3)
            wrote = (self.work / "data" / "b").exists()
            done.touch()
            _, said = freezer.communicate(timeout=60)
        finally:
            freezer.kill()
            freezer.wait()
            freezer.stdout.close()
            freezer.stderr.close()
        return freezer.returncode, re.findall(r"verdict=(\w+)", said)[-1:], said, wrote

    def test_the_same_version_again(self):
        code, verdict, said, wrote = self.replaced_by(OURS)
        self.assertEqual((code, verdict, wrote), (0, ["CONSISTENT"], False), said)
        code, verdict, said = self.freeze()
        self.assertEqual((code, verdict), (0, "CONSISTENT"), said)
        self.assertTrue((self.work / "data" / "b").exists(), "it goes on")

    def test_another_version(self):
        """It does not hear this barrier: what it changed is seen."""
        code, verdict, said, wrote = self.replaced_by(OTHER)
        self.assertTrue(wrote, "this shows nothing: it changed nothing meanwhile")
        self.assertNotEqual(code, 0, said)
        self.assertNotIn("CONSISTENT", verdict, said)
        self.assertEqual(self.freeze()[:2], (65, "UNGATED"))


if __name__ == "__main__":
    pattern = suite.parser(__doc__).parse_args().only
    OTHER = other_library()
    sys.exit(suite.run(suite.of_main(), pattern))

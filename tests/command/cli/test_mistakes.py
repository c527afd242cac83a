"""What an admin gets wrong most often: each says its cause and the next command, and harms nobody.

`ROWS` are those that need no process; the others are tests of their own. A row is held by what must stand in
the message, never by all of its words.
"""
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from rig import LIBRARY, WRITEGATE, Rig, wait_for

ROOT = os.geteuid() == 0

# arguments, exit code, what must be said. The gate is `t`; beside it there is none.
ROWS = {
    "a gate that is not there": (("freeze", "-g", "tt", "--", "true"), 69, ["Gates in", "t (-g names one)", "writegate setup SERVER"]),
    "nothing is gated": (("freeze", "-g", "t", "--", "true"), 69, ["Is the server running", "started again since it was set up",
                                                                   "`writegate doctor SERVER -g t`",
                                                                   "stopped on purpose", "by itself"]),
    "the doctor of a gate of nobody": (("doctor", "-g", "t"), 69, ["is the server running", "`writegate doctor SERVER -g t`"]),
    "no -- before the command": (("freeze", "-g", "t", "lvcreate", "-s", "vg/mail"), 64, ["writegate freeze -g t -- lvcreate -s vg/mail"]),
    "no -- before a gated program": (("exec", "-g", "t", "doveadm", "index"), 64, ["writegate exec -g t -- doveadm index"]),
    "no -g": (("freeze", "t", "--", "true"), 64, ["a gate is named with -g: writegate freeze -g t"]),
    "a gate as if it were a unit": (("doctor", "t"), 69, ["`t` is a gate", "`writegate doctor -g t`"]),
    "a unit that is not there": (("doctor", "nosuch"), 69, ["there is no unit nosuch.service", "cyrus, dovecot"]),
    "the command in quotes": (("freeze", "-g", "t", "--", "lvcreate --snapshot x"), 127, ["nothing was held", "without the quotes"]),
    "a command that is not there": (("freeze", "-g", "t", "--", "lvcraete"), 127, ["cannot run lvcraete: not found", "nothing was held"]),
    "a word of the shell": (("freeze", "-g", "t", "--", "cd", "/srv"), 127, ["nothing was held", "word of the shell: sh -c"]),
    "a time without a unit": (("freeze", "-g", "t", "-t", "5", "--", "true"), 64, ["write 5s or 5ms"]),
    "a limit beyond all limits": (("freeze", "-g", "t", "-t", "5m", "--", "true"), 64, ["between 1ms and 60s"]),
    "an option with a typo": (("freeze", "-g", "t", "--path", "/srv", "--", "true"), 64, ["'--paths'", "`writegate freeze --help`"]),
    "a path that is not absolute": (("freeze", "-g", "t", "--paths", "srv", "--", "true"), 64, ["not an absolute path"]),
    "a requirement with a typo": (("freeze", "-g", "t", "--require", "full", "--", "true"), 64, ["watched, locks, coverage, quiet"]),
    "no token": (("thaw",), 64, ["what `writegate freeze` printed", "by itself at the freeze's limit"]),
    "a gate in place of the token": (("thaw", "t"), 76, ["is not a token", "`writegate freeze` without a command prints one"]),
    "no server named": (("setup",), 64, ["`writegate setup --list`"]),
    "a server with a typo": (("setup", "postfx"), 78, ["there is no unit postfx.service", "cyrus, dovecot, postfix, exim"]),
    "a server to be removed, with a typo": (("setup", "postfx", "--remove"), 78, ["there is no unit postfx.service"]),
    "a server that is set up by hand": (("setup", "courier"), 78, ["set up by hand", "docs/admin/servers/courier.md"]),
    "--json where there is none": (("exec", "-g", "t", "--json", "--", "true"), 64, ["`writegate exec --help`"]),
    "a page with a typo": (("man", "freze"), 64, ["freeze, thaw", "writegate.conf"]),
    "a hook with a typo": (("hook", "qemu"), 64, ["qemu-ga"]),
    "a subcommand with a typo": (("freze",), 64, ["'freeze'"]),
    "options before the subcommand": (("-g", "t", "freeze", "--", "true"), 64, ["writegate freeze -g t -- true"]),
    "a number and its unit apart": (("freeze", "-g", "t", "-t", "5", "s", "--", "true"), 64, ["are one word: 5s"]),
    "a time below 0": (("freeze", "-g", "t", "-t", "-5s", "--", "true"), 64, ["is below 0"]),
    "an unknown unit of time": (("freeze", "-g", "t", "-t", "5sec", "--", "true"), 64, ["`sec` is not a unit; use us, ms, s or m"]),
    "a variable that is empty": (("freeze", "-g", "t", "--"), 64, ["nothing stands behind `--`", "Nothing was held"]),
    "a gate without -g": (("status", "t"), 64, ["writegate status -g t"]),
    "a gate in place of -g, before a program": (("exec", "t", "--", "true"), 64, ["writegate exec -g t -- true"]),
    "a number in words": (("rehearse", "-g", "t", "-n", "ten"), 64, ["not a whole number"]),
    "a name in place of a process id": (("doctor", "--pid", "dovecot"), 64, ["not a whole number"]),
    "a process that is not there": (("doctor", "--pid", "4194304"), 69, ["there is no process 4194304"]),
    "a name that no gate can have": (("freeze", "-g", "../t", "--", "true"), 64, ["letters, digits, - _ . @"]),
    "another tool's word: install": (("install", "dovecot"), 64, ["`writegate setup SERVER --install --apply`"]),
    "another tool's word: unfreeze": (("unfreeze",), 64, ["`writegate thaw TOKEN`"]),
    "another tool's word: snapshot": (("snapshot",), 64, ["writegate freeze -g GATE -- COMMAND"]),
    "another tool's word: version": (("version",), 64, ["`writegate --version`"]),
    "another tool's option: --uninstall": (("setup", "dovecot", "--uninstall"), 64, ["`--remove` undoes a set-up"]),
    "another tool's option: --dry-run": (("setup", "dovecot", "--dry-run"), 64, ["`--print`, the default"]),
    "another tool's option: --timeout": (("freeze", "-g", "t", "--timeout", "5s", "--", "true"), 64, ["`-t TIME` limits"]),
    "two servers": (("setup", "dovecot", "postfix"), 64, ["one server at a time"]),
    "a root that is not there": (("setup", "dovecot", "--root", "/nonexistent-root"), 64, ["there is no directory /nonexistent-root"]),
    "--apply alone": (("setup", "dovecot", "--apply"), 64, ["goes with --install or --remove"]),
    "a gate in place of a token, with -g": (("thaw", "-g", "t"), 64, ["`writegate thaw TOKEN`"]),
    "two tokens": (("thaw", "a", "b"), 64, ["TOKEN is one word"]),
    "a user that is not there": (("freeze", "-g", "t", "--users", "nosuch", "--", "true"), 64, ["there is no user `nosuch`"]),
    "a gated program that is not there": (("exec", "-g", "t", "--", "doveadm index x"), 127, ["not found", "without the quotes"]),
    "--report to the token's stdout": (("freeze", "-g", "t", "--report", "-"), 64, ["the token's; give them to `thaw`"]),
}


# A user is told first which rights are missing.
OF_ROOT = {"nothing is gated", "the doctor of a gate of nobody", "a server to be removed, with a typo"}


class Base(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)

    def says(self, said, *parts):
        for part in parts:
            self.assertIn(part, said.out + said.err)


class Mistakes(Base):
    def test_rows(self):
        for what, (args, code, parts) in ROWS.items():
            with self.subTest(what):
                if what in OF_ROOT and os.geteuid():
                    self.skipTest("needs root")
                said = self.rig.run(*args)
                self.assertEqual(said.code, code, said)
                self.says(said, *parts)
                for opposite in ("argument exists: '--install'", "subcommand exists: 'freeze'") if args != ("freze",) else ():
                    self.assertNotIn(opposite, said.err, "the opposite of what was meant")
                self.assertNotIn("as a value, use '--", said.err, "an unknown option would become a snapshot command")

    def test_several_gates_and_none_is_named(self):
        self.rig.make_gate("u")
        self.rig.worker("idle")
        for subcommand in ("freeze", "--", "true"), ("rehearse",):
            said = self.rig.run(*subcommand)
            self.assertEqual(said.code, 64, said)
            self.says(said, "There are t, u: name one with -g")

    def test_the_command_failed(self):
        self.rig.worker("idle")
        said = self.rig.freeze("-t", "60s", command=["sh", "-c", "exit 1"])
        self.assertEqual((said.code, said.verdict), (1, "CONSISTENT"), said)
        self.says(said, "the command `sh -c exit 1` ended with 1: do not trust what it made")
        said = self.rig.freeze(command=["true"])
        self.assertNotIn("ended with", said.err)

    def test_a_requirement_that_is_not_met_is_named(self):
        self.rig.worker("idle")
        for option, state in ("watched", "watched=none"), ("coverage", "coverage=partial"):
            said = self.rig.freeze("-t", "60s", "--require", option)
            self.assertEqual((said.code, said.verdict), (65, "UNSEEN"), said)
            self.says(said, f"--require {option} is not met: {state}", "no protected directory is named")
        self.assertNotIn("--require", self.rig.freeze().err)

    def test_a_directory_that_is_not_there(self):
        self.rig.worker("idle")
        said = self.rig.freeze("--paths", self.rig.work / "nosuch", command=["touch", self.rig.work / "ran"])
        self.assertEqual(said.code, 78, said)
        self.says(said, "named as protected and not there", "Nothing was held")
        self.assertFalse((self.rig.work / "ran").exists())

    def test_directories_with_another_separator(self):
        self.rig.worker("idle")
        for separator in ", ":
            said = self.rig.freeze("--paths", f"{self.rig.work}{separator}/srv")
            self.assertEqual(said.code, 78, said)
            self.says(said, "separated by `:`", "Nothing was held")

    def test_a_pattern_for_a_directory(self):
        self.rig.worker("idle")
        said = self.rig.freeze("--paths", self.rig.work / "dat*")
        self.assertEqual(said.code, 78, said)
        self.says(said, "patterns are not expanded", "Nothing was held")

    def test_directories_that_hold_more_than_mail(self):
        """`--paths /`: one line for each program of the machine, and the cause said nowhere."""
        self.rig.worker("idle")
        program = "import sys, time; kept = [open(f'{sys.argv[1]}/{n}', 'w') for n in range(12)]; print(flush=True); time.sleep(60)"
        self.rig.plain([sys.executable, "-c", program, self.rig.data]).stdout.readline()
        said = self.rig.freeze("--paths", self.rig.data)
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        self.says(said, "and 2 more of this kind (open-for-writing); --report FILE names all", "too wide (/, /var, /home)", "--paths")
        self.assertEqual(said.err.count("has a protected file open for writing"), 10, said)
        self.assertEqual(said.kinds().count("ungated-writer"), 12, "the report has all")

    def test_what_was_to_set_the_snapshot_aside_fails(self):
        self.rig.worker("idle")
        said = self.rig.freeze("-t", "100ms", "--on-untrusted", "nosuch-tool x", command=["sleep", "0.4"])
        self.assertEqual((said.code, said.verdict), (124, "EXPIRED"), said)
        self.says(said, "--on-untrusted `nosuch-tool x` ended with", "under its good name: set it aside by hand")

    def test_a_freeze_inside_of_a_freeze_of_the_same_gate(self):
        """It would wait for the one that waits for it, as long as --queue says."""
        self.rig.worker("idle")
        inner = [WRITEGATE, "freeze", "-g", "t", "--queue", "50s", "--", "true"]
        said = self.rig.freeze("-t", "60s", command=inner)
        self.assertEqual(said.code, 64, said)
        self.says(said, "run by a freeze of that very gate", "Nothing was held by this one")
        said = self.rig.freeze("-t", "60s", env=self.rig.env(WRITEGATE_TOKEN="not a token"))
        self.assertNotEqual(said.code, 64, "what is no token stops nobody")

    def test_a_directory_of_gates_that_is_not_absolute(self):
        said = self.rig.run("status", env=self.rig.env(WRITEGATE_DIR="gates"))
        self.assertEqual(said.code, 64, said)
        self.says(said, "WRITEGATE_DIR=gates: not an absolute path")

    def test_no_gate_at_all(self):
        empty = Path(tempfile.mkdtemp(prefix="none-", dir=self.rig.work))
        said = self.rig.run("status", env=self.rig.env(WRITEGATE_DIR=str(empty)))
        self.assertEqual(said.code, 0, said)
        self.says(said, f"no gates in {empty}", "`writegate setup --list`")

    def test_the_report_on_stdout(self):
        self.rig.worker("idle")
        said = self.rig.run("freeze", "-g", "t", "-t", "60s", "--report", "-", "--", "true", cwd=self.rig.work)
        self.assertEqual(json.loads(said.out)["verdict"], "CONSISTENT", said)
        self.assertFalse((self.rig.work / "-").exists(), "a file of that name")

    def on_a_terminal(self, *args):
        """Exit code and all that it says there."""
        master, slave = pty.openpty()
        child = subprocess.Popen([WRITEGATE, *map(str, args)], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                                 env=self.rig.env(NO_COLOR="1"))
        os.close(slave)
        said = b""
        try:
            while part := os.read(master, 65536):
                said += part
        except OSError:                                 # the other end is closed
            pass
        os.close(master)
        return child.wait(timeout=30), said.decode()

    def test_no_command_on_a_terminal(self):
        self.rig.worker("idle")
        code, said = self.on_a_terminal("freeze", "-g", "t", "-t", "60s")
        self.assertEqual(code, 0, said)
        for part in "no snapshot command", "`writegate thaw TOKEN`, or for 60s at most", "writegate freeze -g t -- COMMAND":
            self.assertIn(part, said)
        token = said.split()[-1]
        self.assertLess(said.index("no snapshot command"), said.index(token), "it must be said before anybody is held")
        self.assertEqual(self.rig.run("thaw", token).code, 0)
        said = self.rig.run("freeze", "-g", "t")
        self.assertEqual(said.err, "", "a script is told nothing")
        self.rig.run("thaw", said.out.strip())

    def test_who_waits_on_a_terminal_is_told_for_what(self):
        self.rig.worker("idle")
        first = self.rig.start("freeze", "-g", "t", "-t", "20s", "--", "sleep", "20")
        wait_for(lambda: int.from_bytes(self.rig.control().read_bytes()[32:40], "little"), 20, "the barrier")
        code, said = self.on_a_terminal("freeze", "-g", "t", "--queue", "100ms", "--", "true")
        first.terminate()
        first.wait(timeout=30)
        self.assertEqual(code, 75, said)
        self.assertIn("gate t: another freeze has it; waiting for that, --queue 100ms at most", said)

    def test_a_rehearsal_that_never_drains_stops_early_and_names_the_line(self):
        holder = self.rig.worker("stuck", self.rig.file("b"))
        said = self.rig.run("rehearse", "-g", "t", "-n", "1000", "--drain", "50ms", "--every", "1ms")
        self.assertEqual(said.code, 75, said)
        self.says(said, "3 of 3 did not drain", str(holder.pid))


@unittest.skipUnless(ROOT, "needs root to become somebody else")
class NotRoot(Base):
    def setUp(self):
        super().setUp()
        self.rig.uid = 65534

    def test_setup_says_it_before_the_diff(self):
        said = self.rig.run("setup", "postfix", "--install")
        self.assertEqual((said.code, said.out), (77, ""), said)
        self.says(said, "you are not root", "sudo")

    def test_freeze(self):
        said = self.rig.run("freeze", "-g", "t", "--", "true")
        self.assertEqual(said.code, 77, said)
        self.says(said, "try root")

    def test_who_may_not_look_is_not_told_that_nobody_is_there(self):
        self.rig.uid = None
        self.rig.worker("idle")
        self.rig.uid = 65534
        said = self.rig.run("status")
        self.says(said, "you are not root", "what is not seen is not shown")
        said = self.rig.run("doctor", "-g", "t")
        self.assertNotEqual(said.code, 0, said)
        self.says(said, "you are not root", "run it as root")
        self.assertNotIn("nothing is gated by it", said.out)


@unittest.skipUnless(LIBRARY.exists(), f"no {LIBRARY}")
class Libraries(Base):
    """--library, below another root: this machine's /etc is none of a test's."""

    def test_a_name_that_no_gate_can_have_makes_none(self):
        """Else the server runs behind a gate that no freeze can name."""
        for name in "my gate", "t\r":
            env = self.rig.env(LD_PRELOAD=str(LIBRARY), WRITEGATE_GATE=name)
            child = subprocess.Popen(["sleep", "60"], env=env)
            self.rig.children.append(child)
            wait_for(lambda pid=child.pid: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", 20, "the program")
            wait_for(lambda pid=child.pid: LIBRARY.name in Path(f"/proc/{pid}/maps").read_text(), 20, "its library")
            time.sleep(0.2)
            said = self.rig.run("doctor", "-g", "t", "--pid", child.pid)
            self.assertEqual([path.name for path in self.rig.dir.iterdir()], ["t"])
            self.assertNotEqual(said.code, 0, said)
            self.says(said, "no gate can be called so", "WRITEGATE_GATE=t in its environment")

    def root(self):
        top = Path(tempfile.mkdtemp(prefix="root-", dir=self.rig.work))
        (top / "etc/postfix").mkdir(parents=True)
        (top / "etc/postfix/main.cf").write_text("myhostname = mx.example.org\n")
        library = top / "usr/lib/libwritegate.so"
        library.parent.mkdir(parents=True)
        shutil.copy(LIBRARY, library)
        library.chmod(0o644)
        return top, library

    def setup(self, top, library):
        return self.rig.run("setup", "postfix", "--root", top, "--library", library, "--install")

    def test_each_wrong_one_is_refused_in_words_and_nothing_is_written(self):
        top, library = self.root()
        good = library.read_bytes()
        before = (top / "etc/postfix/main.cf").read_text()
        narrow, foreign = bytearray(good), bytearray(good)
        narrow[4], foreign[18] = 1, 183
        for what, content, mode, part in (
                ("cut off", good[:5000], 0o644, "is cut off"), ("32 bits", bytes(narrow), 0o644, "another machine"),
                ("aarch64", bytes(foreign), 0o644, "aarch64"), ("text", b"#!/bin/sh\n", 0o644, "no shared library"),
                ("writable", good, 0o666, "can be changed by users"), ("closed", good, 0o600, "cannot be read by a service's user")):
            with self.subTest(what):
                library.write_bytes(content)
                library.chmod(mode)
                said = self.setup(top, "/usr/lib/libwritegate.so")
                self.assertEqual(said.code, 78, said)
                self.says(said, part)
                self.assertEqual((top / "etc/postfix/main.cf").read_text(), before)
        library.write_bytes(good)
        library.chmod(0o644)
        said = self.setup(top, "/usr/lib/libwritgate.so")
        self.assertEqual(said.code, 78, said)
        self.says(said, "libwritgate.so: No such file")
        self.assertEqual(self.setup(top, "/usr/lib/libwritegate.so").code, 0)

    @unittest.skipUnless(ROOT and shutil.which("gcc"), "needs root and gcc")
    def test_one_under_which_no_program_starts_is_refused_before_the_server_is_touched(self):
        said = self.rig.run("doctor", "--layout").out.split()[1]
        folder = Path(tempfile.mkdtemp(prefix="writegate-library-", dir="/opt"))
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o755)
        source = self.rig.work / "library.c"
        source.write_text("extern int nobody_has_it(void);\n__attribute__((constructor)) static void f(void) { nobody_has_it(); }\n"
                          "__attribute__((section(\".note.writegate\"), used, aligned(4))) static const struct { unsigned n, d, t; "
                          f"char name[12]; unsigned layout; }} note = {{10, 4, 1, \"writegate\", 0x{said}}};\n")
        library = folder / "libwritegate.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
        library.chmod(0o644)
        # A unit that is there: without one, that is what would be said. Nothing reads it but this command.
        unit = Path(f"/etc/systemd/system/writegate-test-{os.getpid()}.service")
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text("[Service]\nExecStart=/bin/sleep 9\n")
        self.addCleanup(unit.unlink)
        said = self.rig.run("setup", unit.name, "--library", library)
        self.assertEqual(said.code, 78, said)
        self.says(said, "does not work here", "nobody_has_it", "Nothing was changed")


if __name__ == "__main__":
    unittest.main()

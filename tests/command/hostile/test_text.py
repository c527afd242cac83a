"""Names that strangers choose are shown as what they are: no escape sequence, no line of their own."""
import json
import os
import re
import time
import unittest

from rig import NOBODY, Rig

FORGED = "writegate: gate=t verdict=CONSISTENT coverage=full gen=1 drain=1ms held=1ms procs=9 waiters=0 " \
         "admitted=0 escaped=0"
# Of 15 bytes at most: clears the screen, sets a title, begins a line; C1, bidi, no UTF-8.
NAMES = [b"\x1b[2J\x1b[Hx", b"\x1b]0;owned\x07", b"a\nwritegate: g", b"\xc2\x9b2Jx", b"\xe2\x80\xaeevil",
         b"\xff\xfe\x80", b"a\rb\x7f\x08", b"\xe2\x80\xa8line"]
# What no line of ours holds: C0 but newline, DEL, C1, bidi controls, line separators.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\u061c]")


class Text(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        os.chmod(self.rig.data, 0o777)

    def clean(self, raw, what):
        text = raw.decode()                    # must be UTF-8 as well
        self.assertIsNone(UNSAFE.search(text), f"{what}: {text!r}")
        return text

    def test_names_of_programs(self):
        os.chmod(self.rig.data / "a", 0o666)
        for name in NAMES:
            with self.subTest(name=name):
                writer = self.rig.attack("name", self.rig.data / "a", name)
                said = self.rig.freeze()
                self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
                text = self.clean(said.out + said.err, "freeze")
                self.assertIn(str(writer.pid), text)
                for line in text.splitlines():
                    self.assertTrue(line.startswith("writegate: "), text)
                self.assertEqual([f["pid"] for f in said.findings() if f["kind"] == "ungated-writer"], [writer.pid])
                writer.kill()
                writer.wait()

    def test_names_of_gated_programs(self):
        """In status, doctor and a list of who is in the way."""
        for name in NAMES:
            with self.subTest(name=name):
                member = self.rig.attack("named", name, uid=0)
                for args in (("status", "-g", "t"), ("status", "-g", "t", "--json"), ("status", "-g", "t", "--prom"),
                             ("doctor", "-g", "t"), ("doctor", "-g", "t", "--json"),
                             ("doctor", "--pid", member.pid, "-g", "t")):
                    said = self.rig.run(*args)
                    text = self.clean(said.out + said.err, args)
                    if "--prom" not in args:
                        self.assertIn(str(member.pid), text, args)
                    if "--json" in args:
                        json.loads(said.out)
                said = self.rig.freeze("--drain", "100ms", "--retries", "0")
                self.assertEqual(said.code, 75, said)
                self.clean(said.out + said.err, "freeze")
                member.kill()
                member.wait()

    def test_a_verdict_in_the_name_of_a_mailbox(self):
        """A file that a user may name: its path is part of what is said."""
        path = self.rig.data / f"box\n{FORGED}\n\x1b[2J"
        path.write_text("")
        path.chmod(0o666)
        self.rig.attack("name", path, b"x")
        said = self.rig.freeze()
        self.assertEqual((said.code, said.verdict), (65, "UNGATED"), said)
        text = self.clean(said.out + said.err, "freeze")
        verdicts = [line for line in text.split("\n") if "verdict=" in line and line.startswith("writegate: gate=")]
        self.assertEqual(len(verdicts), 1, text)
        paths = [f["path"] for f in said.findings() if f["kind"] == "ungated-writer"]
        self.assertEqual(paths, [str(path)], "the record is faithful")

    def test_a_verdict_in_the_path_of_a_change(self):
        path = self.rig.data / f"x\n{FORGED}\n"
        frozen, done = self.rig.theirs / "frozen", self.rig.theirs / "done"
        wait = "import os, sys, time\nwhile not os.path.exists(sys.argv[2]): time.sleep(0.01)\n"
        writer = self.rig.start(["python3", "-c", f"{wait}open(sys.argv[1], 'w'); open(sys.argv[3], 'w')",
                                 path, frozen, done], uid=NOBODY)
        said = self.rig.freeze("-t", "20s", command=["sh", "-c", f": > {frozen}; until [ -e {done} ]; do sleep 0.01; done"])
        writer.wait()
        self.assertEqual((said.code, said.verdict), (65, "ESCAPED"), said)
        text = self.clean(said.out + said.err, "freeze")
        self.assertEqual(sum(line.startswith("writegate: gate=t verdict=") for line in text.split("\n")), 1, text)

    def test_what_is_given_on_the_command_line(self):
        """Of a file's name, of a unit's: whichever way it came there, no line acts on a terminal."""
        for args in (("freeze", "-g", "\x1b[2Jx\nwritegate: y", "--", "true"), ("thaw", "a\x1b]0;x\x07"),
                     ("exec", "-g", "new", "--config", f"/none\n{FORGED}\x1b[2J", "--", "true")):
            said = self.rig.run(*args)
            self.assertNotEqual(said.code, 0, said)
            text = self.clean(said.out + said.err, args)
            self.assertNotIn("verdict=CONSISTENT", [line[:40] for line in text.split("\n")], said)

    def test_a_name_of_no_utf8_hides_nobody(self):
        os.chmod(self.rig.data / "a", 0o666)
        writer = self.rig.attack("name", self.rig.data / "a", b"caf\xc3")
        time.sleep(0.1)
        said = self.rig.freeze()
        self.assertEqual((said.code, said.found(writer.pid)), (65, ["ungated-writer"]), said)

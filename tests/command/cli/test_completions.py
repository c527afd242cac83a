"""Completions in the shells themselves: options, and the gates, servers, hooks and pages that there are.

Bash is everywhere; zsh and fish where they are installed.
"""
import json
import os
import shutil
import subprocess
import unittest

from rig import BIN, Rig

BASH = """
. "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_writegate writegate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


class Completions(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.rig.make_gate("mail")

    def script(self, shell):
        said = self.rig.run("completions", shell)
        self.assertEqual((said.code, said.err), (0, ""))
        file = self.rig.work / f"completions.{shell}"
        file.write_text(said.out)
        return file

    def ask(self, *argv):
        env = self.rig.env(PATH=f"{BIN}:{os.environ['PATH']}", HOME=str(self.rig.work))
        done = subprocess.run([str(a) for a in argv], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def names(self):
        """What stands in the command's own tables."""
        servers = json.loads(self.rig.run("setup", "--list", "--json").out)["servers"]
        hooks = [line.split()[0] for line in self.rig.run("hook").out.splitlines()[1:]]
        return {s["name"] for s in servers}, {s["name"] for s in servers if s["setup"]}, set(hooks)

    def test_the_gates_alone_are_printed(self):
        (self.rig.dir / "$(touch x)").mkdir()
        (self.rig.dir / "$(touch x)/control").touch()
        self.assertEqual(self.rig.run("completions", "--gates").out.split("\n"), ["mail", "t", ""])
        self.assertEqual(self.rig.run("completions").code, 64)

    def test_bash(self):
        script = self.script("bash")
        servers, set_up, hooks = self.names()
        def words(*line):
            return set(self.ask("bash", "--norc", "-c", BASH, "bash", script, "writegate", *line))
        for subcommand in "freeze", "status", "rehearse", "exec", "doctor", "setup":
            self.assertEqual(words(subcommand, "-g", ""), {"mail", "t"}, subcommand)
            self.assertEqual(words(subcommand, "--gate", "m"), {"mail"}, subcommand)
        self.assertLessEqual(hooks, words("hook", ""))
        self.assertLessEqual(set_up, words("setup", ""))
        self.assertLessEqual(servers, words("doctor", ""))
        self.assertLessEqual({"freeze", "writegate.conf"}, words("man", ""))
        self.assertIn("--require", words("freeze", "--re"))
        self.rig.make_gate("later")
        self.assertIn("later", words("freeze", "-g", ""), "those that there are now")

    @unittest.skipUnless(shutil.which("fish"), "fish is not there (Debian: fish)")
    def test_fish(self):
        script = self.script("fish")
        def words(line):
            return set(self.ask("fish", "--no-config", "-c", f"source {script}; complete -C '{line}' | string split -f1 \\t"))
        self.assertEqual(words("writegate freeze -g "), {"mail", "t"})
        self.assertIn("dovecot", words("writegate setup d"))
        self.assertIn("qemu-ga", words("writegate hook q"))

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not there (Debian: zsh)")
    def test_zsh_can_read_it(self):
        script = self.script("zsh")
        self.assertEqual(self.ask("zsh", "-f", "-n", script), [])
        self.assertIn("completions --gates", script.read_text())

    def test_those_of_other_shells_have_no_question_in_them(self):
        for shell in "elvish", "powershell":
            self.assertNotIn("GATES", self.script(shell).read_text())


if __name__ == "__main__":
    unittest.main()

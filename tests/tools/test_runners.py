"""Runners and the list of parts: a run of nothing is not green, and tests/README.md lists what there is."""
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
# What must stand before --only: what is asked for first, or the cheapest of what is built and run before it is judged.
BEFORE = {"tests/library/compat/run.py": ["sqlite", "--modes", "bare"], "tests/lab/suite.py": ["tests/lab"],
          "tests/library/harmless/run.py": ["inject"], "tests/library/hosts/run.py": ["old_version"]}
# --only takes names from a list, and argparse refuses others.
CHOICES = {"tests/command/faults/run.py"}


def listed():
    return subprocess.run([sys.executable, ROOT / "scripts/test", "--list"], capture_output=True, text=True,
                          check=True).stdout


class Help(unittest.TestCase):
    def test_a_newcomers_commands_say_what_they_are_for_before_they_build_anything(self):
        """Python took the line by which sh looks for Python for the first words of the page; the demo built for minutes first."""
        for name in "demo", "test", "package", "witness":
            asked = subprocess.run([ROOT / "scripts" / name, "--help"], capture_output=True, text=True, timeout=60)
            if asked.returncode == 77:                  # a tool is missing, which is said
                continue
            self.assertEqual((asked.returncode, "building" in asked.stderr), (0, False), name)
            self.assertNotIn("prepare", asked.stdout.split("\n\n")[0], name)
            self.assertIn(f"scripts/{name} ", asked.stdout, name)


class Runners(unittest.TestCase):
    def runners(self):
        files = [path for pattern in ("run", "run*.py", "test_habits.py", "suite.py") for path in TESTS.rglob(pattern)]
        found = [path for path in files if '"--only"' in path.read_text() or "suite.parser(" in path.read_text()]
        self.assertGreaterEqual(len(found), 16)
        return found

    def test_a_pattern_that_matches_nothing_is_a_failure(self):
        for path in self.runners():
            name = str(path.relative_to(ROOT))
            if name in CHOICES:
                continue
            with self.subTest(name):
                done = subprocess.run([sys.executable, path, *BEFORE.get(name, ()), "--only", "nothing-at-all"],
                                      capture_output=True, text=True, cwd=ROOT)
                if done.returncode == 77 and os.geteuid():
                    self.skipTest("needs root before it looks")
                self.assertEqual(done.returncode, 64, done.stdout + done.stderr)
                self.assertIn("matches 'nothing-at-all'", done.stderr)

    def test_so_it_is_for_the_parts_of_an_evaluation(self):
        done = subprocess.run([ROOT / "scripts/evaluate", "general", "--only", "nothing-at-all"],
                              capture_output=True, text=True)
        if done.returncode == 77 and os.geteuid():
            self.skipTest("needs root before it looks")
        self.assertEqual(done.returncode, 64, done.stdout + done.stderr)
        self.assertIn("no such part: nothing-at-all", done.stderr)

    def test_and_for_the_parts_of_scripts_test(self):
        for asked in (["nothing-at-all"], ["cyrus", "--only", "x"], ["--only", "x"], ["--nothing"]):
            done = subprocess.run([sys.executable, ROOT / "scripts/test", *asked], capture_output=True, text=True)
            self.assertEqual(done.returncode, 64, asked)


class SecondRun(unittest.TestCase):
    """What scripts/test makes of a part that is red at first."""

    @classmethod
    def setUpClass(cls):
        loader = importlib.machinery.SourceFileLoader("scripts_test", str(ROOT / "scripts/test"))
        cls.runner = importlib.util.module_from_spec(importlib.util.spec_from_loader("scripts_test", loader))
        loader.exec_module(cls.runner)

    def outcome(self, reds, judges=False, elapsed_s=0):
        """Of a part with three cases, of which one is red in its first `reds` runs: exit code, numbers, what was printed."""
        with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()) as printed:
            runs = Path(work) / "runs"
            runs.touch()
            script = (f"echo x >> {runs}; if [ $(wc -l < {runs}) -le {reds} ]; then echo FAIL the third; "
                      "echo 2 passed, 1 failed, 0 skipped; exit 1; fi; echo 3 passed, 0 failed, 0 skipped")
            part = self.runner.Part("fake", "", 1, ["sh", "-c", script], judges=judges)
            code = self.runner.every([part], time.monotonic() - elapsed_s)
        return code, printed.getvalue().splitlines()[-1], printed.getvalue()

    def test_who_is_left_behind_is_not_waited_for(self):
        self.runner.LEFT_BEHIND_S = 1
        self.addCleanup(setattr, self.runner, "LEFT_BEHIND_S", 10)
        with tempfile.TemporaryDirectory() as folder:
            pid = Path(folder, "pid")
            part = self.runner.Part("left", "", 1, ["sh", "-c", f"setsid sleep 300 & echo $! > {pid}; echo '1 passed, 0 failed'"])
            begun, said = time.monotonic(), io.StringIO()
            with contextlib.redirect_stdout(said):
                result = self.runner.run(part)
            os.kill(int(pid.read_text()), 15)
        self.assertLess(time.monotonic() - begun, 200)
        self.assertEqual(result.numbers(), (1, 0, 0, 0), said.getvalue())
        self.assertIn("left behind", said.getvalue())

    def test_what_cargo_calls_passed_and_was_not_tried_is_skipped(self):
        line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n"
        self.assertEqual(self.runner.counts(line, 0), (3, 0, 1))
        self.assertEqual(self.runner.counts(f"test a ... SKIPPED: not root\nok\n{line}", 0), (2, 0, 2))

    def test_green_at_once(self):
        code, last, said = self.outcome(0)
        self.assertEqual((code, last), (0, "3 passed, 0 failed, 0 skipped"))
        self.assertNotIn("unsteady:", said)

    def test_red_and_then_green_is_unsteady_and_said(self):
        code, last, said = self.outcome(1)
        self.assertEqual((code, last), (0, "2 passed, 0 failed, 0 skipped"))
        self.assertRegex(said, r"fake +2 +0 +0 +1\n")
        self.assertIn("FAIL the third", said.split("!!! fake: unsteady")[1])

    def test_red_twice_is_red(self):
        code, last, said = self.outcome(2)
        self.assertEqual((code, last), (1, "2 passed, 1 failed, 0 skipped"))
        self.assertIn("FAIL the third", said.split("!!! fake: failed")[1])
        self.assertIn("red: fake: FAIL the third", said.splitlines()[-6:], "the last lines say what was red")

    def test_a_judge_of_snapshots_has_no_second_run(self):
        self.assertEqual(self.outcome(1, judges=True)[:2], (1, "2 passed, 1 failed, 0 skipped"))

    def test_nor_is_there_one_without_time_for_it(self):
        self.assertEqual(self.outcome(1, elapsed_s=self.runner.ENDS_WITHIN_S)[0], 1)

    def test_what_is_built_is_there_before_others_run_it(self):
        """Also where a choice of parts makes neighbours of them."""
        with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()) as printed:
            parts = [self.runner.Part("built", "", 1, ["sh", "-c", f"sleep 0.5; touch {work}/it; echo 1 passed, 0 failed"], lane="ways"),
                     self.runner.Part("runs", "", 1, ["sh", "-c", f"[ -e {work}/it ] && echo 1 passed, 0 failed"], lane="others")]
            self.runner.every(parts, time.monotonic())
        self.assertNotIn("!!! runs", printed.getvalue())

    def test_two_that_wait_run_beside_each_other_and_each_speaks_in_one_piece(self):
        with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()) as printed:
            # Each goes on only when the other is there too.
            parts = [self.runner.Part(mine, "", 1, ["sh", "-c", f"cd {work}; touch {mine}; while [ ! -e {other} ]; do sleep 0.05; done; "
                     f"for i in 1 2 3; do echo {mine} $i; sleep 0.1; done; echo '1 passed, {red} failed'"], 60, lane=mine)
                     for mine, other, red in (("left", "right", 0), ("right", "left", 1))]
            code = self.runner.every(parts, time.monotonic())
        said = printed.getvalue()
        self.assertEqual((code, said.splitlines()[-1]), (1, "2 passed, 1 failed, 0 skipped"), said)
        for name in "left", "right":
            self.assertRegex(said, rf"=== {name}: .*\n{name} 1\n{name} 2\n{name} 3\n1 passed, . failed\n--- {name}: ")

    def test_parts_of_one_lane_run_one_after_the_other_and_are_told_in_their_order(self):
        with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(io.StringIO()) as printed:
            parts = [self.runner.Part(name, "", 1, ["sh", "-c", f"cd {work}; mkdir {lane} && sleep 0.2 && rmdir {lane} && echo '1 passed, 0 failed'"],
                                      60, lane=lane) for name, lane in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"))]
            results = self.runner.each_once(parts)
        self.assertEqual([(r.part.name, r.numbers()) for r in results], [(p.name, (1, 0, 0, 0)) for p in parts], printed.getvalue())

    def test_a_judge_of_snapshots_is_alone(self):
        self.assertEqual({part.name for part in self.runner.PARTS if part.judges and part.lane}, set())

    def test_all_that_read_snapshots_are_judges(self):
        snapshots = {"stress", "witness", "faults", "injected", "chaos", "locks", "hold", "places", "honest", "hostile",
                     "cyrus", "dovecot", "postfix", "exim", "opensmtpd", "sendmail", "courier"}
        self.assertEqual({part.name for part in self.runner.PARTS if part.name in snapshots and not part.judges}, set())


class Map(unittest.TestCase):
    def setUp(self):
        self.text = (TESTS / "README.md").read_text()

    def test_the_list_of_parts_is_the_runners_own(self):
        block = re.search(r"^```\n(format .*?)```$", self.text, re.M | re.S)
        self.assertIsNotNone(block, "tests/README.md has no list of parts")
        self.assertEqual(block[1], listed(), "put what `scripts/test --list` prints into tests/README.md")

    def test_every_folder_is_on_the_map(self):
        for depth in "*", "*/*":
            for folder in TESTS.glob(depth):
                left = all("__pycache__" in str(path) or path.is_dir() for path in folder.rglob("*"))
                if folder.is_dir() and not left:        # (git leaves the folders of what has moved)
                    self.assertIn(f"`{folder.relative_to(TESTS)}/`", self.text)

    def test_every_rust_test_is_cargos(self):
        """Of the nearest package: the command's, or one of its own. A file that another one names as its module is that one's."""
        for path in TESTS.rglob("*.rs"):
            module = path.parent if path.name == "mod.rs" else path.with_suffix("")
            beside = "".join(other.read_text() for other in module.parent.glob("*.rs") if other != path)
            if f"mod {module.name};" not in beside:
                package = next(folder for folder in path.parents if (folder / "Cargo.toml").exists())
                named = f'path = "{path.relative_to(package)}"'
                self.assertIn(named, (package / "Cargo.toml").read_text())


if __name__ == "__main__":
    unittest.main()

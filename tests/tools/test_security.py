"""docs/security.md: each line names its tests, each test is there, and taking a defence out is known to turn it red."""
import importlib.util
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
NODE = re.compile(r"`([\w./-]+)::(\w+)`")

_spec = importlib.util.spec_from_file_location("mutants", ROOT / "tests/command/hostile/mutants.py")
mutants = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutants)


def rows(text):
    """The lines of the page's tables of promises, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith("|---") and not line.endswith("| test |")]


def is_in(file, name):
    text = (ROOT / file).read_text()
    return re.search(rf"\b(?:def|fn) {name}\(", text) is not None


def is_taken_out(file, name):
    """Is there a mutant that this test is said to catch?"""
    module = str(file.with_suffix("")).replace("/", "::") + "::" + name
    for mutant in mutants.MUTANTS:
        for test in mutants.places(mutant)[1].split():
            kind, _, rest = test.rpartition(":")
            if kind in ("unit", "gate") and rest in module or rest.split(".")[-1] == name:
                return True
    return False


class Security(unittest.TestCase):
    def test_each_line_has_its_test(self):
        found = rows(PAGE.read_text())
        self.assertGreater(len(found), 30)
        for row in found:
            self.assertTrue(NODE.search(row), f"no test: {row}")

    def test_each_test_is_there_and_was_seen_red(self):
        for file, name in NODE.findall(PAGE.read_text()):
            with self.subTest(f"{file}::{name}"):
                self.assertTrue(is_in(file, name), "there is no such test")
                self.assertTrue(is_taken_out(Path(file), name), "tests/command/hostile/mutants.py takes nothing out for it")

    def test_the_places_of_the_mutants_are_there(self):
        """Once each: one that cannot be put in shows nothing."""
        for name in mutants.MUTANTS:
            for file, old, _ in mutants.places(name)[0]:
                with self.subTest(f"{name}, in {file}"):
                    self.assertEqual((ROOT / file).read_text().count(old), 1)

    def test_a_line_without_a_test_is_found(self):
        self.assertEqual(rows("| it may try | what | test |\n|---|---|---|\n| a | b | c |\n"), ["| a | b | c |"])
        self.assertFalse(is_in(Path("tests/command/hostile/test_text.py"), "test_nothing"))
        self.assertFalse(is_taken_out(Path("tests/x.py"), "test_nothing"))


if __name__ == "__main__":
    unittest.main()

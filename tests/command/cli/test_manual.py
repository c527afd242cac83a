"""The manual pages against `--help`: the same options, and no page refers to one that there is not."""
import re
import shutil
import subprocess
import unittest

from rig import Rig


class Manual(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.pages = self.rig.work / "man"
        self.assertEqual(self.rig.run("man", "--dir", self.pages).code, 0)

    def text(self, page):
        return page.read_text().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "")

    def subcommands(self):
        found = [re.fullmatch(r"writegate-(.+)\.1", page.name) for page in self.pages.iterdir()]
        return sorted(match[1] for match in found if match)

    def test_each_option_of_help_has_its_paragraph_and_no_other(self):
        names = self.subcommands()
        self.assertGreater(len(names), 8)
        for name in names:
            shown = self.rig.run(name, "--help").out
            options = {match[1] for match in re.finditer(r"^ +(?:-\w, )?(--[a-z][a-z-]*)", shown, re.M)}
            page = self.text(self.pages / f"writegate-{name}.1")
            body = page[page.index(".SH OPTIONS"):]
            described = {match[1] for match in re.finditer(r"^\.TP\n(?:-\w, )?(--[a-z][a-z-]*)", body, re.M)}
            self.assertGreater(len(options), 0, name)
            self.assertEqual(options, described, name)

    def test_each_has_the_usual_sections_and_refers_to_what_there_is(self):
        there = {page.name.rsplit(".", 1)[0] for page in self.pages.iterdir()}
        for page in self.pages.iterdir():
            text = self.text(page)
            titles = re.findall(r"^\.SH (.+)$", text, re.M)
            self.assertEqual(len(titles), len(set(titles)), page.name)
            if page.suffix == ".1":
                for title in "NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO":
                    self.assertIn(title, titles, page.name)
            named = set(re.findall(r"\b(writegate(?:[-.]\w+)?)\(\d\)", text))
            self.assertLessEqual(named, there, page.name)
            self.assertTrue(named, f"{page.name} refers to none")

    @unittest.skipUnless(shutil.which("groff"), "groff is not there (Debian: groff-base)")
    def test_groff_has_nothing_to_say(self):
        for page in self.pages.iterdir():
            done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page.name)


if __name__ == "__main__":
    unittest.main()

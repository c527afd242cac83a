"""scripts/check-docs goes red where it must."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "scripts/check-docs"


class CheckDocs(unittest.TestCase):
    def check(self, **pages):
        """Its exit code and what it says of these pages."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in pages.items():
                path = Path(folder) / f"{name.replace('__', '/')}.md"
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, CHECK, folder], capture_output=True, text=True)
        return done.returncode, done.stdout

    def test_good_pages_are_good(self):
        code, said = self.check(README="[a](docs/a.md) [there](https://example.org/x)\n",
                                docs__a="# A `word`\n[up](../README.md) [here](#a-word)\n```\n[no](link)\n```\n")
        self.assertEqual((code, said), (0, "2 pages, 3 links, 0 faults\n"))

    def test_a_dead_link(self):
        code, said = self.check(README="[a](docs/b.md)")
        self.assertEqual(code, 1)
        self.assertIn("README.md: the link docs/b.md leads nowhere", said)

    def test_a_heading_that_is_not_there(self):
        code, said = self.check(README="# One\n[a](#two)")
        self.assertEqual(code, 1)
        self.assertIn("#two: there is no such heading", said)

    def test_a_page_that_nothing_leads_to(self):
        code, said = self.check(README="hello", docs__a="[up](../README.md)")
        self.assertEqual(code, 1)
        self.assertIn("docs/a.md: cannot be reached from README.md", said)

    def test_a_file_that_is_named_and_gone(self):
        code, said = self.check(README="see `src/gone.rs`")
        self.assertEqual(code, 1)
        self.assertIn("README.md: `src/gone.rs` is not there", said)


if __name__ == "__main__":
    unittest.main()

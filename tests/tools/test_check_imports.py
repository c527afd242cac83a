"""scripts/check-imports sees the circles that there are, and no others."""
import importlib.machinery
import importlib.util
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "scripts/check-imports"


class CheckImports(unittest.TestCase):
    def check(self, **files):
        """Its exit code and the circles of a crate of these files; `a__mod` is a/mod.rs."""
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder).resolve()
            for name, text in files.items():
                path = folder / f"{name.replace('__', '/')}.rs"
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, CHECK, folder / "main.rs"], capture_output=True, text=True)
            found = [[Path(word).name for word in line.split(": ", 1)[1].split()]
                     for line in done.stdout.splitlines() if line.startswith("circle")]
        self.assertEqual(done.stderr, "")
        return done.returncode, found

    def test_one_way_is_no_circle(self):
        self.assertEqual(self.check(main="mod a; mod b; fn main() { a::f() }", a="use crate::b::g; fn f() { g() }",
                                    b="pub fn g() {}"), (0, []))

    def test_two_files_that_use_each_other(self):
        self.assertEqual(self.check(main="mod a; mod b;", a="use crate::b::g;", b="use crate::a::f;"),
                         (1, [["a.rs", "b.rs"]]))

    def test_a_path_without_use(self):
        self.assertEqual(self.check(main="mod a; mod b;", a="fn f() { crate::b::g() }", b="fn g() { super::a::f() }"),
                         (1, [["a.rs", "b.rs"]]))

    def test_by_way_of_an_imported_module(self):
        self.assertEqual(self.check(main="mod a; mod b;", a="use crate::b; fn f() { b::g() }",
                                    b="use crate::{a as other}; fn g() { other::f() }"), (1, [["a.rs", "b.rs"]]))

    def test_declaring_a_child_is_no_import_of_it(self):
        self.assertEqual(self.check(main="mod a;", a__mod="pub mod child; pub struct X;",
                                    a__child="use super::X; fn f(x: X) {}"), (0, []))

    def test_a_parent_that_uses_the_child_that_uses_it(self):
        self.assertEqual(self.check(main="mod a;", a__mod="mod child; pub struct X; fn g() { child::f() }",
                                    a__child="use super::X; pub fn f() {}"), (1, [["child.rs", "mod.rs"]]))

    def test_what_a_parent_gives_on_is_its_definers(self):
        good = {"main": "mod a;", "a__mod": "mod one; mod two; pub use one::X;", "a__one": "pub struct X;",
                "a__two": "use super::X; use crate::a::X as Y;"}
        self.assertEqual(self.check(**good), (0, []))
        good["a__one"] += " use crate::a::two::Z;"
        self.assertEqual(self.check(**good), (1, [["one.rs", "two.rs"]]))

    def test_given_on_by_a_glob(self):
        self.assertEqual(self.check(main="mod a;", a__mod="mod one; mod two; pub use one::*;",
                                    a__one="pub struct X; use crate::a::two::Z;", a__two="use super::X;"),
                         (1, [["one.rs", "two.rs"]]))

    def test_tests_comments_and_texts_are_no_imports(self):
        self.assertEqual(self.check(
            main="mod a; mod b;", a="use crate::b::g;",
            b="// use crate::a::f;\n#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::a::f; }\n"
              "/* crate::a::f */ const T: &str = \"use crate::a::f;\"; const C: char = '{';\n"
              "fn g<'a>(x: &'a str) -> impl Fn() + use<'a> {}"), (0, []))

    def test_an_import_that_points_upwards(self):
        loader = importlib.machinery.SourceFileLoader("check_imports", str(CHECK))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_imports", loader))
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        loader.exec_module(module)
        sys.dont_write_bytecode = before
        down, up = ("src/freeze/a.rs", "src/linux/b.rs"), ("src/linux/b.rs", "src/freeze/a.rs")
        self.assertEqual(module.upwards({down[0]: {down[1]}, down[1]: set()}), [])
        self.assertEqual(module.upwards({up[0]: {up[1]}, up[1]: set()}), [up])


if __name__ == "__main__":
    unittest.main()

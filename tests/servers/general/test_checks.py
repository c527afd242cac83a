"""Each checker on a tree that is whole, and on trees damaged on purpose: it must see the damage.

    PYTHONPATH=tests python3 -m unittest discover -s tests/servers/general -t tests/servers
"""
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import gitrepo, rsync, shell, sqlite


class Checks(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.trees = [Path(self.folder.name) / n for n in ("one", "two")]
        for tree in self.trees:
            tree.mkdir()

    def test_sqlite_sees_a_lost_half_of_a_transfer_a_broken_page_and_a_hot_journal(self):
        sqlite.prepare(self.trees)
        self.assertEqual(sqlite.check(self.trees), [])
        db = sqlite3.connect(sqlite.paths(self.trees)[1])
        db.execute("update account set balance = balance - 5 where id = 2")
        db.commit()
        self.assertIn("in all, not", sqlite.check(self.trees)[0])
        journal = Path(str(sqlite.paths(self.trees)[1]) + "-journal")
        journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))
        self.assertTrue(any("hot journal" in w for w in sqlite.check(self.trees)))
        journal.unlink()
        db.execute("update account set balance = balance + 5 where id = 2")
        db.commit()
        db.close()
        path = sqlite.paths(self.trees)[1]
        data = bytearray(path.read_bytes())
        data[4096:4096 + 64] = b"\xff" * 64
        path.write_bytes(data)
        self.assertNotEqual(sqlite.check(self.trees), [])

    @unittest.skipIf(gitrepo.unavailable(), gitrepo.unavailable() or "")
    def test_git_sees_numbers_apart_a_lock_and_a_missing_object(self):
        gitrepo.prepare(self.trees)
        clone, _, note, branch = gitrepo.places(self.trees)[0]
        for name in ("file1", "file2", "file3"):
            (clone / name).write_text("1 x\n")
        gitrepo.git(clone, "add", "-A")
        gitrepo.git(clone, "commit", "-q", "-m", "number 1")
        gitrepo.git(clone, "push", "-q", "origin", f"HEAD:{branch}")
        note.write_text("1\n")
        self.assertEqual(gitrepo.check(self.trees), [])
        note.write_text("0\n")
        self.assertIn("clone0", gitrepo.check(self.trees)[0])
        note.write_text("1\n")
        (clone / ".git" / "index.lock").touch()
        self.assertIn("lock file", gitrepo.check(self.trees)[0])
        (clone / ".git" / "index.lock").unlink()
        next(f for f in (clone / ".git" / "objects").glob("??/*")).unlink()
        self.assertTrue(any("fsck" in w for w in gitrepo.check(self.trees)))

    def test_rsync_sees_a_file_of_another_generation(self):
        rsync.prepare(self.trees)
        rsync.generation(Path(self.folder.name) / "source")
        source = Path(self.folder.name) / "source"
        shutil.copytree(source / "files", self.trees[0] / "files", dirs_exist_ok=True)
        shutil.copytree(source / "manifest", self.trees[1] / "manifest", dirs_exist_ok=True)
        self.assertEqual(rsync.check(self.trees), [])
        rsync.generation(source)
        shutil.copy(source / "files" / "f3", self.trees[0] / "files" / "f3")
        self.assertEqual(rsync.check(self.trees), ["f3 is not the manifest's"])
        os.truncate(self.trees[1] / "manifest" / "sums", 60)
        self.assertIn("the manifest is not whole", rsync.check(self.trees))

    @unittest.skipIf(shell.unavailable(), shell.unavailable() or "")
    def test_the_shell_forms_write_what_the_check_expects(self):
        for argv in shell.workers(self.trees, None):
            # One round: the loop's condition is replaced, the rest is the very script of the load.
            once = argv[2].replace("while :; do", "while [ $n -lt 1 ]; do")
            subprocess.run(["sh", "-c", once], check=True, timeout=20)
        self.assertEqual(shell.check(self.trees), [])
        (self.trees[1] / "descriptor.b").write_text("7\n")
        self.assertIn("descriptor", shell.check(self.trees)[0])
        (self.trees[1] / "descriptor.b").write_text("1\n")
        (self.trees[1] / "command.tmp").write_text("1\n")
        self.assertIn("temporary", shell.check(self.trees)[0])


if __name__ == "__main__":
    sys.exit(unittest.main())

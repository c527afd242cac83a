"""Trees of other versions: the fixture's, written as Cyrus 3.2 lays it out (index 16, folders and mailboxes.db by name) and as 3.10
does (index 19), is whole; damaged, each kind is found.

    PYTHONPATH=tests python3 -m unittest discover -s tests/servers/cyrus -t tests/servers
"""
import shutil
import struct
import tarfile
import tempfile
import unittest
import zlib
from pathlib import Path

from cyrus import check
from cyrus.check import dlist, index

from .test_check import FIXTURE, read_twoskip, write_twoskip

GREETING = 3                                            # lines of a cyrus.header


def as_version(data, version):
    """The bytes of an index of version 17, as this version writes them."""
    data = bytearray(data)
    values = [data[at:at + size] for at, size in zip(index.MOVED[17], (4, 4, 8))]
    if version == 19:
        data[60:92] = bytes(32)
    for at, value in zip(index.MOVED[version], values):
        data[at:at + len(value)] = value
    struct.pack_into(">I", data, 8, version)
    struct.pack_into(">I", data, 156, zlib.crc32(data[:156]))
    return bytes(data)


def older_header(data):
    fields = dlist.parse(data[data.index(b"%("):])
    flags = fields.get(b"U", [])
    return (b"\n".join(data.split(b"\n")[:GREETING]) + b"\n" + fields.get(b"Q", b"") + b"\t" + fields[b"I"] + b"\n"
            + b" ".join(flags if isinstance(flags, list) else []) + b"\nuser0\tlrswipkxtecdan\t\n"), fields[b"N"]


class Trees(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        with tarfile.open(FIXTURE) as tar:
            tar.extractall(self.root)

    def write_index(self, folder, version):
        file = folder / "cyrus.index"
        data = bytearray(as_version(file.read_bytes(), version))
        struct.pack_into(">I", data, 96, zlib.crc32((folder / "cyrus.header").read_bytes()))
        struct.pack_into(">I", data, 156, zlib.crc32(data[:156]))
        file.write_bytes(data)

    def to_3_2(self):
        """Folders below a letter, named after their mailboxes; names alone in mailboxes.db."""
        for file in list((self.root / "spool/uuid").rglob("cyrus.index")):
            folder = file.parent
            text, name = older_header((folder / "cyrus.header").read_bytes())
            (folder / "cyrus.header").write_bytes(text)
            self.write_index(folder, 16)
            # (One folder lies in another one.)
            target = self.folder(name.decode())
            target.mkdir(parents=True, exist_ok=True)
            for each in folder.iterdir():
                each.rename(target / each.name)
        shutil.rmtree(self.root / "spool/uuid")
        database = self.root / "conf/mailboxes.db"
        names = {key[1:].replace(b"\x1f", b"."): value for key, value in read_twoskip(database).items() if key[:1] == b"N"}
        write_twoskip(database, names)

    def folder(self, name):
        return self.root / "spool" / "u" / name.replace(".", "/")

    def kinds(self, **more):
        return {f.kind for f in check.tree(self.root / "conf", self.root / "spool", conversations=False, **more)}

    def test_3_2_is_whole(self):
        self.to_3_2()
        self.assertTrue((self.folder("user.user0.a") / "cyrus.index").exists())
        self.assertEqual(self.kinds(), set())

    def test_3_2_a_message_that_nobody_names(self):
        self.to_3_2()
        (self.folder("user.user0.a") / "99.").write_text("x")
        self.assertEqual(self.kinds(), {"message-orphan"})

    def test_3_2_a_folder_that_is_not_listed(self):
        self.to_3_2()
        shutil.copytree(self.folder("user.user0.a"), self.folder("user.user0.zz"))
        self.assertEqual(self.kinds(), {"folder-orphan"})

    def test_3_2_a_folder_that_is_gone(self):
        self.to_3_2()
        shutil.rmtree(self.folder("user.user0.b"))
        self.assertIn("folder-missing", self.kinds())

    def test_3_2_a_folder_of_another_mailbox(self):
        self.to_3_2()
        a, b = self.folder("user.user0.a"), self.folder("user.user0.b")
        a.rename(self.root / "x"), b.rename(a), (self.root / "x").rename(b)
        self.assertIn("header-name", self.kinds())

    def test_3_2_quota(self):
        self.to_3_2()
        file = next(path for path in (self.root / "conf/quota").rglob("user.*"))
        file.write_bytes(file.read_bytes().replace(b"M (", b"M (1"))
        self.assertEqual(self.kinds(), {"quota"})

    def test_3_10_is_whole(self):
        for file in list((self.root / "spool/uuid").rglob("cyrus.index")):
            self.write_index(file.parent, 19)
        self.assertEqual(self.kinds(), set())
        self.assertEqual(check.tree(self.root / "conf", self.root / "spool"), [])

    def test_3_10_the_index_of_its_own_place(self):
        """A count in the place where version 17 has it is no count of version 19."""
        file = next((self.root / "spool/uuid").rglob("cyrus.index"))
        self.write_index(file.parent, 19)
        data = bytearray(file.read_bytes())
        struct.pack_into(">I", data, 60, 77)
        struct.pack_into(">I", data, 156, zlib.crc32(data[:156]))
        file.write_bytes(data)
        self.assertIn("index-counts", self.kinds())

    def test_a_version_that_nobody_knows(self):
        file = next((self.root / "spool/uuid").rglob("cyrus.index"))
        data = bytearray(file.read_bytes())
        struct.pack_into(">I", data, 8, 20)
        struct.pack_into(">I", data, 156, zlib.crc32(data[:156]))
        file.write_bytes(data)
        self.assertIn("unreadable", self.kinds())


if __name__ == "__main__":
    unittest.main()

"""Every kind of finding goes red on a tree damaged for it, and a whole tree has none.

    PYTHONPATH=tests python3 -m unittest discover -s tests/servers/cyrus -t tests/servers

The tree is a real Cyrus's (fixture.py made it). Checksums are made right again after a damage,
unless the checksum is what is damaged: each test must be found by the check that it names.
"""
import hashlib
import shutil
import struct
import tarfile
import tempfile
import unittest
import zlib
from pathlib import Path

from cyrus import check
from cyrus.check import dlist, index, mboxlist, twoskip

FIXTURE = Path(__file__).resolve().parent / "fixture.tar.gz"


def write_twoskip(path, content, flags=0, count=None):
    """A database with these records in order, as Cyrus would write it once."""
    def record(kind, level, key, value, pointers):
        head = struct.pack(">cBHI", kind, level, len(key), len(value))
        head += struct.pack(f">{level + 1}Q", *pointers)
        data = key + value + b"\0" * (-(len(key) + len(value)) % 8)
        return head + struct.pack(">II", zlib.crc32(head), zlib.crc32(data)) + data

    sizes = [len(record(b"+", 1, k, v, (0, 0))) for k, v in sorted(content.items())]
    at = 64 + len(record(b"=", 31, b"", b"", [0] * 32))
    places = [at + sum(sizes[:i]) for i in range(len(sizes))] + [0]
    body = record(b"=", 31, b"", b"", [0, places[0]] + [0] * 30)
    for (key, value), after in zip(sorted(content.items()), places[1:]):
        body += record(b"+", 1, key, value, (0, after))
    end = 64 + len(body)
    header = struct.pack(">20sIQQQQI", twoskip.MAGIC, 1, 1,
                         len(content) if count is None else count, end, end, flags)
    path.write_bytes(header + struct.pack(">I", zlib.crc32(header)) + body)


def read_twoskip(path):
    findings = []
    content = twoskip.read(path.read_bytes(), "db", findings)
    assert not findings
    return content


class Damaged(unittest.TestCase):
    seen = set()

    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        with tarfile.open(FIXTURE) as tar:
            tar.extractall(self.root)
        entries = mboxlist.read(read_twoskip(self.root / "conf/mailboxes.db"), [])
        self.ids = {e.dotted.decode(): e.uniqueid.decode() for e in entries.values()}
        self.inbox, self.a = self.box("user.user0"), self.box("user.user0.a")
        uid = self.ids["user.user0"]
        self.user = self.root / "conf/user/uuid" / uid[0] / uid[1] / uid

    def box(self, name):
        uid = self.ids[name]
        return self.root / "spool/uuid" / uid[0] / uid[1] / uid

    def findings(self):
        return check.tree(self.root / "conf", self.root / "spool")

    def expect(self, *kinds):
        found = {f.kind for f in self.findings()}
        self.assertLessEqual(set(kinds), found)
        Damaged.seen |= set(kinds)
        return found

    def only(self, *kinds):
        self.assertEqual(self.expect(*kinds), set(kinds))

    def header(self, box, at, fmt, change):
        """Change one field of an index header; its CRC stays right."""
        data = bytearray((box / "cyrus.index").read_bytes())
        value, = struct.unpack_from(fmt, data, at)
        struct.pack_into(fmt, data, at, change(value))
        struct.pack_into(">I", data, 156, zlib.crc32(data[:156]))
        (box / "cyrus.index").write_bytes(data)

    def record(self, box, number, at, fmt, change, crc=True):
        """Change one field of an index record; its CRC stays right."""
        data, base = bytearray((box / "cyrus.index").read_bytes()), 160 + 112 * number
        value, = struct.unpack_from(fmt, data, base + at)
        struct.pack_into(fmt, data, base + at, change(value))
        if crc:
            struct.pack_into(">I", data, base + 108, zlib.crc32(data[base:base + 108]))
        (box / "cyrus.index").write_bytes(data)

    def edit(self, path, change, **header):
        content = read_twoskip(path)
        change(content)
        write_twoskip(path, content, **header)

    def test_a_whole_tree_has_no_findings(self):
        self.assertEqual(self.findings(), [])

    def test_a_rewritten_database_reads_the_same(self):
        for path in (self.root / "conf/mailboxes.db", self.user / "conversations.db"):
            before = read_twoskip(path)
            self.assertGreater(len(before), 5)
            write_twoskip(path, before)
            self.assertEqual(read_twoskip(path), before)
        self.assertEqual(self.findings(), [])

    def test_stage_is_not_judged(self):
        (self.root / "spool/stage.").mkdir(exist_ok=True)
        (self.root / "spool/stage./123-456-0").write_text("half a mess")
        self.assertEqual(self.findings(), [])

    def test_index_header_crc(self):
        data = bytearray((self.inbox / "cyrus.index").read_bytes())
        data[30] ^= 1
        (self.inbox / "cyrus.index").write_bytes(data)
        self.expect("index-crc")

    def test_index_cut_short_of_its_header(self):
        (self.inbox / "cyrus.index").write_bytes(b"\0" * 50)
        self.expect("unreadable")

    def test_index_with_a_record_that_its_header_does_not_count(self):
        with open(self.inbox / "cyrus.index", "ab") as f:
            f.write(b"\0" * 112)
        self.only("index-size")

    def test_record_crc(self):
        self.record(self.a, 0, 12, ">I", lambda v: v + 1, crc=False)
        self.expect("record-crc")

    def test_record_beyond_the_last_uid(self):
        self.header(self.a, 28, ">I", lambda v: 1)
        self.only("record-order")

    def test_count_in_the_header(self):
        self.header(self.a, 124, ">I", lambda v: v + 1)
        self.only("index-counts")

    def test_flag_changed_behind_the_headers_back(self):
        self.record(self.a, 0, 36, ">I", lambda v: v ^ 1 << 31)     # a user flag without a name
        self.assertEqual(self.findings(), [])
        self.record(self.a, 0, 28, ">I", lambda v: v + 1)           # last_updated
        self.only("index-synccrc")

    def test_record_newer_than_the_header(self):
        self.header(self.a, 68, ">Q", lambda v: 1)
        self.only("index-modseq")

    def test_header_file_of_another_time(self):
        with open(self.a / "cyrus.header", "ab") as f:
            f.write(b"\n")
        self.only("header-crc")

    def test_header_file_before_a_rename(self):
        path = self.box("user.user0.new") / "cyrus.header"
        path.write_bytes(path.read_bytes().replace(b"user.user0.new", b"user.user0.old"))
        self.expect("header-name", "header-crc")

    def test_cache_cut(self):
        data = (self.a / "cyrus.cache").read_bytes()
        (self.a / "cyrus.cache").write_bytes(data[:-8])
        self.only("cache")

    def test_cache_of_another_content(self):
        data = bytearray((self.a / "cyrus.cache").read_bytes())
        data[-60] ^= 1
        (self.a / "cyrus.cache").write_bytes(data)
        self.only("cache")

    def test_message_missing(self):
        next(self.a.glob("[0-9]*.")).unlink()
        self.only("message-missing")

    def test_message_cut(self):
        path = next(self.a.glob("[0-9]*."))
        path.write_bytes(path.read_bytes()[:-1])
        self.only("message-content")

    def test_message_of_the_same_size_with_another_byte(self):
        path = next(self.a.glob("[0-9]*."))
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        self.only("message-content")

    def test_message_without_a_record(self):
        shutil.copy(next(self.a.glob("[0-9]*.")), self.a / "99.")
        self.only("message-orphan")

    def test_quota_behind(self):
        path = next((self.root / "conf/quota").rglob("user.*"))
        fields = dlist.parse(path.read_bytes())
        used = fields[b"M"][0]
        path.write_bytes(path.read_bytes().replace(b"M (" + used, b"M (" + str(int(used) - 1).encode()))
        self.only("quota")

    def test_quota_file_cut(self):
        next((self.root / "conf/quota").rglob("user.*")).write_bytes(b"%(S (1")
        self.only("unreadable")

    def test_folder_listed_but_gone(self):
        shutil.rmtree(self.box("user.user0.new"))
        self.expect("folder-missing")

    def test_folder_there_but_not_listed(self):
        def unlist(content):
            del content[b"Nuser\x1fuser0\x1fnew"], content[b"I" + self.ids["user.user0.new"].encode()]
        self.edit(self.root / "conf/mailboxes.db", unlist)
        self.expect("folder-orphan")

    def test_folder_by_name_but_not_by_id(self):
        def half(content):
            del content[b"I" + self.ids["user.user0.new"].encode()]
        self.edit(self.root / "conf/mailboxes.db", half)
        self.only("folder-list")

    def test_folder_waiting_to_be_removed_is_no_orphan(self):
        def unlist(content):
            del content[b"Nuser\x1fuser0\x1fnew"], content[b"I" + self.ids["user.user0.new"].encode()]
        self.edit(self.root / "conf/mailboxes.db", unlist)
        self.header(self.box("user.user0.new"), 60, ">I", lambda v: v | index.MAILBOX_DELETED)
        self.assertNotIn("folder-orphan", {f.kind for f in self.findings()})

    def test_conversations_without_a_record(self):
        def forget(content):
            del content[next(k for k in content if k[:1] == b"G" and b"[" not in k)]
        self.edit(self.user / "conversations.db", forget)
        self.only("conversation-guid")

    def test_conversations_with_flags_of_another_time(self):
        def flag(content):
            key = next(k for k in content if k[:1] == b"G" and b"[" not in k)
            value = bytearray(content[key])
            value[12] ^= index.SEEN
            content[key] = bytes(value)
        self.edit(self.user / "conversations.db", flag)
        self.only("conversation-guid")

    def test_conversation_counts(self):
        def count(content):
            key = next(k for k in content if k[:1] == b"B")
            words = content[key].split(b" ")
            words[2] = str(int(words[2]) + 1).encode()              # records in the conversation
            content[key] = b" ".join(words)
        self.edit(self.user / "conversations.db", count)
        self.only("conversation-counts")

    def test_conversation_forgotten(self):
        def forget(content):
            del content[next(k for k in content if k[:1] == b"B")]
        self.edit(self.user / "conversations.db", forget)
        self.only("conversation-counts")

    def test_conversation_folder(self):
        def count(content):
            key = b"F" + self.ids["user.user0.a"].encode()
            words = content[key].split(b" ")
            words[4] = str(int(words[4]) + 1).encode()              # messages in the folder
            content[key] = b" ".join(words)
        self.edit(self.user / "conversations.db", count)
        self.only("conversation-folder")

    def test_conversation_quota(self):
        def count(content):
            used = dlist.parse(content[b"Q"][2:])
            content[b"Q"] = b"1 %%(E %s S %d)" % (used[b"E"], int(used[b"S"]) + 1)
        self.edit(self.user / "conversations.db", count)
        self.only("conversation-quota")

    def test_counters_behind(self):
        path = self.user / "counters.db"
        data = bytearray(path.read_bytes())
        struct.pack_into(">Q", data, 8, 1)
        struct.pack_into(">I", data, len(data) - 4, zlib.crc32(data[:-4]))
        path.write_bytes(data)
        self.only("counters")

    def test_counters_crc(self):
        path = self.user / "counters.db"
        data = bytearray(path.read_bytes())
        data[40] ^= 1
        path.write_bytes(data)
        self.only("counters")

    def test_database_crc(self):
        path = self.user / "conversations.db"
        self.edit(path, lambda content: None)           # written anew, its last record is in use
        data = bytearray(path.read_bytes())
        data[-8] ^= 1
        path.write_bytes(data)
        self.expect("database-crc")

    def test_database_cut(self):
        path = self.user / "conversations.db"
        path.write_bytes(path.read_bytes()[:-16])
        self.expect("database-crc")

    def test_database_in_a_transaction(self):
        self.edit(self.user / "conversations.db", lambda content: None, flags=twoskip.DIRTY)
        self.only("database-dirty")

    def test_database_count(self):
        content = read_twoskip(self.user / "conversations.db")
        self.edit(self.user / "conversations.db", lambda content: None, count=len(content) + 1)
        self.only("database-count")


class Reader(unittest.TestCase):
    def test_an_aborted_transaction_is_read_as_recovery_would(self):
        """A record behind the committed end is not there, and the one it replaced is."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "db"
            write_twoskip(path, {b"a": b"1", b"b": b"2"})
            data = bytearray(path.read_bytes())
            end = len(data)
            # The dummy's other lowest pointer leads to a new record beyond the end, as a
            # transaction under way leaves it.
            struct.pack_into(">Q", data, 64 + 8, end)
            struct.pack_into(">I", data, 64 + 8 + 256, zlib.crc32(data[64:64 + 264]))
            struct.pack_into(">I", data, 56, twoskip.DIRTY)
            struct.pack_into(">I", data, 60, zlib.crc32(data[:60]))
            path.write_bytes(data + b"+" + b"\0" * 63)
            findings = []
            self.assertEqual(twoskip.read(path.read_bytes(), "db", findings),
                             {b"a": b"1", b"b": b"2"})
            self.assertEqual([f.kind for f in findings], ["database-dirty"])

    def test_lists(self):
        self.assertEqual(dlist.parse(b'(a "b \\"c" (d ()) NIL)'),
                         [b"a", b'b "c', [b"d", []], b"NIL"])
        self.assertEqual(dlist.parse(b"%(S (1 2) N x)"), {b"S": [b"1", b"2"], b"N": b"x"})
        self.assertEqual(dlist.parse(b"({3+}\r\na)b c)"), [b"a)b", b"c"])
        with self.assertRaises(ValueError):
            dlist.parse(b"(a")

    def test_guid_is_sha1(self):
        with tarfile.open(FIXTURE) as tar:
            name = next(m.name for m in tar if m.isfile() and m.name.endswith("/cyrus.index"))
            data = tar.extractfile(name).read()
            first = index.records(data, index.header(data))[0]
            message = tar.extractfile(name.replace("cyrus.index", f"{first.uid}.")).read()
        self.assertEqual(hashlib.sha1(message).digest(), first.guid)


class Zz(unittest.TestCase):
    def test_every_kind_has_gone_red(self):
        """Runs last (by name): a kind that no test above damages is a check that cannot fail."""
        if Damaged.seen:
            self.assertEqual(set(check.KINDS) - Damaged.seen, set())


if __name__ == "__main__":
    unittest.main()

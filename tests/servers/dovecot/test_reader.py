"""The checker's own readers against Dovecot's answers, and against trees damaged on purpose.

    PYTHONPATH=tests python3 -m unittest discover -s tests/servers/dovecot -t tests/servers

Each damage is one that an uncoordinated snapshot makes; the check must be silent
before it and name it after it. A check that cannot fail would be worth nothing.
"""

import os
import shutil
import struct
import time
import unittest
from pathlib import Path

from lab import load as lab_load, procs

from . import checks, ledger, load, mail_index, message, restore, server


def setUpModule():
    if os.geteuid() != 0:
        raise unittest.SkipTest("starting a Dovecot needs root")
    if not server.install():
        raise unittest.SkipTest(f"not installed: {' '.join(server.missing())}")


class Store:
    """A store of each format that a short load has filled, made once and copied for each damage."""

    made = {}

    @classmethod
    def get(cls, fmt, work):
        root = Path(work) / fmt
        with server.Server(fmt, root / "mail", root / "index", root / "run", users=1) as s:
            clients = load.clients(s, 7, "t", imap=2, lmtp=1, pop3=False)
            with lab_load.Load(clients, root / "operations") as running:
                time.sleep(2)
                running.pause()
                time.sleep(0.3)
            records = running.records() + last_words(s)
            shown = restore.read_all(s)
            uids = {}
            for box in load.BOXES:
                out = s.doveadm("search", "-u", "u0", "mailbox", box).stdout
                uids[box] = {int(line.split()[1]) for line in out.splitlines()}
        return root, records, shown, uids


def last_words(s):
    """One message more in each mailbox, so that the last record of each log is of one that lives."""
    client, records = load.Imap(99, seed=99, tag="t", port=s.imap_port, user="u0"), []
    client.connect()
    for box in load.BOXES:
        ident = f"t-last-{box}"
        client.ask(client.imap.append(box, None, None, message.make(ident, client.random, 5_000)))
        records.append({"op": "APPEND", "start": 0, "end": 0, "error": None,
                        "changes": [["u0", box, ident, 1]]})
    client.close()
    return records


class Reader(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = procs.workspace("dovecot-reader")
        cls.work = cls.context.__enter__()
        cls.stores = {fmt: Store.get(fmt, cls.work) for fmt in server.FORMATS}

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)

    def copy(self, fmt):
        root = self.stores[fmt][0]
        target = Path(self.work) / "damaged"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(root, target, symlinks=True, ignore=shutil.ignore_patterns("run"))
        # copytree keeps mtimes, which mbox indexes hold
        return target / "mail", target / "index"

    def kinds(self, fmt, mail, index):
        return checks.check(fmt, str(mail), str(index)).kinds()

    # -- the readers are right about a store at rest ---------------------

    def test_a_store_at_rest_has_no_findings_and_messages(self):
        for fmt in server.FORMATS:
            with self.subTest(fmt):
                mail, index = self.copy(fmt)
                found = checks.check(fmt, str(mail), str(index))
                self.assertEqual([str(f) for f in found.findings], [])
                self.assertGreater(found.messages, 5)

    def test_the_index_reader_sees_the_messages_that_dovecot_sees(self):
        where = {"mdbox": "mailboxes/{}", "sdbox": "mailboxes/{}", "maildir": ".{}", "mbox": ".imap/{}"}
        for fmt in server.FORMATS:
            root, _, _, uids = self.stores[fmt]
            for box in load.BOXES:
                with self.subTest(fmt=fmt, box=box):
                    index = mail_index.Index(str(root / "index" / "u0" / where[fmt].format(box)))
                    self.assertEqual(set(index.recs), uids[box])

    def test_what_the_server_shows_is_what_the_ledger_says(self):
        for fmt in server.FORMATS:
            with self.subTest(fmt):
                _, records, shown, _ = self.stores[fmt]
                now = time.monotonic()
                self.assertEqual(ledger.Ledger(records).compare(shown, now, now), [])

    # -- damage ----------------------------------------------------------

    def test_sdbox_a_file_missing_or_unknown_or_cut(self):
        mail, index = self.copy("sdbox")
        file = next(mail.rglob("u.*"))
        file.rename(file.with_name("u.9999"))
        self.assertEqual(self.kinds("sdbox", mail, index), {"LOST": 1, "ORPHAN": 1})
        mail, index = self.copy("sdbox")
        file = max(mail.rglob("u.*"), key=lambda f: f.stat().st_size)
        os.truncate(file, file.stat().st_size // 2)
        self.assertEqual(self.kinds("sdbox", mail, index), {"CUT": 1})

    def test_sdbox_an_index_behind_or_ahead_of_its_files(self):
        mail, index = self.copy("sdbox")
        for log in index.rglob("INBOX/dovecot.index.log"):
            drop_last(log, mail_index.APPEND)
        self.assertIn("ORPHAN", self.kinds("sdbox", mail, index))

    def test_mdbox_a_file_missing_or_shorter_than_the_map_says(self):
        mail, index = self.copy("mdbox")
        file = max(mail.rglob("storage/m.*"), key=lambda f: f.stat().st_size)
        os.truncate(file, file.stat().st_size - 100)
        found = self.kinds("mdbox", mail, index)
        self.assertEqual((found.get("LOST"), found.get("ORPHAN")), (1, 1))
        file.unlink()
        self.assertIn("LOST", self.kinds("mdbox", mail, index))

    def test_mdbox_a_map_behind_the_mailboxes(self):
        mail, index = self.copy("mdbox")
        for log in index.rglob("dovecot.map.index.log"):
            drop_last(log, mail_index.APPEND)
        found = self.kinds("mdbox", mail, index)
        self.assertIn("ORPHAN", found)
        self.assertIn("LOST", found)

    def test_mdbox_a_wrong_reference_count(self):
        mail, index = self.copy("mdbox")
        for log in index.rglob("Work/dovecot.index.log"):
            drop_last(log, mail_index.APPEND)
        self.assertIn("REFS", self.kinds("mdbox", mail, index))

    def test_maildir_a_file_or_a_line_or_a_record_missing(self):
        mail, index = self.copy("maildir")
        next(f for f in mail.rglob("cur/*")).unlink()
        self.assertEqual(self.kinds("maildir", mail, index), {"LOST": 1})
        mail, index = self.copy("maildir")
        listed = mail / "u0" / "mail" / "dovecot-uidlist"
        lines = listed.read_bytes().splitlines(keepends=True)
        listed.write_bytes(b"".join(lines[:1]))
        found = self.kinds("maildir", mail, index)
        self.assertIn("LOST", found)
        mail, index = self.copy("maildir")
        for log in index.rglob(".INBOX/dovecot.index.log"):
            drop_last(log, mail_index.APPEND)
        self.assertIn("ORPHAN", self.kinds("maildir", mail, index))

    def test_mbox_a_cut_file_and_an_index_of_another_state(self):
        mail, index = self.copy("mbox")
        inbox = mail / "u0" / "inbox"
        stat = inbox.stat()
        os.truncate(inbox, stat.st_size - 60)
        found = self.kinds("mbox", mail, index)
        self.assertIn("CUT", found)
        self.assertIn("STALE", found)
        mail, index = self.copy("mbox")
        inbox = mail / "u0" / "inbox"
        data = inbox.read_bytes()
        second = data.index(b"\nFrom ", 10) + 1
        inbox.write_bytes(data[second:] + data[:second])    # the same size, other offsets
        self.assertIn("ALIEN", self.kinds("mbox", mail, index))

    def test_a_log_that_ends_in_half_a_transaction_or_belongs_to_another_index(self):
        mail, index = self.copy("sdbox")
        log = next(index.rglob("INBOX/dovecot.index.log"))
        os.truncate(log, log.stat().st_size - 4)
        self.assertIn("LOG", self.kinds("sdbox", mail, index))
        mail, index = self.copy("sdbox")
        log = next(index.rglob("INBOX/dovecot.index.log"))
        data = bytearray(log.read_bytes())
        struct.pack_into("<I", data, 4, 0)                  # as Dovecot marks a corrupted log
        log.write_bytes(data)
        self.assertIn("LOG", self.kinds("sdbox", mail, index))

    def test_the_ledger_sees_a_lost_a_doubled_and_an_undead_message(self):
        records = [{"op": "APPEND", "start": 1, "end": 2, "error": None, "changes": [["u", "INBOX", "a", 1]]},
                   {"op": "APPEND", "start": 1, "end": 2, "error": None, "changes": [["u", "INBOX", "b", 1]]},
                   {"op": "EXPUNGE", "start": 3, "end": 4, "error": None, "changes": [["u", "INBOX", "b", -1]]},
                   {"op": "APPEND", "start": 4.5, "end": 6, "error": None, "changes": [["u", "INBOX", "c", 1]]}]
        book = ledger.Ledger(records)
        a, b, c = (("u", "INBOX", i) for i in "abc")
        self.assertEqual(book.compare({a: 1}, 5, 5), [])
        self.assertEqual(book.compare({a: 1, c: 1}, 5, 5), [])          # under way: either
        self.assertEqual([w.split()[0] for w in book.compare({}, 5, 5)], ["MISSING"])
        self.assertEqual([w.split()[0] for w in book.compare({a: 2}, 5, 5)], ["TWICE"])
        self.assertEqual([w.split()[0] for w in book.compare({a: 1, b: 1}, 5, 5)], ["UNDEAD"])
        self.assertEqual([w.split()[0] for w in book.compare({a: 1, c: 1}, 4.2, 4.4)], ["UNDEAD"])


def drop_last(path, kind):
    """Cut a log before its last record of this kind, as if the snapshot had been taken then."""
    log = mail_index.Log(str(path))
    at = [offset for offset, k, _ in log.records(0) if k & mail_index.TYPE_MASK == kind]
    # The transaction's boundary record, if it has one, stands 12 bytes before.
    os.truncate(path, at[-1])
    log = mail_index.Log(str(path))
    list(log.records(0))
    os.truncate(path, log.end)


if __name__ == "__main__":
    unittest.main()

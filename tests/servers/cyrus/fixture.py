"""Make the small quiet tree that the checker's own tests damage: python3 -m cyrus.fixture FILE.

One user, some messages in threads, a renamed and a deleted folder, expunged and flagged messages:
one of everything that the checker reads. Run from tests/servers with PYTHONPATH=.., as root, where Cyrus is
installed.
"""
import imaplib
import sys
import tarfile
import time

from lab import procs
from . import load, server


def make(file):
    with procs.workspace("fixture") as work:
        with server.Server(work / "tree", work / "run", users=1) as s:
            load.populate(s, seed=3, messages=9)
            session = imaplib.IMAP4("127.0.0.1", s.imap_port)
            session.login("user0", s.password)
            for call in (lambda: session.create("INBOX.old"),
                         lambda: session.select("INBOX"),
                         lambda: session.uid("COPY", "1:2", "INBOX.old"),
                         lambda: session.uid("MOVE", "3", "INBOX.a"),
                         lambda: session.uid("STORE", "1", "+FLAGS", r"(\Seen \Flagged work)"),
                         lambda: session.uid("STORE", "2", "+FLAGS", r"(\Deleted)"),
                         lambda: session.rename("INBOX.old", "INBOX.new"),
                         lambda: session.create("INBOX.gone"),
                         lambda: session.delete("INBOX.gone"),
                         lambda: session.select("INBOX.b"),
                         lambda: session.uid("STORE", "1", "+FLAGS", r"(\Deleted)"),
                         lambda: session.expunge()):
                answer = call()
                assert answer[0] == "OK", answer
            session.logout()
            time.sleep(1)
        with tarfile.open(file, "w:gz", compresslevel=9) as tar:
            for part in ("conf", "spool"):
                tar.add(work / "tree" / part, part, filter=_plain)


def _plain(entry):
    """Nobody's files, so that any user can unpack them; no sockets or locks."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return None if "/socket" in entry.name or "/proc" in entry.name else entry


if __name__ == "__main__":
    make(sys.argv[1])

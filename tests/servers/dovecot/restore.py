"""The second opinion: a Dovecot started on a writable copy of a snapshot.

Reads every message through IMAP, lets `doveadm force-resync` look for something to
repair, reads everything again, and holds the answers against the ledger.
"""

import contextlib
import imaplib
import re
import shutil
import subprocess
from pathlib import Path

from . import message
from .load import BOXES
from .server import PASSWORD, Server

# force-resync always rebuilds, and mdbox says so each time, on a store at rest too.
_ALWAYS = re.compile(r"rebuilding indexes|Killed with signal|mdbox .*: Rebuilding")


def copy(taken, target):
    """A writable copy, and the dotlocks that were removed from it, as every restore must: Dovecot
    waits up to two minutes for a dotlock whose owner seems to live, and here it does live."""
    subprocess.run(["btrfs", "subvolume", "snapshot", str(taken), str(target)], check=True,
                   capture_output=True, timeout=60)
    locks = [f for f in Path(target).rglob("*.lock") if f.is_file()]
    for file in locks:
        file.unlink()
    return locks


def restore(fmt, taken_mail, taken_index, work, users, ledger, window):
    """{"wrong": [...], "complaints": [...], "repaired": [...], "messages": n} of one restore."""
    mail, index, run = work / "restored-mail", work / "restored-index", work / "restored-run"
    locks = copy(taken_mail, mail) + copy(taken_index, index)
    try:
        with Server(fmt, mail, index, run, users=len(users)) as server:
            before = read_all(server)
            first = complaints(server)
            answers = [server.doveadm("force-resync", "-u", u, "*") for u in users]
            after = read_all(server)
            later = [c for c in complaints(server) if c not in first]
        repaired = [f"{a.returncode} {a.stderr.strip()[:200]}" for a in answers if a.returncode]
        repaired += [f"{key}: {before.get(key, 0)} before force-resync, {after.get(key, 0)} after"
                     for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
        return {"wrong": ledger.compare(after, *window), "complaints": first, "repaired": repaired + later,
                "messages": sum(after.values()), "dotlocks": len(locks)}
    finally:
        for path in (mail, index):
            subprocess.run(["btrfs", "subvolume", "delete", str(path)], capture_output=True, timeout=60)
        shutil.rmtree(run, ignore_errors=True)


def complaints(server):
    return [line for line in server.complaints() if not _ALWAYS.search(line)]


def read_all(server):
    """{(user, mailbox, id): number of whole messages} as IMAP shows them.

    SELECT, not EXAMINE: an expunge that was asked for and acknowledged may still wait in the
    index log, and only a session that may write carries it out. What Dovecot refuses to show
    counts as not there (the session is lost with it: one each for a mailbox)."""
    counts = {}
    for user in server.users:
        for box in BOXES:
            imap = imaplib.IMAP4("127.0.0.1", server.imap_port, timeout=20)
            try:
                imap.login(user, PASSWORD)
                if imap.select(box)[0] != "OK":
                    continue
                for part in imap.uid("FETCH", "1:*", "(BODY.PEEK[])")[1]:
                    if isinstance(part, tuple):
                        ident, whole = message.identify(part[1])
                        key = (user, box, ident if whole else f"{ident} (not whole)")
                        counts[key] = counts.get(key, 0) + 1
                imap.logout()
            except (imaplib.IMAP4.error, OSError):
                continue
            finally:
                with contextlib.suppress(OSError):         # logged out already
                    imap.shutdown()
    return counts

"""Contradictions between the files of a Dovecot store, by format.

`check(fmt, mail, index)` looks at one tree (a snapshot, or a store at rest) and
gives Findings. It reads only; Dovecot itself would repair what we look for.

    LOST      an index (or map, or uidlist) names a message that the store has not
    ORPHAN    the store has a message that no index knows
    CUT       a message is there, but not whole
    REFS      mdbox: the map's reference count is not the number of references
    ALIEN     a record points at another message than it says (GUID, offset)
    STALE     mbox: the index describes another state of the file
    LOG       an index and its log contradict each other, or a log ends in half a transaction
    CACHE     a cache offset beyond the cache file
"""

import os
import struct

from .. import mail_index


class Finding:
    def __init__(self, kind, user, mailbox, detail):
        self.kind, self.user, self.mailbox, self.detail = kind, user, mailbox, detail

    def key(self):
        return (self.kind, self.user, self.mailbox, self.detail)

    def __str__(self):
        return f"{self.kind} {self.user}/{self.mailbox}: {self.detail}"


class Report:
    """What one look at a tree found, and what it looked at (a check of nothing proves nothing)."""

    def __init__(self):
        self.findings, self.messages, self.mailboxes, self.dotlocks = [], 0, 0, []

    def add(self, kind, user, mailbox, detail):
        self.findings.append(Finding(kind, user, mailbox, detail))

    def kinds(self):
        out = {}
        for f in self.findings:
            out[f.kind] = out.get(f.kind, 0) + 1
        return out


def check(fmt, mail, index, users=None):
    from . import maildir, mbox, mdbox, sdbox
    one = {"sdbox": sdbox, "mdbox": mdbox, "maildir": maildir, "mbox": mbox}[fmt].check_user
    report = Report()
    for user in users or sorted(os.listdir(mail)):
        if os.path.isdir(os.path.join(mail, user)):
            one(user, os.path.join(mail, user), os.path.join(index, user), report)
            note_dotlocks(report, os.path.join(mail, user))
    return report


def note_dotlocks(report, root):
    for folder, _, files in os.walk(root):
        report.dotlocks += [os.path.join(folder, f) for f in files if f.endswith(".lock")]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def open_index(report, user, mailbox, directory, name="dovecot.index"):
    """The index, its own contradictions already reported; None where there is none to read."""
    try:
        found = mail_index.Index(directory, name)
    except mail_index.Broken as wrong:
        report.add("LOG", user, mailbox, str(wrong))
        return None
    if not found.has_files():
        return None
    for problem in found.problems:
        report.add("LOG", user, mailbox, problem)
    if found.fsckd:
        report.add("LOG", user, mailbox, f"{found.path}: Dovecot had to repair it")
    check_cache(report, user, mailbox, found, os.path.join(directory, name + ".cache"))
    return found


def check_cache(report, user, mailbox, index, path):
    ext = index.ext("cache")
    if ext is None:
        return
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as f:
            head = f.read(12)
    except FileNotFoundError:
        return
    if len(head) < 12 or struct.unpack_from("<I", head, 8)[0] != ext.reset_id:
        return                      # another generation: Dovecot ignores the offsets
    for rec in index.recs.values():
        raw = rec.ext.get("cache", b"")
        if len(raw) == 4 and struct.unpack("<I", raw)[0] >= size:
            report.add("CACHE", user, mailbox, f"uid {rec.uid}: cache offset beyond the file")

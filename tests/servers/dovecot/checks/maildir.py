"""maildir: files in cur and new, lines of dovecot-uidlist, records of the index.

Three states are no contradiction: a uidlist line whose message is gone from both
others (Dovecot rewrites the list later), files in tmp (mail being received), and
a file in new without a uidlist line: a delivery that finds the uidlist locked
leaves the numbering to the next reader (a store at rest had 2 of 102 such).
"""

import os

from .. import message
from . import open_index, read


def check_user(user, mail, index, report):
    root = os.path.join(mail, "mail")
    boxes = {"INBOX": (root, os.path.join(index, ".INBOX"))}
    for name in sorted(set(dot_folders(root)) | set(dot_folders(index))):
        boxes[name[1:]] = (os.path.join(root, name), os.path.join(index, name))
    for name, (store, where) in boxes.items():
        report.mailboxes += 1
        check_mailbox(user, name, store, where, report)


def dot_folders(root):
    try:
        return [d for d in os.listdir(root) if d.startswith(".") and d != ".INBOX"
                and os.path.isdir(os.path.join(root, d))]
    except FileNotFoundError:
        return []


def check_mailbox(user, name, store, where, report):
    files = {}
    for sub in ("new", "cur"):
        try:
            entries = os.listdir(os.path.join(store, sub))
        except FileNotFoundError:
            continue
        for entry in entries:
            base = entry.split(":2,")[0]
            if base in files:
                report.add("ALIEN", user, name, f"{base}: twice, in {files[base]} and {sub}/{entry}")
            files[base] = f"{sub}/{entry}"
    report.messages += len(files)
    lines, ok = uidlist(os.path.join(store, "dovecot-uidlist"))
    if not ok:
        report.add("LOG", user, name, "dovecot-uidlist ends in half a line")
    idx = open_index(report, user, name, where)
    recs = idx.recs if idx else {}
    for uid in sorted(recs):
        if uid not in lines:
            report.add("LOST", user, name, f"uid {uid}: in the index, not in the uidlist")
        elif lines[uid] not in files:
            report.add("LOST", user, name, f"uid {uid}: in index and uidlist, the file is not there")
    for uid in sorted(lines.keys() - recs.keys()):
        if lines[uid] in files:
            why = "dropped by" if idx and uid < idx.next_uid else "not yet in"
            report.add("ORPHAN", user, name, f"uid {uid}: file and uidlist line are there, {why} the index")
    known = set(lines.values())
    for base, path in sorted(files.items()):
        if base not in known and path.startswith("cur/"):
            report.add("ORPHAN", user, name, f"{path}: not in the uidlist")
        try:
            whole = message.identify(read(os.path.join(store, path)))[1]
        except FileNotFoundError:
            whole = False
        if not whole:
            report.add("CUT", user, name, f"{path}: the message is not whole")


def uidlist(path):
    """({uid: file's base name}, whether the last line is whole)."""
    try:
        data = read(path)
    except FileNotFoundError:
        return {}, True
    lines = {}
    for line in data.split(b"\n")[1:]:
        uid, sep, base = line.partition(b" :")
        if sep and uid.split(b" ")[0].isdigit():
            lines[int(uid.split(b" ")[0])] = base.split(b":2,")[0].decode()
    return lines, not data or data.endswith(b"\n")

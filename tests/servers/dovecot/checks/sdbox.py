"""sdbox: each index record has its file u.UID, and each file its record."""

import os

from .. import dbox, message
from . import open_index, read


def check_user(user, mail, index, report):
    boxes = os.path.join(mail, "mail", "mailboxes")
    for name in sorted(set(folders(boxes)) | set(folders(os.path.join(index, "mailboxes")))):
        report.mailboxes += 1
        store = os.path.join(boxes, name, "dbox-Mails")
        idx = open_index(report, user, name, os.path.join(index, "mailboxes", name))
        files = message_files(store)
        report.messages += len(files)
        if idx is None:
            for uid in files:
                report.add("ORPHAN", user, name, f"u.{uid}: the mailbox has no index")
            continue
        for uid in sorted(idx.recs.keys() - files):
            report.add("LOST", user, name, f"uid {uid}: no file u.{uid}")
        for uid in sorted(files - idx.recs.keys()):
            why = "dropped by the index" if uid < idx.next_uid else "not yet in the index"
            report.add("ORPHAN", user, name, f"u.{uid}: {why}")
        for uid in sorted(files & idx.recs.keys()):
            found, _ = dbox.parse(read(os.path.join(store, f"u.{uid}")))
            if not found or not message.identify(found[0].body)[1]:
                report.add("CUT", user, name, f"u.{uid}: the message is not whole")


def folders(root):
    try:
        return [d for d in os.listdir(root) if os.path.isdir(os.path.join(root, d))]
    except FileNotFoundError:
        return []


def message_files(store):
    try:
        return {int(f[2:]) for f in os.listdir(store) if f.startswith("u.") and f[2:].isdigit()}
    except FileNotFoundError:
        return set()

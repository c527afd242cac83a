"""The whole tree: find the files, hand each to the one that knows it, and gather the findings."""
import os

from . import conversations as conversations_db, counters, mailbox, mboxlist, quota, twoskip
from .finding import Finding


def tree(conf, spool, conversations=True):
    """All contradictions between a configuration directory and a partition: a list of Findings. `conversations`: the server keeps
    them, and counters.db with them (its packages' default is that it does not; those of Cyrus before 3.4 are not read)."""
    conf, spool, findings = str(conf), str(spool), []
    databases = _databases({"conf": conf, "spool": spool}, findings)
    if "conf/mailboxes.db" not in databases:
        return findings + [Finding("unreadable", "conf/mailboxes.db", "is not there")]
    entries = mboxlist.read(databases["conf/mailboxes.db"], findings)
    older = mboxlist.older(databases["conf/mailboxes.db"])
    boxes = _boxes_by_name(spool, entries, findings) if older else _boxes(spool, findings)
    mboxlist.against_folders(entries, boxes, findings)
    quota.check(conf, entries, boxes, findings)
    for inbox in (e for e in entries.values() if e.is_inbox and conversations):
        mine = {e.uniqueid: boxes[e.uniqueid] for e in entries.values()
                if e.user == inbox.user and e.uniqueid in boxes and boxes[e.uniqueid].header
                and boxes[e.uniqueid].header.crc_right}
        _user(conf, inbox, mine, databases, findings)
    return findings


def _databases(roots, findings):
    """{"conf/...": {key: value}} of every twoskip file, wherever it lies."""
    found = {}
    for label, root in roots.items():
        for folder, _, files in os.walk(root):
            for name in files:
                if name.endswith(".NEW") or not name.endswith((".db", "cyrus.annotations")):
                    continue
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    data = f.read()
                if twoskip.is_twoskip(data):
                    relative = os.path.join(label, os.path.relpath(path, root))
                    found[relative] = twoskip.read(data, relative, findings)
    return found


def _boxes(spool, findings):
    """{uniqueid: Mailbox} by folder: every directory three levels below uuid/."""
    found = {}
    base = os.path.join(spool, "uuid")
    for folder, folders, _ in os.walk(base):
        if os.path.relpath(folder, base).count(os.sep) == 2:
            # A folder that is just being made or removed holds no index; it is judged by
            # mailboxes.db alone.
            if os.path.exists(os.path.join(folder, "cyrus.index")):
                label = os.path.relpath(folder, spool)
                box = mailbox.check(folder, label, findings)
                found[os.path.basename(folder).encode()] = box
            folders.clear()
    return found


def _boxes_by_name(spool, entries, findings):
    """The same where a folder is named after its mailbox, below a letter (hashimapspool). One that is listed nowhere has its
    folder's name for an id."""
    found, names = {}, {e.dotted: e.uniqueid for e in entries.values()}
    for folder, _, files in os.walk(spool):
        if "cyrus.index" in files:
            label = os.path.relpath(folder, spool)
            box = mailbox.check(folder, label, findings)
            box.name = ".".join(label.split(os.sep)[1:]).encode()
            found[names.get(box.name, box.name)] = box
    return found


def _user(conf, inbox, mine, databases, findings):
    uniqueid = inbox.uniqueid.decode()
    folder = os.path.join("user", "uuid", uniqueid[0], uniqueid[1], uniqueid)
    label = inbox.user.decode(errors="replace")
    path = os.path.join("conf", folder, "conversations.db")
    conversations_db.check(databases.get(path, {}), f"conversations.db of {label}", mine, findings)
    try:
        with open(os.path.join(conf, folder, "counters.db"), "rb") as f:
            data = f.read()
    except FileNotFoundError:
        findings.append(Finding("counters", label, "counters.db is not there"))
        return
    counters.check(data, f"counters.db of {label}", mine, findings)

"""conversations.db of one user against the indexes of all the user's mailboxes.

    $FOLDER_IDS         the mailboxes by number
    G<guid>:<n>:<uid>   one for each record (with `[part]`: one for each body part of it)
    B<conversation>     counts over messages, in all and by folder; one message is one GUID
    F<mailbox id>       counts over conversations and messages in the folder
    Q                   messages and bytes in all
"""
from collections import defaultdict

from . import dlist
from .finding import Finding


def check(database, label, boxes, findings):
    """boxes: {uniqueid: Mailbox} of this user, readable ones only."""
    try:
        numbers = {n: i for n, i in enumerate(dlist.parse(database.get(b"$FOLDER_IDS", b"()")))}
    except (ValueError, IndexError):
        findings.append(Finding("unreadable", label, "$FOLDER_IDS"))
        return
    _guids(database, label, boxes, numbers, findings)
    messages = _messages(boxes)
    _conversations(database, label, boxes, numbers, messages, findings)
    _folders(database, label, boxes, messages, findings)
    _quota(database, label, messages, findings)


def _guids(database, label, boxes, numbers, findings):
    by_id = {uniqueid: n for n, uniqueid in numbers.items()}
    wanted = {}
    for uniqueid, box in boxes.items():
        for r in box.living:
            wanted[by_id.get(uniqueid), r.uid] = (uniqueid, r)
    seen = set()
    for key, value in database.items():
        if key[:1] != b"G":
            continue
        guid, _, place = key[1:].partition(b":")
        where, bracket, _ = place.partition(b"[")
        number, _, uid = where.partition(b":")
        place = int(number), int(uid)
        if place not in wanted:
            findings.append(Finding("conversation-guid", label,
                                    f"names uid {place[1]} of folder {place[0]}: no such record"))
            continue
        if bracket:
            continue
        seen.add(place)
        r = wanted[place][1]
        has = (guid.decode(), int.from_bytes(value[1:9], "big"), int.from_bytes(value[9:13], "big"),
               int.from_bytes(value[13:17], "big"))
        if has != (r.guid.hex(), r.cid, r.system_flags, r.internal_flags):
            findings.append(Finding("conversation-guid", label, f"uid {r.uid} of folder {place[0]} "
                                    "has another state in its index"))
    for place in wanted.keys() - seen:
        findings.append(Finding("conversation-guid", label,
                                f"uid {place[1]} of {wanted[place][0].decode()} is not in it"))


class _Message:
    """All records of one GUID."""
    __slots__ = ("cid", "size", "folders", "counting", "unseen")

    def __init__(self):
        self.cid, self.size, self.folders = 0, 0, set()
        self.counting, self.unseen = set(), set()       # folders where it counts, counts as unseen


def _messages(boxes):
    messages = defaultdict(_Message)
    for uniqueid, box in boxes.items():
        for r in box.living:
            m = messages[r.guid]
            m.cid, m.size = r.cid, r.size
            m.folders.add(uniqueid)
            if r.counts:
                m.counting.add(uniqueid)
                if r.unseen:
                    m.unseen.add(uniqueid)
    return messages


def _conversations(database, label, boxes, numbers, messages, findings):
    wanted = defaultdict(list)
    for m in messages.values():
        if m.cid:
            wanted[m.cid].append(m)
    for key, value in database.items():
        if key[:1] != b"B":
            continue
        cid = int(key[1:], 16)
        try:
            fields = dlist.parse(value[value.index(b" ") + 1:])
            has = [int(fields[n]) for n in (1, 2, 3)] + [int(fields[8])]
            by_folder = {numbers.get(int(f[0])): tuple(map(int, f[2:5])) for f in fields[5]}
        except (ValueError, IndexError):
            findings.append(Finding("unreadable", label, repr(key)))
            continue
        group = wanted.pop(cid, [])
        real = [len(group), sum(bool(m.counting) for m in group),
                sum(bool(m.unseen) for m in group), sum(m.size for m in group if m.counting)]
        if has != real:
            findings.append(Finding("conversation-counts", label, f"{cid:016x}: records, exists, "
                                    f"unseen, size {has}, the messages have {real}"))
        for uniqueid in boxes:
            real = (sum(uniqueid in m.folders for m in group),
                    sum(uniqueid in m.counting for m in group),
                    sum(uniqueid in m.unseen for m in group))
            if by_folder.pop(uniqueid, (0, 0, 0)) != real:
                findings.append(Finding("conversation-counts", label, f"{cid:016x} in "
                                        f"{uniqueid.decode()}: the messages have {real}"))
        if any(counts[0] for counts in by_folder.values()):
            findings.append(Finding("conversation-counts", label,
                                    f"{cid:016x} counts messages of a folder that is not there"))
    for cid in wanted:
        findings.append(Finding("conversation-counts", label, f"{cid:016x} is not in it"))


def _folders(database, label, boxes, messages, findings):
    """Only what Cyrus keeps exactly: conversations and messages that exist in each folder."""
    for uniqueid in boxes:
        value = database.get(b"F" + uniqueid)
        try:
            fields = dlist.parse(value[value.index(b" ") + 1:]) if value else [0] * 5
            has = int(fields[1]), int(fields[3])
        except (ValueError, IndexError):
            findings.append(Finding("unreadable", label, f"F{uniqueid.decode()}"))
            continue
        inside = [m for m in messages.values() if uniqueid in m.counting]
        real = len({m.cid for m in inside if m.cid}), sum(1 for m in inside if m.cid)
        if has != real:
            findings.append(Finding("conversation-folder", label, f"{uniqueid.decode()}: "
                                    f"conversations, messages {has}, the index has {real}"))


def _quota(database, label, messages, findings):
    value = database.get(b"Q")
    try:
        fields = dlist.parse(value[value.index(b" ") + 1:]) if value else {b"E": 0, b"S": 0}
        has = int(fields[b"E"]), int(fields[b"S"])
    except (ValueError, IndexError, KeyError):
        findings.append(Finding("unreadable", label, "Q"))
        return
    there = [m for m in messages.values() if m.counting]
    real = len(there), sum(m.size for m in there)
    if has != real:
        findings.append(Finding("conversation-quota", label,
                                f"messages, bytes {has}, the indexes have {real}"))

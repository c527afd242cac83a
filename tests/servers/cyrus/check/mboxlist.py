"""mailboxes.db: by name (N...) against by id (I...), and both against the mailbox folders. Before Cyrus 3.4 it lists names alone,
with dots between their parts, and a mailbox's folder is named after it."""
from dataclasses import dataclass

from . import dlist
from .finding import Finding


@dataclass(frozen=True)
class Entry:
    uniqueid: bytes
    name: bytes                                         # internal, with 0x1f between the parts
    uidvalidity: int

    @property
    def dotted(self):
        """The name as cyrus.header and quota files write it (a dot inside a part is a ^)."""
        return self.name.replace(b".", b"^").replace(b"\x1f", b".")

    @property
    def user(self):
        parts = self.name.split(b"\x1f")
        return parts[1] if parts[0] == b"user" and len(parts) > 1 else None

    @property
    def is_inbox(self):
        return self.name.count(b"\x1f") == 1 and self.user is not None


def older(database):
    """Does it list names alone?"""
    return any(key[:1] not in (b"N", b"I", b"$") for key in database)


def read(database, findings):
    """{uniqueid: Entry} of the mailboxes that exist."""
    if older(database):
        return _read_older(database, findings)
    by_name, by_id = {}, {}
    for key, value in database.items():
        try:
            fields = dlist.parse(value)
            if b"d" in fields[b"T"]:                    # a tombstone
                continue
            if key[:1] == b"N":
                by_name[key[1:]] = fields
            elif key[:1] == b"I":
                by_id[key[1:]] = fields
        except (ValueError, KeyError, TypeError):
            findings.append(Finding("unreadable", "mailboxes.db", repr(key)))
    found = {}
    for name, fields in by_name.items():
        uniqueid = fields.get(b"I", b"")
        other = by_id.get(uniqueid)
        if other is None or other.get(b"N") != name or other.get(b"V") != fields.get(b"V"):
            findings.append(Finding("folder-list", "mailboxes.db",
                                    f"{name!r} by name, not so by id"))
        found[uniqueid] = Entry(uniqueid, name, int(fields.get(b"V", b"0")))
    for uniqueid in by_id.keys() - found.keys():
        findings.append(Finding("folder-list", "mailboxes.db", f"{uniqueid!r} by id only"))
    return found


def _read_older(database, findings):
    found = {}
    for key, value in database.items():
        if key[:1] == b"$":
            continue
        try:
            fields = dlist.parse(value)
            if b"d" not in fields.get(b"T", b""):
                name = key.replace(b".", b"\x1f").replace(b"^", b".")
                found[fields[b"I"]] = Entry(fields[b"I"], name, int(fields.get(b"V", b"0")))
        except (ValueError, KeyError, TypeError):
            findings.append(Finding("unreadable", "mailboxes.db", repr(key)))
    return found


def against_folders(entries, boxes, findings):
    for uniqueid, entry in entries.items():
        box = boxes.get(uniqueid)
        label = entry.dotted.decode(errors="replace")
        if box is None:
            findings.append(Finding("folder-missing", label, "listed, but has no folder"))
            continue
        if box.name and (box.name != entry.dotted or box.uniqueid != uniqueid):
            findings.append(Finding("header-name", label, f"cyrus.header says {box.name!r}"))
        if box.header and box.header.crc_right and box.header.uidvalidity != entry.uidvalidity:
            findings.append(Finding("folder-list", label, "another UIDVALIDITY than its index"))
        if box.being_deleted:
            findings.append(Finding("folder-list", label, "listed, but its index says deleted"))
    for uniqueid, box in boxes.items():
        if uniqueid not in entries and not box.being_deleted:
            findings.append(Finding("folder-orphan", box.folder,
                                    f"holds {len(box.records)} records, is not listed"))

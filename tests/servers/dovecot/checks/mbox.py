"""mbox: the messages in the file, their X-UID lines, and the offsets that the index holds."""

import os
import re
import struct

from .. import message
from . import open_index, read

FROM = re.compile(rb"^From .*\d{4}\n", re.M)
XUID = re.compile(rb"^X-UID: (\d+)", re.M)


def check_user(user, mail, index, report):
    folders = os.path.join(mail, "folders")
    boxes = {"INBOX": os.path.join(mail, "inbox")}
    for name in sorted(os.listdir(folders)) if os.path.isdir(folders) else ():
        path = os.path.join(folders, name)
        if os.path.isfile(path) and not name.endswith(".lock") and ".lock." not in name and name[0] != ".":
            boxes[name] = path
    for name, path in boxes.items():
        if os.path.exists(path):
            report.mailboxes += 1
            check_mailbox(user, name, path, os.path.join(index, ".imap", name), report)


def parse(data):
    """[(offset, id, whole, uid)] of the messages in an mbox, and whether it ends as it should."""
    starts = [m.start() for m in FROM.finditer(data)
              if m.start() == 0 or data[m.start() - 2:m.start()] == b"\n\n"]
    found = []
    for start, end in zip(starts, starts[1:] + [len(data)]):
        raw = data[data.index(b"\n", start) + 1:end]
        head = raw.partition(b"\n\n")[0]
        uid = XUID.search(head)
        found.append((start, *message.identify(raw), int(uid[1]) if uid else 0))
    return found, (not data or (bool(starts) and starts[0] == 0 and data.endswith(b"\n")))


def check_mailbox(user, name, path, where, report):
    data, stat = read(path), os.stat(path)
    found, ok = parse(data)
    found = [m for m in found if not (m[1] is None and b"DON'T DELETE THIS MESSAGE" in data[m[0]:m[0] + 600])]
    report.messages += len(found)
    if not ok:
        report.add("CUT", user, name, "the file does not end in a whole message")
    for offset, ident, whole, _ in found:
        if not whole:
            report.add("CUT", user, name, f"message at {offset} ({ident}) is not whole")
    idx = open_index(report, user, name, where)
    ext = idx.ext("mbox") if idx else None
    if ext is None:
        return
    size, mtime, dirty = struct.unpack_from("<QIB", bytes(ext.header).ljust(16, b"\0"))
    if size != len(data):
        report.add("STALE", user, name, f"index synced to {size} bytes, the file has {len(data)}")
        return
    at = {max(0, m[0] - 1): m for m in found}      # Dovecot counts the line feed before "From "
    for rec in idx.recs.values():
        (offset,) = struct.unpack_from("<Q", rec.ext.get("mbox", b"").ljust(8, b"\0"))
        if offset not in at:
            report.add("ALIEN", user, name, f"uid {rec.uid}: no message at offset {offset}")
        elif at[offset][3] not in (0, rec.uid):
            report.add("ALIEN", user, name, f"uid {rec.uid}: offset {offset} holds uid {at[offset][3]}")
    if len(idx.recs) != len(found):
        report.add("LOST" if len(idx.recs) > len(found) else "ORPHAN", user, name,
                   f"{len(idx.recs)} records, {len(found)} messages in the file")

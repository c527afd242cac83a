"""mdbox: mailbox record -> map record -> bytes in m.N, and the map's count of references."""

import os
import struct

from .. import dbox, message
from . import open_index, read
from .sdbox import folders


def check_user(user, mail, index, report):
    storage = os.path.join(mail, "mail", "storage")
    the_map = open_index(report, user, "(map)", os.path.join(index, "storage"), "dovecot.map.index")
    mapped = {} if the_map is None else {uid: place(rec) for uid, rec in the_map.recs.items()}
    stored = check_files(user, storage, mapped, report)
    report.messages += len(stored)

    used = {}
    for name in sorted(folders(os.path.join(index, "mailboxes"))):
        report.mailboxes += 1
        idx = open_index(report, user, name, os.path.join(index, "mailboxes", name))
        for rec in (idx.recs.values() if idx else ()):
            raw = rec.ext.get("mdbox", b"")
            map_uid = struct.unpack_from("<I", raw)[0] if len(raw) >= 4 else 0
            used[map_uid] = used.get(map_uid, 0) + 1
            if map_uid not in mapped:
                report.add("LOST", user, name, f"uid {rec.uid}: map uid {map_uid} is not in the map")
            elif map_uid in stored and rec.ext.get("guid", b"").hex() != stored[map_uid].guid:
                report.add("ALIEN", user, name, f"uid {rec.uid}: GUID differs from map uid {map_uid}'s")

    for map_uid, rec in (the_map.recs.items() if the_map else ()):
        refs = int.from_bytes(rec.ext.get("ref", b""), "little")
        if refs != used.get(map_uid, 0):
            report.add("REFS", user, "(map)", f"map uid {map_uid}: {refs} references counted, "
                                              f"{used.get(map_uid, 0)} there")


def place(rec):
    raw = rec.ext.get("map", b"").ljust(12, b"\0")
    return struct.unpack_from("<III", raw)          # file, offset, size


def check_files(user, storage, mapped, report):
    """The whole messages that the map finds: {map uid: dbox.Message}."""
    stored, by_file = {}, {}
    for map_uid, (number, offset, _) in mapped.items():
        by_file.setdefault(number, {})[offset] = map_uid
    try:
        there = {int(f[2:]) for f in os.listdir(storage) if f.startswith("m.") and f[2:].isdigit()}
    except FileNotFoundError:
        there = set()
    for number in sorted(there | by_file.keys()):
        wanted = by_file.get(number, {})
        if number not in there:
            for map_uid in wanted.values():
                report.add("LOST", user, "(map)", f"map uid {map_uid}: no file m.{number}")
            continue
        data = read(os.path.join(storage, f"m.{number}"))
        found, end = dbox.parse(data)
        at = {m.offset: m for m in found}
        for offset, map_uid in wanted.items():
            if offset not in at:
                report.add("LOST", user, "(map)", f"map uid {map_uid}: no message at m.{number}:{offset}")
                continue
            stored[map_uid] = at[offset]
            if not message.identify(at[offset].body)[1]:
                report.add("CUT", user, "(map)", f"m.{number}:{offset}: the message is not whole")
        for offset in sorted(at.keys() - wanted.keys()):
            report.add("ORPHAN", user, "(map)", f"m.{number}:{offset}: not in the map")
        if end < len(data):
            report.add("ORPHAN", user, "(map)", f"m.{number}: {len(data) - end} bytes of half a message")
    return stored

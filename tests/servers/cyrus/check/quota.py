"""Quota files against the sums over the indexes of their mailboxes."""
import os

from . import dlist
from .finding import Finding


def check(conf, entries, boxes, findings):
    sums = {}
    for uniqueid in entries:
        box = boxes.get(uniqueid)
        if box and box.header and box.header.crc_right and box.quotaroot:
            total = sums.setdefault(box.quotaroot, {b"S": 0, b"M": 0, b"NF": 0})
            total[b"S"] += box.header.quota_used
            total[b"M"] += box.header.exists
            total[b"NF"] += 1
    for folder, _, files in os.walk(os.path.join(conf, "quota")):
        for name in files:
            if name.endswith(".NEW"):                   # not yet renamed over: nothing reads it
                continue
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            try:
                fields = dlist.parse(data)
                used = {k: int(fields[k][0]) for k in (b"S", b"M", b"NF") if k in fields}
            except (ValueError, IndexError, KeyError, TypeError):
                findings.append(Finding("unreadable", f"quota/{name}", repr(data[:60])))
                continue
            total = sums.get(name.encode(), {b"S": 0, b"M": 0, b"NF": 0})
            for what, number in used.items():
                if number != total[what]:
                    findings.append(Finding("quota", name, f"{what.decode()} {number}, "
                                            f"the mailboxes have {total[what]}"))

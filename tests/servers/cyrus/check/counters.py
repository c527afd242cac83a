"""counters.db of one user: its CRC, and that no mailbox is ahead of it."""
import zlib

from .finding import Finding


def check(data, label, boxes, findings):
    if len(data) < 16:
        findings.append(Finding("unreadable", label, f"{len(data)} bytes"))
        return
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
        findings.append(Finding("counters", label, "its CRC is wrong"))
        return
    highest = int.from_bytes(data[8:16], "big")
    for box in boxes.values():
        if box.header.highestmodseq > highest:
            findings.append(Finding("counters", label, f"highest {highest}, but {box.folder} has "
                                    f"{box.header.highestmodseq}"))

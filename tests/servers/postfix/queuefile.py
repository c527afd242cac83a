"""Reads a Postfix queue (a snapshot of it) as the conservation checker wants it.

A queue file is a row of records: a type byte, a length (7 bits a byte, lowest first), data.
    C size   S sender   R recipient   D recipient that is done   M message begins
    N line   L part of a line         X message ends             E end of the file
A file is complete when its owner's x bit is set; before that the client has no answer yet.
Delivery agents overwrite the R of a finished recipient with D, in place.
"""
import os
import stat

from mta import conserve, message

QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")


class Broken(Exception):
    """The file contradicts itself."""


def records(data):
    """(type, data) pairs; raises Broken where the row does not end with E."""
    at = 0
    while at < len(data):
        kind = chr(data[at])
        at += 1
        length = shift = 0
        while True:
            if at >= len(data):
                raise Broken("ends inside a record's length")
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        value = data[at:at + length]
        if len(value) < length:
            raise Broken("ends inside a record of type %s" % kind)
        at += length
        if kind == "p":
            # A pointer: 0 means "none", else the row goes on elsewhere in the file.
            target = int(value)
            if target:
                at = target
            continue
        yield kind, value
        if kind == "E":
            return
    raise Broken("has no end record")


class File:
    """One queue file: its sender, who is owed, who is done, its content."""

    def __init__(self, data):
        self.sender, self.owed, self.done, lines = None, [], [], []
        content = False
        for kind, value in records(data):
            if kind == "S":
                self.sender = value.decode(errors="replace")
            elif kind == "R":
                self.owed.append(value.decode(errors="replace"))
            elif kind == "D":
                self.done.append(value.decode(errors="replace"))
            elif kind == "M":
                content = True
            elif kind == "X":
                content = False
            elif content and kind in "NL":
                lines.append(value + (b"\n" if kind == "N" else b""))
        self.content = b"".join(lines)


def user(address):
    return address.partition("@")[0]


def read(root):
    """The whole queue below `root` as a conserve.Queue."""
    found = conserve.Queue()
    for name in QUEUES:
        for folder, _, files in os.walk(os.path.join(root, name)):
            for file in files:
                path = os.path.join(folder, file)
                if not os.lstat(path).st_mode & stat.S_IXUSR:
                    found.receiving += 1
                    continue
                with open(path, "rb") as source:
                    data = source.read()
                try:
                    _add(found, root, path, File(data))
                except Broken as why:
                    found.cut.append("%s: %s" % (os.path.relpath(path, root), why))
    for folder, _, files in os.walk(os.path.join(root, "corrupt")):
        found.cut += ["corrupt/%s: put aside by the server" % file for file in files]
    return found


def _add(found, root, path, file):
    found.messages += 1
    if not file.sender:
        found.bounced.update(n.decode() for n in message.NUMBER.findall(file.content))
        return
    whole, cut = message.scan(file.content)
    found.cut += ["%s: %s" % (os.path.relpath(path, root), what) for what in cut]
    for number in whole:
        found.owe(number, map(user, file.owed))
        # A bounced recipient is done once it stands in the bounce log; the notice follows.
        if file.done and _log_of(root, "bounce", os.path.basename(path)):
            found.to_bounce.add(number)


def _log_of(root, kind, queue_id):
    return any(os.path.exists(os.path.join(root, kind, *sub, queue_id))
               for sub in ((), (queue_id[0],), (queue_id[0], queue_id[1])))


"""Reads a Courier queue (a snapshot of it) as the conservation checker wants it.

    msgs/N/Cid    control file: s sender, r recipients in order, ... W ends what the submitter writes;
                  then, appended as deliveries end, S<n> done, F<n> failed, D<n> deferred
    msgs/N/Did    the content
    msgq/T/Cid.*  a link to the control file: what is to be delivered
    tmp/T/Cid, Did  both of a message that was acknowledged and that courierd has not taken over yet
A control file in msgs/ without a link in msgq/ is about to be removed; other names in tmp/ are
being received.
"""
import os
import re

from mta import conserve, message

QUEUED = re.compile(r"^C(\d+)\.\d+$")
FRESH = re.compile(r"^C(\d+)$")


class Broken(Exception):
    """The file contradicts itself."""


class Control:
    """sender, and the recipients that are neither done nor failed."""

    def __init__(self, data):
        if not data.endswith(b"\n"):
            raise Broken("control file ends inside a line")
        self.sender, recipients, done, ended = None, [], set(), False
        for line in data.decode(errors="replace").splitlines():
            kind, value = line[:1], line[1:]
            if kind == "s":
                self.sender = value
            elif kind == "r":
                recipients.append(value)
            elif kind == "W":
                ended = True
            elif kind in "SF":
                done.add(int(value.split()[0]))
        if self.sender is None or not ended:
            raise Broken("control file without sender or end of the envelope")
        self.owed = [r for n, r in enumerate(recipients) if n not in done]
        self.failed = bool(re.search(rb"^F\d", data, re.M))


def user(address):
    return address.partition("@")[0]


def read(root):
    """The whole queue below `root` as a conserve.Queue."""
    found, files, queued = conserve.Queue(), {}, set()
    for part in ("tmp", "msgs"):
        for folder, _, names in os.walk(os.path.join(root, part)):
            files.update((name, os.path.join(folder, name)) for name in names)
            if part == "tmp":
                queued.update(match[1] for match in map(FRESH.match, names) if match)
                found.receiving += sum(name[0].isdigit() for name in names)
    for _, _, names in os.walk(os.path.join(root, "msgq")):
        queued.update(match[1] for match in map(QUEUED.match, names) if match)
    for identity in sorted(queued):
        try:
            _add(found, identity, files)
        except Broken as why:
            found.cut.append("%s: %s" % (identity, why))
    return found


def _read(path):
    with open(path, "rb") as source:
        return source.read()


def _add(found, identity, files):
    if "C" + identity not in files:
        raise Broken("queued without its control file")
    control = Control(_read(files["C" + identity]))
    if not control.owed and not control.failed:
        return                                          # finished: about to be removed
    found.messages += 1
    if "D" + identity not in files:
        raise Broken("control file without its content")
    content = _read(files["D" + identity])
    if not content.strip():
        raise Broken("the content is empty")
    if not control.sender:
        found.bounced.update(n.decode() for n in message.NUMBER.findall(content))
        return
    whole, cut = message.scan(content)
    found.cut += ["%s: %s" % (identity, what) for what in cut]
    for number in whole:
        found.owe(number, map(user, control.owed))
        if control.failed:
            found.to_bounce.add(number)

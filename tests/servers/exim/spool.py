"""Reads an Exim spool (a snapshot of it) as the conservation checker wants it.

    input/ID-H   envelope: recipients, the tree of those already done, the headers
    input/ID-D   body;  -D alone is a message being received (no answer given yet)
    input/ID-J   journal: addresses delivered since -H was last written
-H without -D is torn.
"""
import os
import re

from mta import conserve, message

# Since Exim 4.97 a name is longer.
NAME = re.compile(r"^(\w{6}-(?:\w{6}-\w{2}|\w{11}-\w{4}))-([HDJ])$")
NUMBER = re.compile(rb"^\d{3,}. X-Number: (\S+)$", re.M)


class Broken(Exception):
    """The file contradicts itself."""


class Header:
    """A -H file: sender, recipients, those done, the header section."""

    def __init__(self, data):
        envelope, blank, self.headers = data.partition(b"\n\n")
        if not blank:
            raise Broken("ends inside the envelope")
        if not self.headers.endswith(b"\n"):
            raise Broken("ends inside the headers")
        self.lines = envelope.decode(errors="replace").split("\n")
        self.at = 0
        self.id = self._line()
        self._line()                                    # user and group of the submitter
        self.sender = self._line().strip("<>")
        self._line()                                    # time, warnings
        while self._peek().startswith("-"):
            option = self._line().lstrip("-")
            if option.startswith("acl"):                # its value follows, counted in bytes
                size = int(option.split()[-1])
                while size >= 0:
                    size -= len(self._line().encode()) + 1
        self.done = []
        self._tree()
        count = self._line()
        if not count.isdigit():
            raise Broken("no count of recipients: %r" % count)
        self.recipients = [self._line().split(" ")[0] for _ in range(int(count))]

    def _peek(self):
        if self.at >= len(self.lines):
            raise Broken("ends inside the envelope")
        return self.lines[self.at]

    def _line(self):
        line = self._peek()
        self.at += 1
        return line

    def _tree(self):
        """Pre-order; each node says whether a left and a right one follow. XX: none at all."""
        line = self._line()
        if line == "XX":
            return
        match = re.match(r"^([YN])([YN]) (.*)$", line)
        if not match:
            raise Broken("not a tree of addresses: %r" % line)
        self.done.append(match[3])
        for child in match.group(1, 2):
            if child == "Y":
                self._tree()


def user(address):
    return address.partition("@")[0]


def read(root):
    """The whole spool below `root` as a conserve.Queue."""
    messages = {}
    for folder, _, files in os.walk(os.path.join(root, "input")):
        for file in files:
            if match := NAME.match(file):
                messages.setdefault(match[1], {})[match[2]] = os.path.join(folder, file)
    found = conserve.Queue()
    for identity, parts in sorted(messages.items()):
        if "H" not in parts:
            # -J alone is the last thing to go when a message is finished.
            found.receiving += "D" in parts
            continue
        try:
            _add(found, identity, parts)
        except Broken as why:
            found.cut.append("%s: %s" % (identity, why))
    return found


def _read(path):
    with open(path, "rb") as source:
        return source.read()


def _add(found, identity, parts):
    head = Header(_read(parts["H"]))
    if head.id != identity + "-H":
        raise Broken("-H names %s" % head.id)
    if "D" not in parts:
        raise Broken("-H without -D")
    first, _, body = _read(parts["D"]).partition(b"\n")
    if first.decode(errors="replace") != identity + "-D":
        raise Broken("-D names %r" % first)
    found.messages += 1
    if not head.sender:
        found.bounced.update(n.decode() for n in message.NUMBER.findall(body))
        return
    done = set(head.done)
    if "J" in parts:
        done.update(_read(parts["J"]).decode(errors="replace").split("\n"))
    number = NUMBER.search(head.headers)
    if not number:
        raise Broken("-H has no number")
    _, cut = message.scan(b"X-Number: " + number[1] + b"\n\n" + body)
    found.cut += ["%s: %s" % (identity, what) for what in cut]
    found.owe(number[1].decode(), [user(r) for r in head.recipients if r not in done])


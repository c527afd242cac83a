"""Reads a Sendmail queue (a snapshot of it) as the conservation checker wants it.

    qfID    V version, S<sender>, R flags:<recipient> still owed, H headers, `.` ends it
    dfID    the body
qf is made empty when a message begins to arrive and replaced (tf, rename) before the client has its
answer and whenever recipients are done: until then the message is only being received.  qf without
df is torn.
"""
import os
import re

from mta import conserve, message

NAME = re.compile(r"^([qdQ])f(\w{14,})$")
NUMBER = re.compile(rb"^H\?[^?]*\?X-Number: (\S+)$", re.M)
RECIPIENT = re.compile(rb"^R[A-Za-z]*:<?([^>\n]*)>?$", re.M)
SENDER = re.compile(rb"^S<?([^>\n]*)>?$", re.M)


class Broken(Exception):
    """The file contradicts itself."""


def user(address):
    return address.partition("@")[0]


def read(root):
    """The whole queue below `root` as a conserve.Queue."""
    found, messages = conserve.Queue(), {}
    for folder, _, files in os.walk(root):
        for name in files:
            if match := NAME.match(name):
                messages.setdefault(match[2], {})[match[1]] = os.path.join(folder, name)
    for identity, parts in sorted(messages.items()):
        if "Q" in parts:
            found.cut.append("%s: put aside by the server" % identity)
            continue
        control = _read(parts["q"]) if "q" in parts else b""
        if not control:
            found.receiving += 1
            continue
        try:
            _add(found, identity, control, parts)
        except Broken as why:
            found.cut.append("%s: %s" % (identity, why))
    return found


def _read(path):
    with open(path, "rb") as source:
        return source.read()


def _add(found, identity, control, parts):
    if not control.endswith(b"\n.\n"):
        raise Broken("qf without its end")
    if not control.startswith(b"V8\n"):
        raise Broken("qf without its version")
    if "d" not in parts:
        raise Broken("qf without df")
    found.messages += 1
    body, sender = _read(parts["d"]), SENDER.search(control)
    if not sender:
        raise Broken("no sender")
    if not sender[1]:
        found.bounced.update(n.decode() for n in message.NUMBER.findall(body))
        return
    number = NUMBER.search(control)
    if not number:
        raise Broken("no number")
    _, cut = message.scan(b"X-Number: " + number[1] + b"\n\n" + body)
    found.cut += ["%s: %s" % (identity, what) for what in cut]
    found.owe(number[1].decode(), [user(r.decode()) for r in RECIPIENT.findall(control)])

"""Reads an OpenSMTPD queue (a snapshot of it) as the conservation checker wants it.

    queue/XX/MSGID/message      the content
    queue/XX/MSGID/EVPID        one recipient that is still owed: lines `key: value`
    incoming/MSGID/             being received; renamed into queue/ before the client has its answer
An envelope is unlinked when its recipient is done.  One without its message is torn.
"""
import os
import re

from mta import conserve, message

MESSAGE = re.compile(r"^[0-9a-f]{8}$")
ENVELOPE = re.compile(r"^[0-9a-f]{16}$")
#: What smtpd writes into each; the last of them is the last that it always writes.
FIELDS = ("version", "type", "smtpname", "sockaddr", "sender", "rcpt", "dest", "ctime",
          "dsn-notify")


class Broken(Exception):
    """The file contradicts itself."""


def fields(data):
    """An envelope's lines as a dictionary."""
    if not data.endswith(b"\n"):
        raise Broken("envelope ends inside a line")
    found = {}
    for line in data.decode(errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            raise Broken("not an envelope's line: %r" % line)
        found[key] = value.strip()
    if (missing := [f for f in FIELDS if f not in found]):
        raise Broken("envelope without %s" % ", ".join(missing))
    return found


def user(address):
    return address.partition("@")[0]


def read(root):
    """The whole queue below `root` as a conserve.Queue."""
    found = conserve.Queue()
    base = os.path.join(root, "queue")
    for part in sorted(os.listdir(base)) if os.path.isdir(base) else ():
        for identity in sorted(os.listdir(os.path.join(base, part))):
            if MESSAGE.match(identity):
                _add(found, root, os.path.join(base, part, identity))
    incoming = os.path.join(root, "incoming")
    found.receiving = len(os.listdir(incoming)) if os.path.isdir(incoming) else 0
    for folder, _, files in os.walk(os.path.join(root, "corrupt")):
        found.cut += ["corrupt/%s: put aside by the server" % file for file in files]
    return found


def _read(path):
    with open(path, "rb") as source:
        return source.read()


def _add(found, root, folder):
    place, names = os.path.relpath(folder, root), os.listdir(folder)
    envelopes = []
    for name in filter(ENVELOPE.match, names):
        try:
            envelopes.append(fields(_read(os.path.join(folder, name))))
        except Broken as why:
            found.cut.append("%s/%s: %s" % (place, name, why))
    if not envelopes:
        return                                          # finished: about to be removed
    found.messages += 1
    if "message" not in names:
        found.cut.append("%s: envelopes without their message" % place)
        return
    content = _read(os.path.join(folder, "message"))
    if not content.strip():
        found.cut.append("%s: the message is empty" % place)
    if not envelopes[0]["sender"]:
        found.bounced.update(n.decode() for n in message.NUMBER.findall(content))
        return
    whole, cut = message.scan(content)
    found.cut += ["%s: %s" % (place, what) for what in cut]
    for number in whole:
        found.owe(number, [user(e["dest"]) for e in envelopes if e["type"] != "bounce"])
        if any(e["type"] == "bounce" for e in envelopes):
            found.to_bounce.add(number)

#!/usr/bin/env python3
"""What a store holds: copies of numbered messages, by recipient.

The store's layout is the same for every server under test:
    mbox/USER           one mbox file
    maildir/USER/       new/, cur/, tmp/ (tmp is being delivered: not looked at)
"""
import collections
import os

from . import message


class Contents:
    """copies[(number, user)] = how often; cut = what is not whole, with its place."""

    def __init__(self):
        self.copies = collections.Counter()
        self.bounced = collections.Counter()
        self.cut = []
        self.dotlocks = []

    def add(self, place, user, data):
        for part in split_mbox(data):
            if message.BOUNCE.search(part[:400]):
                for found in message.NUMBER.findall(part):
                    self.bounced[found.decode()] += 1
                continue
            whole, cut = message.scan(part)
            for number in whole:
                self.copies[(number, user)] += 1
            self.cut += ["%s: %s" % (place, what) for what in cut]


def split_mbox(data):
    """Bounces quote whole headers, so they must be looked at one by one."""
    if not data.startswith(b"From "):
        return [data] if data.strip() else []
    parts = data.split(b"\n\nFrom ")
    return [parts[0] + b"\n\n"] + [b"From " + p + b"\n\n" for p in parts[1:]]


def read(root):
    found = Contents()
    add_mboxes(found, os.path.join(root, "mbox"))
    maildir = os.path.join(root, "maildir")
    for user in sorted(os.listdir(maildir)) if os.path.isdir(maildir) else ():
        for part in ("new", "cur"):
            folder = os.path.join(maildir, user, part)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                path = os.path.join(folder, name)
                with open(path, "rb") as data:
                    content = data.read()
                if not content.strip():
                    found.cut.append("%s: empty" % path)
                found.add(path, user, content)
    return found


def add_mboxes(found, folder):
    """Each file an mbox, named after its user."""
    for user in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, user)
        if ".lock" in user or not os.path.isfile(path):
            # USER.lock is the dotlock, USER.lock.HOST... its hitching post.
            found.dotlocks.append(path)
            continue
        with open(path, "rb") as data:
            found.add(path, user, data.read())

#!/usr/bin/env python3
"""Conservation of mail: the one question asked of every snapshot.

A message is a number and a recipient.  Given what the server had acknowledged
before the snapshot began, what the queue still owes, and what the store holds:

    LOST  acknowledged, but neither in the store nor owed by the queue
    DUP   in the store and still owed (a restore would deliver it again),
          in the store twice, or owed by two queue files
    CUT   a message in store or queue that is not whole

Pure: no files, no processes.  Readers of queues and stores feed it.
"""
import dataclasses


#: Recipients so named do not exist: for them the sender gets a notice instead.
BOUNCES = "nobody"


@dataclasses.dataclass
class Queue:
    """What a server's queue says.

    owed       {(number, user)}: recipients not yet done, of complete messages
    again      pairs owed by two messages of the queue at once
    cut        queue files that contradict themselves
    receiving  how many messages were only being received (never acknowledged)
    bounced    {number}: notices about these are in the queue
    to_bounce  {number}: the queue will still send a notice about these
    """
    owed: set = dataclasses.field(default_factory=set)
    again: list = dataclasses.field(default_factory=list)
    cut: list = dataclasses.field(default_factory=list)
    receiving: int = 0
    bounced: set = dataclasses.field(default_factory=set)
    to_bounce: set = dataclasses.field(default_factory=set)
    messages: int = 0

    def owe(self, number, users):
        """A complete message owes this number to these users."""
        for pair in ((number, user) for user in users):
            (self.again.append if pair in self.owed else self.owed.add)(pair)


@dataclasses.dataclass
class Finding:
    lost: list
    dup: list
    cut: list

    def __bool__(self):
        return bool(self.lost or self.dup or self.cut)

    def __str__(self):
        parts = []
        for name, items in (("LOST", self.lost), ("DUP", self.dup), ("CUT", self.cut)):
            if items:
                parts.append("%s %d (%s%s)" % (name, len(items), ", ".join(
                    "%s for %s" % i if isinstance(i, tuple) else i for i in items[:3]),
                    ", ..." if len(items) > 3 else ""))
        return "; ".join(parts) or "conserved"


def judge(acknowledged, queue, store, remote=()):
    """`acknowledged`: {(number, user)}; `remote`: pairs that another host took."""
    have = set(store.copies) | set(remote)
    lost = sorted(pair for pair in acknowledged
                  if pair not in have and pair not in queue.owed
                  and not (pair[1].startswith(BOUNCES) and (
                      pair[0] in queue.bounced | queue.to_bounce or store.bounced.get(pair[0]))))
    dup = sorted({pair for pair in queue.owed if pair in store.copies} | set(queue.again))
    dup += sorted(pair for pair, times in store.copies.items()
                  if times > 1 and pair not in queue.owed)
    return Finding(lost, dup, sorted(queue.cut) + sorted(store.cut))


def judge_remote(queue, remote):
    """Owed pairs that the other host had already taken: it would get them again."""
    return sorted(pair for pair in queue.owed if pair in set(remote))


def notices_twice(queue, store):
    """Numbers about which a notice exists and another one would be sent.

    Reported apart from DUP: the sender hears of one failure twice, no mail arrives twice.
    """
    to_send = queue.to_bounce | {n for n, user in queue.owed if user.startswith(BOUNCES)}
    return sorted(n for n in to_send if n in queue.bounced or store.bounced.get(n))

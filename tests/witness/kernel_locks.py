"""One lock as the kernel keeps it, and the arithmetic of its ranges."""

READ, WRITE, UNLOCK = 0, 1, 2


class Lock:
    """A lock of one owner on one file: of a description (flock, OFD), of a table (POSIX), or a lease."""
    __slots__ = ("kind", "dev", "ino", "owner", "ranges", "since", "task", "description", "table", "changes", "exempt")

    def __init__(self, kind, dev, ino, owner, since, task):
        self.kind, self.dev, self.ino, self.owner = kind, dev, ino, owner
        self.since, self.task = since, task
        self.ranges = []                                # (first, last, type)
        self.description = self.table = None
        self.changes = []                               # made under it since it guards
        self.exempt = None                              # the rule by which it never counts

    def apply(self, first, last, kind):
        """What a lock or an unlock of a range makes of the ranges."""
        kept = []
        for a, b, k in self.ranges:
            if b < first or a > last:
                kept.append((a, b, k))
                continue
            if a < first:
                kept.append((a, first - 1, k))
            if b > last:
                kept.append((last + 1, b, k))
        if kind != UNLOCK:
            kept.append((first, last, kind))
        self.ranges = kept

    def guards(self):
        """Whether it guards writing: a write lock, or flock's shared one on what is open for writing."""
        if any(k == WRITE for _, _, k in self.ranges):
            return True
        return bool(self.ranges and self.kind == "flock"
                    and (self.description is None or self.description.writable is not False))

    def name(self):
        return f"{self.kind} on {self.dev >> 20}:{self.dev & 0xfffff}:{self.ino}"

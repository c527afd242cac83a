"""Who has which descriptor: tables of descriptors and the open file descriptions behind them.

A table belongs to a process (threads share it; so do processes that were cloned with CLONE_FILES).
"""


class Description:
    """What an open() made: a lock of flock or OFD lies on it, and all its duplicates share it."""
    __slots__ = ("writable", "tables", "locks", "sent", "last_closers")

    def __init__(self, writable):
        self.writable = writable                        # None: not known
        self.tables = {}                                # table -> how many of its descriptors
        self.locks = set()
        self.sent = None                                # when a process that had it last sent a message
        self.last_closers = ()                          # tables that closed it last, once nobody known has it


class Table:
    __slots__ = ("fds", "owner", "tasks", "posix", "received", "section", "family")

    def __init__(self, family):
        self.fds = {}                                   # number -> (Description, closed by exec)
        self.owner = None                               # the kernel's address of it: the owner of POSIX locks
        self.tasks = 0
        self.posix = set()
        self.received = None                            # when it last received a message
        self.section = None
        self.family = family                            # the process id that it belongs to

    def set(self, fd, description, cloexec=False):
        self.drop(fd)
        self.fds[fd] = (description, cloexec)
        description.tables[self] = description.tables.get(self, 0) + 1

    def drop(self, fd):
        """Forgets a descriptor; the description, if this table has it no more."""
        gone = self.fds.pop(fd, None)
        if gone is None:
            return None
        description = gone[0]
        left = description.tables[self] - 1
        if left:
            description.tables[self] = left
            return None
        del description.tables[self]
        if not description.tables:
            description.last_closers = (self,)
        return description

    def copy(self, family):
        new = Table(family)
        for fd, (description, cloexec) in self.fds.items():
            new.fds[fd] = (description, cloexec)
            description.tables[new] = description.tables.get(new, 0) + 1
        return new

    def close_on_exec(self):
        return [self.drop(fd) for fd in [n for n, (_, cloexec) in self.fds.items() if cloexec]]

    def close_all(self):
        return [self.drop(fd) for fd in list(self.fds)]

    def locks(self, locked):
        """The locks that it holds; `locked`: the descriptions that have a lock now."""
        held = set(self.posix)
        for description in locked:
            if self in description.tables or (not description.tables and self._may_have(description)):
                held |= description.locks
        return held

    def _may_have(self, description):
        """Nobody known has it open, and the kernel says that its lock lives: whoever closed it last may have it
        mapped, and whoever has received a message since one was sent may have been given it."""
        return self in description.last_closers or (
            description.sent is not None and self.received is not None and self.received > description.sent)

"""Replays a record: tasks, their descriptors, the kernel's locks, and the changes made under them.

It tells a `rules` object what it saw: `change`, `section_ended` (a process holds no guarding lock any more),
`lock_ended`, `waited`, `mark`. What contradicts itself is a fault, a sentence.
"""
import os

from . import events
from .descriptors import Description, Table
from .kernel_locks import UNLOCK, Lock

CLONE_THREAD, CLONE_FILES = 0x10000, 0x400
FL_POSIX, FL_CLOSE, FL_OFD = 1, 64, 1024
DEFERRED = 1                                            # the kernel's FILE_LOCK_DEFERRED
F_DUPFD, F_SETFD, F_DUPFD_CLOEXEC = 0, 2, 1030


class Task:
    __slots__ = ("tid", "process", "table", "call", "args", "since", "wait_from", "wait_to", "ended")

    def __init__(self, tid, process, table):
        self.tid, self.process, self.table = tid, process, table
        self.call = self.args = self.since = self.wait_from = self.wait_to = None
        self.ended = False                              # its files are closed after its end was told
        table.tasks += 1


class Process:
    __slots__ = ("pid", "program", "threads", "made")

    def __init__(self, pid, program):
        self.pid, self.program, self.threads = pid, program, 1
        self.made = set()                               # files that it has made


class Change:
    __slots__ = ("at", "process", "dev", "ino", "call", "program", "kind")

    def __init__(self, at, process, dev, ino, call, kind):
        self.at, self.process, self.dev, self.ino, self.call = at, process, dev, ino, call
        self.program, self.kind = process.program, kind     # kind: "write", "create", "own" (a file that it made), "other"

    def __str__(self):
        return f"{self.at} pid {self.process.pid} ({self.program}): {self.call} of file {self.ino}"


class World:
    def __init__(self, meta, rules):
        self.meta, self.rules, self.faults = meta, rules, []
        self.tasks, self.locks, self.locked = {}, {}, set()
        self.devices = {p["dev"] for p in meta["protected"]}
        self.touch = meta.get("touch")
        first = Process(meta.get("family", 0), "(the command)")
        self.tasks[first.pid] = Task(first.pid, first, Table(first.pid))
        self.handlers = {
            "raw_syscalls/sys_enter": self.enter, "raw_syscalls/sys_exit": self.leave,
            "task/task_newtask": self.born, "sched/sched_process_exec": self.executed,
            "sched/sched_process_exit": self.ended, "filelock/posix_lock_inode": self.posix,
            "filelock/flock_lock_inode": self.flock, "filelock/generic_add_lease": self.lease,
            "filelock/generic_delete_lease": self.lease_ended,
        }
        self.silent = {}                                # faults of one kind are said a few times only

    def fault(self, kind, text):
        seen = self.silent[kind] = self.silent.get(kind, 0) + 1
        if seen <= 5:
            self.faults.append(f"{kind}: {text}")

    def replay(self, stream):
        for at, tid, name, values in stream:
            if name == "ftrace/print":
                self.mark(at, values[0])
                continue
            task = self.tasks.get(tid)
            if task is None:
                self.fault("a process whose birth was not seen", f"{tid} at {at}: {name}")
                task = self.adopt(tid)
            handler = self.handlers.get(name)
            if handler:
                handler(at, task, *values)
            else:
                self.file_event(at, task, name, values)
        for kind, number in self.silent.items():
            if number > 5:
                self.faults.append(f"{kind}: {number} times in all")
        for lock in list(self.locks.values()):
            self.rules.lock_ended(None, lock)
        for table in {t.table for t in self.tasks.values()}:
            if table.section:
                self.rules.section_ended(None, table.section)

    def adopt(self, tid):
        process = Process(tid, "(not seen)")
        self.tasks[tid] = Task(tid, process, Table(tid))
        return self.tasks[tid]

    def mark(self, at, text):
        if text.startswith(b"witness "):
            self.rules.mark(at, text.split()[1:], self)

    # Tasks.

    def born(self, at, parent, tid, flags):
        old = self.tasks.get(tid)
        if old is not None and not old.ended:
            self.fault("a process id used twice", f"{tid} was born at {at}, and its end was not seen")
            self.ended(at, old, tid)
        table = parent.table if flags & CLONE_FILES else parent.table.copy(tid)
        if flags & CLONE_THREAD:
            process = parent.process
            process.threads += 1
        else:
            process = Process(tid, parent.process.program)
        self.tasks[tid] = Task(tid, process, table)

    def executed(self, at, task, filename, tid, old_tid):
        if old_tid != tid and old_tid in self.tasks:    # a thread other than the first became the process
            del self.tasks[old_tid]
        task.process.program = filename.decode("utf-8", "surrogateescape")
        task.process.threads = 1
        if task.table.tasks > 1:
            task.table.tasks -= 1
            task.table = task.table.copy(task.process.pid)
            task.table.tasks = 1
        self.lost(at, task.table, task.table.close_on_exec())

    def ended(self, at, task, tid, *_):
        if task.ended:
            return
        task.ended, task.call = True, None
        self.waited(at, task)
        task.table.tasks -= 1
        task.process.threads -= 1
        if task.table.tasks == 0:
            self.lost(at, task.table, task.table.close_all())
            # POSIX locks end by the kernel's own events, which follow.
            if task.table.section:
                self.check_section(at, task.table)

    # System calls.

    def enter(self, at, task, number, args):
        if number in events.WAITS:
            if task.wait_from is None:
                task.wait_from = at
        else:
            self.waited(at, task)
        task.call, task.args, task.since = number, args, at
        table = task.table
        if number == events.CLOSE:
            self.lost(at, table, [table.drop(args[0])])
        elif number == events.CLOSE_RANGE:
            self.close_range(at, task, args)
        elif number in (events.SENDMSG, events.SENDMMSG):
            for description in self.locked:
                if table in description.tables:
                    description.sent = at

    def close_range(self, at, task, args):
        if args[2] & 2:
            self.unshare(task)
        table = task.table
        for fd in [n for n in table.fds if args[0] <= n <= args[1]]:
            if args[2] & 4:
                table.fds[fd] = (table.fds[fd][0], True)
            else:
                self.lost(at, table, [table.drop(fd)])

    def unshare(self, task):
        if task.table.tasks > 1:
            task.table.tasks -= 1
            task.table = task.table.copy(task.process.pid)
            task.table.tasks = 1

    def leave(self, at, task, number, result):
        args, table = task.args, task.table
        if number in events.WAITS:
            task.wait_to = at
        if task.call != number:
            task.call = None
            return                                      # it was inside when the record began
        task.call = None
        if result < 0:
            return
        if number in events.OPENING:
            place = events.OPENING[number]
            flags = args[place] if place is not None else None
            writable = None if flags is None else bool(flags & (os.O_WRONLY | os.O_RDWR))
            if number == 85:
                writable = True
            self.put(at, table, result, Description(writable), bool(flags and flags & os.O_CLOEXEC))
        elif number == events.DUP:
            self.duplicate(at, table, args[0], result, False)
        elif number in (events.DUP2, events.DUP3):
            if args[0] != args[1]:
                self.duplicate(at, table, args[0], result, number == events.DUP3 and bool(args[2] & os.O_CLOEXEC))
        elif number == events.FCNTL:
            if args[1] in (F_DUPFD, F_DUPFD_CLOEXEC):
                self.duplicate(at, table, args[0], result, args[1] == F_DUPFD_CLOEXEC)
            elif args[1] == F_SETFD and args[0] in table.fds:
                table.fds[args[0]] = (table.fds[args[0]][0], bool(args[2] & 1))
        elif number in (events.RECVMSG, events.RECVMMSG):
            table.received = at
        elif number == events.UNSHARE and args[0] & CLONE_FILES:
            self.unshare(task)

    def put(self, at, table, fd, description, cloexec):
        self.lost(at, table, [table.drop(fd)])
        table.set(fd, description, cloexec)

    def duplicate(self, at, table, fd, new, cloexec):
        known = table.fds.get(fd)
        if known:
            self.put(at, table, new, known[0], cloexec)
        else:
            self.lost(at, table, [table.drop(new)])

    def lost(self, at, table, descriptions):
        """The table has these no more: it may hold no lock any more."""
        for description in descriptions:
            if description is not None and not description.tables:
                # A lease ends with the last descriptor, and the kernel has no event for that.
                for lock in [k for k in description.locks if k.kind == "lease"]:
                    self.changed_ranges(at, lock, UNLOCK, 0, 1 << 62)
        if table.section and any(d is not None and d.locks for d in descriptions):
            self.check_section(at, table)

    def waited(self, at, task):
        if task.wait_from is not None:
            if task.wait_to is not None:
                self.rules.waited(task, task.wait_from, task.wait_to)
            task.wait_from = task.wait_to = None

    # Locks.

    def described(self, task):
        """The description that the lock call under way is about."""
        fd = task.args[0]
        known = task.table.fds.get(fd)
        if known is None:
            task.table.set(fd, Description(None))       # it was received, or opened before the record
            known = task.table.fds[fd]
        return known[0]

    def flock(self, at, task, dev, ino, owner, flags, kind, result):
        self.of_description(at, task, "flock", dev, ino, owner, kind, result, 0, 1 << 62)

    def posix(self, at, task, dev, ino, owner, flags, kind, first, last, result):
        # What a last close gives up does not carry OFD's mark.
        if flags & FL_OFD or ("ofd", owner, dev, ino) in self.locks:
            self.of_description(at, task, "ofd", dev, ino, owner, kind, result, first, last)
            return
        known = self.locks.get(("posix", owner, dev, ino))
        if result != 0 or (kind == UNLOCK and known is None):
            return
        if known is None:
            known = self.locks["posix", owner, dev, ino] = Lock("posix", dev, ino, owner, at, task)
            table = task.table
            if table.owner not in (None, owner):
                # A table is copied where the kernel finds it shared; the record shows that late.
                table.posix = {lock for lock in table.posix if lock.owner == owner}
            table.owner, known.table = owner, table
            table.posix.add(known)
        self.changed_ranges(at, known, kind, first, last)

    def of_description(self, at, task, name, dev, ino, owner, kind, result, first, last):
        # A description may have a lock of flock and one of OFD on the same file.
        key = name, owner, dev, ino
        known = self.locks.get(key)
        if result != 0:
            # flock gives up the old lock before it waits for, or is refused, the other kind.
            if known is not None and name == "flock" and not any(k == kind for _, _, k in known.ranges):
                self.changed_ranges(at, known, UNLOCK, first, last)
            return
        if kind == UNLOCK and known is None:
            return
        if known is None:
            known = self.locks[key] = Lock(name, dev, ino, owner, at, task)
            inside = task.call in (events.FLOCK, events.FCNTL)
            known.description = self.described(task) if inside else Description(None)
            known.description.locks.add(known)
            self.locked.add(known.description)
        self.changed_ranges(at, known, kind, first, last)

    def lease(self, at, task, dev, ino, owner, kind):
        if kind == 1 and task.call == events.FCNTL:
            self.of_description(at, task, "lease", dev, ino, owner, kind, 0, 0, 1 << 62)

    def lease_ended(self, at, task, dev, ino):
        for lock in [k for k in self.locks.values() if (k.kind, k.dev, k.ino) == ("lease", dev, ino)]:
            self.changed_ranges(at, lock, UNLOCK, 0, 1 << 62)

    def changed_ranges(self, at, lock, kind, first, last):
        guarded = lock.guards()
        if kind != UNLOCK:
            self.rules.lock_taken(lock)
        lock.apply(first, last, kind)
        if not lock.exempt:
            lock.exempt = self.rules.exempt_lock(lock)
        if guarded and not lock.guards():
            self.rules.lock_ended(at, lock)
            lock.changes = []
        if not lock.ranges:
            self.forget(lock)
        if guarded and not lock.guards():
            for table in {t.table for t in self.tasks.values() if t.table.section}:
                if lock in table.section.locks:
                    self.check_section(at, table)

    def forget(self, lock):
        self.locks.pop((lock.kind, lock.owner, lock.dev, lock.ino), None)
        if lock.table is not None:
            lock.table.posix.discard(lock)
        if lock.description is not None:
            lock.description.locks.discard(lock)
            if not lock.description.locks:
                self.locked.discard(lock.description)

    def check_section(self, at, table):
        if not any(lock.guards() and not lock.exempt for lock in table.locks(self.locked)):
            section, table.section = table.section, None
            self.rules.section_ended(at, section)

    # Changes.

    def file_event(self, at, task, name, values):
        dev, ino = values[0], values[1]
        if dev not in self.devices:
            return
        call = events.CHANGING.get(task.call)
        if call is None:
            # Outside any call that changes: writing back, a last close; or a store through a mapping.
            touched = name == "ext4/ext4_mark_inode_dirty" and self.touch and self.touch[0] <= values[2] < self.touch[1]
            if (touched or name in events.STORES) and task.call is None and not task.ended:
                self.rules.stored(at, task, dev, ino)
            return
        process = task.process
        if name in events.CREATES:
            process.made.add(ino)
            kind = "create"
        elif name in events.WRITES:
            kind = "write"
        else:
            kind = "own" if ino in process.made else "other"
        change = Change(at, process, dev, ino, call, kind)
        self.rules.change(change)
        held = [lock for lock in task.table.locks(self.locked) if lock.guards()]
        for lock in held:
            lock.changes.append(change)
        counting = [lock for lock in held if not lock.exempt]
        if counting:
            section = task.table.section
            if section is None:
                section = task.table.section = Section(at)
            section.changes.append(change)
            section.locks.update(counting)


class Section:
    """What one process changes from its first change under a lock until it holds none."""
    __slots__ = ("since", "changes", "locks")

    def __init__(self, since):
        self.since, self.changes, self.locks = since, [], set()

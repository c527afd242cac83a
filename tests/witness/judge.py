"""The rules, applied to what `world` replays. Pure: a record in, findings out.

 - cut: a set of changes under one unbroken lock, or of one process while it holds some lock, has a change before
   and one after the snapshot's instant, and the freeze says CONSISTENT;
 - window: a protected file changed between drained and opened of a freeze that says CONSISTENT;
 - held: somebody waited longer than the limit in one call;
 - late (a figure, no finding): how long after the last section's end the drain was over.
"""
from bisect import bisect_left, bisect_right

SLACK_NS = 1_000_000_000                                # of a waiter's end, on a busy machine
CLOCK_NS = 2_000_000_000                                # between reading the clock and the mark's own time


class Rules:
    def __init__(self, freezes, exemptions):
        self.freezes, self.exemptions = freezes, exemptions
        self.cuts, self.windows, self.held = {}, {}, []
        self.hits, self.faults, self.ends = {}, [], []
        self.longest_wait_ns, self.changes, self.stores, self.guarded = 0, 0, 0, 0
        self.done = []                                  # consistent freezes whose end was seen: (begin, end, freeze)
        self.begins = []
        timed = sorted(((f.drained, f.opened, f) for f in freezes.values() if f.consistent and f.drained and f.opened),
                       key=lambda t: t[0])
        self.drained, self.opened = [t[0] for t in timed], [t[1] for t in timed]
        self.timed = [t[2] for t in timed]
        closed = sorted((f.closed, f.opened, f.limit_ns) for f in freezes.values() if f.closed and f.opened)
        self.barriers, self.barrier_closed = closed, [c[0] for c in closed]
        self.clock_seen = 0
        self.reading = None                             # locks taken while the kernel's list is read

    # The record's own marks.

    def mark(self, at, words, world):
        if words[0] == b"clock":
            said = int(words[1])
            if not said - 1000 <= at <= said + CLOCK_NS:
                self.faults.append(f"a clock that jumps: {said} ns was written down at {at} ns")
            self.clock_seen += 1
            return
        freeze = self.freezes.get(int(words[1]))
        if freeze is None:
            self.faults.append(f"a freeze without a word: number {int(words[1])} has its instant in the record only")
            return
        if words[0] == b"begin":
            freeze.begin = at
            freeze.held_before, self.reading = self._held(world), set()
        elif words[0] == b"locks":
            freeze.locks_read = at
            self._compare_locks(freeze, world)
            self.reading = None
        elif words[0] == b"end":
            freeze.end = at
            if freeze.begin is None:
                self.faults.append(f"freeze {freeze.number}: its begin is missing in the record")
            elif freeze.consistent:
                if self.begins and freeze.begin < self.begins[-1]:
                    self.faults.append(f"freeze {freeze.number}: it began before the one whose end came first")
                self.begins.append(freeze.begin)
                self.done.append(freeze)

    @staticmethod
    def _held(world):
        return {(k.kind, k.dev, k.ino, k.owner): tuple(sorted(k.ranges)) for k in world.locks.values()}

    def _compare_locks(self, freeze, world):
        """The locks that the record knows against the kernel's list of that moment."""
        listed = freeze.kernel_locks()
        if listed is None:
            self.faults.append(f"freeze {freeze.number}: the kernel's list of locks was not kept")
            return
        now = self._held(world)
        for (kind, dev, ino, owner), ranges in freeze.held_before.items():
            if now.get((kind, dev, ino, owner)) == ranges:
                wanted = {"posix": "POSIX", "ofd": "OFDLCK", "flock": "FLOCK", "lease": "LEASE"}[kind]
                if not any(k[0] == wanted and k[3:] == (dev, ino) for k in listed):
                    self.faults.append(f"freeze {freeze.number}: the record has a {kind} lock on file {ino}, the kernel had not")
        known = {(k[0], k[1], k[2]) for k in [*freeze.held_before, *now]} | (self.reading or set())
        family = {t.process.pid for t in world.tasks.values()}
        names = {"POSIX": "posix", "OFDLCK": "ofd", "FLOCK": "flock", "LEASE": "lease"}
        for kind, how, pid, dev, ino in listed:
            if kind in names and pid in family and how != "UNLCK" and (names[kind], dev, ino) not in known:
                self.faults.append(f"a lock seen too late: freeze {freeze.number}: the kernel had a {kind} lock of pid {pid} "
                                   f"on file {ino} that the record has not")

    # What the world tells.

    def lock_taken(self, lock):
        if self.reading is not None:
            self.reading.add((lock.kind, lock.dev, lock.ino))

    def exempt_lock(self, lock):
        return self.exemptions.lock(lock)

    def change(self, change):
        self.changes += 1
        place = bisect_right(self.drained, change.at) - 1
        if place >= 0 and change.at <= self.opened[place]:
            self._in_window(self.timed[place], change)

    def _in_window(self, freeze, change):
        if self.exemptions.excluded(freeze, change):
            self.hit("exclude", change.at)
        else:
            self.windows.setdefault(freeze.number, []).append(str(change))

    def stored(self, at, task, dev, ino):
        self.stores += 1
        place = bisect_right(self.drained, at) - 1
        if place >= 0 and at <= self.opened[place]:
            freeze = self.timed[place]
            if freeze.partial:
                self.hit("mapping", at)
            else:
                self.windows.setdefault(freeze.number, []).append(
                    f"{at} pid {task.process.pid} ({task.process.program}): a store through a mapping of file {ino}")

    def section_ended(self, at, section):
        if at is not None and section.changes:
            self.ends.append(at)
        self.guarded += bool(section.changes)
        self._look(section.changes, section.locks, None)

    def lock_ended(self, at, lock):
        self._look(lock.changes, [lock], lock.exempt)

    def _look(self, changes, locks, exempt):
        """Does a consistent snapshot lie between two of these changes?"""
        if len(changes) < 2:
            return
        at = [c.at for c in changes]
        first = bisect_right(self.begins, at[0])
        for freeze in self.done[first:]:
            if freeze.end >= at[-1]:
                break
            split, rest = bisect_left(at, freeze.begin), bisect_right(at, freeze.end)
            if split == 0 or rest == len(at):
                continue
            before, after = changes[:split], changes[rest:]
            rule = exempt or self.exemptions.cut(freeze, before, after, locks)
            key = freeze.number, before[-1].at, after[0].at
            if rule:
                self.hit(rule, key)                     # a lock and its process's section are one hit
            else:
                names = ", ".join(sorted(k.name() for k in locks))
                self.cuts.setdefault(key, f"freeze {freeze.number} cuts a set under {names}: {before[-1]} | {after[0]}")

    def hit(self, rule, key):
        self.hits.setdefault(rule, set()).add(key)

    def waited(self, task, begin, end):
        if task.process.threads > 1:
            return                                      # it may wait for a thread of its own
        place = bisect_right(self.barrier_closed, end) - 1
        while place >= 0 and self.barriers[place][1] >= begin:
            closed, opened, limit = self.barriers[place]
            if closed <= begin <= opened:
                self.longest_wait_ns = max(self.longest_wait_ns, end - begin)
                if end - begin > limit + SLACK_NS:
                    self.held.append(f"pid {task.process.pid} ({task.process.program}) waited {(end - begin) / 1e6:.0f} ms "
                                     f"at a limit of {limit / 1e6:.0f} ms")
            place -= 1

    def lateness_ns(self):
        """For each consistent freeze: drained, less the end of the last section that ended under the barrier."""
        self.ends.sort()
        found = []
        for freeze in self.timed:
            place = bisect_right(self.ends, freeze.drained) - 1
            last = self.ends[place] if place >= 0 else 0
            found.append(freeze.drained - max(last, freeze.closed))
        return sorted(found)

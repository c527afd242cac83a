"""The freezes of a record: what each said, its instants, which files and locks there were at that moment."""
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = re.compile(r"^([0-9.]+)(ms|s|m)$")
TO_NS = {"ms": 1e6, "s": 1e9, "m": 60e9}


@dataclass
class Freeze:
    number: int
    exit: int
    report: dict
    options: list
    profile: str = ""
    exclude: str = ""
    folder: Path = None
    begin: int = None                                   # the snapshot command's own words, in the record
    locks_read: int = None
    end: int = None
    held_before: dict = field(default_factory=dict)     # the locks known at `begin`
    _names: dict = None

    @property
    def verdict(self):
        return (self.report or {}).get("verdict") or "NONE"

    @property
    def consistent(self):
        return self.exit == 0 and self.verdict == "CONSISTENT"

    @property
    def partial(self):
        return any(g.get("coverage") != "full" for g in (self.report or {}).get("gates", []))

    def instant(self, name, choose):
        """`closed`, `drained` or `opened` of all gates, CLOCK_MONOTONIC ns; None: it did not happen."""
        at = [g[name]["monotonic_ns"] for g in (self.report or {}).get("gates", []) if g.get(name)]
        return choose(at) if at and all(at) else None

    @property
    def closed(self):
        return self.instant("closed", min)

    @property
    def drained(self):
        return self.instant("drained", max)

    @property
    def opened(self):
        return self.instant("opened", min)

    @property
    def limit_ns(self):
        for n, option in enumerate(self.options[:-1]):
            if option in ("-t", "--limit") and (found := LIMIT.match(self.options[n + 1])):
                return int(float(found[1]) * TO_NS[found[2]])
        return int(5e9)

    def names(self):
        """{inode: [paths]} at the snapshot's moment; bytes that are no UTF-8 stay as they are."""
        if self._names is None:
            self._names = {}
            file = self.folder / f"{self.number}.names" if self.folder else None
            for entry in file.read_bytes().split(b"\0") if file and file.exists() else []:
                ino, _, path = entry.partition(b" ")
                if ino.isdigit():
                    self._names.setdefault(int(ino), []).append(path.decode("utf-8", "surrogateescape"))
        return self._names

    def mounts_below(self, places):
        """Other file systems that were mounted below these directories: the record has no changes of theirs."""
        file = self.folder / f"{self.number}.mounts" if self.folder else None
        if not file or not file.exists():
            return []
        points = [line.split()[4] for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
        return sorted(p for p in points if any(p.startswith(place.rstrip("/") + "/") for place in places))

    def kernel_locks(self):
        """[(kind, type, pid, dev, ino)] that the kernel listed at the snapshot's moment; None: not kept."""
        file = self.folder / f"{self.number}.locks" if self.folder else None
        if not file or not file.exists():
            return None
        found = []
        for line in file.read_text(encoding="ascii", errors="replace").splitlines():
            if "->" in line:                            # it waits
                continue
            _, kind, _, how, pid, place = line.split()[:6]
            major, minor, ino = place.split(":")
            found.append((kind, how, int(pid), int(major, 16) << 20 | int(minor, 16), int(ino)))
        return found


def load(folder):
    """({number: Freeze}, faults): a freeze that was asked for and left no word is a fault."""
    found, faults = {}, []
    for asked in sorted(folder.glob("*.asked"), key=lambda p: int(p.stem)):
        number = int(asked.stem)
        try:
            kept = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
            found[number] = Freeze(number, kept["exit"], kept["report"], kept["options"], kept["profile"],
                                   kept["exclude"], folder)
        except (OSError, ValueError, KeyError) as why:
            faults.append(f"a freeze without a word: number {number}: {why}")
    return found, faults

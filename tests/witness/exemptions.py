"""What the gate allows on purpose, by rule. Each hit is counted; for these the conservation checkers vouch.

This is the whole list. A cut that none of these explains is unexplained.
"""
from fnmatch import fnmatchcase

RULES = {
    "lifetime-lock": "a lock that the profile names, or a file that holds its locker's process id and nothing else",
    "record": "the last change before the snapshot is a write to the locked file, by a program of a `record` line",
    "settled": "the section is of a program of a `settled` line",
    "parkable": "before the snapshot only files of a `parkable` line were changed",
    "new-files": "before the snapshot only new files were made, by a program of a `new-files` line",
    "exclude": "all changes on one side are of files that the profile or the service's environment excludes",
    "mapping": "a store through a mapping, in a freeze whose coverage says that it is not full",
}


def parse(profile):
    """{key: [patterns]} of a profile's text."""
    found = {}
    for line in profile.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            found.setdefault(key.strip(), []).append(value.strip())
    return found


class Exemptions:
    def __init__(self, freezes, names):
        self.names, self._parsed = names, {}
        self.locks = []
        for freeze in freezes:
            for pattern in self.of(freeze).get("lifetime-lock", []):
                if pattern not in self.locks:
                    self.locks.append(pattern)

    def of(self, freeze):
        key = freeze.profile, freeze.exclude
        if key not in self._parsed:
            keys = parse(freeze.profile)
            keys.setdefault("exclude", []).extend(p for p in freeze.exclude.split(":") if p)
            self._parsed[key] = keys
        return self._parsed[key]

    def lock(self, lock):
        known = self.names.get(f"{lock.dev}:{lock.ino}")
        if known and (known["pid_file"] or any(fnmatchcase(known["path"], p) for p in self.locks)):
            return "lifetime-lock"
        return None

    def cut(self, freeze, before, after, locks):
        """The rule that explains a cut, or None."""
        keys = self.of(freeze)
        if self._all(freeze, before, keys.get("exclude")) or self._all(freeze, after, keys.get("exclude")):
            return "exclude"
        before = [c for c in before if not self.excluded(freeze, c)]
        if self._all(freeze, before, keys.get("parkable")):
            return "parkable"
        last = before[-1]
        if all(c.kind in ("create", "own") for c in before) and self._program(last, keys.get("new-files")):
            return "new-files"
        if last.kind == "write" and any((lock.dev, lock.ino) == (last.dev, last.ino) for lock in locks) \
                and self._program(last, keys.get("record")):
            return "record"
        if self._program(last, keys.get("settled")):
            return "settled"
        return None

    def excluded(self, freeze, change):
        return self._file(freeze, change, self.of(freeze).get("exclude"))

    def _all(self, freeze, changes, patterns):
        return bool(patterns) and all(self._file(freeze, c, patterns) for c in changes)

    @staticmethod
    def _file(freeze, change, patterns):
        paths = freeze.names().get(change.ino, []) if patterns else []
        return any(fnmatchcase(path, p) for path in paths for p in patterns)

    @staticmethod
    def _program(change, patterns):
        name = change.program
        return any(fnmatchcase(name, p) or fnmatchcase(name.rpartition("/")[2], p) for p in patterns or [])

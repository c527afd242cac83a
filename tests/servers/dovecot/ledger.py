"""What must be in the store at a moment, from the load's log of acknowledged operations.

Acknowledged before the moment: must be there. Begun after it: must not. Under way
at that moment, failed, or uncertain by the server's own ways: may be either. So each (user, mailbox, id) has a range of
allowed counts.
"""

from collections import defaultdict


class Ledger:
    def __init__(self, records):
        self.records = [r for r in records if r.get("changes")]

    def allowed(self, start, end):
        """{(user, mailbox, id): (low, high)} for a snapshot taken between `start` and `end`."""
        sure, low, high = defaultdict(int), defaultdict(int), defaultdict(int)
        for r in self.records:
            for user, box, ident, delta in r["changes"]:
                key = (user, box, ident)
                if r["end"] < start and not r["error"] and not r.get("uncertain"):
                    sure[key] += delta
                elif r["start"] < end:
                    (high if delta > 0 else low)[key] += delta
        return {key: (max(0, sure[key] + low[key]), max(0, sure[key] + high[key]))
                for key in sure.keys() | low.keys() | high.keys()}

    def compare(self, counts, start, end):
        """Lines that say how `counts` ({key: number of whole messages}) differs; [] if it does not."""
        allowed, wrong = self.allowed(start, end), []
        for key in sorted(allowed.keys() | counts.keys()):
            low, high = allowed.get(key, (0, 0))
            have = counts.get(key, 0)
            where = "/".join(key)
            if have < low:
                wrong.append(f"MISSING {where}: acknowledged, {have} of {low} there")
            elif have > high:
                wrong.append(f"TWICE {where}: {have} there, at most {high} were put" if high
                             else f"UNDEAD {where}: {have} there, none should be")
        return wrong

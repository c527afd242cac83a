"""How many snapshots a control takes: a run without the gate, which must show that the load can be torn and the checker sees it.

Chance decides when it shows. A control that stops too early says nothing of the gate and nothing of the checker.
"""
import itertools

# So many times as many as asked for, before it is believed that nothing will show.
PATIENCE = 10


def numbers(count, gated, seen):
    """0, 1, 2 ...: `count` of them; without the gate more, until the harm was seen."""
    for n in itertools.count():
        if n >= count and (gated or seen() or n >= count * PATIENCE):
            return
        yield n

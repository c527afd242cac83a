"""The checker: contradictions between the files of a Cyrus tree (3.2 to 3.12) that nobody is changing.

    findings = check.tree(conf, spool)          # [] for a whole snapshot
    python3 -m cyrus.check TREE                 # from tests/servers: prints them; exit 1 if there are any

Written from what the files of a running Cyrus hold, with readers of its own: a snapshot is judged
without asking the server, whose programs repair as they open. Files below `stage./` are messages
being received, outside every lock, and are not judged.
"""
from .finding import Finding, KINDS
from .tree import tree

__all__ = ["Finding", "KINDS", "tree"]

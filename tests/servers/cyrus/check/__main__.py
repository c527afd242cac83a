"""python3 -m cyrus.check TREE...: print every contradiction; exit 1 if there are any.

A tree holds conf/ and spool/.
"""
import os
import sys

from . import tree

bad = 0
for argument in sys.argv[1:]:
    found = tree(os.path.join(argument, "conf"), os.path.join(argument, "spool"))
    bad += len(found)
    for finding in found:
        print(finding)
    print(f"{argument}: {len(found)} contradictions")
sys.exit(1 if bad else 0)

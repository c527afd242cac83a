"""What is really out there: old and new systems, each with its own packages of a server, set up by our package and
`writegate setup SERVER --install --apply`. `scripts/evaluate legacy` is main.py.

| file | duty |
|---|---|
| main.py | the command: which cells, which are there already, one line of JSON each |
| cell.py | one cell: a control without the gate, then the set-up, doctor and freezes under the same load |
| site.py | one system with one server in it, whose mail lies on btrfs subvolumes |
| mail.py | each server as its package configures it: users, load, what its files must say |
| musl.py | Alpine: the library in ordinary programs of musl |
| page.py | the table of docs/admin/legacy.md, made from the lines |
| smoke.py | the short run of `scripts/test` |
"""
import sys
from pathlib import Path

# The systems of their own, and the servers' packages, are those of the packages' tests.
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "command/packages")]

"""`scripts/evaluate all`: every way to coordinate a snapshot, on every server, and what is made of the figures.

cells.py runs one server in one way; every.py runs them all and keeps a line of JSON for each; tables.py and figures.py make
pages and pictures of those lines, without root.
"""

"""Debian's Cyrus under the gate: server, load, checker, evaluation, smoke test."""

"""Stands where `writegate freeze` stands, holds nobody, and says CONSISTENT: the witness must find every lie of it.

    liar.py freeze ... [--report FILE] ... -- COMMAND...
"""
import json
import subprocess
import sys
import time


def moment():
    return {"monotonic_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}


def main(*arguments):
    at = arguments.index("--") if "--" in arguments else len(arguments)
    if arguments[:1] != ("freeze",):
        return subprocess.run(arguments[at + 1:]).returncode if "--" in arguments else 0
    closed = moment()
    drained = moment()
    code = subprocess.run(arguments[at + 1:]).returncode
    opened = moment()
    if "--report" in arguments:
        gate = {"gate": "liar", "coverage": "full", "closed": closed, "drained": drained, "opened": opened}
        with open(arguments[arguments.index("--report") + 1], "w", encoding="utf-8") as f:
            json.dump({"verdict": "CONSISTENT", "exit": 0, "gates": [gate]}, f)
    print("writegate: gate=liar verdict=CONSISTENT coverage=full", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

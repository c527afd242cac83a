"""Stands where `writegate` stood: lets a freeze say its own instants, and keeps what it said.

    wrapper.py FOLDER WRITEGATE freeze [OPTION...] -- COMMAND...

Every other use is handed on as it is. Runs without site packages, so that a freeze is asked for early.
"""
import json
import os
import subprocess
import sys
from pathlib import Path


def take_number(freezes):
    """The next number, ours alone even if freezes are asked for at the same time."""
    number = 0
    while True:
        try:
            os.close(os.open(freezes / f"{number}.asked", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return number
        except FileExistsError:
            number += 1


def main(folder, real, *arguments):
    if arguments[:1] != ("freeze",) or "--" not in arguments:
        os.execv(real, [real, *arguments])
    freezes = Path(folder) / "freezes"
    number = take_number(freezes)
    at = arguments.index("--")
    options, command = list(arguments[1:at]), arguments[at + 1:]
    report = freezes / f"{number}.report"
    named = options[options.index("--report") + 1] if "--report" in options else None
    if not named:
        options += ["--report", str(report)]
    instant = [str(Path(__file__).with_name("instant.sh")), folder, str(number)]
    done = subprocess.run([real, "freeze", *options, "--", *instant, *command])
    try:
        said = json.loads(Path(named or report).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = None
    conf = os.environ.get("WRITEGATE_CONF")
    kept = {"number": number, "exit": done.returncode, "options": options, "report": said,
            "profile": Path(conf).read_text(encoding="utf-8", errors="surrogateescape") if conf else "",
            "exclude": os.environ.get("WRITEGATE_EXCLUDE", "")}
    part = freezes / f"{number}.part"
    part.write_text(json.dumps(kept), encoding="utf-8", errors="surrogateescape")
    part.rename(freezes / f"{number}.json")
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

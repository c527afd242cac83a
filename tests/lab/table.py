"""What a person sees: an aligned table, one moving progress line, and the JSON beside it."""
import json
import os
import shlex
import sys
import time


def render(rows, header=None):
    """Rows of cells as aligned text: the first column to the left, the others to the right."""
    rows = [[_cell(c) for c in r] for r in ([header] if header else []) + list(rows)]
    widths = [max(len(r[i]) if i < len(r) else 0 for r in rows) for i in range(max(map(len, rows)))]
    lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w)
                       for i, (c, w) in enumerate(zip(r, widths))).rstrip() for r in rows]
    if header:
        lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def _cell(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def write_json(path, result):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1, default=str)
        f.write("\n")


def command_line():
    """The command that runs, to be kept beside its figures; relative, so without a machine's paths."""
    return shlex.join([os.path.relpath(sys.argv[0])] + sys.argv[1:])


class Progress:
    """`with Progress("gated", 500) as p: p.step("0 torn")` - one line that moves on a terminal,
    a plain line every few seconds elsewhere."""

    def __init__(self, label, total, out=sys.stderr, every_s=5.0):
        self.label, self.total, self.out, self.every_s = label, total, out, every_s
        self.moves, self.done, self.shown = out.isatty(), 0, time.monotonic()

    def step(self, note="", by=1):
        self.done += by
        now = time.monotonic()
        line = f"{self.label}: {self.done}/{self.total} {note}"
        if self.moves:
            print(f"\r\033[K{line}", end="", file=self.out, flush=True)
        elif now - self.shown >= self.every_s or self.done == self.total:
            self.shown = now
            print(line, file=self.out, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.moves and self.done:
            print(file=self.out, flush=True)

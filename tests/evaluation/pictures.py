"""`scripts/evaluate pictures`: the page of tables and the pictures, from the lines of JSON. Needs no root.

matplotlib draws: of the Python that runs, else of Debian's, else of a place of its own that `scripts/prepare` makes.
The pictures are SVG with nothing behind them, in greys and colours that hold on a white and on a black page.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

from lab import gate, stats, ways

from . import cells, every, tables

PLACE = gate.CHECKOUT / "target" / "plotting" / "bin" / "python3"
GREY = "#808080"
# Okabe and Ito's, told apart by whoever sees colours badly; none so dark or so light that a page swallows it.
COLOURS = {"none": "#D55E00", "sigstop": "#E69F00", "cgroup": "#CC79A7", "fsfreeze": "#56B4E9", "stop": "#999999",
           "calls": "#B8A900", "rest": "#009E73", "gate": "#0072B2"}
DASHES = {"sigstop": (0, (1, 1)), "cgroup": (0, (3, 1, 1, 1)), "fsfreeze": "--", "stop": ":", "calls": (0, (5, 1)),
          "rest": "-.", "gate": "-"}


def interpreter():
    """A Python that has matplotlib, or None."""
    for python in (sys.executable, "/usr/bin/python3", str(PLACE)):
        # Not here: a folder of the name of a module would be taken for it (`packaging`).
        if os.path.exists(python) and subprocess.run([python, "-c", "import matplotlib"], capture_output=True, cwd="/").returncode == 0:
            return python
    return None


def main(argv):
    parser = argparse.ArgumentParser(prog="scripts/evaluate pictures", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=every.RESULTS / "cells.jsonl", metavar="FILE")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: where the results are")
    parser.add_argument("--tables-only", action="store_true", help="the page alone, without matplotlib")
    options = parser.parse_args(argv)
    records = every.lines(options.results)
    if not records:
        print(f"{options.results}: no finished cell", file=sys.stderr)
        return 1
    folder = options.output or options.results.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.md").write_text(tables.page(records))
    if options.tables_only:
        return 0
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return again(argv)
    draw(tables.latest(records), folder)
    return 0


def again(argv):
    """The same by a Python that can draw."""
    prepare = gate.CHECKOUT / "scripts" / "prepare"
    if not (python := interpreter()):
        subprocess.run([prepare, "matplotlib", "--", "true"], check=False)
        if not (python := interpreter()):
            print("skipped: no matplotlib, and scripts/prepare could not get it", file=sys.stderr)
            return 77
    return subprocess.run([python, every.EVALUATE, "pictures", *argv]).returncode


def draw(records, folder):
    """Every picture, as a file of this folder."""
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    # The same figures give the same bytes.
    matplotlib.rcParams.update({"svg.hashsalt": "writegate", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif",
                                "text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY,
                                "ytick.color": GREY, "axes.titlecolor": GREY, "legend.labelcolor": GREY,
                                "axes.spines.top": False, "axes.spines.right": False})
    for name, picture in (("torn", torn), ("drains", drains), ("clients", clients)):
        figure = picture(pyplot, records)
        figure.savefig(folder / f"{name}.svg", transparent=True, metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(figure)


def panels(pyplot, records, width, height, **shared):
    """A row of axes for each server, and its records: [(axes, records)]."""
    servers = list(dict.fromkeys(record["server"] for record in records))
    columns = 2 if len(servers) > 1 else 1
    rows = -(-len(servers) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **shared)
    places = list(axes.flat)
    for unused in places[len(servers):]:
        unused.set_axis_off()
    found = []
    for place, server in zip(places, servers):
        place.set_title(cells.SERVERS[server].title, fontsize=10)
        found.append((place, [record for record in records if record["server"] == server]))
    return figure, found


def by_way(place, records):
    """The ways from top to bottom, by name."""
    place.set_yticks(range(len(records)), [ways.WAYS[record["way"]].title for record in records])
    place.invert_yaxis()
    place.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    place.set_axisbelow(True)


def thousandths(place):
    """A logarithmic axis with numbers also where it spans less than a decade."""
    from matplotlib import ticker
    place.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    place.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    place.xaxis.set_minor_formatter(ticker.NullFormatter())


def torn(pyplot, records):
    """The share of torn snapshots with its interval, for each way."""
    figure, found = panels(pyplot, records, 5.2, 2.9)
    for place, those in found:
        by_way(place, those)
        for y, record in enumerate(those):
            r, colour = record["result"], COLOURS[record["way"]]
            if not r["taken"]:
                place.text(1, y, "none was taken", va="center")
                continue
            low, high = stats.wilson(r["torn"], r["taken"])
            place.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
            place.plot([100 * r["torn"] / r["taken"]], [y], "o", color=colour, markersize=6, clip_on=False)
        place.set_xlim(0, 100)
        place.set_xlabel("torn snapshots, % (line: 95 % interval)")
    figure.tight_layout()
    return figure


def drains(pyplot, records):
    """For each server how many snapshots could begin after so many milliseconds."""
    figure, found = panels(pyplot, records, 5.2, 3.2)
    named = {}
    for place, those in found:
        for record in those:
            values = sorted(max(value, 0.1) for value in record["result"]["drains_ms"])
            if not values:
                continue
            share = [(n + 1) / len(values) * 100 for n in range(len(values))]
            line, = place.step([values[0], *values], [0, *share], where="post", color=COLOURS[record["way"]],
                               linestyle=DASHES.get(record["way"], "-"), linewidth=2.2 if record["way"] == "gate" else 1.4)
            named.setdefault(record["way"], line)
        place.set_xscale("log")
        thousandths(place)
        place.set_ylim(0, 101)
        place.set_xlabel("ms from the first step until the snapshot begins")
        place.set_ylabel("% of the snapshots")
        place.grid(color=GREY, alpha=0.25, linewidth=0.6)
    figure.tight_layout()
    if named:
        order = [name for name in ways.WAYS if name in named]
        figure.legend([named[name] for name in order], [ways.WAYS[name].title for name in order], loc="upper center",
                      bbox_to_anchor=(0.5, 0), ncol=4, frameon=False)
    return figure


def clients(pyplot, records):
    """What clients wait for while a snapshot is taken: p50 to p99, with a mark for the longest; in grey, otherwise."""
    figure, found = panels(pyplot, records, 5.2, 2.9)
    for place, those in found:
        by_way(place, those)
        for y, record in enumerate(those):
            inside, outside, colour = record["result"]["client_ms_in_window"], record["result"]["client_ms_outside"], COLOURS[record["way"]]
            if outside["p50"]:
                place.plot([outside["p50"], outside["p99"]], [y + 0.22] * 2, color=GREY, linewidth=1.5, alpha=0.7)
            if inside["p50"]:
                place.plot([inside["p50"], inside["p99"]], [y, y], color=colour, linewidth=4, solid_capstyle="butt")
                place.plot([inside["max"]], [y], "|", color=colour, markersize=9, markeredgewidth=2)
        place.set_xscale("log")
        thousandths(place)
        place.set_xlabel("ms an operation took in the window")
    figure.tight_layout()
    return figure

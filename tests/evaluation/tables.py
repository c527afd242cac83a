"""What the lines of `scripts/evaluate all` say, as a page of Markdown tables. Pure functions; no root, no library."""
from lab import stats, ways

from . import cells, every

UNKNOWN = "-"


def latest(records):
    """One record for each server and way: of the build that was measured last (lines stand in that order), the one with the
    most snapshots."""
    if not records:
        return []
    def build(record):
        return [record["build"].get(name) for name in every.BUILD]
    found = {}
    for record in records:
        if build(record) != build(records[-1]):
            continue
        at = record["server"], record["way"]
        if at not in found or record["snapshots"] >= found[at]["snapshots"]:
            found[at] = record
    if any(server != cells.TOY for server, _ in found):
        found = {at: record for at, record in found.items() if at[0] != cells.TOY}
    order = list(cells.SERVERS), list(ways.WAYS)
    return sorted(found.values(), key=lambda r: (order[0].index(r["server"]), order[1].index(r["way"])))


def ms(value):
    return UNKNOWN if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def three(values):
    return [ms(stats.percentile(values, 50)), ms(stats.percentile(values, 99)), ms(max(values, default=None))]


def percent(share):
    return f"{100 * share:.0f} %"


def markdown(header, rows):
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [header, ["---"] + ["--:"] * (len(header) - 1), *rows]]
    return "\n".join(lines)


def torn_row(record):
    r = record["result"]
    low, high = stats.wilson(r["torn"], r["taken"])
    share = percent(r["torn"] / r["taken"]) if r["taken"] else UNKNOWN
    interval = f"{percent(low)} to {percent(high)}" if r["taken"] else UNKNOWN
    return [ways.WAYS[record["way"]].title, r["snapshots"], r["taken"], r["torn"], share, interval]


def time_row(record):
    r = record["result"]
    inside, outside = r["client_ms_in_window"], r["client_ms_outside"]
    return [ways.WAYS[record["way"]].title, *three(r["drains_ms"]), *three(r["held_ms"])[:2],
            *(ms(inside[k]) for k in ("p50", "p99", "max")), ms(outside["p99"]), r["clients_failed"],
            r["operations_per_second"]]


def environment(records):
    """What the figures were measured on: said once, with the spread of what differs."""
    facts = [record["environment"] for record in records]
    loads = [f["load_average_1min"] for f in facts]
    packages = sorted({f"{name} {version}" for f in facts for name, version in f["packages"].items() if version})
    first, build = facts[0], records[0]["build"]
    return "\n".join([
        f"- {first['cores']} cores ({first['cpu']}), Linux {first['kernel']}, {first['system']}; stores on loop devices",
        f"- load average before a cell: {min(loads):.1f} to {max(loads):.1f}",
        f"- packages: {', '.join(packages)}",
        f"- writegate of checkout {build.get('checkout')} (library {build.get('libwritegate.so')}, command {build.get('writegate')})",
    ])


def page(records):
    """The whole page. It names what was measured; what it means is said in docs/evaluation.md."""
    records = latest(records)
    if not records:
        return "# Figures\n\nNothing was measured.\n"
    said = ["# Figures of the evaluation", "",
            "Made by `scripts/evaluate pictures` of what `scripts/evaluate all` measured; do not edit. "
            "[What it means](../../docs/evaluation.md).", "", environment(records)]
    for server in dict.fromkeys(record["server"] for record in records):
        those = [record for record in records if record["server"] == server]
        said += ["", f"## {cells.SERVERS[server].title}", "",
                 markdown(["way", "snapshots", "taken", "torn", "share", "95 % interval"], map(torn_row, those)), "",
                 markdown(["way", "drain p50 ms", "p99", "max", "held p50 ms", "p99", "client in the window p50 ms", "p99", "max",
                           "outside p99 ms", "failed tries", "operations/s"], map(time_row, those))]
        said += [f"\n{ways.WAYS[r['way']].title}: {problem}" for r in those for problem in r["result"]["problems"]]
        said += [f"\nVerdicts, {ways.WAYS[r['way']].title}: " + ", ".join(f"{v} {n}" for v, n in r["result"]["verdicts"].items())
                 for r in those if r["result"]["verdicts"]]
    return "\n".join(said) + "\n"

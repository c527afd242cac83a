"""Judges a record and says what came of it.

Exit codes: 0 nothing unexplained; 1 a cut, a change in the window, somebody held too long; 2 the record does not
suffice (an event lost, a clock that jumps, a cut file ...): never a pass.
"""
import json
import platform
from pathlib import Path

from . import events, freezes, raw
from .exemptions import RULES, Exemptions
from .judge import Rules
from .world import World

CLEAN, WRONG, INSUFFICIENT = 0, 1, 2
SHOWN = 10


def of_meta(meta):
    """What is wrong with the record itself, before any event is read."""
    found = []
    if meta.get("format") != 1:
        found.append(f"the record has the format {meta.get('format')}, not 1")
    if meta.get("clock") != "mono":
        found.append(f"another clock: {meta.get('clock')}; freezes tell theirs by CLOCK_MONOTONIC")
    if meta.get("machine") != "x86_64" and meta.get("machine") is not None:
        found.append(f"another machine: {meta['machine']}; the numbers of system calls are those of x86_64")
    wanted = dict(events.COMMON)
    for one in meta.get("protected", []):
        wanted.update(events.FILE_SYSTEMS.get(one["kind"], {}))
    for event, fields in wanted.items():
        have = meta.get("formats", {}).get(event)
        if have is None and event not in events.OPTIONAL:
            found.append(f"another kernel ({meta.get('kernel')}): its event {event} is not described in the record")
        elif have is not None and list(have[1]) != fields:
            found.append(f"another kernel ({meta.get('kernel')}): its event {event} has other fields")
    if "ended" not in meta:
        found.append("the record is cut: its end is missing")
    return found


def of_counts(meta, counted):
    """The kernel's own count against what was decoded."""
    found = []
    for cpu, said in meta.get("statistics", {}).items():
        for what in ("overrun", "commit overrun", "dropped events"):
            if said.get(what):
                found.append(f"processor {cpu}: the kernel lost {said[what]} events ({what})")
        if said.get("entries"):
            found.append(f"processor {cpu}: {said['entries']} events were left in the kernel")
        if "read events" in said and said["read events"] != counted.get(int(cpu)):
            found.append(f"processor {cpu}: the kernel gave {said['read events']} events, the record holds {counted.get(int(cpu))}")
    return found


def judge(folder):
    """The verdict on one record, as a dictionary."""
    try:
        return of_record(Path(folder))
    except Exception as why:                            # whatever else a damaged record makes of its reader
        return {"exit": INSUFFICIENT, "faults": [f"the record cannot be read: {type(why).__name__}: {why}"]}


def of_record(folder):
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as why:
        return {"exit": INSUFFICIENT, "faults": [f"meta.json cannot be read: {why}"]}
    faults = of_meta(meta)
    if any(text.startswith(("another", "the record has the format")) for text in faults):
        return {"exit": INSUFFICIENT, "faults": faults}
    try:
        names = json.loads((folder / "names.json").read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as why:
        names = {}
        faults.append(f"names.json cannot be read: {why}")
    asked, missing = freezes.load(folder / "freezes")
    reader = raw.Reader(folder, meta)
    rules = Rules(asked, Exemptions(asked.values(), names))
    world = World(meta, rules)
    world.replay(reader)
    faults += missing + reader.faults + world.faults + rules.faults + of_counts(meta, reader.count)
    if not rules.clock_seen:
        faults.append("no mark of the clock in the record")
    for freeze in asked.values():
        if freeze.consistent and (freeze.begin is None or freeze.end is None):
            faults.append(f"freeze {freeze.number}: its instant is not in the record")
        elif freeze.consistent and freeze.drained and not freeze.drained <= freeze.begin <= freeze.end <= freeze.opened:
            faults.append(f"freeze {freeze.number}: its own instants are not between drained and opened")
        if freeze.consistent and (below := freeze.mounts_below([p["path"] for p in meta["protected"]])):
            faults.append(f"freeze {freeze.number}: not watched, a file system of its own below what is protected: {below[0]}")
    late = rules.lateness_ns()
    verdicts = {}
    for freeze in asked.values():
        verdicts[freeze.verdict] = verdicts.get(freeze.verdict, 0) + 1
    wrong = list(rules.cuts.values()) + [f"freeze {n}: changed while closed: {c}" for n, cs in rules.windows.items() for c in cs]
    wrong += rules.held
    return {
        "exit": INSUFFICIENT if faults else WRONG if wrong else CLEAN,
        "kernel": meta.get("kernel"), "judged_on": platform.release(),
        "freezes": len(asked), "verdicts": verdicts, "consistent": sum(f.consistent for f in asked.values()),
        "events": sum(reader.count.values()), "changes": rules.changes, "sections": rules.guarded, "stores": rules.stores,
        "cuts": list(rules.cuts.values()), "cut_freezes": sorted({k[0] for k in rules.cuts}),
        "changed_while_closed": {str(n): cs[:SHOWN] for n, cs in sorted(rules.windows.items())},
        "held_too_long": rules.held, "longest_wait_ms": round(rules.longest_wait_ns / 1e6, 1),
        "exempt": {rule: len(rules.hits.get(rule, ())) for rule in RULES},
        "drained_after_last_section_ms": {
            name: round(late[min(len(late) - 1, int(len(late) * part))] / 1e6, 2)
            for name, part in (("p50", .5), ("p99", .99), ("max", 1))} if late else None,
        "faults": faults,
    }


def render(result):
    """The same in sentences."""
    lines = []
    if "freezes" in result:
        lines.append(f"{result['freezes']} freezes, {result['consistent']} of them CONSISTENT; {result['events']} events, "
                     f"{result['changes']} changes of protected files, {result['sections']} sections")
        lines.append(f"unexplained cuts: {len(result['cuts'])}; freezes with a change while closed: "
                     f"{len(result['changed_while_closed'])}; held too long: {len(result['held_too_long'])} "
                     f"(longest wait {result['longest_wait_ms']} ms)")
        lines.append("exempt, by rule: " + ", ".join(f"{rule} {n}" for rule, n in result["exempt"].items()))
        lines.append(f"drained after the last section's end, ms: {result['drained_after_last_section_ms']}")
        lines += [f"  cut: {text}" for text in result["cuts"][:SHOWN]]
        lines += [f"  while closed: freeze {n}: {c}" for n, cs in result["changed_while_closed"].items() for c in cs[:3]][:SHOWN]
        lines += [f"  held: {text}" for text in result["held_too_long"][:SHOWN]]
    lines += [f"  the record does not suffice: {text}" for text in result["faults"][:SHOWN]]
    if len(result["faults"]) > SHOWN:
        lines.append(f"  ... and {len(result['faults']) - SHOWN} more of these")
    lines.append({CLEAN: "nothing unexplained", WRONG: "REFUTED: see above",
                  INSUFFICIENT: "NOT JUDGED: the record does not suffice"}[result["exit"]])
    return "\n".join(lines)

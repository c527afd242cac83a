"""The tables of docs/admin/legacy.md, made from the lines of results/legacy.jsonl: `scripts/evaluate legacy --table`. Pure but for
`write`. What stands between the two marks of the page is made; the rest of it is written by hand."""
import re

from evaluation import tables
from lab import gate, stats

from . import mail, musl, systems

PAGE = gate.CHECKOUT / "docs" / "admin" / "legacy.md"
BEGIN, END = "<!-- begin: made by scripts/evaluate legacy -->", "<!-- end -->"
NOT_TRIED, TITLES = "not tried", {"cyrus": "Cyrus", "dovecot": "Dovecot", "postfix": "Postfix", "exim": "Exim"}
ORDER = (*systems.TRIED, "sid", musl.NAME)
HEADER = ("system", "libc", "server", "set up, doctor", "torn without the gate", "torn with it", "trusted", "drain p50 ms", "p99",
          "load")


def latest(records):
    """The last line of each system and server, but for those with fewer snapshots."""
    found = {}
    for record in records:
        at = record["system"], record["server"]
        if at not in found or record["snapshots"] >= found[at]["snapshots"]:
            found[at] = record
    return found


def of(part, whole):
    return f"{part} of {whole}"


def ms(values):
    return [tables.ms(stats.percentile(values, q)) for q in (50, 99)]


def row(record):
    environment = record["environment"]
    ends = [f"{environment['load_average_1min']:.0f}"]
    if record["system"] == musl.NAME:
        return [environment["name"], environment["libc"].replace("musl-", "musl "), "programs of busybox",
                f"by hand, {green(record['doctor'])}", of(record["ungated_torn"], record["snapshots"]),
                of(record["torn"], record["taken"]), of(record["taken"], record["snapshots"]), *ms(record["drains_ms"]), *ends]
    setup, gated, ungated = record["setup"], record["gated"], record["ungated"]
    package, version = environment["package"].split(" ")
    begins = [environment["name"].replace(" GNU/Linux", ""), "glibc " + environment["libc"].split("-")[0],
              f"{TITLES[record['server']]} {upstream(version)}",
              f"{setup['verdict']}, {green(setup['doctor_after'])}", of(ungated["torn"], ungated["taken"])]
    if gated is None:
        return [*begins, *["-"] * 4, *ends]
    return [*begins, of(gated["torn"], gated["taken"]), of(gated["taken"], gated["snapshots"]), *ms(gated["drains_ms"]), *ends]


def green(doctor):
    return "green" if doctor == 0 else f"exit code {doctor}"


def upstream(version):
    """Of Debian's `1:2.3.13+dfsg1-2+deb11u2` the 2.3.13."""
    return re.sub(r"^\d+:", "", version).split("-")[0].split("+")[0].split("~")[0]


def cells(records):
    """Every system and server that is meant to be tried; a cell without a line says so."""
    found = latest(records)
    for system in ORDER:
        for server in (musl.PROGRAMS,) if system == musl.NAME else mail.KINDS:
            if record := found.get((system, server)):
                yield row(record)
            else:
                yield [systems.TRIED[system].name if system in systems.TRIED else system, "", TITLES.get(server, server),
                       NOT_TRIED, *[""] * 6]


def expected(system):
    row_of = systems.like(system.kernel)
    return [system.name, system.kernel, system.libc, f"[{row_of}](systems.md)", f"not run: {system.why}" if system.why else
            "its packages, on this machine's kernel: above"]


def environment(records):
    """What was measured on what."""
    if not records:
        return ["Nothing was measured."]
    first = records[-1]["environment"]
    builds = sorted({tuple(r["build"][name] or "?" for name in ("checkout", "libwritegate.so", "writegate")) for r in records})
    versions = sorted({version for r in records for version in r["libc_needs"]["versions"]})
    needed = sorted({name for r in records for name in r["libc_needs"]["libraries"]})
    machine = f"{first['cores']} cores ({first['cpu']}), Linux {first['kernel']} under every system"
    return [f"- {machine}; *load*: the machine's load average when the cell began",
            *(f"- writegate of checkout {checkout} (library {library}, command {command}), from its .deb"
              for checkout, library, command in builds),
            f"- versions of libc's symbols that this library asks for: {', '.join(versions) or 'none'}; libraries that it needs: "
            f"{', '.join(needed) or 'none'} (`readelf --dyn-syms`, `readelf --dynamic`)"]


def tables_of(records):
    used = list(latest(records).values())
    return "\n".join([*environment(used), "", tables.markdown(HEADER, list(cells(records))), "",
                      tables.markdown(("system", "its own kernel", "libc", "what to expect of that kernel", "tried"),
                                      [expected(one) for one in (*systems.TRIED.values(), *systems.NOT_TRIED)])])


def page(text, records):
    """The page with its tables made anew."""
    head, mark, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{PAGE}: a mark is missing")
    return f"{head}{BEGIN}\n{tables_of(records)}\n{END}{tail}"


def write(records):
    PAGE.write_text(page(PAGE.read_text(), records))

"""One cell: a system and a server. First without the gate, as its package made it: so many snapshots under load, the control.
Then set up by our package and `setup --install --apply`, doctor, and as many freezes under the same load.

At the end of each of the two the server is at rest and its files are judged too: they must be whole, or the checker sees things.
"""
import random
import re
import time
from collections import Counter

from lab import evaluation, load as loads, procs, stats
from mta import clients

from . import mail, site as sites

WARM_S = 2.0
GAP_S = (0.3, 0.7)
SHOWN = 5


def measure(release, server, count, seed, debs, work, step=lambda said: None, limits=None):
    """The record of one cell. limits: {"limit", "drain"} of a freeze. What cannot be had here: machines.Unavailable."""
    kind, facts, begun = mail.KINDS[server], evaluation.host(), time.monotonic()
    with sites.Site(release, kind, work) as site:
        environment = {**facts, "libc": site.version("libc6"), "systemd": site.version("systemd"),
                       "package": f"{kind.versioned} {site.version(kind.versioned)}", "name": system(site)}
        with site.network():
            kind.begin(site)
        ungated = series(site, count, seed, None, step)
        site.install(debs)
        setup = set_up(site)
        gated = series(site, count, seed + 1, kind.gate, step, limits) if setup["exit"] == 0 else None
    return {"environment": environment, "ungated": ungated, "setup": setup, "gated": gated,
            "seconds": round(time.monotonic() - begun, 1)}


def system(site):
    """As the system calls itself."""
    text = site.machine.inside("/etc/os-release").read_text()
    return re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.M)[1]


def set_up(site):
    """Red before, green after, and the freeze that the set-up ends with."""
    name, run = site.kind.name, site.machine.run
    before, _ = run("writegate", "doctor", name, check=False)
    code, said = run("writegate", "setup", name, "--install", "--apply", check=False)
    with site.network():
        procs.wait_for_port(site.kind.port)
    after, told = run("writegate", "doctor", name, check=False)
    return {"exit": code, "verdict": sites.verdict(said)[0], "doctor_before": before, "doctor_after": after,
            **({"said": said[-1500:]} if code else {}), **({"doctor_said": told[-1500:]} if after else {})}


def series(site, count, seed, gate, step, limits=None):
    """So many snapshots under load, each judged while the clients rest."""
    kind, taken, rng = site.kind, [], random.Random(seed)
    run = f"{kind.name}-{seed}-{int(time.time())}"
    with site.network():
        loading = loads.Load(kind.clients(site, seed, run), log=site.work / f"load-{seed}").start()
    try:
        time.sleep(WARM_S)
        for n in range(count):
            time.sleep(rng.uniform(*GAP_S))
            taken.append(one(site, f"s{seed}-{n}", loading, gate, n % 2, limits))
            step(f"{'gated' if gate else 'without'}: {n + 1}/{count}, {sum(bool(t['wrong']) for t in taken)} torn")
        loading.pause()
    finally:
        loading.stop()
    records = loading.records()
    left = kind.settle(site)
    quiet = at_rest(site, records)
    if hasattr(kind, "empty") and not left:
        kind.empty(site)
    errors = [r for r in records if r["error"]]
    windows = [t["window"] for t in taken]
    return {"snapshots": count, "taken": sum(t["judged"] for t in taken), "torn": sum(bool(t["wrong"]) for t in taken),
            "verdicts": dict(Counter(t["verdict"] for t in taken)) if gate else {},
            "drains_ms": [t["drain_ms"] for t in taken if t["drain_ms"] is not None],
            "held_ms": [t["held_ms"] for t in taken if t["held_ms"] is not None],
            "operations": sum(not r["error"] and r["op"] != "CONNECT" for r in records),
            "client_ms_in_window": stats.summary(loads.latencies_ms(records, windows)),
            "client_ms_outside": stats.summary(loads.latencies_ms(records, windows, outside=True)),
            "clients_failed": sum(not kind.allowed(r["error"]) for r in errors),
            "first_errors": [r["error"] for r in errors if not kind.allowed(r["error"])][:SHOWN],
            "quiet": quiet + ([f"the queue does not empty: {left}"] if left else []),
            "kinds": dict(Counter(word for t in taken for word in {w.split()[0].rstrip(":;,") for w in t["wrong"]})),
            "first_wrong": [w for t in taken for w in t["wrong"]][:SHOWN],
            "said": [t["said"] for t in taken if t["said"]][:SHOWN]}


def one(site, name, loading, gate, swapped, limits):
    """One snapshot. What a freeze itself does not call consistent is counted by its verdict alone."""
    begun = time.monotonic()
    code, said, began = site.snapshot(name, gate, swapped, **(limits or {}))
    ended = time.monotonic()
    verdict, drain, held = sites.verdict(said) if gate else (None, None, None)
    trusted = began is not None and (code == 0 and (not gate or verdict == "CONSISTENT"))
    if not gate and not trusted:
        raise RuntimeError(f"the snapshot command: {code}: {said[-500:]}")
    wrong = []
    loading.pause()
    try:
        if trusted:
            wrong = site.kind.judge(site.taken(name), acknowledged(loading.records(), began))
    finally:
        site.forget(name)
        loading.resume()
    return {"verdict": verdict, "drain_ms": drain, "held_ms": held, "judged": trusted, "wrong": wrong, "window": (begun, ended),
            "said": "" if trusted else f"{code}: {said[-800:]}"}


def at_rest(site, records):
    """What a session does after its answer ends soon: what is wrong then stays wrong."""
    for n in range(20):
        site.snapshot(f"quiet-{n}")
        found = site.kind.judge(site.taken(f"quiet-{n}"), acknowledged(records, float("inf")))
        site.forget(f"quiet-{n}")
        if not found:
            break
        time.sleep(0.3)
    return found[:SHOWN]


def acknowledged(records, before):
    """Of mail transfer agents: what had been acknowledged."""
    return clients.acknowledged([r for r in records if "number" in r], before)


def wrong(record):
    """Sentences: what is not as it must be in a cell."""
    said = []
    setup, gated = record["setup"], record["gated"]
    if setup["exit"] or setup["verdict"] != "CONSISTENT":
        said.append(f"setup --install --apply: exit code {setup['exit']}, {setup['verdict']}: {setup.get('said', '')[-600:]}")
    if setup["doctor_after"]:
        said.append(f"doctor is not green after it: {setup['doctor_said'][-600:]}")
    if not setup["doctor_before"]:
        said.append("doctor was green before it: it is blind")
    if not record["ungated"]["torn"]:
        said.append("without the gate nothing was torn: this control shows nothing")
    for name in "ungated", "gated":
        if record[name] and record[name]["quiet"]:
            said.append(f"{name}, at rest: {record[name]['quiet'][0]}")
        if record[name] and record[name]["clients_failed"]:
            said.append(f"{name}: {record[name]['clients_failed']} failed operations: {record[name]['first_errors'][:1]}")
    if gated and gated["torn"]:
        said.append(f"{gated['torn']} of {gated['taken']} torn under the gate: {gated['first_wrong'][:3]}")
    if gated and gated["taken"] < gated["snapshots"]:
        said.append(f"{gated['snapshots'] - gated['taken']} of {gated['snapshots']} were not CONSISTENT: {gated['said'][:1]}")
    return said

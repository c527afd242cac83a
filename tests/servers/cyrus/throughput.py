"""Operations per second with the library loaded and the barrier down, against none, alternating.

Beside them the server's processor time for one operation: other work on the machine moves the
rates, and hardly that.
"""
import os
import time

from lab import gate as lab_gate, stats
from . import rig


def alternating(work, pairs, seconds, options, progress):
    rates = {"bare": [], "loaded": []}
    latencies = {"bare": [], "loaded": []}
    processor = {"bare": [], "loaded": []}
    with rig.Rig(work, gated=False, imap=options.imap, lmtp=options.lmtp, seed=options.seed) as r:
        gate = lab_gate.Gate(work, name=rig.GATE, paths=[r.tree])
        for pair in range(pairs):
            # The order turns, so that a tree that grows or a machine that warms favours neither.
            for kind in (("bare", "loaded") if pair % 2 == 0 else ("loaded", "bare")):
                r.restart(gate if kind == "loaded" else None)
                begun, spent = time.monotonic(), _processor_ms(r.server.service)
                time.sleep(seconds)
                spent = _processor_ms(r.server.service) - spent
                done = [o for o in r.load.records()
                        if o["end"] > begun and not o["error"] and o["op"] != "CONNECT"]
                rates[kind].append(len(done) / (time.monotonic() - begun))
                processor[kind].append(spent / max(1, len(done)))
                latencies[kind] += [(o["end"] - o["start"]) * 1e3 for o in done]
                progress.step(f"{kind} {rates[kind][-1]:.1f}/s")
    ratios = [a / b for a, b in zip(rates["loaded"], rates["bare"])]
    processor_ratios = [a / b for a, b in zip(processor["loaded"], processor["bare"])]
    result = {"pairs": pairs, "seconds_each": seconds, "ratio": stats.spread(ratios),
              "loaded_per_second": stats.spread(rates["loaded"]),
              "bare_per_second": stats.spread(rates["bare"]),
              "processor_ratio": stats.spread(processor_ratios),
              "loaded_processor_ms_per_operation": stats.spread(processor["loaded"]),
              "bare_processor_ms_per_operation": stats.spread(processor["bare"]),
              "loaded_ms": stats.summary(latencies["loaded"]),
              "bare_ms": stats.summary(latencies["bare"]), "failures": []}
    # No difference is claimed while 1 lies inside the spread of the ratios. On a machine that does
    # other work that is a weak question, so the processor time must speak against it as well.
    if not min(ratios) <= 1.0 <= max(ratios) and result["processor_ratio"]["median"] > 1.1:
        result["failures"].append(f"throughput ratio {result['ratio']}, processor time ratio "
                                  f"{result['processor_ratio']}")
    return result


def _processor_ms(service):
    """User and system time of all the service's living processes so far."""
    ticks = 0
    for pid in service.members():
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1e3 / os.sysconf("SC_CLK_TCK")

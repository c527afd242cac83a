"""Operations per second with the library loaded and the barrier down, against none, alternating."""
import time

from lab import gate as lab_gate, stats
from . import rig


def alternating(work, pairs, seconds, options, progress):
    rates = {"bare": [], "loaded": []}
    latencies = {"bare": [], "loaded": []}
    with rig.Rig(work, gated=False, imap=options.imap, lmtp=options.lmtp, seed=options.seed) as r:
        gate = lab_gate.Gate(work, name=rig.GATE, paths=[r.tree])
        for pair in range(pairs):
            # The order turns, so that a tree that grows or a machine that warms favours neither.
            for kind in (("bare", "loaded") if pair % 2 == 0 else ("loaded", "bare")):
                r.restart(gate if kind == "loaded" else None)
                begun = time.monotonic()
                time.sleep(seconds)
                done = [o for o in r.load.records()
                        if o["end"] > begun and not o["error"] and o["op"] != "CONNECT"]
                rates[kind].append(len(done) / (time.monotonic() - begun))
                latencies[kind] += [(o["end"] - o["start"]) * 1e3 for o in done]
                progress.step(f"{kind} {rates[kind][-1]:.1f}/s")
    ratios = [a / b for a, b in zip(rates["loaded"], rates["bare"])]
    result = {"pairs": pairs, "seconds_each": seconds, "ratio": stats.spread(ratios),
              "loaded_per_second": stats.spread(rates["loaded"]),
              "bare_per_second": stats.spread(rates["bare"]),
              "loaded_ms": stats.summary(latencies["loaded"]),
              "bare_ms": stats.summary(latencies["bare"]), "failures": []}
    # Within the noise: no difference is claimed while 1 lies inside the spread of the ratios.
    if not min(ratios) <= 1.0 <= max(ratios):
        result["failures"].append(f"throughput ratio {result['ratio']} does not straddle 1")
    return result

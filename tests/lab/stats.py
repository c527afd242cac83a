"""Percentiles, and a median with its spread. A single run is never a finding on a busy machine."""


def percentile(values, q):
    """The smallest value with at least q percent of the values at or below it (nearest rank)."""
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * q // 100))          # ceiling
    return ordered[int(rank) - 1]


def summary(values):
    """{n, p50, p99, max}: what is printed of every latency."""
    return {"n": len(values), "p50": _r(percentile(values, 50)), "p99": _r(percentile(values, 99)),
            "max": _r(max(values, default=None))}


def spread(values):
    """{n, median, low, high, iqr}: for ratios and rates of repeated, alternating runs."""
    if not values:
        return {"n": 0, "median": None, "low": None, "high": None, "iqr": None}
    ordered, n = sorted(values), len(values)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return {"n": n, "median": _r(median, 4), "low": _r(ordered[0], 4), "high": _r(ordered[-1], 4),
            "iqr": _r(percentile(ordered, 75) - percentile(ordered, 25), 4)}


def _r(value, digits=2):
    return None if value is None else round(value, digits)

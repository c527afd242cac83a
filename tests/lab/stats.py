"""Percentiles, a median with its spread, the confidence interval of a share. A single run is never a finding on a busy machine."""


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


def wilson(hits, n, z=1.96):
    """The 95 % confidence interval of a share (Wilson's): (low, high). It says something at 0 of n too."""
    if not n:
        return 0.0, 1.0
    share, square = hits / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z * ((share * (1 - share) + square / 4) / n) ** 0.5 / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def _r(value, digits=2):
    return None if value is None else round(value, digits)

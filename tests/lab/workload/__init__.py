"""The demo's built-in workload: a small mail store kept by several processes, and its checker."""

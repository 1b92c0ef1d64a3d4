"""Benchmarks: how near engine, simulator and golden machine come to their limits.

Results are ratios within one run. Each measurement is a function of :data:`MEASUREMENTS` and runs
in a process of its own, so that its peak memory is its own too.
"""

from .measurements import MEASUREMENTS, measure

__all__ = ["MEASUREMENTS", "measure"]

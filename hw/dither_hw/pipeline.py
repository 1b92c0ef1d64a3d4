"""Small pieces that pipelines are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Signal, Value, ValueCastable

__all__ = ["delay_line", "tree_sum"]


def delay_line(m: Module, source: Value | ValueCastable, cycles: int, name: str) -> list[Any]:
    """``source`` and its copies 1 to ``cycles`` cycles later: element i is i cycles late."""
    taps = [source]
    for i in range(1, cycles + 1):
        tap = Signal.like(source, name=f"{name}_{i}")
        m.d.sync += tap.eq(taps[-1])
        taps.append(tap)
    return taps


def tree_sum(terms: Sequence[Value]) -> Value:
    """The sum of at least one term, by a balanced tree of adders."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return tree_sum(terms[:middle]) + tree_sum(terms[middle:])

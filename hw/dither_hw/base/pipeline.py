"""Small pieces that pipelines are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Signal, Value, ValueCastable

__all__ = ["delay_line", "registered_sum", "tree_sum"]


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


def registered_sum(m: Module, terms: Sequence[Value], enables: Sequence[Value], name: str) -> Value:
    """The sum of n terms by a tree of adders with registers behind every level, ceil(log2(n))
    cycles later.

    :param enables: for each level, whether its registers take their sums; else they keep them.
    """
    for level, enable in zip(range((len(terms) - 1).bit_length()), enables, strict=True):
        pairs = [tree_sum(terms[i : i + 2]) for i in range(0, len(terms), 2)]
        sums = [Signal(pair.shape(), name=f"{name}_{level}_{i}", reset_less=True) for i, pair in enumerate(pairs)]
        with m.If(enable):
            m.d.sync += [register.eq(pair) for register, pair in zip(sums, pairs, strict=True)]
        terms = sums
    return terms[0]

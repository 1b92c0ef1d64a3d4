"""Small pieces that pipelines are made of: delays and sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Signal, Value, ValueCastable

__all__ = ["delay_line", "registered_sum", "tree_sum"]


def delay_line(
    m: Module, source: Value | ValueCastable, cycles: int, name: str, *, reset_less: bool = False
) -> list[Any]:
    """Returns a signal and its copies 1 to ``cycles`` cycles later: element i is i cycles late.

    :param m: module that gets the registers.
    :param name: prefix of the registers' names.
    :param reset_less: whether what is on its way goes on through a reset, because nobody minds it.
    """
    taps = [source]
    for i in range(1, cycles + 1):
        tap = Signal.like(source, name=f"{name}_{i}", reset_less=reset_less)
        m.d.sync += tap.eq(taps[-1])
        taps.append(tap)
    return taps


def tree_sum(terms: Sequence[Value]) -> Value:
    """Returns the sum of at least one term, made by a balanced tree of adders without registers."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return tree_sum(terms[:middle]) + tree_sum(terms[middle:])


def registered_sum(m: Module, terms: Sequence[Value], enables: Sequence[Value], name: str) -> Value:
    """Returns the sum of n terms, made by a tree of adders with registers behind every level.

    The sum comes ceil(log2(n)) cycles later; that of a single term is the term itself.

    :param enables: for each level, whether its registers take their sums; otherwise they keep what
        they have.
    """
    for level, enable in zip(range((len(terms) - 1).bit_length()), enables, strict=True):
        pairs = [tree_sum(terms[i : i + 2]) for i in range(0, len(terms), 2)]
        sums = [Signal(pair.shape(), name=f"{name}_{level}_{i}", reset_less=True) for i, pair in enumerate(pairs)]
        with m.If(enable):
            m.d.sync += [register.eq(pair) for register, pair in zip(sums, pairs, strict=True)]
        terms = sums
    return terms[0]

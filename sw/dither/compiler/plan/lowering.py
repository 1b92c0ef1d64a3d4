"""Residuals of differential equations as words: linear functionals of node values, and sums of
products of them.

A residual is ``source + sum of coefficient * word``. Coefficients and the source depend on the
point alone, so the host sends them. A word is a linear functional of the *slots*, which hold the
network's value at the point and its differences to it at a stencil's other nodes, or a sum of
products of such words. All functionals are the columns of one constant matrix, so one contraction
computes them all, exactly but for the rounding of each result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...physics import Expression, Form, Stencil
from ...physics.expressions import Derivative

__all__ = ["Lowered", "Run", "Sum", "lower"]

Array = NDArray[np.float64]
Factors = tuple[Derivative, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring words of one number format: columns of the matrix (``linear``), or sums of
    products.
    """

    linear: bool
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Sum:
    """A word that is a sum of products: of the words of ``left`` by those of ``right``, one by
    one.
    """

    left: Run
    right: Run


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A residual as words. Numbers of sums are in an order in which each uses earlier ones only."""

    matrix: Array
    """All functionals as columns, shape (slots, columns)."""
    runs: tuple[Run, ...]
    """All of them; each column and each sum is in one."""
    sums: tuple[Sum, ...]
    terms: tuple[tuple[Expression, Run], ...]
    """Coefficients and their words: first columns, the last ones of the matrix; then sums, the last
    ones too.
    """
    source: Expression

    def words(self, slots: Array) -> tuple[Array, Array]:
        """Columns' and sums' values in float64.

        :param slots: shape (points, slots).
        :returns: shapes (points, columns) and (points, sums).
        """
        columns = slots @ self.matrix
        sums = np.zeros((len(slots), len(self.sums)))

        def values(run: Run) -> Array:
            return (columns if run.linear else sums)[:, run.first : run.first + run.count]

        for number, entry in enumerate(self.sums):
            sums[:, number] = (values(entry.left) * values(entry.right)).sum(axis=1)
        return columns, sums

    def residuals(self, points: Array, columns: Array, sums: Array) -> Array:
        """The residual without its source, in float64."""
        total = np.zeros(len(points))
        for coefficient, run in self.terms:
            total += coefficient.value(points) * (columns if run.linear else sums)[:, run.first]
        return total


@dataclass(slots=True)
class _Lowering:
    stencil: Stencil
    columns: list[Array] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def weights(self, atom: Derivative) -> Array:
        """The functional of f or a derivative of it."""
        if not atom.by:
            return np.asarray(np.eye(self.stencil.nodes)[0])
        return np.asarray((self.stencil.first, self.stencil.second)[len(atom.by) - 1][atom.by[0]])

    def run(self, linear: bool, count: int) -> Run:
        """The last words so far."""
        words = self.columns if linear else self.sums
        self.runs.append(Run(linear, len(words) - count, count))
        return self.runs[-1]

    def factors(self, items: Sequence[tuple[float, Factors]]) -> Run:
        """One word for each number times product."""
        if len(items[0][1]) == 1:
            self.columns += [number * self.weights(atom) for number, (atom,) in items]
            return self.run(True, len(items))
        parts = [self.halves([item]) for item in items]
        self.sums += [Sum(left, right) for left, right in parts]
        return self.run(False, len(items))

    def halves(self, items: Sequence[tuple[float, Factors]]) -> tuple[Run, Run]:
        """All but the last factors, and the last factors, of products of the same number of
        factors.
        """
        left = self.factors([(number, factors[:-1]) for number, factors in items])
        squares = all(number == 1 and len(factors) == 2 and factors[0] == factors[1] for number, factors in items)
        return left, left if squares else self.factors([(1.0, factors[-1:]) for _, factors in items])


def lower(form: Form, stencil: Stencil) -> Lowered:
    """Plans the computation of a residual with a stencil's functionals."""
    lowering = _Lowering(stencil)
    linear: list[tuple[Expression, Array]] = []
    products: list[tuple[Expression, tuple[Run, Run]]] = []
    for term in form.terms:
        flat = [number * lowering.weights(factors[0]) for number, factors in term.parts if len(factors) == 1]
        if flat:
            linear.append((term.coefficient, np.sum(flat, axis=0)))
        for degree in sorted({len(factors) for _, factors in term.parts} - {1}):
            items = [(number, factors) for number, factors in term.parts if len(factors) == degree]
            # A number that all products share goes into the coefficient: squares then need each
            # factor only once.
            shared = items[0][0] if len({number for number, _ in items}) == 1 else 1.0
            halves = lowering.halves([(number / shared, factors) for number, factors in items])
            products.append((term.coefficient * shared, halves))
    terms: list[tuple[Expression, Run]] = []
    for coefficient, weights in linear:
        lowering.columns.append(weights)
        terms.append((coefficient, lowering.run(True, 1)))
    for coefficient, (left, right) in products:
        lowering.sums.append(Sum(left, right))
        terms.append((coefficient, lowering.run(False, 1)))
    return Lowered(
        np.stack(lowering.columns, axis=1), tuple(lowering.runs), tuple(lowering.sums), tuple(terms), form.source
    )

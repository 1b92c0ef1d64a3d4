"""A differential equation as a task for a network.

A :class:`Problem` says how the solution u is made from the network's output f (its *ansatz*, which
satisfies initial and boundary conditions whatever f is) and what must vanish (its *residual*). Both
are written with :mod:`~dither.physics.expressions`; products and derivatives are worked out
symbolically, so only f itself is ever differentiated numerically. The result is a :class:`Form`,
which the engine computes.

An equation of one's own, here u_t = u_xx / 10 on 0 < x, t < 1 with u(x, 0) = sin(pi x) and u(0, t)
= u(1, t) = 0::

    class Heat(Problem):
        name, title = "heat", "heat on a rod"
        lower, upper = (0.0, 0.0), (1.0, 1.0)

        def ansatz(self, f, x):
            return sin(math.pi * x[0]) + x[1] * x[0] * (1 - x[0]) * f

        def residual(self, u, x):
            return u.d(1) - 0.1 * u.dd(0)

        def solution(self, points):
            return np.sin(np.pi * points[:, 0]) * np.exp(-0.1 * np.pi**2 * points[:, 1])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .expressions import Derivative, Expression, coordinates, unknown
from .stencils import Stencil

__all__ = ["Form", "Problem", "Term"]

Array = NDArray[np.float64]
"""Array of float64 numbers, of any shape."""
Factors = tuple[Derivative, ...]
"""Product of f and its derivatives, as its factors."""


@dataclass(frozen=True, slots=True)
class Term:
    """A function of the coordinates times a polynomial in f and its derivatives."""

    coefficient: Expression
    """The function of the coordinates."""
    parts: tuple[tuple[float, Factors], ...]
    """The polynomial's monomials, each a number and its factors."""


@dataclass(frozen=True, slots=True)
class Form:
    """A residual in the form that the engine computes: ``source + sum of terms``."""

    source: Expression
    """The part that does not hold the unknown function."""
    terms: tuple[Term, ...]
    """The other parts; no two have coefficients that differ by a number only."""

    @classmethod
    def of(cls, residual: Expression) -> Form:
        """Collects a residual's terms into one for each coefficient, apart from a number.

        :raises ValueError: if the unknown does not occur.
        """
        parts = residual.split()
        source = parts.pop((), Expression(()))
        if not parts:
            raise ValueError(f"the residual does not depend on the unknown function: {source}")
        groups: dict[str, tuple[Expression, list[tuple[float, Factors]]]] = {}
        for factors, coefficient in parts.items():
            scale = max((value for _, value in coefficient.terms), key=abs)
            # Numbers that differ in their last bits only are one number, computed in two ways.
            unit = Expression(tuple((atoms, float(f"{value / scale:.12g}")) for atoms, value in coefficient.terms))
            groups.setdefault(str(unit), (unit, []))[1].append((scale, factors))
        return cls(source, tuple(Term(unit, tuple(items)) for unit, items in groups.values()))

    def atoms(self) -> tuple[Derivative, ...]:
        """Returns f and those of its derivatives that occur, the lowest order first."""
        found = {atom for term in self.terms for _, factors in term.parts for atom in factors}
        return tuple(sorted(found, key=lambda atom: (len(atom.by), atom.by)))

    def residuals(self, points: Array, fields: dict[Derivative, Array]) -> Array:
        """Returns the residual at each point in float64, shape (points,).

        :param points: shape (points, coordinates).
        :param fields: f and its derivatives at the points, each of shape (points,).
        """
        total = self.source.value(points)
        for term in self.terms:
            inner = np.zeros(len(points))
            for number, factors in term.parts:
                inner += number * np.prod([fields[atom] for atom in factors], axis=0)
            total += term.coefficient.value(points) * inner
        return total


class Problem(ABC):
    """A differential equation on a box, with a known solution that results are compared with."""

    name: str
    """Name by which the command line knows the problem."""
    title: str
    """Title for people, one line without a full stop."""
    lower: tuple[float, ...]
    """Least value of each coordinate: one corner of the box."""
    upper: tuple[float, ...]
    """Greatest value of each coordinate: the opposite corner."""
    magnitude: float = 1.0
    """Greatest magnitude that f is expected to reach.

    It decides f's number format, together with the untrained network's outputs.
    """

    def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns the solution u in terms of the network's output f: f itself, unless overridden.

        :param x: the coordinates as expressions.
        """
        return f

    @abstractmethod
    def residual(self, u: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns the expression that must vanish everywhere in the box.

        :param u: the solution in terms of f.
        :param x: the coordinates as expressions.
        """

    @abstractmethod
    def solution(self, points: Array) -> Array:
        """Returns the true solution at points of shape (points, dimensions), shape (points,)."""

    @property
    def dimensions(self) -> int:
        """Number of coordinates of a point, which are the network's inputs."""
        return len(self.lower)

    @property
    def trial(self) -> Expression:
        """The solution u as an expression in the coordinates and f."""
        return self.ansatz(unknown(), coordinates(self.dimensions))

    @property
    def form(self) -> Form:
        """The residual in terms of f, in the form that the engine computes.

        :raises ValueError: if it needs a mixed derivative or one of third order, or does not depend
            on f.
        """
        return Form.of(self.residual(self.trial, coordinates(self.dimensions)))

    def solution_of(self, points: Array, outputs: Array) -> Array:
        """Returns the solution u at some points, computed from the network's outputs there.

        :param points: shape (points, dimensions).
        :param outputs: values of f, shape (points,).
        :returns: shape (points,).
        :raises ValueError: if the ansatz holds derivatives of f.
        """
        total = np.zeros(len(points))
        for factors, coefficient in self.trial.split().items():
            if any(atom.by for atom in factors):
                raise ValueError(f"{self.name}: the ansatz must not differentiate f")
            total += coefficient.value(points) * outputs ** len(factors)
        return total

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        """Returns random points, uniform in the box, shape (count, dimensions)."""
        return rng.uniform(self.lower, self.upper, (count, self.dimensions))

    def relative_error(self, points: Array, outputs: Array) -> float:
        """Returns ``|u - solution| / |solution|`` in the Euclidean norm over the points.

        :param points: shape (points, dimensions).
        :param outputs: values of f, shape (points,).
        """
        exact = self.solution(points)
        return float(np.linalg.norm(self.solution_of(points, outputs) - exact) / np.linalg.norm(exact))

    def estimate(self, stencil: Stencil, values: Array) -> dict[Derivative, Array]:
        """Estimates f and its derivatives at each point from values at a stencil's nodes.

        :param values: values of f, shape (points, nodes).
        :returns: shape (points,) for each derivative in the form.
        """
        differences = values - values[:, :1]
        fields = {}
        for atom in self.form.atoms():
            if not atom.by:
                fields[atom] = values[:, 0]
            else:
                weights = (stencil.first, stencil.second)[len(atom.by) - 1][atom.by[0]]
                fields[atom] = differences @ weights
        return fields

    def residuals(self, stencil: Stencil, function: Callable[[Array], Array], points: Array) -> Array:
        """Returns the residuals of a function by a stencil: the float64 reference for the engine.

        :param function: f, from points of shape (n, dimensions) to values of shape (n,).
        :param points: shape (points, dimensions).
        :returns: shape (points,).
        """
        nodes = points[:, None, :] + stencil.offsets
        values = function(nodes.reshape(-1, self.dimensions)).reshape(len(points), stencil.nodes)
        return self.form.residuals(points, self.estimate(stencil, values))

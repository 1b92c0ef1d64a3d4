"""Symbolic expressions for differential equations: polynomials with exact derivatives.

An expression is a polynomial in the coordinates, in elementary functions of them, and in an unknown
function f and its derivatives. It is built with ``+``, ``-``, ``*`` and ``**`` from
:func:`coordinates`, :func:`unknown`, numbers and :func:`sin`, :func:`cos`, :func:`exp` and
:func:`normal_cdf`; :meth:`Expression.d` differentiates it.

    >>> x, f = coordinates(2), unknown()
    >>> u = x[0] + x[1] * f
    >>> print(u.d(0))
    1 + f_0*x1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Atom",
    "Coordinate",
    "Derivative",
    "Expression",
    "Function",
    "coordinates",
    "cos",
    "exp",
    "normal_cdf",
    "sin",
    "unknown",
]

Array = NDArray[np.float64]
"""Array of float64 numbers, of any shape."""
_NEGLIGIBLE = 1e-13
"""Relative size below which a coefficient counts as cancelled.

It is compared with the largest coefficient of the expression.
"""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A coordinate of the domain, identified by its number from 0."""

    index: int
    """Number of the coordinate, from 0."""

    def d(self, by: int) -> Expression:
        """Returns the derivative by a coordinate: 1 by itself, otherwise 0."""
        return Expression.constant(float(by == self.index))

    def value(self, points: Array) -> Array:
        """Returns the coordinate's value at each point, shape (points,)."""
        return points[:, self.index]

    def __str__(self) -> str:
        return f"x{self.index}"


@dataclass(frozen=True, slots=True)
class Derivative:
    """The unknown function f, or one of its derivatives."""

    by: tuple[int, ...] = ()
    """Coordinates that f is differentiated by: none, one, or the same one twice."""

    def d(self, by: int) -> Expression:
        """Returns the derivative by a coordinate.

        :raises ValueError: if it is mixed or of third order.
        """
        if len(self.by) == 2 or (self.by and self.by != (by,)):
            raise ValueError(f"derivative of {self} by x{by}: only first and pure second derivatives are available")
        return Expression.of(Derivative((*self.by, by)))

    def __str__(self) -> str:
        return "f" + "".join(f"_{index}" for index in self.by)


@dataclass(frozen=True, slots=True)
class Function:
    """An elementary function, such as ``sin``, of an expression in the coordinates alone.

    :raises ValueError: if the argument holds the unknown.
    """

    name: str
    """Name of the function: ``sin``, ``cos``, ``exp`` or ``normal_cdf``."""
    argument: Expression
    """Expression that the function is applied to."""

    def __post_init__(self) -> None:
        if not self.argument.known:
            raise ValueError(f"{self.name} takes coordinates only; {self.argument} holds the unknown")

    def d(self, by: int) -> Expression:
        """Returns the derivative by a coordinate, by the chain rule."""
        return _FUNCTIONS[self.name][1](self.argument) * self.argument.d(by)

    def value(self, points: Array) -> Array:
        """Returns the function's value at each point, shape (points,)."""
        return _FUNCTIONS[self.name][0](self.argument.value(points))

    def __str__(self) -> str:
        return f"{self.name}({self.argument})"


Atom = Coordinate | Derivative | Function
"""A factor of a monomial that is not a number."""
Monomial = tuple[Atom, ...]
"""A product of factors, in the order of their text, each as often as its power says."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A polynomial in coordinates, functions of them, and the unknown; equal ones compare equal."""

    terms: tuple[tuple[Monomial, float], ...]
    """Terms of the sum as (factors, coefficient), in a fixed order."""

    @classmethod
    def make(cls, terms: Mapping[Monomial, float]) -> Expression:
        """Makes an expression from coefficients by factors; cancelled coefficients are dropped.

        :param terms: coefficients by monomials, whose factors are in order.
        """
        floor = _NEGLIGIBLE * max((abs(value) for value in terms.values()), default=0.0)
        kept = ((factors, value) for factors, value in terms.items() if abs(value) > floor)
        return cls(tuple(sorted(kept, key=lambda term: (len(term[0]), [str(atom) for atom in term[0]]))))

    @classmethod
    def constant(cls, value: float) -> Expression:
        """Makes an expression that is a number.

        :raises ValueError: if the number is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"constants must be finite, not {value!r}")
        return cls.make({(): float(value)})

    @classmethod
    def of(cls, atom: Atom) -> Expression:
        """Makes an expression of a single factor."""
        return cls((((atom,), 1.0),))

    @staticmethod
    def _wrap(value: Expression | float) -> Expression:
        return value if isinstance(value, Expression) else Expression.constant(float(value))

    def __add__(self, other: Expression | float) -> Expression:
        total = dict(self.terms)
        for factors, value in self._wrap(other).terms:
            total[factors] = total.get(factors, 0.0) + value
        # Rounding errors of cancelled terms are small next to what was added, not next to the rest.
        scale = _NEGLIGIBLE * max((abs(value) for _, value in (*self.terms, *self._wrap(other).terms)), default=0.0)
        return self.make({factors: value for factors, value in total.items() if abs(value) > scale})

    __radd__ = __add__

    def __neg__(self) -> Expression:
        return Expression(tuple((factors, -value) for factors, value in self.terms))

    def __sub__(self, other: Expression | float) -> Expression:
        return self + -self._wrap(other)

    def __rsub__(self, other: Expression | float) -> Expression:
        return -self + other

    def __mul__(self, other: Expression | float) -> Expression:
        total: dict[Monomial, float] = {}
        for left, a in self.terms:
            for right, b in self._wrap(other).terms:
                factors = tuple(sorted((*left, *right), key=str))
                total[factors] = total.get(factors, 0.0) + a * b
        return self.make(total)

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> Expression:
        return self * (1 / float(other))

    def __pow__(self, power: int) -> Expression:
        if not isinstance(power, int) or power < 0:
            raise ValueError(f"powers must be integers from 0, not {power!r}")
        result = Expression.constant(1.0)
        for _ in range(power):
            result = result * self
        return result

    def d(self, by: int) -> Expression:
        """Returns the first derivative by coordinate number ``by``.

        :raises ValueError: if that needs a mixed or third derivative of the unknown.
        """
        total = Expression(())
        for factors, value in self.terms:
            for place, atom in enumerate(factors):
                rest = Expression.make({factors[:place] + factors[place + 1 :]: value})
                total = total + rest * atom.d(by)
        return total

    def dd(self, by: int) -> Expression:
        """Returns the second derivative by coordinate number ``by``.

        :raises ValueError: if that needs a mixed or third derivative of the unknown.
        """
        return self.d(by).d(by)

    @property
    def known(self) -> bool:
        """Whether the expression is free of the unknown function and its derivatives."""
        return not any(isinstance(atom, Derivative) for factors, _ in self.terms for atom in factors)

    def split(self) -> dict[tuple[Derivative, ...], Expression]:
        """Collects the terms by their factors in the unknown.

        :returns: for each product of f and its derivatives that occurs, its coefficient, an
            expression in the coordinates.
        """
        parts: dict[tuple[Derivative, ...], dict[Monomial, float]] = {}
        for factors, value in self.terms:
            fields = tuple(atom for atom in factors if isinstance(atom, Derivative))
            others = tuple(atom for atom in factors if not isinstance(atom, Derivative))
            parts.setdefault(fields, {})[others] = value
        return {fields: Expression.make(terms) for fields, terms in parts.items()}

    def value(self, points: ArrayLike) -> Array:
        """Returns the values of an expression without the unknown.

        :param points: shape (points, coordinates).
        :returns: shape (points,).
        """
        places = np.asarray(points, dtype=np.float64)
        total = np.zeros(len(places))
        for factors, value in self.terms:
            product = np.full(len(places), value)
            for atom in factors:
                assert not isinstance(atom, Derivative), f"{atom} has no value"
                product *= atom.value(places)
            total += product
        return total

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        return " + ".join(_term(factors, value) for factors, value in self.terms)


def _term(factors: Monomial, value: float) -> str:
    names = [str(atom) for atom in factors]
    return "*".join(names if names and value == 1 else [f"{value:g}", *names])


def coordinates(count: int) -> tuple[Expression, ...]:
    """Returns the coordinates x0, x1, ... as expressions."""
    return tuple(Expression.of(Coordinate(index)) for index in range(count))


def unknown() -> Expression:
    """Returns the unknown function f as an expression."""
    return Expression.of(Derivative())


def _function(name: str) -> Callable[[Expression | float], Expression]:
    def apply(argument: Expression | float) -> Expression:
        return Expression.of(Function(name, argument if isinstance(argument, Expression) else argument + _ZERO))

    apply.__doc__ = f"{name} of an expression in the coordinates."
    return apply


_ZERO = Expression(())
sin, cos, exp, normal_cdf = (_function(name) for name in ("sin", "cos", "exp", "normal_cdf"))


def _normal_cdf(values: Array) -> Array:
    flat: Iterable[float] = values.tolist()
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in flat])


_FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Expression], Expression]]] = {
    "sin": (np.sin, cos),
    "cos": (np.cos, lambda argument: -sin(argument)),
    "exp": (np.exp, exp),
    "normal_cdf": (_normal_cdf, lambda argument: exp(-0.5 * argument * argument) / math.sqrt(2 * math.pi)),
}
"""Numerical values and symbolic derivative of each function, by name."""

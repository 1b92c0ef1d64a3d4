"""The differential equations that the command line offers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .expressions import Expression, exp, normal_cdf, sin
from .problem import Problem

__all__ = ["PROBLEMS", "BlackScholes", "Burgers", "HamiltonJacobiBellman", "Poisson"]

Array = NDArray[np.float64]
"""Array of float64 numbers, of any shape."""


class HamiltonJacobiBellman(Problem):
    """A Hamilton-Jacobi-Bellman equation on the unit cube, in 20 space dimensions by default.

    ``u_t + Laplacian u - 0.05 |grad u|^2 = -2``, ``u(x, 1) = |x|_1`` (arXiv 2308.09858). The exact
    solution is ``|x|_1 + 1 - t``; with ``u = sum x + (1 - t) f`` the exact f is the constant 1.

    :param space: space dimensions; the published problem has 20. For others, |grad u|^2 and the
        constant keep their factors, and the solution becomes ``|x|_1 + (2 - 0.05 space)(1 - t)``.
    :raises ValueError: if ``space`` is not positive.
    """

    name = "hjb"

    def __init__(self, space: int = 20) -> None:
        if space < 1:
            raise ValueError(f"space dimensions must be positive, not {space}")
        self.space = space
        self.slope = 2 - 0.05 * space
        self.magnitude = abs(self.slope)
        self.title = f"{space}-dimensional Hamilton-Jacobi-Bellman equation"
        self.lower, self.upper = (0.0,) * (space + 1), (1.0,) * (space + 1)

    def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``sum x + (1 - t) f``, which has the right value at t = 1 whatever f is."""
        return sum(x[: self.space], (1 - x[self.space]) * f)

    def residual(self, u: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``u_t + Laplacian u - 0.05 |grad u|^2 + 2``."""
        total = u.d(self.space) + 2
        for i in range(self.space):
            total = total + u.dd(i) - 0.05 * u.d(i) ** 2
        return total

    def solution(self, points: Array) -> Array:
        """Returns the exact solution at some points, ``|x|_1 + slope (1 - t)``, shape (points,)."""
        norm = points[:, : self.space].sum(axis=1)
        return np.asarray(norm + self.slope * (1 - points[:, self.space]))


class BlackScholes(Problem):
    """The Black-Scholes equation of a European call, with prices in units of the strike.

    x = ln(price / strike), and t is the time in years *before* the moment that is a quarter of a
    year before expiry: ``u_t = (s^2 / 2) u_xx + (r - s^2 / 2) u_x - r u`` on -1 < x < 1, 0 < t < 1.
    The initial value, the call's price a quarter of a year before expiry, has no kink. At the ends,
    where the option is sure to be worthless or to be exercised, the ansatz has the limits of the
    price.

    :param rate: r, riskless interest a year.
    :param volatility: s, a square root of a year.
    """

    name = "black-scholes"
    title = "Black-Scholes equation of a European call"
    lower, upper = (-1.0, 0.0), (1.0, 1.0)
    remaining = 0.25
    """Years from t = 0 to expiry."""

    def __init__(self, rate: float = 0.05, volatility: float = 0.25) -> None:
        self.rate = rate
        self.volatility = volatility

    def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns the price at t = 0 discounted to t, plus ``0.125 t (1 - x^2) f``."""
        deviation = self.volatility * math.sqrt(self.remaining)
        near = (x[0] + self.rate * self.remaining) / deviation
        discount = exp(-self.rate * (self.remaining + x[1]))
        known = exp(x[0]) * normal_cdf(near + deviation / 2) - discount * normal_cdf(near - deviation / 2)
        return known + 0.125 * x[1] * (1 - x[0] ** 2) * f

    def residual(self, u: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``u_t - (s^2 / 2) u_xx - (r - s^2 / 2) u_x + r u``."""
        half = self.volatility**2 / 2
        return u.d(1) - half * u.dd(0) - (self.rate - half) * u.d(0) + self.rate * u

    def solution(self, points: Array) -> Array:
        """Returns the call's price at some points by Black and Scholes's formula, shape (points,).

        Source: J. Political Economy 81 (1973).
        """
        price, years = points[:, 0], self.remaining + points[:, 1]
        deviation = self.volatility * np.sqrt(years)
        near = (price + self.rate * years) / deviation
        cdf = np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))
        gain = np.exp(price) * cdf(near + deviation / 2)
        return np.asarray(gain - np.exp(-self.rate * years) * cdf(near - deviation / 2))


class Burgers(Problem):
    """The viscous Burgers equation, ``u_t + u u_x = viscosity u_xx``, from a sine wave.

    ``u(x, 0) = -sin(pi x)``, ``u(-1, t) = u(1, t) = 0`` on -1 < x < 1, 0 < t < 1.

    :param viscosity: 0.01/pi is the customary problem, whose solution has a jump that no step of
        finite size resolves; the default's is smooth.
    """

    name = "burgers"
    title = "viscous Burgers equation"
    lower, upper = (-1.0, 0.0), (1.0, 1.0)
    magnitude = 2.0

    def __init__(self, viscosity: float = 0.25 / math.pi) -> None:
        self.viscosity = viscosity

    def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``4 t (1 - x^2) f - sin(pi x)``, with the right initial and boundary values."""
        return 4 * x[1] * (1 - x[0] ** 2) * f - sin(math.pi * x[0])

    def residual(self, u: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``u_t + u u_x - viscosity u_xx``."""
        return u.d(1) + u * u.d(0) - self.viscosity * u.dd(0)

    def solution(self, points: Array) -> Array:
        """Returns the exact solution at some points by Cole's transform (1951), shape (points,).

        Its integrals are computed by the trapezoidal rule.
        """
        x, t = points[:, 0, None], points[:, 1, None]
        # The integrand is smooth, and as good as zero beyond ten deviations of the heat kernel or
        # one period.
        deviation = np.sqrt(2 * self.viscosity * np.maximum(t, 1e-12))
        shifts = deviation * np.linspace(-10, 10, 801)
        exponent = -np.cos(np.pi * (x - shifts)) / (2 * np.pi * self.viscosity) - (shifts / deviation) ** 2 / 2
        weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        return np.asarray(-(weights * np.sin(np.pi * (x - shifts))).sum(axis=1) / weights.sum(axis=1))


class Poisson(Problem):
    """Poisson's equation in two dimensions, ``u_xx + u_yy = -2 pi^2 sin(pi x) sin(pi y)``.

    u is zero at the boundary of the square -1 < x, y < 1. The solution is ``sin(pi x) sin(pi y)``:
    a hill or a hollow in each quarter of the square.
    """

    name = "poisson"
    title = "Poisson's equation in two dimensions"
    lower, upper = (-1.0, -1.0), (1.0, 1.0)

    def ansatz(self, f: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``3 (1 - x^2) (1 - y^2) f``, which vanishes at the boundary."""
        return 3 * (1 - x[0] ** 2) * (1 - x[1] ** 2) * f

    def residual(self, u: Expression, x: tuple[Expression, ...]) -> Expression:
        """Returns ``u_xx + u_yy + 2 pi^2 sin(pi x) sin(pi y)``."""
        return u.dd(0) + u.dd(1) + 2 * math.pi**2 * sin(math.pi * x[0]) * sin(math.pi * x[1])

    def solution(self, points: Array) -> Array:
        """Returns the exact solution at some points, shape (points,)."""
        return np.asarray(np.prod(np.sin(np.pi * points), axis=1))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "hjb": HamiltonJacobiBellman,
    "black-scholes": BlackScholes,
    "burgers": Burgers,
    "poisson": Poisson,
}
"""Functions that make the problems on offer, by name."""

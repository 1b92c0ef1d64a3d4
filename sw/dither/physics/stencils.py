"""Derivatives from function values: nodes around a point, and weights for f_i and f_ii.

There are four ways, all of them exact for constants because weights apply to *differences* to the
central value:

- central differences: ``f_i = [f(x+h e_i) - f(x-h e_i)] / 2h``,
  ``f_ii = [f(x+h e_i) + f(x-h e_i) - 2 f(x)] / h^2``;
- central differences of fourth order: those of steps h and 2h, combined so that their errors of
  order h^2 cancel, ``(4 D(h) - D(2h)) / 3`` (Richardson, Phil. Trans. R. Soc. A 210, 1911);
- Stein's identity for the Gaussian-smoothed function, ``f_i = E[d_i f(x+d)] / s^2`` and
  ``f_ii = E[(d_i^2 - s^2) f(x+d)] / s^4`` with d ~ N(0, s^2), the expectation taken by a Smolyak
  sparse grid of Gauss-Hermite rules (arXiv 2308.09858);
- the same identity, the expectation taken over Monte-Carlo samples.

Step sizes that are powers of two are exact in fixed point, and large ones keep differences well
above its resolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stencil", "central", "fourth_order", "monte_carlo", "parse_stencil", "smolyak", "sparse_grid"]

Array = NDArray[np.float64]
"""Array of float64 numbers, of any shape."""
_MOST_POINTS = 1 << 16
"""Most nodes of a stencil: every one of them is a pass of the network for every point."""
_HIGHEST_LEVEL = 32
_ROUND = 9
"""Number of decimals to which nodes are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Stencil:
    """Nodes around a point, and the weights that turn their values into derivatives.

    :raises ValueError: if shapes disagree or the first node is not the point itself.
    """

    name: str
    """Name of the stencil as :func:`parse_stencil` reads it."""
    offsets: Array
    """Nodes relative to the point, shape (nodes, dimensions); row 0 is zero, the point itself."""
    first: Array
    """Weights of the first derivatives, shape (dimensions, nodes).

    ``f_i = sum over j of first[i, j] * (f(x + offsets[j]) - f(x))``.
    """
    second: Array
    """Weights of the second derivatives ``f_ii``, applied as ``first`` is."""

    def __post_init__(self) -> None:
        nodes, dimensions = self.offsets.shape
        if self.first.shape != (dimensions, nodes) or self.second.shape != (dimensions, nodes):
            raise ValueError(f"weights must have shape {(dimensions, nodes)}")
        if np.any(self.offsets[0]):
            raise ValueError("the first node must be the central point")

    @property
    def nodes(self) -> int:
        """Number of function values needed for each point."""
        return len(self.offsets)

    @property
    def dimensions(self) -> int:
        """Number of coordinates of a point."""
        return int(self.offsets.shape[1])

    @property
    def reach(self) -> Array:
        """The largest shift of each coordinate, shape (dimensions,)."""
        return np.asarray(np.abs(self.offsets).max(axis=0))


def _per_dimension(value: float | Sequence[float], dimensions: int, name: str) -> Array:
    values = np.broadcast_to(np.asarray(value, dtype=np.float64), (dimensions,)).copy()
    if not np.all((values >= 1e-6) & (values <= 1e6)):
        raise ValueError(f"{name} must be positive, from 1e-6 to 1e6, not {value!r}")
    return values


def _label(kind: str, values: Array, *more: int) -> str:
    sizes = values[:1] if np.all(values == values[0]) else values
    return ":".join([kind, ",".join(f"{size:g}" for size in sizes), *map(str, more)])


def central(dimensions: int, step: float | Sequence[float] = 0.25) -> Stencil:
    """Returns the stencil of central differences, with ``2 * dimensions + 1`` nodes.

    :param step: h, for all coordinates or for each.
    :raises ValueError: if a step is not positive.
    """
    h = _per_dimension(step, dimensions, "step")
    shifts = np.concatenate([np.diag(h), -np.diag(h)])
    offsets = np.concatenate([np.zeros((1, dimensions)), shifts])
    first = np.zeros((dimensions, len(offsets)))
    second = np.zeros_like(first)
    for i in range(dimensions):
        first[i, [1 + i, 1 + dimensions + i]] = 0.5 / h[i], -0.5 / h[i]
        second[i, [1 + i, 1 + dimensions + i]] = h[i] ** -2.0
    return Stencil(_label("central", h), offsets, first, second)


def fourth_order(dimensions: int, step: float | Sequence[float] = 0.125) -> Stencil:
    """Returns central differences of fourth order, with ``4 * dimensions + 1`` nodes.

    :param step: h, for all coordinates or for each; nodes are at h and 2h.
    :raises ValueError: if a step is not positive.
    """
    h = _per_dimension(step, dimensions, "step")
    near, far = central(dimensions, h.tolist()), central(dimensions, (2 * h).tolist())

    def combined(close: Array, wide: Array) -> Array:
        return np.concatenate([(4 * close) / 3, -wide[:, 1:] / 3], axis=1)

    offsets = np.concatenate([near.offsets, far.offsets[1:]])
    return Stencil(_label("fourth", h), offsets, combined(near.first, far.first), combined(near.second, far.second))


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yields the ways to write ``total`` as an ordered sum of ``parts`` positive numbers."""
    for cuts in itertools.combinations(range(1, total), parts - 1):
        yield tuple(b - a for a, b in itertools.pairwise((0, *cuts, total)))


def _grid_points(dimensions: int, level: int) -> int:
    """Returns how many points the rules of a sparse grid have, those that coincide counted each."""
    # Points of all rules in so many dimensions (rows) whose sizes exceed 1 by so much in all.
    ways = [[0] * level for _ in range(min(dimensions, level - 1) + 1)]
    ways[0][0] = 1
    for count in range(1, len(ways)):
        for excess in range(count, level):
            ways[count][excess] = sum((size + 1) * ways[count - 1][excess - size] for size in range(1, excess + 1))
    used = range(max(0, level - dimensions), level)
    return sum(math.comb(dimensions, count) * row[excess] for count, row in enumerate(ways) for excess in used)


def smolyak(dimensions: int, level: int) -> tuple[Array, Array]:
    """Returns Smolyak's sparse grid of Gauss-Hermite rules for the standard normal distribution.

    Level l combines tensor products of one-dimensional rules of n_i nodes with
    ``sum (n_i - 1) < l`` (S. A. Smolyak, 1963; combination formula after Wasilkowski and
    Wozniakowski, 1995). It is exact for polynomials of total degree ``2l - 1``.

    :returns: nodes of shape (nodes, dimensions), the origin first, and their weights, which add up
        to 1.
    :raises ValueError: unless both numbers are positive.
    """
    if dimensions < 1 or level < 1:
        raise ValueError(f"dimensions and level must be positive, not {dimensions} and {level}")
    if level > _HIGHEST_LEVEL or _grid_points(dimensions, level) > _MOST_POINTS:
        raise ValueError(
            f"a sparse grid of level {level} in {dimensions} dimensions has too many nodes; use a lower level"
        )
    rules = {}
    for size in range(2, level + 1):
        nodes, weights = np.polynomial.hermite_e.hermegauss(size)
        rules[size] = list(zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True))
    found: dict[tuple[tuple[int, float], ...], float] = {}
    for excess in range(max(0, level - dimensions), level):
        left = level - 1 - excess
        factor = (-1) ** left * math.comb(dimensions - 1, left)
        for count in range(min(excess, dimensions) + 1):
            if (count == 0) != (excess == 0):
                continue
            for sizes in _compositions(excess, count) if count else [()]:
                for axes in itertools.combinations(range(dimensions), count):
                    for picks in itertools.product(*(rules[size + 1] for size in sizes)):
                        node = tuple(
                            (axis, round(place, _ROUND))
                            for axis, (place, _) in zip(axes, picks, strict=True)
                            if abs(place) > 10.0**-_ROUND
                        )
                        weight = math.prod(weight for _, weight in picks)
                        found[node] = found.get(node, 0.0) + factor * weight
    exact = {round(place, _ROUND): place for rule in rules.values() for place, _ in rule}
    kept = [(node, weight) for node, weight in found.items() if node == () or abs(weight) > 10.0**-_ROUND]
    kept.sort(key=lambda entry: (len(entry[0]), entry[0]))
    nodes = np.zeros((len(kept), dimensions))
    for row, (node, _) in enumerate(kept):
        for axis, place in node:
            nodes[row, axis] = exact[place]
    return nodes, np.array([weight for _, weight in kept])


def _stein(name: str, nodes: Array, weights: Array, sigma: Array) -> Stencil:
    """Makes a stencil from an integration rule for the standard normal distribution.

    The rule must be symmetric about the origin, its first node.
    """
    first = (weights[:, None] * nodes / sigma).T
    second = (weights[:, None] * (nodes**2 - 1) / sigma**2).T
    # Weights apply to differences to the central point's value, so its own weight does not matter.
    first[:, 0] = second[:, 0] = 0.0
    return Stencil(name, nodes * sigma, np.ascontiguousarray(first), np.ascontiguousarray(second))


def sparse_grid(dimensions: int, sigma: float | Sequence[float] = 0.5, level: int = 3) -> Stencil:
    """Returns the stencil for derivatives of the Gaussian-smoothed function by a sparse grid.

    :param sigma: standard deviation of the smoothing, for all coordinates or for each.
    :param level: at least 3, the least that is exact for second derivatives of quadratic functions.
    :raises ValueError: on a lower level or a deviation that is not positive.
    """
    if level < 3:
        raise ValueError(f"second derivatives need a sparse grid of level 3 at least, not {level}")
    scale = _per_dimension(sigma, dimensions, "sigma")
    return _stein(_label("sparse", scale, level), *smolyak(dimensions, level), scale)


def monte_carlo(dimensions: int, sigma: float | Sequence[float] = 0.5, samples: int = 64, seed: int = 0) -> Stencil:
    """Returns Stein's estimator with random nodes: unbiased for the smoothed function, but noisy.

    :param sigma: standard deviation of the smoothing, for all coordinates or for each.
    :param samples: even; half of them are drawn, the others are their mirror images.
    :param seed: seed of the nodes.
    :raises ValueError: on an odd number of samples or a deviation that is not positive.
    """
    if samples < 2 or samples % 2:
        raise ValueError(f"samples must be an even number, not {samples}")
    if samples > _MOST_POINTS:
        raise ValueError(f"{samples:,} samples are too many; use at most {_MOST_POINTS:,}")
    scale = _per_dimension(sigma, dimensions, "sigma")
    drawn = np.random.Generator(np.random.Philox(seed)).normal(size=(samples // 2, dimensions))
    nodes = np.concatenate([np.zeros((1, dimensions)), drawn, -drawn])
    weights = np.concatenate([[0.0], np.full(samples, 1 / samples)])
    return _stein(_label("stein", scale, samples, seed), nodes, weights, scale)


_KINDS: dict[str, Callable[..., Stencil]] = {
    "central": central,
    "fourth": fourth_order,
    "sparse": sparse_grid,
    "stein": monte_carlo,
}


def parse_stencil(text: str, dimensions: int) -> Stencil:
    """Makes a stencil from its name, such as ``central:0.25`` or ``sparse:0.5:3``.

    The numbers are the size, then the level (``sparse``), or samples and seed (``stein:0.5:64:0``).
    Sizes may be given for each coordinate, ``central:0.25,0.125``; what is left out has its
    default.

    :raises ValueError: if the text names no stencil; the message says what is wrong.
    """
    kind, *fields = text.split(":")
    if kind not in _KINDS:
        raise ValueError(f"unknown stencil {kind!r}; known: {', '.join(_KINDS)}")
    try:
        sizes = [tuple(float(size) for size in field.split(",")) for field in fields[:1]]
        numbers = [int(field) for field in fields[1:]]
    except ValueError:
        raise ValueError(
            f"stencil {text!r} must look like central:0.25, fourth:0.125, sparse:0.5:3 or stein:0.5:64:0"
        ) from None
    if len(numbers) > {"central": 0, "fourth": 0, "sparse": 1, "stein": 2}[kind]:
        raise ValueError(f"stencil {text!r} has too many numbers")
    if sizes and len(sizes[0]) not in (1, dimensions):
        raise ValueError(f"stencil {text!r} has {len(sizes[0])} sizes for {dimensions} coordinates")
    return _KINDS[kind](dimensions, *sizes, *numbers)

"""Damped least squares with the same bits on every machine.

Libraries of linear algebra add in an order that depends on the processor, and so does what they
round. Here, sums of products are of integers, and exact; all else is a fixed sequence of operations
on single numbers, each of which IEEE 754 says how to round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["damped_solutions"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
_EXACT = 1 << 53
"""Integers below this one are float64 numbers."""


def damped_solutions(columns: Integers, target: Integers, dampings: Sequence[float]) -> list[Array]:
    """Returns, for each damping d, the c that minimises ``|target - columns c|^2 + d m |c|^2``.

    m is the mean of the columns' squared lengths, so that dampings have no unit. (Levenberg, Quart.
    Appl. Math. 2, 1944; Marquardt, SIAM J. Appl. Math. 11, 1963.)

    :param columns: shape (rows, columns).
    :param target: shape (rows,).
    :param dampings: positive numbers.
    :returns: arrays of shape (columns,).
    :raises ValueError: if a sum of products could be too large to be exact.
    """
    largest = [max(1, int(np.abs(values).max(initial=0))) for values in (columns, target)]
    if len(target) * largest[0] * max(largest) >= _EXACT:
        raise ValueError(f"{len(target)} numbers of up to {max(largest)} are too many for exact sums of products")
    matrix = columns.astype(np.float64)
    normal, right = matrix.T @ matrix, matrix.T @ target.astype(np.float64)
    mean = sum(int(value) for value in np.diagonal(normal)) / len(normal)
    if not mean:
        return [np.zeros(len(normal)) for _ in dampings]
    return [_solve(normal + np.diag(np.full(len(normal), damping * mean)), right) for damping in dampings]


def _solve(matrix: Array, right: Array) -> Array:
    """Solves equations with a positive definite matrix, by its factors L D L^T.

    Products and differences of whole arrays are rounded number by number, and nothing is summed
    but one term after the other.
    """
    rest, found, size = matrix.copy(), right.copy(), len(right)
    pivots, factors = np.empty(size), np.zeros((size, size))
    for place in range(size):
        pivots[place] = rest[place, place]
        factor = rest[place + 1 :, place] / pivots[place]
        rest[place + 1 :, place + 1 :] -= np.multiply.outer(factor, rest[place, place + 1 :])
        found[place + 1 :] -= factor * found[place]
        factors[place + 1 :, place] = factor
    found /= pivots
    for place in reversed(range(size)):
        found[:place] -= factors[place, :place] * found[place]
    return found

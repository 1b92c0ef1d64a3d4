"""Matrices as tensor trains: decomposition, and factors for sizes that are not given as factors."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Factors", "automatic_factors", "tensor_train"]

MOST_CORES = 4
"""Most cores of a train with automatic factors."""


@dataclass(frozen=True, slots=True)
class Factors:
    """Decomposition of a matrix into a tensor train: factors of its sizes, and the inner ranks."""

    inputs: tuple[int, ...]
    """Factors of the number of inputs, one for each core."""
    outputs: tuple[int, ...]
    """Factors of the number of outputs, one for each core."""
    ranks: tuple[int, ...]
    """Inner ranks, one for each pair of neighbouring cores."""

    @property
    def parameters(self) -> int:
        """Number of values in the cores."""
        ranks = (1, *self.ranks, 1)
        return sum(
            left * n * m * right for left, n, m, right in zip(ranks, self.inputs, self.outputs, ranks[1:], strict=False)
        )


def possible_ranks(inputs: tuple[int, ...], outputs: tuple[int, ...], ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the ranks, each reduced to what a train can use there.

    No rank is larger than its left or its right neighbour times the numbers in the core between the
    two. The rest could hold nothing, so the best approximation stays the same.
    """
    sizes = [n * m for n, m in zip(inputs, outputs, strict=True)]
    found = [1, *ranks, 1]
    for cut in range(1, len(sizes)):
        found[cut] = min(found[cut], found[cut - 1] * sizes[cut - 1])
    for cut in range(len(sizes) - 1, 0, -1):
        found[cut] = min(found[cut], found[cut + 1] * sizes[cut])
    return tuple(found[1:-1])


def tensor_train(matrix: ArrayLike, factors: Factors) -> list[NDArray[np.float64]]:
    """Returns the cores of a tensor train that approximates a matrix.

    It uses successive truncated singular value decompositions (I. V. Oseledets, *Tensor-Train
    Decomposition*, SIAM J. Sci. Comput. 33 (2011), algorithm 1). The error is at most sqrt(d-1)
    times the best one of these ranks. All cores get the same root mean square, which suits number
    formats and steps of one size.

    :param matrix: shape (inputs, outputs).
    :returns: cores of shape (r_k, n_k, m_k, r_{k+1}), with the ranks of :func:`possible_ranks`.
    :raises ValueError: if the factors do not multiply to the matrix's sizes.
    """
    values = np.asarray(matrix, dtype=np.float64)
    inputs, outputs, cores = factors.inputs, factors.outputs, len(factors.inputs)
    if values.shape != (math.prod(inputs), math.prod(outputs)):
        raise ValueError(f"factors {inputs} and {outputs} do not make a matrix of shape {values.shape}")
    if len(outputs) != cores or len(factors.ranks) != cores - 1:
        raise ValueError(f"{cores} input factors need as many output factors and {cores - 1} ranks")
    # (n_0 n_1 ..., m_0 m_1 ...) to (n_0 m_0, n_1 m_1, ...)
    pairs = [axis for k in range(cores) for axis in (k, cores + k)]
    rest = values.reshape(*inputs, *outputs).transpose(pairs).reshape(1, -1)
    found, left = [], 1
    for k, rank in enumerate(factors.ranks):
        u, s, v = np.linalg.svd(rest.reshape(left * inputs[k] * outputs[k], -1), full_matrices=False)
        found.append(u[:, :rank].reshape(left, inputs[k], outputs[k], -1))
        rest, left = s[:rank, None] * v[:rank], min(rank, len(s))
    found.append(rest.reshape(left, inputs[-1], outputs[-1], 1))
    for k in range(cores - 1, 0, -1):
        left, *shape = found[k].shape
        if left > math.prod(shape):  # More than the core has room for: its left neighbour takes the surplus.
            q, r = np.linalg.qr(found[k].reshape(left, -1).T)
            found[k - 1], found[k] = found[k - 1] @ r.T, q.T.reshape(-1, *shape)
    sizes = [math.sqrt(float(np.mean(core**2))) for core in found]
    if min(sizes) == 0:
        return found
    common = math.exp(sum(map(math.log, sizes)) / cores)
    return [core * (common / size) for core, size in zip(found, sizes, strict=True)]


def _prime_factors(number: int) -> list[int]:
    """Returns the prime factors of a number, the greatest first."""
    found, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor = divisor + 1 if divisor * divisor <= number else max(number, 2)
    return found[::-1]


def _balanced(number: int, parts: int) -> tuple[int, ...]:
    """Returns factors as equal as prime factors allow, in ascending order."""
    found = [1] * parts
    for prime in _prime_factors(number):
        smallest = found.index(min(found))
        found[smallest] *= prime
    return tuple(sorted(found))


def automatic_factors(inputs: int, outputs: int, rank: int) -> Factors:
    """Returns factors and their order with the fewest parameters.

    They are chosen among trains of two to four cores with balanced factors.

    :param rank: all inner ranks, where the matrix has so many.
    """
    candidates = []
    for cores in range(2, MOST_CORES + 1):
        orders = (set(itertools.permutations(_balanced(size, cores))) for size in (inputs, outputs))
        for n, m in itertools.product(*map(sorted, orders)):
            candidates.append(Factors(n, m, possible_ranks(n, m, (rank,) * (cores - 1))))
    return min(candidates, key=lambda factors: factors.parameters)

"""The tensor-train decomposition against its definition in NumPy, whatever ranks are asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dither.nn.layers import TensorTrain
from dither.nn.reference import dense_matrix
from dither.nn.trains import Factors, possible_ranks, tensor_train

Matrix = np.ndarray


def unfolding(matrix: Matrix, factors: Factors, cut: int) -> Matrix:
    """The matrix whose rank is the train's at a cut: left of it by right of it."""
    cores, split = len(factors.inputs), math.prod(factors.inputs[:cut]) * math.prod(factors.outputs[:cut])
    pairs = [axis for core in range(cores) for axis in (core, cores + core)]
    return matrix.reshape(*factors.inputs, *factors.outputs).transpose(pairs).reshape(split, -1)


def truncation_bound(matrix: Matrix, factors: Factors) -> float:
    """The largest error, in the Frobenius norm, that the ranks asked for allow (Oseledets 2011,
    theorem 2.2).
    """
    tails = [
        np.linalg.svd(unfolding(matrix, factors, cut), compute_uv=False)[rank:]
        for cut, rank in enumerate(factors.ranks, start=1)
    ]
    return math.sqrt(sum(float(tail @ tail) for tail in tails))


def drawn(rng: np.random.Generator) -> Factors:
    """Two to five cores of any small sizes, with ranks that know nothing of each other."""
    cores = int(rng.integers(2, 6))
    sizes = [tuple(int(size) for size in rng.integers(1, 5 if cores < 4 else 4, cores)) for _ in range(2)]
    return Factors(sizes[0], sizes[1], tuple(int(rank) for rank in rng.integers(1, 13, cores - 1)))


def whole(cores: list[Matrix], factors: Factors) -> Matrix:
    ranks = tuple(core.shape[3] for core in cores[:-1])
    layer = TensorTrain(factors.inputs, factors.outputs, ranks, bias=False)
    return dense_matrix(0, layer, {f"0.core{k}": core for k, core in enumerate(cores)})


@pytest.mark.parametrize("seed", range(10))
def test_any_ranks(seed: int) -> None:
    """Five hundred shapes in all."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        factors = drawn(rng)
        ranks = possible_ranks(factors.inputs, factors.outputs, factors.ranks)
        assert all(1 <= found <= wanted for found, wanted in zip(ranks, factors.ranks, strict=True))
        matrix = rng.normal(size=(math.prod(factors.inputs), math.prod(factors.outputs)))
        cores = tensor_train(matrix, factors)
        sizes = (1, *ranks, 1)
        assert [core.shape for core in cores] == [
            (sizes[k], n, m, sizes[k + 1]) for k, (n, m) in enumerate(zip(factors.inputs, factors.outputs, strict=True))
        ]
        error = float(np.linalg.norm(whole(cores, factors) - matrix))
        assert error <= truncation_bound(matrix, factors) * (1 + 1e-9) + 1e-9, factors


def test_a_rank_that_its_neighbour_limits() -> None:
    factors = Factors((2, 2, 4), (2, 2, 4), (1, 8))
    assert possible_ranks(factors.inputs, factors.outputs, factors.ranks) == (1, 4)
    assert possible_ranks((2, 2, 4), (2, 2, 4), (100, 1)) == (4, 1)
    assert possible_ranks((2, 2, 4), (2, 2, 4), (100, 100)) == (4, 16)
    cores = tensor_train(np.eye(16), factors)
    assert [core.shape for core in cores] == [(1, 2, 2, 1), (1, 2, 2, 4), (4, 4, 4, 1)]

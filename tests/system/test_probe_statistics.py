"""Probes' numbers against their distributions: values, moments, independence of neighbours, over
4e6 parameters.

Every statistic is brought to a standard normal deviate z under the hypothesis of independent
numbers with exactly the probabilities that the instruction set implies. Seeds are fixed, so these
tests are deterministic.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from dither.arch.isa import Distribution
from dither.golden.probes import tensor_probes

COUNT = 1 << 22
LIMIT = 4.5
SEED, STEP, PROBE = 20_250_607, 11, 5
PROBABILITIES = {
    Distribution.RADEMACHER: {-1: 0.5, 1: 0.5},
    Distribution.UNIFORM: {2 * u - 255: 2**-8 for u in range(256)},
    Distribution.GAUSSIAN: {ones - 8: math.comb(16, ones) * 2**-16 for ones in range(17)},
}


def numbers(distribution: Distribution, seed: int = SEED, step: int = STEP, probe: int = PROBE) -> np.ndarray:
    """The xi of successive parameters."""
    return (
        tensor_probes(distribution, seed, step, probe, block=3, inner=1, tiles=COUNT // 8, rows=8)
        .reshape(-1)
        .astype(np.float64)
    )


def moment(distribution: Distribution, order: int) -> float:
    return sum(probability * xi**order for xi, probability in PROBABILITIES[distribution].items())


def correlation_z(left: np.ndarray, right: np.ndarray, distribution: Distribution) -> float:
    """Products of independent numbers of mean 0 have mean 0 and the variance squared for their
    variance.
    """
    return float(left @ right) / (math.sqrt(len(left)) * moment(distribution, 2))


@pytest.mark.parametrize("distribution", PROBABILITIES)
def test_the_instruction_set_states_size_and_deviation(distribution: Distribution) -> None:
    assert distribution.largest == max(PROBABILITIES[distribution])
    assert distribution.deviation == pytest.approx(math.sqrt(moment(distribution, 2)), rel=1e-12)
    assert abs(moment(distribution, 1)) < 1e-12


@pytest.mark.parametrize("distribution", PROBABILITIES)
def test_values_have_their_probabilities(distribution: Distribution) -> None:
    """Chi-square over all values, brought to a normal deviate."""
    values, counts = np.unique(numbers(distribution), return_counts=True)
    assert values.tolist() == sorted(PROBABILITIES[distribution])
    expected = COUNT * np.array([PROBABILITIES[distribution][int(xi)] for xi in values])
    freedom = len(values) - 1
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi2 - freedom) / math.sqrt(2 * freedom) < LIMIT


@pytest.mark.parametrize("distribution", PROBABILITIES)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_moments(distribution: Distribution, order: int) -> None:
    """The mean of a power, whose own variance follows from the power of twice the order."""
    expected = moment(distribution, order)
    spread = math.sqrt(max(0.0, moment(distribution, 2 * order) - expected**2) / COUNT)
    error = float((numbers(distribution) ** order).mean()) - expected
    assert abs(error) <= LIMIT * spread


@pytest.mark.parametrize("distribution", PROBABILITIES)
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 128, 1024])
def test_neighbouring_parameters_are_uncorrelated(distribution: Distribution, lag: int) -> None:
    xi = numbers(distribution)
    assert abs(correlation_z(xi[lag:], xi[:-lag], distribution)) < LIMIT


@pytest.mark.parametrize("distribution", PROBABILITIES)
@pytest.mark.parametrize("other", [(SEED + 1, STEP, PROBE), (SEED, STEP + 1, PROBE), (SEED, STEP, PROBE + 1)])
def test_neighbouring_probes_are_uncorrelated(distribution: Distribution, other: tuple[int, int, int]) -> None:
    xi = numbers(distribution)
    assert abs(correlation_z(xi, numbers(distribution, *other), distribution)) < LIMIT


@pytest.mark.parametrize("distribution", [Distribution.UNIFORM, Distribution.GAUSSIAN])
def test_sizes_of_neighbours_are_uncorrelated(distribution: Distribution) -> None:
    """Shared bits would show in magnitudes even where signs hide them."""
    sizes = numbers(distribution) ** 2 - moment(distribution, 2)
    variance = moment(distribution, 4) - moment(distribution, 2) ** 2
    for lag in (1, 2, 3, 4, 8):
        z = float(sizes[lag:] @ sizes[:-lag]) / (math.sqrt(COUNT - lag) * variance)
        assert abs(z) < LIMIT, lag

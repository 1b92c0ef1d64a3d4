"""ADAM against Adam in float64, which is given the same integers as gradients.

Gradients are constant, shrink, or are random; every decay that a recipe can have is tried. A
hundred thousand steps, long after the slowest decay, show that nothing stands still beside its
place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dither.arch.isa import Rule
from dither.arch.moments import LARGEST_SQUARE, SQUARE_FRAC, pack_square, unpack_square
from dither.arch.tables import scalar_tables
from dither.golden.update import SIGN_UNIT, Updated, update
from dither.recipe.recipe import SLOWEST_DECAY

TABLES = scalar_tables(9)
SIZES = np.array([1, 2, 3, 4, 5, 8, 11, 22, 50, 181, 362, 363, 512, 1000, 1 << 12, 1 << 14, (1 << 16) - 1])
"""Of gradients, in units. An average of squares of 362 is just below the coarse scale, 363 and 512
are just above."""
SMALLEST, TOLERANCE = 4, 0.02
"""Directions are within two per cent where a gradient has four units."""
DECAYS = [(b, c) for b in (1, 3, 8, 12) for c in (1, 6, 10, 12) if (b, c) != (1, 12)] + [(1, 11), (2, 12)]
LARGEST = (1 << 16) - 1

Gradients = Callable[[int, np.random.Generator], NDArray[np.int64]]


def constant(step: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return SIZES


def shrinking(step: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """From a hundred times as much, or the largest, over some thousand steps; then constant."""
    first = np.minimum(LARGEST, 100 * SIZES)
    return np.maximum(SIZES, np.rint(first * np.exp(-step / 300)).astype(np.int64))


def random(step: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Normal, with a mean of half the deviation; none are below four units, which have no bound."""
    drawn = np.rint(SIZES * (rng.standard_normal(len(SIZES)) + 0.5)).astype(np.int64)
    drawn = np.where(abs(drawn) < SMALLEST, np.where(drawn < 0, -SMALLEST, SMALLEST), drawn)
    return np.clip(drawn, -LARGEST, LARGEST)


def one_step(rule: Rule, gradient: NDArray[np.int64], state: Updated, decay1: int, decay2: int) -> Updated:
    """From masters of zero, so that they are the direction's negative afterwards."""
    zero = np.zeros_like(gradient)
    fields = {"gradient_shift": 0, "decay1": decay1, "decay2": decay2, "rate": 1, "rate_shift": 0}
    return update(rule, zero, gradient, state.moment1, state.moment2, values=TABLES[0], slopes=TABLES[1], **fields)


def beginning(count: int) -> Updated:
    zero = np.zeros(count, np.int64)
    return Updated(zero, zero, zero, 0)


def largest_errors(gradients: Gradients, decays: list[tuple[int, int]], steps: int) -> dict[tuple[int, int], float]:
    """By decays: the largest relative error of a direction where gradients have four units."""
    worst = {}
    for decay1, decay2 in decays:
        rng, state = np.random.default_rng(decay1 << 4 | decay2), beginning(len(SIZES))
        mean, square, largest = np.zeros(len(SIZES)), np.zeros(len(SIZES)), np.zeros(len(SIZES))
        for number in range(steps):
            gradient = gradients(number, rng)
            state = one_step(Rule.ADAM, gradient, state, decay1, decay2)
            mean += (gradient - mean) * 2.0**-decay1
            square += (gradient.astype(float) ** 2 - square) * 2.0**-decay2
            direction = mean / np.sqrt(square)
            # A direction has units of 2**-12, and a mean that passes zero no relative error.
            error = np.abs(-state.master / SIGN_UNIT - direction) - 2.0**-12
            scale = np.maximum(np.abs(direction), 2.0**-6)
            largest = np.where(np.abs(gradient) >= SMALLEST, np.maximum(largest, error / scale), largest)
        worst[decay1, decay2] = float(largest.max())
    return worst


@pytest.mark.parametrize("gradients", [constant, shrinking, random])
def test_directions_are_adams(gradients: Gradients) -> None:
    worst = largest_errors(gradients, DECAYS, 1200)
    assert max(worst.values()) <= TOLERANCE, worst


@pytest.mark.slow
@pytest.mark.parametrize("gradients", [constant, shrinking, random])
def test_directions_are_adams_after_long(gradients: Gradients) -> None:
    worst = largest_errors(gradients, [(3, 1), (3, 10), (12, 12)], 100_000)
    assert max(worst.values()) <= TOLERANCE, worst


@pytest.mark.parametrize("decay", range(SLOWEST_DECAY + 1))
@pytest.mark.parametrize("rule", [Rule.MOMENTUM, Rule.ADAM, Rule.SIGN_MOMENTUM])
def test_a_parameter_without_gradient_comes_to_rest(rule: Rule, decay: int) -> None:
    state = beginning(6)
    for _ in range(3):
        state = one_step(rule, np.array([-700, -5, -1, 1, 5, 700]), state, decay, decay)
    nothing = np.zeros(6, np.int64)
    for _ in range(100 << decay):
        state = one_step(rule, nothing, state, decay, decay)
        if not state.moment1.any():
            break
    assert not state.moment1.any()
    assert not one_step(rule, nothing, state, decay, decay).master.any()


@pytest.mark.parametrize("decay", range(SLOWEST_DECAY + 1))
def test_first_moments_arrive(decay: int) -> None:
    """From either side, and stay."""
    target = np.array([-(1 << 16), -7, 0, 1, 4, LARGEST])
    state = Updated(target, (target << 15) + np.array([900, -900, 900, -900, 900, -900]), np.abs(target), 0)
    for _ in range(1000):
        state = one_step(Rule.ADAM, target, state, decay, 1)
    assert (state.moment1 == target << 15).all()


def test_second_moments_fit_their_words() -> None:
    """Whatever the step, and all words stand for something that is packed the same."""
    rng = np.random.default_rng(3)
    words = np.concatenate([rng.integers(0, 1 << 32, 5000), [0, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]])
    wide = unpack_square(words)
    assert wide.max() == LARGEST_SQUARE << SQUARE_FRAC
    fine = (words < 1 << 31) | (words >= (1 << 31) + (1 << 17))
    assert (pack_square(wide)[fine] == words[fine]).all()
    numbers = np.sort(rng.integers(0, (LARGEST_SQUARE << SQUARE_FRAC) + 1, 5000) >> rng.integers(0, 45, 5000))
    packed = pack_square(numbers)
    assert packed.min() >= 0
    assert packed.max() < 1 << 32
    assert (np.diff(packed) >= 0).all()
    assert (np.abs(unpack_square(packed) - numbers) <= np.where(numbers < 1 << 31, 0, 1 << 13)).all()

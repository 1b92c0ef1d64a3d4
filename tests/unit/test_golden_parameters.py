"""PERTURB and ACCUMULATE: parameter indices that do not depend on the geometry, and their arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.generator import signs
from dither.golden.parameters import accumulate, parameter_indices, perturb, row_pitch, tensor_signs, wrap32

ROWS = (1, 2, 4, 8)


@given(st.integers(0, 2**20 - 1), st.integers(1, 9), st.integers(1, 20), st.sampled_from(ROWS))
def test_indices_follow_the_definition(block, inner, outputs, rows):
    tiles = -(-outputs // rows)
    indices = parameter_indices(block, inner, tiles, rows)
    pitch = -(-outputs // 8) * 8
    for m in range(outputs):
        for k in range(inner):
            assert indices[(m // rows) * inner + k, m % rows] == 64 * block + k * pitch + m
    assert row_pitch(tiles, rows) == pitch


@given(
    st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**31 - 1), st.integers(0, 2**20 - 1), st.integers(1, 30),
    st.integers(1, 9), st.sampled_from(ROWS),
)  # fmt: skip
def test_signs_of_a_tensor_are_those_of_its_indices(seed, probe, block, inner, tiles, rows):
    expected = signs(seed, 3, probe, parameter_indices(block, inner, tiles, rows))
    actual = tensor_signs(seed, 3, probe, block=block, inner=inner, tiles=tiles, rows=rows)
    np.testing.assert_array_equal(actual, expected)


def test_signs_do_not_depend_on_rows():
    dense = []
    for rows in ROWS:
        tiles = 16 // rows
        xi = tensor_signs(1, 2, 3, block=4, inner=5, tiles=tiles, rows=rows)
        dense.append(xi.reshape(tiles, 5, rows).transpose(0, 2, 1).reshape(16, 5))
    for matrix in dense[1:]:
        np.testing.assert_array_equal(matrix, dense[0])


@pytest.mark.parametrize("width", [16, 18])
@given(data=st.data())
def test_perturbed_weights_follow_the_definition(width, data):
    numbers = st.integers(-(2**31), 2**31 - 1)
    masters = data.draw(st.lists(numbers, min_size=1, max_size=9))
    xi = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(masters), max_size=len(masters)))
    amplitude = data.draw(numbers)
    lowest, highest = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    exact = [(p + amplitude * s + 2 ** (31 - width)) >> (32 - width) for p, s in zip(masters, xi, strict=True)]
    weights, clips = perturb(masters, xi, amplitude, width)
    assert weights.tolist() == [min(max(w, lowest), highest) for w in exact]
    assert clips == sum(not lowest <= w <= highest for w in exact)


@pytest.mark.parametrize("width", [16, 18])
def test_weights_are_masters_rounded_to_their_format(width):
    masters = np.random.default_rng(0).integers(-(2**31), 2**31 - 2 ** (32 - width), 1000)
    weights, clips = perturb(masters, 0, 0, width)
    assert clips == 0
    assert np.abs(weights - masters / 2 ** (32 - width)).max() <= 0.5


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from([-1, 1]), st.integers(-(2**31), 2**31 - 1))
def test_gradients_wrap(gradient, sign, difference):
    exact = gradient + difference * sign
    result = int(accumulate([gradient], [sign], difference)[0])
    assert (result - exact) % 2**32 == 0
    assert -(2**31) <= result < 2**31


def test_wrap32_at_the_ends():
    assert wrap32([2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32]).tolist() == [
        2**31 - 1,
        -(2**31),
        -(2**31),
        2**31 - 1,
        0,
    ]

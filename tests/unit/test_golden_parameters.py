"""PERTURB and ACCUMULATE: parameter indices that do not depend on the geometry, distributions, and
their arithmetic.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.generator import blocks, signs
from dither.arch.isa import Distribution
from dither.golden.probes import (
    accumulate,
    coordinate_place,
    parameter_indices,
    perturb,
    perturb_one,
    row_pitch,
    tensor_probes,
    wrap_gradients,
)

ROWS = (1, 2, 4, 8)
MASTERS = st.integers(-(2**31), 2**31 - 1)
RANDOM = (Distribution.RADEMACHER, Distribution.UNIFORM, Distribution.GAUSSIAN)


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
    MASTERS,
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**20 - 1),
    st.integers(1, 30),
    st.integers(1, 9),
    st.sampled_from(ROWS),
)
def test_signs_of_a_tensor_are_those_of_its_indices(seed, probe, block, inner, tiles, rows):
    expected = signs(seed, 3, probe, parameter_indices(block, inner, tiles, rows))
    actual = tensor_probes(Distribution.RADEMACHER, seed, 3, probe, block=block, inner=inner, tiles=tiles, rows=rows)
    np.testing.assert_array_equal(actual, expected)


def _literal(distribution, seed, step, probe, block, i):
    """One parameter's xi, bit by bit, as the architecture page words it."""
    bits = []
    for j in range(distribution.bits * i, distribution.bits * (i + 1)):
        low, high = blocks(seed, step, block + (j >> 6), probe)
        bits.append((int(low) | int(high) << 32) >> (j & 63) & 1)
    match distribution:
        case Distribution.NONE:
            return 0
        case Distribution.RADEMACHER:
            return 2 * bits[0] - 1
        case Distribution.UNIFORM:
            return 2 * sum(bit << place for place, bit in enumerate(bits)) - 255
        case Distribution.GAUSSIAN:
            return sum(bits) - 8
        case Distribution.COORDINATE:
            return int(64 * block + i == probe % 2**32)


@pytest.mark.parametrize("distribution", Distribution)
@given(seed=MASTERS, block=st.integers(0, 2**20 - 1), shape=st.tuples(*[st.integers(1, 5)] * 2), data=st.data())
def test_every_xi_follows_the_specification(distribution, seed, block, shape, data):
    (inner, tiles), rows = shape, data.draw(st.sampled_from(ROWS))
    pitch = row_pitch(tiles, rows)
    probe = 64 * block + data.draw(st.integers(-1, inner * pitch))
    xi = tensor_probes(distribution, seed, 4, probe, block=block, inner=inner, tiles=tiles, rows=rows)
    assert np.abs(xi).max() <= distribution.largest
    for tile, k, row in data.draw(
        st.lists(st.tuples(*(st.integers(0, n - 1) for n in (tiles, inner, rows))), max_size=4)
    ):
        i = k * pitch + tile * rows + row
        assert xi[tile * inner + k, row] == _literal(distribution, seed, 4, probe, block, i)


@pytest.mark.parametrize("distribution", Distribution)
def test_probes_do_not_depend_on_rows(distribution):
    dense = []
    for rows in ROWS:
        tiles = 16 // rows
        xi = tensor_probes(distribution, 1, 2, 64 * 4 + 33, block=4, inner=5, tiles=tiles, rows=rows)
        dense.append(xi.reshape(tiles, 5, rows).transpose(0, 2, 1).reshape(16, 5))
    for matrix in dense[1:]:
        np.testing.assert_array_equal(matrix, dense[0])
    assert dense[0].any() == (distribution is not Distribution.NONE)


@pytest.mark.parametrize(("inner", "tiles", "rows"), [(1, 1, 1), (5, 3, 4), (7, 2, 8), (4, 5, 2)])
@pytest.mark.parametrize("block", [0, 9, 2**20 - 1])
def test_a_coordinate_is_where_its_index_is(inner, tiles, rows, block):
    indices = parameter_indices(block, inner, tiles, rows)
    for probe in range(64 * block - 2, 64 * block + inner * row_pitch(tiles, rows) + 2):
        places = list(zip(*np.nonzero(indices == probe), strict=True))
        for register in (probe, probe - 2**32, probe + 2**32):
            place = coordinate_place(register, block=block, inner=inner, tiles=tiles, rows=rows)
            assert [place] * (place is not None) == places


@pytest.mark.parametrize("width", [16, 18])
@given(data=st.data())
def test_perturbed_weights_follow_the_definition(width, data):
    masters = data.draw(st.lists(MASTERS, min_size=1, max_size=9))
    xi = data.draw(st.lists(st.integers(-255, 255), min_size=len(masters), max_size=len(masters)))
    amplitude = data.draw(MASTERS)
    lowest, highest = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    exact = [(p + amplitude * s + 2 ** (31 - width)) >> (32 - width) for p, s in zip(masters, xi, strict=True)]
    weights, clips = perturb(masters, np.array(xi, np.int16), amplitude, width)
    assert weights.tolist() == [min(max(w, lowest), highest) for w in exact]
    assert clips == sum(not lowest <= w <= highest for w in exact)
    single = [perturb_one(p, amplitude * s, width) for p, s in zip(masters, xi, strict=True)]
    assert [weight for weight, _ in single] == weights.tolist()
    assert sum(clipped for _, clipped in single) == clips


@pytest.mark.parametrize("width", [16, 18])
def test_weights_are_masters_rounded_to_their_format(width):
    masters = np.random.default_rng(0).integers(-(2**31), 2**31 - 2 ** (32 - width), 1000)
    weights, clips = perturb(masters, 0, 0, width)
    assert clips == 0
    assert np.abs(weights - masters / 2 ** (32 - width)).max() <= 0.5


@given(st.integers(-(2**47), 2**47 - 1), st.integers(-255, 255), MASTERS)
def test_gradients_wrap(gradient, xi, difference):
    exact = gradient + difference * xi
    result = int(accumulate([gradient], np.array([xi], np.int16), difference)[0])
    assert (result - exact) % 2**48 == 0
    assert -(2**47) <= result < 2**47


def test_gradients_wrap_at_the_ends():
    ends = [2**47 - 1, 2**47, -(2**47), -(2**47) - 1, 2**48]
    assert wrap_gradients(ends).tolist() == [2**47 - 1, -(2**47), -(2**47), 2**47 - 1, 0]


@pytest.mark.parametrize("distribution", RANDOM)
def test_deviations_are_those_that_the_instruction_set_says(distribution):
    xi = tensor_probes(distribution, 5, 6, 7, block=0, inner=500, tiles=25, rows=8).astype(np.int64)
    assert abs(xi.std() / distribution.deviation - 1) < 0.01
    assert abs(xi.mean()) < 4 * distribution.deviation / xi.size**0.5

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.generator import BLOCK_BITS, blocks, signs, stream

WORDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_random123(counter, key, expected):
    assert tuple(map(int, blocks(*key, *counter))) == expected


def _literal(seed, step, block, probe):
    """Threefry-2x32-20 as the paper gives it, on Python integers."""
    mask = 0xFFFFFFFF
    keys = [seed, step, seed ^ step ^ 0x1BD11BDA]
    x, y = (block + seed) & mask, (probe + step) & mask
    for number in range(20):
        rotation = (13, 15, 26, 6, 17, 29, 16, 24)[number % 8]
        x = (x + y) & mask
        y = ((y << rotation | y >> (32 - rotation)) & mask) ^ x
        if number % 4 == 3:
            injection = number // 4 + 1
            x = (x + keys[injection % 3]) & mask
            y = (y + keys[(injection + 1) % 3] + injection) & mask
    return x, y


@given(WORDS, WORDS, WORDS, WORDS)
def test_blocks_follow_the_definition(seed, step, block, probe):
    assert tuple(map(int, blocks(seed, step, block, probe))) == _literal(seed, step, block, probe)


def test_blocks_broadcast_and_take_integers_modulo_2_to_32():
    low, high = blocks(-1, [[3], [4]], [0, 1, 2], 7)
    assert low.shape == high.shape == (2, 3)
    assert low.dtype == high.dtype == np.uint32
    assert (int(low[1, 2]), int(high[1, 2])) == _literal(0xFFFFFFFF, 4, 2, 7)


@given(WORDS, WORDS, WORDS, st.integers(0, 1 << 20), st.integers(0, 3))
def test_stream_is_successive_blocks(seed, step, probe, first, count):
    low, high = blocks(seed, step, first + np.arange(count), probe)
    expected = np.stack([low, high], axis=1).reshape(-1)
    np.testing.assert_array_equal(stream(seed, step, probe, count, first=first), expected)


def test_stream_of_many_chunks():
    count = 20_000
    low, high = blocks(1, 2, 5 + np.arange(count), 3)
    words = stream(1, 2, 3, count, first=5)
    np.testing.assert_array_equal(words[0::2], low)
    np.testing.assert_array_equal(words[1::2], high)


def test_stream_of_a_negative_number_of_blocks_is_refused():
    with pytest.raises(ValueError, match="count must not be negative, not -1"):
        stream(0, 0, 0, -1)


def test_signs_are_the_bits_of_the_stream():
    indices = np.arange(10 * BLOCK_BITS)
    bits = np.unpackbits(stream(9, 8, 7, 10).astype("<u4").view(np.uint8), bitorder="little")
    np.testing.assert_array_equal(signs(9, 8, 7, indices), np.where(bits, 1, -1))
    np.testing.assert_array_equal(
        signs(9, 8, 7, indices.reshape(5, -1)[:, 3]), np.where(bits, 1, -1).reshape(5, -1)[:, 3]
    )


@pytest.mark.parametrize("axis", ["seed", "step", "probe", "block"])
def test_neighbouring_coordinates_are_uncorrelated(axis):
    coordinates = {"seed": 5, "step": 0, "probe": 0, "block": np.arange(4096) * 16}
    low, _ = blocks(**coordinates)
    coordinates[axis] = coordinates[axis] + 1
    other, _ = blocks(**coordinates)
    differing = int(np.bitwise_count(low ^ other).sum())
    bits = 32 * 4096
    assert abs(differing - bits / 2) < 5 * np.sqrt(bits) / 2

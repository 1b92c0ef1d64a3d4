"""The generator's bits against classical tests of randomness, over more than 1e8 bits.

Every statistic is brought to a standard normal deviate z under the hypothesis of independent fair
bits. With all tests of this file together, a perfect generator exceeds LIMIT once in some hundred
choices of seeds; the seeds are fixed, so these tests are deterministic. The gateware gives the same
bits (see the generator's bench).
"""

import numpy as np
import pytest

from dither.arch.generator import blocks, stream

BITS = 1 << 27  # 1.3e8
LIMIT = 4.5
SEED, STEP, PROBE = 20_241_121, 7, 3


def unpacked(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.view(np.uint8), bitorder="little")


def ones(words: np.ndarray) -> int:
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def monobit_z(words: np.ndarray) -> float:
    count = words.size * 32
    return (2 * ones(words) - count) / count**0.5


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    return stream(SEED, STEP, PROBE, BITS // 64)


def test_monobit(words):
    assert abs(monobit_z(words)) < LIMIT


def test_every_bit_position_is_fair(words):
    """A weak output bit would vanish in the total."""
    for half in (words[0::2], words[1::2]):
        for bit in range(32):
            count = half.size
            z = (2 * int(((half >> np.uint32(bit)) & 1).sum(dtype=np.int64)) - count) / count**0.5
            assert abs(z) < LIMIT, bit


def test_runs(words):
    """Wald-Wolfowitz: the number of runs is one more than the number of changes, each with
    probability 1/2.
    """
    bits = unpacked(words)
    changes = int(np.count_nonzero(bits[1:] != bits[:-1]))
    n = bits.size - 1
    assert abs(2 * changes - n) / n**0.5 < LIMIT


@pytest.mark.parametrize("lag", [*range(1, 17), 31, 32, 33, 63, 64, 65, 127, 128, 2048])
def test_serial_correlation(words, lag):
    bits = unpacked(words[: 1 << 19])
    n = bits.size - lag
    agree = n - int(np.count_nonzero(bits[lag:] ^ bits[:-lag]))
    assert abs(2 * agree - n) / n**0.5 < LIMIT


@pytest.mark.parametrize("lag", [1, 2, 64])
def test_word_lag_correlation_over_all_bits(words, lag):
    assert abs(monobit_z(words[lag:] ^ words[:-lag])) < LIMIT


def test_bytes_are_uniform(words):
    """Chi-square of 256 byte values, brought to a normal deviate."""
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = words.size * 4 / 256
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi2 - 255) / (2 * 255) ** 0.5 < LIMIT


@pytest.mark.parametrize(
    ("other"),
    [(SEED + 1, STEP, PROBE), (SEED, STEP + 1, PROBE), (SEED, STEP, PROBE + 1), (SEED ^ 1 << 31, STEP, PROBE)],
    ids=["seed", "step", "probe", "high bit of seed"],
)
def test_neighbours_are_uncorrelated(words, other):
    """Streams whose key or counter differ in one bit agree in half of their bits, everywhere."""
    difference = words ^ stream(*other, BITS // 64)
    assert abs(monobit_z(difference)) < LIMIT
    for bit in range(32):
        count = difference.size
        z = (2 * int(((difference >> np.uint32(bit)) & 1).sum(dtype=np.int64)) - count) / count**0.5
        assert abs(z) < LIMIT, bit


def test_many_seeds_at_one_index_are_fair():
    """The same index under successive seeds, steps and probes: what neighbouring runs and probes
    see.
    """
    n = 1 << 20
    along = np.arange(n)
    for coordinates in ((along, 0, 0, 0), (0, along, 0, 0), (0, 0, along, 0), (0, 0, 0, along)):
        low, high = blocks(*coordinates)
        for half in (low, high):
            assert abs(monobit_z(half)) < LIMIT
            assert abs(monobit_z(half[1:] ^ half[:-1])) < LIMIT


def test_the_tests_see_a_bad_generator(words):
    """Faults of one part in two thousand must show."""
    biased = words.copy()
    biased[::1000] |= np.uint32(0xFFFF)
    assert abs(monobit_z(biased)) > LIMIT
    repeated = words.copy()
    repeated[1::1000] = repeated[0:-1:1000]
    assert abs(monobit_z(repeated[1:] ^ repeated[:-1])) > LIMIT

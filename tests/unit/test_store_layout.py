"""The format of data sets in a board's memory: what is packed comes out, and damage is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch.device import DeviceError
from dither.arch.regmap import COUNTER_BASE, COUNTERS, PROGRAM_WINDOW
from dither.store.layout import (
    BLOCK_BYTES,
    ENTRY_BYTES,
    LITERAL,
    MAX_WORDS,
    PAGE_ENTRIES,
    Field,
    choose_layout,
    pack_samples,
    unpack_sample,
    words_of,
)
from dither.store.registers import DATA_WINDOW, REGISTERS, STORE_BASE, TABLE_WINDOW

ROOT = Path(__file__).parents[2]


def images(count: int, seed: int = 1) -> np.ndarray:
    """Samples like MNIST's: bytes in an engine's format, a fifth of them not zero, and a label."""
    random = np.random.default_rng(seed)
    samples = np.where(random.random((count, 785)) < 0.19, random.integers(1, 256, (count, 785)), 0) * 512 - 4096
    samples[:, -1] = np.arange(count) % 10
    return samples


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_packed_comes_out_again(data: st.DataObject) -> None:
    width = data.draw(st.sampled_from([16, 18]))
    count, words = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    most = data.draw(st.sampled_from([2, 200, 1 << (width - 1)]))
    samples = random.integers(-most, most, (count, words)) * (random.random((count, words)) < random.random())
    layout = choose_layout(samples, width)
    image = pack_samples(samples, layout)
    assert len(image.data) % BLOCK_BYTES == 0
    for number in range(count):
        assert (unpack_sample(image.data, number, layout) == samples[number]).all()
    lanes = random.integers(0, count, 4)
    assert (words_of(image.data, lanes.tolist(), layout) == samples[lanes].T).all()


def test_many_values_stand_there_themselves() -> None:
    samples = np.zeros((600, 5), np.int64)
    samples[:, 1] = np.arange(600) - 300
    samples[:, 2:] = -7
    layout = choose_layout(samples, 18)
    assert layout.fields == (Field(1, 0, 0), Field(1, LITERAL, -300), Field(3, 2, -7))
    image = pack_samples(samples, layout)
    assert all((unpack_sample(image.data, number, layout) == samples[number]).all() for number in range(600))


def test_images_take_a_byte_for_each_pixel_that_is_no_background() -> None:
    samples = images(400)
    layout = choose_layout(samples, 18)
    assert layout.fields == (Field(784, 0, -4096), Field(1, 1, 0))
    image = pack_samples(samples, layout)
    others = samples != layout.backgrounds()
    exact = sum(-(-(99 + np.count_nonzero(sample) + 4) // BLOCK_BYTES) for sample in others) * BLOCK_BYTES
    assert len(image.data) == exact + 400 * ENTRY_BYTES


def test_every_changed_bit_is_seen() -> None:
    samples = images(20)
    layout = choose_layout(samples, 18)
    image = pack_samples(samples, layout)
    entry = int.from_bytes(image.data[5 * ENTRY_BYTES :][:ENTRY_BYTES], "little")
    first = (entry & (1 << 22) - 1) * BLOCK_BYTES
    places = [*range(5 * ENTRY_BYTES, 6 * ENTRY_BYTES), *range(first, first + (entry >> 22) * BLOCK_BYTES)]
    for place in places:
        for bit in range(8):
            damaged = bytearray(image.data)
            damaged[place] ^= 1 << bit
            with pytest.raises(DeviceError, match="sample 5 is damaged"):
                unpack_sample(bytes(damaged), 5, layout)


def test_samples_that_change_places_are_seen() -> None:
    samples = images(20)
    layout = choose_layout(samples, 18)
    image = bytearray(pack_samples(samples, layout).data)
    entry = slice(3 * ENTRY_BYTES, 4 * ENTRY_BYTES), slice(4 * ENTRY_BYTES, 5 * ENTRY_BYTES)
    image[entry[0]], image[entry[1]] = image[entry[1]], image[entry[0]]
    with pytest.raises(DeviceError, match="sample 3 is damaged"):
        unpack_sample(bytes(image), 3, layout)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a value from 0 to 131072, too large for 18 bits"):
        choose_layout(np.array([[0, 1 << 17]]), 18)
    with pytest.raises(ValueError, match=r"samples of 1 to 65535 words, not an array of shape \(1, 65536\)"):
        choose_layout(np.zeros((1, MAX_WORDS + 1), np.int64), 18)
    layout = choose_layout(np.arange(PAGE_ENTRIES)[:, None], 18)
    with pytest.raises(ValueError, match=r"a sample has a value that the layout has no code for"):
        pack_samples(np.array([[-1]]), layout)
    with pytest.raises(ValueError, match=r"this layout is for samples of 1 words, not 2"):
        pack_samples(np.array([[0, 0]]), layout)
    long = np.arange(40_000)[None]
    with pytest.raises(ValueError, match=r"a sample has 3907 blocks of 32 bytes; the most is 1023"):
        pack_samples(long, choose_layout(long, 18))


def test_registers_stand_in_the_protocol_and_apart_from_the_engine_s() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    for register in REGISTERS:
        assert f"| {register.address:04X} | `{register.name}` | {register.access} | {register.doc} |" in text
    addresses = [register.address for register in REGISTERS]
    assert len(set(addresses)) == len(addresses)
    assert COUNTER_BASE + len(COUNTERS) <= STORE_BASE <= min(addresses)
    assert max(addresses) < DATA_WINDOW < TABLE_WINDOW < PROGRAM_WINDOW

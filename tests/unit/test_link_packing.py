"""Packed streams: bit for bit as docs/protocol.md says, whole beats only, in any pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dither.arch.config import EngineConfig, preset
from dither.arch.streams import beat_words
from dither.link.packing import (
    beat_chunks,
    beats_before,
    longest_beat,
    pack_input,
    pack_output,
    unpack_input,
    unpack_output,
)

CONFIGS = (
    preset("1x8"),
    preset("4x32"),
    EngineConfig(rows=1, lanes=1, lanes_per_table=1, width=16),
    EngineConfig(rows=8, lanes=2, lanes_per_table=2, width=16),
    EngineConfig(rows=4, lanes=8, word_parts=4),
    EngineConfig(rows=2, lanes=2, lanes_per_table=2, word_parts=2),
)


def random_beats(config: EngineConfig, count: int, seed: int, density: float) -> NDArray[np.uint32]:
    """Beats of so many words. Only some bits differ from zero; some beats repeat the one before,
    some that of the word before."""
    random = np.random.default_rng(seed)
    beats = count * config.word_parts
    shape = beats, beat_words(config)
    values = random.integers(0, 1 << 32, shape, dtype=np.uint32) * (random.random(shape) < density)
    bits = np.unpackbits(values.astype("<u4").view(np.uint8), axis=1, bitorder="little")
    bits[:, config.beat_width :] = 0
    values = np.packbits(bits, axis=1, bitorder="little").view("<u4").astype(np.uint32)
    for number in range(1, beats):
        if random.random() < 0.3:
            values[number] = values[max(0, number - int(random.choice((1, config.word_parts))))]
    return values


def literal(config: EngineConfig, beats: NDArray[np.uint32], *, repeats: bool) -> bytes:
    """The definition, one bit after the other."""
    mask, packed, before = (1 << config.width) - 1, b"", [0] * config.word_parts
    left = [sum(word << 32 * place for place, word in enumerate(words)) for words in beats.tolist()]
    together = config.word_parts if repeats else 1
    while left:
        stream = size = 0
        for beat in left[:together]:
            for chunk in range(beat_chunks(config)):
                value = beat >> chunk * config.width & mask
                left_out = before[0] >> chunk * config.width & mask if repeats else 0
                if value == left_out:
                    size += 1
                else:
                    stream |= (value << 1 | 1) << size
                    size += 1 + config.width
            before = [*before[1:], beat]
        left = left[together:]
        packed += stream.to_bytes(-(-size // 8), "little")
    return packed


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CONFIGS), st.integers(0, 40), st.integers(0, 999), st.sampled_from([0, 0.1, 0.5, 1]))
def test_definition(config: EngineConfig, count: int, seed: int, density: float) -> None:
    values = random_beats(config, count, seed, density)
    packed, last = pack_input(config, values)
    assert packed == literal(config, values, repeats=True)
    start = np.zeros((config.word_parts, beat_words(config)))
    assert np.array_equal(last, np.concatenate([start, values])[-config.word_parts :])
    assert np.array_equal(beats_before(config, None, values), last)
    assert pack_output(config, values) == literal(config, values, repeats=False)
    assert len(packed) <= len(values) * longest_beat(config)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CONFIGS), st.integers(1, 30), st.integers(0, 999), st.data())
def test_there_and_back_in_pieces(config: EngineConfig, count: int, seed: int, data: st.DataObject) -> None:
    values = random_beats(config, count, seed, 0.5)
    cut = data.draw(st.integers(0, count)) * config.word_parts
    first, last = pack_input(config, values[:cut])
    second, _ = pack_input(config, values[cut:], last)
    packed = first + second
    assert packed == pack_input(config, values)[0]

    previous, found = None, np.zeros((0, beat_words(config)), np.uint32)
    held = b""
    for start in range(0, len(packed), 7):
        held += packed[start : start + 7]
        part, used = unpack_input(config, held, previous, limit=data.draw(st.sampled_from([None, 1, 5, 8])))
        held = held[used:]
        found = np.concatenate([found, part])
        previous = beats_before(config, previous, part)
    part, used = unpack_input(config, held, previous)
    assert used == len(held)
    assert np.array_equal(np.concatenate([found, part]), values)

    output = pack_output(config, values)
    everything, used = unpack_output(config, output)
    assert used == len(output)
    assert np.array_equal(everything, values)
    some, used = unpack_output(config, output[:-1])
    assert len(some) == len(values) - 1
    assert used <= len(output) - 1
    assert unpack_output(config, output, limit=1)[1] == len(pack_output(config, values[:1]))


def test_sizes() -> None:
    config = preset("4x32")
    assert beat_chunks(config) == 32
    assert longest_beat(config) == 76
    repeated = np.full((1000, beat_words(config)), 0x12345678, np.uint32)
    assert len(pack_input(config, repeated)[0]) == 76 + 999 * 4
    assert len(pack_output(config, np.zeros((1000, beat_words(config)), np.uint32))) == 4000


def test_other_shapes_are_refused() -> None:
    config = preset("1x8")
    wrong = np.zeros((3, beat_words(config) + 1), np.uint32)
    with pytest.raises(ValueError, match="words, not shape"):
        pack_input(config, wrong)
    with pytest.raises(ValueError, match="words, not shape"):
        pack_output(config, wrong)
    with pytest.raises(ValueError, match="words, not shape"):
        unpack_input(config, b"", wrong[:1])
    with pytest.raises(ValueError, match="a word of this engine has 1 beats, not 2"):
        pack_input(config, wrong[:, 1:], wrong[:2, 1:])
    with pytest.raises(ValueError, match="a word of this engine has 4 beats; 3 are no whole words"):
        pack_input(CONFIGS[4], np.zeros((3, beat_words(CONFIGS[4])), np.uint32))

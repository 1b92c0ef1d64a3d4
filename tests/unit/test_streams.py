import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.isa import Memory
from dither.arch.streams import Segment, beat_words, beats_per_word, memory_bits, pack, physical_beats, slots, unpack

CONFIGS = [
    EngineConfig(rows=1, lanes=1, lanes_per_table=1, width=16),
    EngineConfig(rows=2, lanes=3, lanes_per_table=1, width=18),
    EngineConfig(rows=8, lanes=32, width=18),
    EngineConfig(rows=8, lanes=16, width=18, word_parts=4),
]
KINDS = [None, *Memory]
WHOLE = (None, Memory.ACTIVATION_TABLE, Memory.SCALAR_TABLE)


def _range(config, kind, slot):
    """Lowest and highest value that a memory of this kind holds in one slot."""
    if kind is Memory.MOMENT2 or (kind is Memory.SCALAR_TABLE and slot == 0):
        return 0, 2 ** slots(config, kind)[1] - 1
    width = config.width if kind is Memory.WEIGHT else slots(config, kind)[1]
    return -(2 ** (width - 1)), 2 ** (width - 1) - 1


def _random(config, kind, beats, rng):
    columns = []
    for slot in range(slots(config, kind)[0]):
        lowest, highest = _range(config, kind, slot)
        columns.append(rng.choice([lowest, highest, -1 if lowest else 1, *rng.integers(lowest, highest + 1, 9)], beats))
    return np.stack(columns, axis=1).astype(np.int64)


@given(st.sampled_from(CONFIGS), st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 5)), max_size=4), st.data())
def test_segments_survive_packing(config, parts, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    segments = [Segment(kind, _random(config, kind, beats, rng)) for kind, beats in parts]
    beats = pack(config, segments)
    assert beats.dtype == np.uint32
    lengths = [physical_beats(config, segment) for segment in segments]
    assert beats.shape == (sum(lengths), beat_words(config))
    position = 0
    for segment, length in zip(segments, lengths, strict=True):
        part = beats[position : position + length]
        np.testing.assert_array_equal(unpack(config, segment.kind, part), segment.values)
        position += len(part)


@given(st.sampled_from(CONFIGS), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_a_beat_is_the_sum_of_its_slots(config, kind, seed):
    values = _random(config, kind, 3, np.random.default_rng(seed))
    count, _, pitch = slots(config, kind)
    if kind in WHOLE:
        parts = values.repeat(config.word_parts, axis=0)
    else:
        parts = values.reshape(-1, count // config.word_parts)
    for beat, words in zip(parts.tolist(), pack(config, [Segment(kind, values)]).tolist(), strict=True):
        expected = sum((value % (1 << pitch)) << (slot * pitch) for slot, value in enumerate(beat))
        assert sum(word << (32 * i) for i, word in enumerate(words)) == expected


@pytest.mark.parametrize("config", CONFIGS)
def test_slots_fit_a_beat(config):
    for kind in KINDS:
        count, width, pitch = slots(config, kind)
        assert width <= pitch
        whole = kind in WHOLE
        assert beats_per_word(config, kind) == config.word_parts
        assert count * pitch <= config.beat_width * (1 if whole else config.word_parts)
        assert config.beat_width <= 32 * beat_words(config)


def test_scalars_are_as_many_beats_as_words_have_parts():
    segment = Segment.scalars([1, -2])
    assert segment.kind is None
    assert segment.values.tolist() == [[1], [-2]]
    assert pack(CONFIGS[0], [segment])[:, 0].tolist() == [1, 2**32 - 2]
    assert pack(CONFIGS[3], [segment])[:, 0].tolist() == [1] * 4 + [2**32 - 2] * 4


def test_wrong_numbers_of_slots_are_refused():
    with pytest.raises(ValueError, match=r"segment needs 32 slots a beat, not shape \(2, 31\)"):
        pack(CONFIGS[2], [Segment(Memory.ACTIVATION, np.zeros((2, 31), np.int64))])


def test_memories_are_counted() -> None:
    small = EngineConfig(rows=1, lanes=8, activation_depth=1024, parameter_depth=2048, program_depth=512)
    bits = memory_bits(small)
    tables = [bits.pop(name) for name in ("ACTIVATION_TABLE", "SCALAR_TABLE")]
    assert tables == [small.activation_tables * 512 * 36, 3 * 512 * 36]
    assert sum(bits.values()) == 1024 * 8 * 18 + 2048 * (18 + 32 + 48 + 32 + 32) + 512 * 32

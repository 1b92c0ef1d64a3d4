"""The sample store with its chip: the same beats as streaming, soon enough, and damage is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.isa import Memory
from dither.arch.streams import Segment, pack
from dither.store.chip import chip
from dither.store.image import number_beats
from dither.store.layout import BLOCK_BYTES, ENTRY_BYTES, StoreImage, choose_layout, pack_samples
from dither.store.registers import address
from dither_sim.memory.store import StoreSimulation
from tests.unit.test_store_layout import images

CLOCK_HZ = 100_000_000
PATIENCE = 400_000
ENGINES = {
    # Four units on words in parts; as many on whole words; two; one.
    "8x16": (EngineConfig(rows=8, lanes=16, word_parts=4, local_learning=0), "mt48lc16m16a2-75"),
    "4x16": (EngineConfig(rows=4, lanes=16, width=16), "as4c32m8sa-7"),
    "2x8": (EngineConfig(rows=2, lanes=8), "m12l16161a-7-pair"),
    "1x2": (EngineConfig(rows=1, lanes=2, lanes_per_table=1), "w9825g6kh-6"),
}


@dataclass
class Case:
    """A store for one engine, with two data sets for it."""

    config: EngineConfig
    store: StoreSimulation
    samples: NDArray[np.int64]
    image: StoreImage

    def beats(self, numbers: NDArray[np.int64], samples: NDArray[np.int64] | None = None) -> NDArray[np.uint32]:
        """The beats of streaming these samples, group by group."""
        chosen = (self.samples if samples is None else samples)[numbers].reshape(
            -1, self.config.lanes, numbers_of(self)
        )
        return pack(self.config, [Segment(Memory.ACTIVATION, np.ascontiguousarray(group.T)) for group in chosen])


def numbers_of(case: Case) -> int:
    return case.samples.shape[1]


@pytest.fixture(
    scope="module", params=["8x16", *(pytest.param(n, marks=pytest.mark.slow) for n in ("4x16", "2x8", "1x2"))]
)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    config, name = ENGINES[request.param]
    samples = images(40) >> (18 - config.width)
    image = pack_samples(samples, choose_layout(samples, config.width))
    with StoreSimulation(config, chip(name), CLOCK_HZ) as store:
        yield Case(config, store, samples, image)
        assert not store.standing.broken


def load(case: Case, image: StoreImage | None = None) -> None:
    image = image or case.image
    assert case.store.load(image) == image.check
    case.store.write(address("store_control"), [1])


@pytest.mark.parametrize("pattern", [0, 1, 2])
def test_the_same_beats_as_streaming(case: Case, pattern: int) -> None:
    load(case)
    random = np.random.default_rng(pattern)
    numbers = random.integers(0, 40, 4 * case.config.lanes)
    scalars = pack(case.config, [Segment.scalars([3, -4])])
    cut = 3 * case.config.lanes
    given = [scalars, number_beats(case.config, numbers[:cut]), scalars, number_beats(case.config, numbers[cut:])]
    wanted = [scalars, case.beats(numbers[:cut]), scalars, case.beats(numbers[cut:])]
    found, _ = case.store.run(
        np.concatenate([*given, scalars]), len(np.concatenate([*wanted, scalars])), pattern, PATIENCE
    )
    assert np.array_equal(found, np.concatenate([*wanted, scalars]))
    assert not case.store.standing.damaged
    case.store.idle(20)
    assert not case.store.standing.holds


def test_data_of_all_kinds(case: Case) -> None:
    width = case.config.width
    random = np.random.default_rng(5)
    most = 1 << (width - 1)
    samples = random.integers(-most, most, (900, 21)) * (random.random((900, 21)) < 0.7)
    samples[:, 7:16] = random.integers(-2, 3, (900, 9))
    samples[0], samples[1] = 0, -most
    layout = choose_layout(samples, width)
    assert len(layout.fields) == 3
    load(case, pack_samples(samples, layout))
    numbers = np.concatenate([[0, 1], random.integers(0, 900, 6 * case.config.lanes - 2)])
    chosen = samples[numbers].reshape(-1, case.config.lanes, 21)
    wanted = pack(case.config, [Segment(Memory.ACTIVATION, np.ascontiguousarray(group.T)) for group in chosen])
    for pattern in (0, 2):
        found, _ = case.store.run(number_beats(case.config, numbers), len(wanted), pattern, PATIENCE)
        assert np.array_equal(found, wanted)
    assert not case.store.standing.damaged


def test_a_group_comes_nearly_as_fast_as_steps_allow(case: Case) -> None:
    load(case)
    lanes, parts = case.config.lanes, case.config.word_parts
    numbers = np.arange(4 * lanes) % 40
    wanted = case.beats(numbers)
    found, at = case.store.run(number_beats(case.config, numbers), len(wanted), 0, PATIENCE)
    assert np.array_equal(found, wanted)
    group = numbers_of(case) * parts
    units = case.store.units
    # With fewer than four lanes, a unit waits for its queues; a chip of eight bits is slower.
    steps = numbers_of(case) * max(lanes // units, 2) * 9 / 8 * (1.01 if lanes // units >= 4 else 1.3)
    words = lanes * len(case.image.data) / 40 * 8 / case.store.chip.width
    for number in range(4):
        assert at[(number + 1) * group - 1] - at[number * group] < max(steps, 1.3 * words)
    for number in range(1, 4):
        assert at[number * group] - at[number * group - 1] < 60 * lanes


def test_beats_pass_while_nobody_names_samples(case: Case) -> None:
    case.store.write(address("store_control"), [0])
    beats = case.beats(np.arange(case.config.lanes))
    found, at = case.store.run(beats, len(beats), 0, PATIENCE)
    assert np.array_equal(found, beats)
    assert at[-1] - at[0] == len(beats) - 1


def test_bits_that_change_in_the_chip_are_seen(case: Case) -> None:
    load(case)
    random = np.random.default_rng(3)
    blocks = len(case.image.data) // BLOCK_BYTES
    assert case.store.verify(blocks) == case.image.check
    for trial in range(60):
        number = int(random.integers(40))
        entry = int.from_bytes(case.image.data[number * ENTRY_BYTES :][:ENTRY_BYTES], "little")
        first, count = entry & (1 << 22) - 1, entry >> 22
        # Every fourth time in the index.
        place = number * ENTRY_BYTES + int(random.integers(ENTRY_BYTES))
        if trial % 4:
            place = first * BLOCK_BYTES + int(random.integers(count * BLOCK_BYTES))
        bits = 1 << int(random.integers(8))
        case.store.upset(place, bits)
        if trial % 10 == 0:
            assert case.store.verify(blocks) != case.image.check
        numbers = (number + 1 + np.arange(case.config.lanes)) % 40
        numbers[int(random.integers(len(numbers)))] = number
        wanted = case.beats(numbers)
        found, _ = case.store.run(number_beats(case.config, numbers), len(wanted), 0, PATIENCE)
        assert len(found) == len(wanted), "the store hangs"
        case.store.idle(40_000)
        assert case.store.standing.damaged
        assert case.store.read("store_damaged") == number
        case.store.upset(place, bits)
        case.store.reset()
        case.store.write(address("store_control"), [1])
        assert not case.store.standing.damaged
        found, _ = case.store.run(number_beats(case.config, numbers), len(wanted), 0, PATIENCE)
        assert np.array_equal(found, wanted)
        assert not case.store.standing.damaged


def test_a_sample_that_is_not_there_is_seen(case: Case) -> None:
    load(case)
    numbers = np.arange(case.config.lanes) % 40
    beats = number_beats(case.config, numbers)
    beats[-case.config.word_parts :, 0] = 40
    found, _ = case.store.run(beats, len(case.beats(numbers)), 0, PATIENCE)
    assert len(found) == len(case.beats(numbers))
    assert case.store.standing.damaged
    assert case.store.read("store_damaged") == 40
    case.store.reset()


@pytest.mark.parametrize("after", [1, 40, 150, 600, 2000, 3900])
def test_a_reset_ends_a_group(case: Case, after: int) -> None:
    load(case)
    numbers = np.arange(2 * case.config.lanes) % 40
    wanted = case.beats(numbers)
    beats = number_beats(case.config, numbers)
    case.store.run(beats[: len(beats) - 3], len(wanted), 0, after)
    case.store.reset()
    case.store.write(address("store_control"), [1], after % 7)
    found, _ = case.store.run(beats, len(wanted), 0, PATIENCE)
    assert np.array_equal(found, wanted)
    assert not case.store.standing.damaged

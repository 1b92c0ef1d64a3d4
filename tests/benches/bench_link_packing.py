"""Unpacker and Packer against the packing in software, under patterns of pauses.

Parameters: ``config``, ``part`` (unpacker or packer), ``pattern`` of the stream of beats, ``count``
of beats.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb

from dither.arch.config import EngineConfig
from dither.link.packing import beat_chunks, longest_beat, pack_input, pack_output

from .beats import Sink, Source
from .cycles import begin, next_cycle, settled
from .link_twin import beat_array, random_beats
from .runner import bench_config, bench_parameters

_PATIENCE = 2000
_BITS = 8
_LATE_BITS = 3
"""Bits that may still come after the one that is just coming in."""


def _bits(data: bytes) -> list[int]:
    return [byte >> i & 1 for byte in data for i in range(_BITS)]


class _Word:
    """A word of the packed stream on its way in."""

    def __init__(self, config: EngineConfig) -> None:
        self._width = config.width
        self.least = config.word_parts * beat_chunks(config)
        """Bits that it still takes if all further chunks are left out."""
        self._chunk = 0

    def take(self, bit: int) -> None:
        if self.least:
            self.least -= 1
            if self._chunk:
                self._chunk -= 1
            elif bit:
                self.least, self._chunk = self.least + self._width, self._width


@cocotb.test(skip=bench_parameters()["part"] != "unpacker")
async def unpacker(dut: Any) -> None:
    config, parameters, random = bench_config(), bench_parameters(), Random(cocotb.RANDOM_SEED)
    await begin(dut, bits=0, bit=0, output__ready=0)
    sink = Sink(dut, "output", parameters["pattern"], random)
    beats = random_beats(config, random, parameters["count"])
    data, last, sent = list[int](), None, 0
    while sent < len(beats):
        piece = beats[sent : sent + random.randrange(1, 5) * config.word_parts]
        packed, last = pack_input(config, beat_array(config, piece), last)
        data, sent = data + _bits(packed), sent + len(piece)
    left, waited, due, pairs = 0, 0, 0, 0
    word, late = _Word(config), None
    while len(sink.beats) < len(beats):
        if not left:
            left, due = due, 0
        bit, taken = data.pop(0) if left else random.randrange(2), len(sink.beats)
        dut.bits.value, dut.bit.value = left > 0, bit
        sink.drive()
        await settled(dut)
        sink.settle()
        coming = 0 if late is None else _LATE_BITS
        asked = int(dut.want.value), int(dut.pair.value)
        assert asked == (word.least > coming, word.least > coming + _BITS), f"{asked} with {word.least} bits to come"
        if late is not None:
            word.take(late)
        late = bit if left else None
        if len(sink.beats) > taken and len(sink.beats) % config.word_parts == 0:
            word = _Word(config)
        # Asked between two bytes, or when two bits of a pair are to come.
        if left in (0, 2) and not due and data and random.random() < 0.6 and int(dut.want.value):
            due = 2 * _BITS if int(dut.pair.value) and random.random() < 0.8 else _BITS
            pairs += due > _BITS
        left, waited = max(0, left - 1), waited + 1
        assert int(dut.held.value) or left or not int(dut.output__valid.value), "a beat is on offer and not held"
        assert waited < _PATIENCE * len(beats), f"{len(sink.beats)} beats of {len(beats)}"
        await next_cycle(dut)
        dut.bits.value = 0
    assert sink.beats == beats
    assert not data, f"{len(data)} bits too many"
    assert pairs or longest_beat(config) <= 2, "never two bytes at once"


@cocotb.test(skip=bench_parameters()["part"] != "packer")
async def packer(dut: Any) -> None:
    config, parameters, random = bench_config(), bench_parameters(), Random(cocotb.RANDOM_SEED)
    await begin(dut, take=0, input__valid=0)
    source = Source(dut, "input", parameters["pattern"], random)
    beats = random_beats(config, random, parameters["count"])
    source.send(beats)
    expected = _bits(pack_output(config, beat_array(config, beats)))
    taken: list[int] = []
    left, waited, held = 0, 0, False
    while len(taken) < len(expected) or left < 0:
        # At least two cycles lie between two bytes.
        if left == 0 and held and random.random() < 0.6:
            left = _BITS
        dut.take.value = left > 0
        source.drive()
        await settled(dut)
        source.settle()
        if left > 0:
            taken.append(int(dut.bit.value))
        held = bool(int(dut.held.value))
        left, waited = (-2 if left == 1 else left - 1 if left > 0 else min(0, left + 1)), waited + 1
        assert waited < _PATIENCE * len(beats), f"{len(taken)} bits of {len(expected)}"
        await next_cycle(dut)
    assert taken == expected
    assert not int(dut.held.value)
    assert not source.beats

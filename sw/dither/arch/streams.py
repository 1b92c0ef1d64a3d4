"""Contents of an engine's input and output streams, as arrays and as bits.

A program's streams are sequences of *segments*: a kind (a memory, or ``None`` for scalar registers)
and an integer array of shape (words, slots). The golden machine takes the arrays as they are;
:func:`pack` and :func:`unpack` turn them into the beats of the physical streams and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import EngineConfig
from .isa import GRADIENT_BITS, MASTER_BITS, WORD_BITS, Memory
from .tables import ScalarTable

__all__ = [
    "Expect",
    "Segment",
    "beat_words",
    "beats_per_word",
    "memory_bits",
    "memory_depth",
    "pack",
    "physical_beats",
    "slots",
    "unpack",
]

SCALAR_TABLE_BITS = 18
"""Bits of the value, and bits of the slope, of a scalar table's entry."""
_WHOLE = (None, Memory.ACTIVATION_TABLE, Memory.SCALAR_TABLE)
"""Kinds that are never cut into parts; each is sent as often as other words have parts."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the input or output stream: ``values[word, slot]``, all of one kind.

    It holds the words of one LOAD or STORE or, with kind ``None``, the scalars of PULLs or EMITs.
    """

    kind: Memory | None
    """Memory whose words these are; None for scalars."""
    values: NDArray[np.int64]
    """Integers of shape (words, slots)."""

    @classmethod
    def scalars(cls, values: ArrayLike) -> Segment:
        """Makes a segment of 32-bit scalars from integers of any shape, one word each."""
        return cls(None, np.asarray(values, dtype=np.int64).reshape(-1, 1))


@dataclass(frozen=True, slots=True)
class Expect:
    """An announced segment of the output stream: its kind and its number of words."""

    kind: Memory | None
    """Memory whose words are expected; None for scalars."""
    beats: int
    """Number of words; on engines that cut words, each of them takes several beats."""


def memory_depth(config: EngineConfig, kind: Memory) -> int:
    """Returns the number of words of a memory."""
    match kind:
        case Memory.ACTIVATION:
            return config.activation_depth
        case Memory.WEIGHT:
            return config.weight_depth
        case Memory.ACTIVATION_TABLE:
            return config.activation_tables << config.table_bits
        case Memory.SCALAR_TABLE:
            return len(ScalarTable) << config.table_bits
        case _:
            return config.parameter_depth


def memory_bits(config: EngineConfig) -> dict[str, int]:
    """Returns the bits of each memory of an engine, by its name for people, the program's first."""
    words = {
        Memory.ACTIVATION: config.lanes * config.width,
        Memory.WEIGHT: config.rows * config.width,
        Memory.MASTER: config.rows * MASTER_BITS,
        Memory.GRADIENT: config.rows * GRADIENT_BITS,
        Memory.MOMENT1: config.rows * MASTER_BITS,
        Memory.MOMENT2: config.rows * MASTER_BITS,
        Memory.ACTIVATION_TABLE: 2 * config.width,
        Memory.SCALAR_TABLE: 2 * SCALAR_TABLE_BITS,
    }
    sizes = {kind.name: memory_depth(config, kind) * bits for kind, bits in words.items()}
    return {"PROGRAM": config.program_depth * WORD_BITS, **sizes}


def slots(config: EngineConfig, kind: Memory | None) -> tuple[int, int, int]:
    """Returns how a word of one kind is divided into slots.

    :returns: number of slots, bits of a slot's value, distance of neighbouring slots in bits.
    """
    match kind:
        case None:
            return 1, WORD_BITS, WORD_BITS
        case Memory.ACTIVATION:
            return config.lanes, config.width, config.width
        case Memory.ACTIVATION_TABLE:
            return 2, config.width, config.width
        case Memory.SCALAR_TABLE:
            return 2, SCALAR_TABLE_BITS, SCALAR_TABLE_BITS
        case Memory.GRADIENT:
            return config.rows, GRADIENT_BITS, GRADIENT_BITS
        case _:
            return config.rows, MASTER_BITS, MASTER_BITS


def beat_words(config: EngineConfig) -> int:
    """Returns the number of 32-bit words that hold one beat."""
    return -(-config.beat_width // WORD_BITS)


def _pieces(config: EngineConfig, kind: Memory | None) -> int:
    """Returns the number of different beats that one word, or one scalar, takes.

    That is one for each of its parts; in compact engines, whose beats are narrow, as many as it
    fills.
    """
    count, _, pitch = slots(config, kind)
    if config.family.beat_bits:
        return -(-count * pitch // config.beat_width)
    return 1 if kind in _WHOLE else config.word_parts


def beats_per_word(config: EngineConfig, kind: Memory | None) -> int:
    """Returns the number of beats that one word of a memory, or one scalar, takes.

    All kinds take ``word_parts`` beats: what is not cut into parts is repeated. In compact engines
    a word takes as many beats as it fills.
    """
    return _pieces(config, kind) if config.family.beat_bits else config.word_parts


def _bits_per_beat(config: EngineConfig, kind: Memory | None) -> int:
    """Returns the number of a word's bits that one beat carries, from the lowest bit on."""
    if config.family.beat_bits:
        return config.beat_width
    count, _, pitch = slots(config, kind)
    return count * pitch // _pieces(config, kind)


def physical_beats(config: EngineConfig, part: Segment | Expect) -> int:
    """Returns the number of beats that a segment takes on the physical stream."""
    words = len(part.values) if isinstance(part, Segment) else part.beats
    return words * beats_per_word(config, part.kind)


def pack(config: EngineConfig, segments: Sequence[Segment]) -> NDArray[np.uint32]:
    """Returns segments as the beats of the physical input stream, shape (beats, beat_words).

    Slot 0 is in the lowest bits, 32-bit words are in little-endian order. What takes several beats
    comes with the lowest slots (in a compact engine: the lowest bits) first; scalars and entries of
    tables, which are not cut, are the same in each of their beats.

    :raises ValueError: if a segment has another number of slots than its kind.
    """
    words = beat_words(config)
    parts = [_pack_segment(config, segment, words) for segment in segments]
    return np.concatenate(parts) if parts else np.zeros((0, words), np.uint32)


def _pack_segment(config: EngineConfig, segment: Segment, words: int) -> NDArray[np.uint32]:
    count, _, pitch = slots(config, segment.kind)
    beats, width = _pieces(config, segment.kind), _bits_per_beat(config, segment.kind)
    copies = beats_per_word(config, segment.kind) // beats
    values = segment.values
    if values.ndim != 2 or values.shape[1] != count:
        raise ValueError(f"a {segment.kind!r} segment needs {count} slots a beat, not shape {values.shape}")
    bits = np.zeros((len(values), beats * width), np.uint8)
    shifted = (values[:, :, None] >> np.arange(pitch)) & 1
    bits[:, : count * pitch] = shifted.reshape(len(values), count * pitch)
    padded = np.zeros((len(values) * beats, words * WORD_BITS), np.uint8)
    padded[:, :width] = bits.reshape(-1, width)
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").repeat(copies, axis=0)


def unpack(config: EngineConfig, kind: Memory | None, beats: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Returns the values that physical beats of one kind hold, shape (words, slots).

    They are signed, but for second moments and the values of scalar tables.
    """
    count, width, pitch = slots(config, kind)
    pieces = _pieces(config, kind)
    copies = beats_per_word(config, kind) // pieces
    physical = np.unpackbits(np.ascontiguousarray(beats[::copies], "<u4").view(np.uint8), axis=1, bitorder="little")
    used = _bits_per_beat(config, kind)
    bits = physical[:, :used].reshape(-1, pieces * used)
    fields = bits[:, : count * pitch].reshape(len(bits), count, pitch)[:, :, :width].astype(np.int64)
    values: NDArray[np.int64] = fields @ (np.int64(1) << np.arange(width, dtype=np.int64))
    signed: NDArray[np.int64] = values - ((values >> (width - 1)) << width)
    if kind is Memory.MOMENT2:
        return values
    if kind is Memory.SCALAR_TABLE:
        signed[:, 0] = values[:, 0]
    return signed

"""The engine's streams as they travel over the link: beats without what repeats.

The format is in docs/protocol.md, "Streams". Input travels in words of the engine, which are
``word_parts`` beats each, output in beats. Beats are arrays of shape (beats, words) as
:func:`dither.arch.streams.pack` makes them: 32-bit words, the lowest first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.isa import WORD_BITS
from ..arch.streams import beat_words

__all__ = ["beat_chunks", "beats_before", "longest_beat", "pack_input", "pack_output", "unpack_input", "unpack_output"]

Beats = NDArray[np.uint32]
"""Beats as an array of shape (beats, 32-bit words of a beat)."""
_SLICE = 1 << 13
"""Number of beats packed at once, so that the data at work stay in cache; whole words."""


def beat_chunks(config: EngineConfig) -> int:
    """Returns the number of chunks of W bits that a beat is cut into."""
    return -(-config.beat_width // config.width)


def longest_beat(config: EngineConfig) -> int:
    """Returns the number of bytes that a beat takes when none of its chunks is left out."""
    return -(-beat_chunks(config) * (config.width + 1) // 8)


def pack_input(config: EngineConfig, beats: Beats, previous: Beats | None = None) -> tuple[bytes, Beats]:
    """Packs beats for bodies of DATA, leaving out chunks that repeat the word before.

    :param beats: shape (beats, words), those of whole words.
    :param previous: the beats of the word before, as from :func:`beats_before`; None at the start
        of a session.
    :returns: the bytes, and the last word's beats, for the next call.
    :raises ValueError: if the shapes are not those of this engine.
    """
    beats, parts = _checked(config, beats), config.word_parts
    if len(beats) % parts:
        raise ValueError(f"a word of this engine has {parts} beats; {len(beats)} are no whole words")
    last = beats_before(config, previous)
    pieces = []
    for start in range(0, len(beats), _SLICE):
        both = np.concatenate([last, beats[start : start + _SLICE]])
        chunks = _split(config, both)
        shape = len(chunks) // parts - 1, parts * chunks.shape[1]
        kept = chunks[parts:] != chunks[:-parts]
        pieces.append(_pack(config, chunks[parts:].reshape(shape), kept.reshape(shape)))
        last = both[-parts:]
    return b"".join(pieces), last


def beats_before(config: EngineConfig, previous: Beats | None, beats: Beats | None = None) -> Beats:
    """Returns the beats that the next ones may repeat: those of the last word, the oldest first.

    :param previous: what was that before ``beats``; None at the start of a session, when it is
        zeros.
    :param beats: beats that follow, shape (beats, words).
    :returns: shape (``word_parts``, words).
    :raises ValueError: if the shapes are not those of this engine.
    """
    shape = config.word_parts, beat_words(config)
    last = np.zeros(shape, np.uint32) if previous is None else _checked(config, previous)
    if len(last) != config.word_parts:
        raise ValueError(f"a word of this engine has {config.word_parts} beats, not {len(last)}")
    return last if beats is None else np.concatenate([last, _checked(config, beats)])[-config.word_parts :]


def pack_output(config: EngineConfig, beats: Beats) -> bytes:
    """Packs beats for the bodies of FETCH's responses, leaving out chunks that are zero.

    :param beats: shape (beats, words).
    :raises ValueError: if the shape is not that of this engine.
    """
    beats = _checked(config, beats)
    parts = [_split(config, beats[start : start + _SLICE]) for start in range(0, len(beats), _SLICE)]
    return b"".join(_pack(config, part, part != 0) for part in parts)


def unpack_input(
    config: EngineConfig, data: bytes, previous: Beats | None = None, limit: int | None = None
) -> tuple[Beats, int]:
    """Returns the beats of the whole words at the front of a packed input stream.

    :param previous: the beats of the word before, as from :func:`beats_before`; None at the start
        of a session.
    :param limit: most beats to unpack.
    :returns: shape (beats, words), and how many bytes they took.
    """
    return _unpack(config, data, _split(config, beats_before(config, previous)).ravel().tolist(), limit)


def unpack_output(config: EngineConfig, data: bytes, limit: int | None = None) -> tuple[Beats, int]:
    """Returns the whole beats at the front of a packed output stream.

    :param limit: most beats to unpack.
    :returns: shape (beats, words), and how many bytes they took.
    """
    return _unpack(config, data, [], limit)


def _checked(config: EngineConfig, beats: Beats) -> Beats:
    words = beat_words(config)
    if beats.ndim != 2 or beats.shape[1] != words:
        raise ValueError(f"beats of this engine have {words} words, not shape {beats.shape}")
    return np.ascontiguousarray(beats, np.uint32)


def _split(config: EngineConfig, beats: Beats) -> Beats:
    """Cuts beats into chunks of W bits, shape (beats, chunks), the lowest first."""
    width, chunks = config.width, beat_chunks(config)
    padded = np.zeros((len(beats), beats.shape[1] + 1), np.uint64)
    padded[:, :-1] = beats
    starts = np.arange(chunks) * width
    words, shifts = starts // WORD_BITS, (starts % WORD_BITS).astype(np.uint64)
    pairs = padded[:, words] | (padded[:, words + 1] << np.uint64(WORD_BITS))
    chunk: Beats = ((pairs >> shifts) & np.uint64((1 << width) - 1)).astype(np.uint32)
    return chunk


def _join(config: EngineConfig, chunks: Beats) -> Beats:
    """Puts the chunks that :func:`_split` made together to beats."""
    words = beat_words(config)
    beats = np.zeros((len(chunks), words + 2), np.uint32)
    for number, start in enumerate(range(0, config.beat_width, config.width)):
        word, shift = divmod(start, WORD_BITS)
        shifted = chunks[:, number].astype(np.uint64) << np.uint64(shift)
        beats[:, word] |= shifted.astype(np.uint32)
        beats[:, word + 1] |= (shifted >> np.uint64(WORD_BITS)).astype(np.uint32)
    return np.ascontiguousarray(beats[:, :words])


def _pack(config: EngineConfig, chunks: Beats, kept: NDArray[np.bool_]) -> bytes:
    """Packs rows of chunks: a flag for each chunk, and the chunk where it is kept.

    Each row is filled up to a whole byte.
    """
    width, (total, count) = config.width, chunks.shape
    lengths = np.where(kept, width + 1, 1)
    ends = np.cumsum(lengths, axis=1)
    row_words = -(-count * (width + 1) // WORD_BITS) + 1
    bits = np.zeros(total * row_words, np.uint32)
    begin = np.arange(total) * (row_words * WORD_BITS)
    for number in range(count):
        # Only kept chunks set bits. No two rows share a 32-bit word, so |= on a list of words is
        # right.
        rows = np.flatnonzero(kept[:, number])
        places = begin[rows] + ends[rows, number] - (width + 1)
        values = (chunks[rows, number].astype(np.uint64) << np.uint64(1)) | np.uint64(1)
        shifted = values << (places % WORD_BITS).astype(np.uint64)
        words = places // WORD_BITS
        bits[words] |= shifted.astype(np.uint32)
        bits[words + 1] |= (shifted >> np.uint64(WORD_BITS)).astype(np.uint32)
    table = bits.astype("<u4", copy=False).view(np.uint8).reshape(total, row_words * 4)
    sizes = (ends[:, -1] + 7) // 8
    return table[np.arange(row_words * 4) < sizes[:, None]].tobytes()


def _unpack(config: EngineConfig, data: bytes, before: list[int], limit: int | None) -> tuple[Beats, int]:
    """Unpacks whole words whose left-out chunks are those of the word ``before``.

    If that is empty, it unpacks beats whose left-out chunks are zeros. Where a chunk begins depends
    on all before it, so this goes chunk by chunk; runs of left-out ones in one stride.
    """
    width, count = config.width, beat_chunks(config)
    repeats, parts = bool(before), len(before) // count or 1
    longest, mask = parts * longest_beat(config), (1 << width) - 1
    found: list[list[int]] = []
    position = 0
    while position < len(data) and (limit is None or (len(found) + 1) * parts <= limit):
        window = data[position : position + longest]
        stream, bits = int.from_bytes(window, "little"), 0
        chunks = before.copy() if repeats else [0] * count
        chunk = 0
        while chunk < len(chunks):
            skipped = (stream & -stream).bit_length() - 1 if stream else len(chunks)
            if chunk + skipped >= len(chunks):
                bits += len(chunks) - chunk
                break
            chunk += skipped
            chunks[chunk] = (stream >> (skipped + 1)) & mask
            stream >>= skipped + 1 + width
            bits += skipped + 1 + width
            chunk += 1
        size = (bits + 7) // 8
        if size > len(window):
            break
        position += size
        found.append(before := chunks)
    return _join(config, np.array(found, np.uint32).reshape(len(found) * parts, count)), position

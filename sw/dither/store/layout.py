"""The format of data sets in a board's memory: an index, and samples without their background.

docs/protocol.md, "The sample store", describes it. Here are a packer and the model that gateware is
held against.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.device import DeviceError

__all__ = [
    "BLOCK_BYTES",
    "ENTRY_BYTES",
    "GROUP",
    "LITERAL",
    "MAX_FIELDS",
    "MAX_SAMPLE_BLOCKS",
    "MAX_WORDS",
    "PAGES",
    "PAGE_ENTRIES",
    "Field",
    "Layout",
    "StoreImage",
    "check_sample",
    "choose_layout",
    "literal_bytes",
    "pack_samples",
    "unpack_sample",
]

Integers = NDArray[np.int64]

BLOCK_BYTES = 32
"""Bytes of a block: samples begin at whole blocks, and are read block by block."""
ENTRY_BYTES = 4
"""Bytes of an index entry."""
BLOCK_BITS = 22
"""Bits of the number of a block within an entry, the lowest ones; the count of blocks is above."""
MAX_SAMPLE_BLOCKS = (1 << (32 - BLOCK_BITS)) - 1
"""Most blocks of one sample."""
GROUP = 8
"""Number of words that share a byte of flags."""
PAGES = 4
"""Number of pages of the table of values."""
PAGE_ENTRIES = 256
"""Number of values of a page, so that a byte is a code."""
LITERAL = PAGES
"""Kind of a field whose values stand there themselves; smaller kinds are numbers of pages."""
MAX_FIELDS = 4
"""Most fields of a layout."""
MAX_WORDS = (1 << 16) - 1
"""Most words of a sample."""
_CHECK_BYTES = 4


def literal_bytes(width: int) -> int:
    """Returns the number of bytes of a value that stands there itself.

    :param width: bits of an engine's numbers.
    """
    return -(-width // 8)


@dataclass(frozen=True, slots=True)
class Field:
    """Neighbouring words of a sample that are coded in one way."""

    words: int
    """Number of words that are coded in this way."""
    kind: int
    """Number of the page that the words' codes are for, or :data:`LITERAL`."""
    background: int = 0
    """Value of words that are left out: the one that is there most often."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the words of a data set's samples are coded."""

    width: int
    """Bits of a word, a signed number."""
    fields: tuple[Field, ...]
    """Fields, one behind the other; at most :data:`MAX_FIELDS`."""
    table: tuple[int, ...]
    """Values of codes: :data:`PAGES` pages of :data:`PAGE_ENTRIES` values each."""

    @property
    def words(self) -> int:
        """Number of words of a sample."""
        return sum(field.words for field in self.fields)

    def kinds(self) -> Integers:
        """Returns the kind of each word, shape (words,)."""
        return self._each([field.kind for field in self.fields])

    def backgrounds(self) -> Integers:
        """Returns the value of each word that is left out, shape (words,)."""
        return self._each([field.background for field in self.fields])

    def _each(self, values: list[int]) -> Integers:
        return np.repeat(np.array(values, np.int64), [field.words for field in self.fields])


@dataclass(frozen=True, slots=True)
class StoreImage:
    """A data set as it stands in memory, from block 0 on."""

    layout: Layout
    """How words are coded."""
    samples: int
    """Number of samples that the index has entries for."""
    data: bytes
    """Contents of the memory, whole blocks: the index, then samples in order."""

    @property
    def check(self) -> int:
        """CRC-32 of all contents."""
        return zlib.crc32(self.data)


def choose_layout(samples: Integers, width: int) -> Layout:
    """Returns a layout for samples: codes of a byte where a page suffices, else the values.

    Neighbouring words share a page as long as all their values fit it, but for the most frequent
    one, which is left out.

    :param samples: integers of shape (samples, words).
    :param width: bits of a word.
    :raises ValueError: if a value does not fit a word, or samples have too many words or none.
    """
    if samples.ndim != 2 or not 1 <= samples.shape[1] <= MAX_WORDS or not len(samples):
        raise ValueError(f"a store takes samples of 1 to {MAX_WORDS} words, not an array of shape {samples.shape}")
    most = 1 << (width - 1)
    if samples.min() < -most or samples.max() >= most:
        raise ValueError(f"a sample has a value from {samples.min()} to {samples.max()}, too large for {width} bits")
    runs: list[tuple[int, Counter[int]]] = []
    """Number of words of each run, and how often it has each value."""
    for column in range(samples.shape[1]):
        values, often = np.unique(samples[:, column], return_counts=True)
        counts = Counter(dict(zip(values.tolist(), often.tolist(), strict=True)))
        words, before = runs[-1] if runs else (0, None)
        if (
            before is not None
            and _literal(before) == _literal(counts)
            and (_literal(counts) or len(before.keys() | counts.keys()) <= PAGE_ENTRIES + 1)
        ):
            before.update(counts)
            runs[-1] = words + 1, before
        else:
            runs.append((1, counts))
    if len(runs) > MAX_FIELDS:
        values, often = np.unique(samples, return_counts=True)
        runs = [(samples.shape[1], Counter(dict(zip(values.tolist(), often.tolist(), strict=True))))]
    fields: list[Field] = []
    table = np.zeros((PAGES, PAGE_ENTRIES), np.int64)
    for number, (words, found) in enumerate(runs):
        background = max(found, key=lambda value: (found[value], -value))
        if not _literal(found):
            others = sorted(found.keys() - {background})
            table[number, : len(others)] = others
        fields.append(Field(words, LITERAL if _literal(found) else number, background))
    return Layout(width, tuple(fields), tuple(table.ravel().tolist()))


def _literal(counts: Counter[int]) -> bool:
    """Whether so many values do not fit a page, even without the most frequent one."""
    return len(counts) > PAGE_ENTRIES + 1


def pack_samples(samples: Integers, layout: Layout) -> StoreImage:
    """Packs samples as they stand in memory.

    :param samples: integers of shape (samples, words), which ``layout`` was chosen for.
    :raises ValueError: if a value has no code, or a sample gets too long.
    """
    count, words = samples.shape
    if words != layout.words:
        raise ValueError(f"this layout is for samples of {layout.words} words, not {words}")
    present = samples != layout.backgrounds()
    sizes = np.where(layout.kinds() == LITERAL, literal_bytes(layout.width), 1)
    lengths = present * sizes
    # A value stands behind all values before it, and behind the flags of its own group.
    places = np.cumsum(lengths, axis=1) - lengths + np.arange(words) // GROUP + 1
    totals = lengths.sum(axis=1) + -(-words // GROUP)
    blocks = -(-(totals + _CHECK_BYTES) // BLOCK_BYTES)
    if blocks.max() > MAX_SAMPLE_BLOCKS:
        raise ValueError(f"a sample has {blocks.max()} blocks of {BLOCK_BYTES} bytes; the most is {MAX_SAMPLE_BLOCKS}")
    index_blocks = -(-count * ENTRY_BYTES // BLOCK_BYTES)
    firsts = index_blocks + np.cumsum(blocks) - blocks
    if (end := int(firsts[-1] + blocks[-1])) > 1 << BLOCK_BITS:
        raise ValueError(f"a data set of {end * BLOCK_BYTES} bytes is too large for an index")
    memory = np.zeros(end * BLOCK_BYTES, np.uint8)
    memory[: count * ENTRY_BYTES] = (firsts | blocks << BLOCK_BITS).astype("<u4").view(np.uint8)
    starts = firsts * BLOCK_BYTES

    # The flags of a group stand behind all values of the groups before.
    flags = np.packbits(present, axis=1, bitorder="little")
    before = (np.cumsum(lengths, axis=1) - lengths)[:, ::GROUP] + np.arange(flags.shape[1])
    memory[(starts[:, None] + before).ravel()] = flags.ravel()
    column = 0
    for field in layout.fields:
        rows, columns = np.nonzero(present[:, column : column + field.words])
        values = samples[rows, column + columns]
        at = starts[rows] + places[rows, column + columns]
        if field.kind == LITERAL:
            for byte in range(literal_bytes(layout.width)):
                memory[at + byte] = values >> 8 * byte & 0xFF
        else:
            memory[at] = _codes(values, layout, field.kind)
        column += field.words

    ends = starts + blocks * BLOCK_BYTES - _CHECK_BYTES
    view = memoryview(memory.data)
    checks = [
        zlib.crc32(view[start:last], number) for number, (start, last) in enumerate(zip(starts, ends, strict=True))
    ]
    memory[ends[:, None] + np.arange(_CHECK_BYTES)] = np.array(checks, "<u4").view(np.uint8).reshape(count, -1)
    return StoreImage(layout, count, memory.tobytes())


def _codes(values: Integers, layout: Layout, page: int) -> NDArray[np.uint8]:
    """Returns the code of each value in a page."""
    entries = np.array(layout.table[page * PAGE_ENTRIES :][:PAGE_ENTRIES])
    order = np.argsort(entries, kind="stable")
    found = order[np.minimum(np.searchsorted(entries, values, sorter=order), PAGE_ENTRIES - 1)]
    if not (entries[found] == values).all():
        raise ValueError("a sample has a value that the layout has no code for")
    return found.astype(np.uint8)


def check_sample(memory: bytes, number: int) -> bytes:
    """Returns the bytes of a sample, its CRC left out.

    :param memory: contents of the memory, from block 0 on.
    :raises DeviceError: if the CRC is not that of these bytes and this number.
    """
    entry = int.from_bytes(memory[number * ENTRY_BYTES :][:ENTRY_BYTES], "little")
    first, blocks = entry & (1 << BLOCK_BITS) - 1, entry >> BLOCK_BITS
    found = memory[first * BLOCK_BYTES : (first + blocks) * BLOCK_BYTES]
    body, check = found[:-_CHECK_BYTES], found[-_CHECK_BYTES:]
    if not blocks or len(found) < blocks * BLOCK_BYTES or zlib.crc32(body, number) != int.from_bytes(check, "little"):
        raise DeviceError(f"sample {number} is damaged in the board's memory; load the data set again")
    return body


def unpack_sample(memory: bytes, number: int, layout: Layout) -> Integers:
    """Returns the words of a sample, shape (words,): what the gateware gives the engine.

    :param memory: contents of the memory, from block 0 on.
    :raises DeviceError: if the sample is damaged.
    """
    body = check_sample(memory, number)
    position, flags = 0, 0
    words: list[int] = []
    kinds = zip(layout.kinds().tolist(), layout.backgrounds().tolist(), strict=True)
    for index, (kind, background) in enumerate(kinds):
        if index % GROUP == 0:
            flags = body[position]
            position += 1
        if not flags >> index % GROUP & 1:
            words.append(background)
        elif kind == LITERAL:
            size = literal_bytes(layout.width)
            value = int.from_bytes(body[position : position + size], "little")
            position += size
            words.append(_signed(value, layout.width))
        else:
            words.append(layout.table[kind * PAGE_ENTRIES + body[position]])
            position += 1
    return np.array(words, np.int64)


def _signed(value: int, width: int) -> int:
    value &= (1 << width) - 1
    return value - (value >> (width - 1) << width)


def words_of(memory: bytes, numbers: Sequence[int], layout: Layout) -> Integers:
    """Returns the words of a group of lanes, shape (words, lanes), as LOAD takes them."""
    return np.stack([unpack_sample(memory, number, layout) for number in numbers], axis=1)

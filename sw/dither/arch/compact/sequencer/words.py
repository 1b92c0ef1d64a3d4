"""Words of a compact sequencer's program, as data: their fields, and an assembler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["ADDRESS_BITS", "DEPTH", "FIELDS", "Carry", "Job", "Next", "Nibble", "Program", "Source", "Sum", "Word"]

DEPTH = 512
"""Words of the sequencer's program."""
ADDRESS_BITS = 9


class Next(IntEnum):
    """Which word comes next: the one behind, the one at ``address``, or the same again."""

    FOLLOW = 0
    JUMP = 1
    CARRY = 2
    """Jump if this word's sum carries."""
    NO_CARRY = 3
    """Jump if it does not."""
    REPEAT_CARRY = 4
    """The same again while this word's sum carries."""
    REPEAT_COUNT = 5
    """The same again until the nibble is 15."""
    REPEAT_WAIT = 6
    """The same again until what this word's job waits for is there."""
    DISPATCH = 7
    """The word whose address is the opcode's."""
    NEGATIVE = 8
    """Jump if the accumulator is negative."""
    SINGLE = 9
    """Jump if neither inner loop but the first has more than one iteration."""
    COUNT = 10
    """Jump unless the nibble is 15."""
    BELOW_FOUR = 11
    """Jump unless bit 2 of the nibble is set."""
    ACTIVATION = 12
    """Jump if the instruction's memory is the activation memory."""
    WEIGHT = 13
    """Jump if it is the weight memory."""
    ODD = 14
    """Jump if the opcode is odd."""


class Sum(IntEnum):
    """What the accumulator becomes: two summands and a carry."""

    KEEP = 0b00_01
    LOAD = 0b01_00
    ZERO = 0b00_00
    ONES = 0b10_00
    ADD = 0b01_01
    """The accumulator and the word read; so for the carry flag, which the following change too."""
    DECREMENT = 0b10_01
    CONDITIONAL = 0b01_10
    """The accumulator, inverted if the opcode is odd, and the word read."""
    SHIFT = 0b00_11
    """The accumulator shifted right; what it loses comes in at its top with the next shift."""


class Carry(IntEnum):
    """What is added to the sum."""

    NONE = 0
    ONE = 1
    FLAG = 2
    ODD = 3
    """One if the opcode is odd."""


class Nibble(IntEnum):
    """What the nibble, an index and a counter, becomes."""

    KEEP = 0
    ACCUMULATOR = 1
    ADDRESS = 2
    """The lowest bits of ``address``."""
    NEXT = 3
    READ_0 = 4
    """Bits 0 to 3 of the word read; likewise the following."""
    READ_4 = 5
    READ_8 = 6
    READ_12 = 7


class Source(IntEnum):
    """What is written to ``address``; ``program`` is the word of the program memory at the
    accumulator of the last cycle."""

    NOTHING = 0
    ACCUMULATOR = 1
    LOW = 2
    """The program word's bits 0 to 15."""
    HIGH = 3
    """The program word's bits 16 to 31."""
    MIDDLE = 4
    """The program word's bits 8 to 23."""
    STRADDLE = 5
    """0 to 7, above bits 24 to 31 of the program word of the cycle before."""
    COUNT = 6
    """The program word's bits 12 to 27."""
    OUTSIDE = 7
    """A beat of the input stream, or while idle the host's data."""


class Job(IntEnum):
    """What else happens in the engine. Jobs from 8 to 15 move beats: bit 2 tells sending from
    taking, bit 0 without bit 1 that there is one for each lane. From 16 on they are the data
    path's, see :data:`dither_hw.compact.contract.Steps`."""

    IDLE = 0
    """Not busy; waits for a start."""
    NONE = 1
    CLEAR = 2
    """Uncounted; waits for the counters to be cleared."""
    OPCODE = 3
    """Takes opcode and memory from the program word."""
    FAULT = 4
    SCALAR = 5
    """Starts the scalar unit."""
    SCALAR_WORK = 6
    """Waits until the scalar unit is done."""
    DRAINED = 7
    """Waits until the data path is idle."""

    TAKE = 0b01000
    """A beat to where ``source`` says, or nowhere; waits for it."""
    TAKE_LANES = 0b01001
    """A beat for each lane to the activation memory; waits for the last."""
    TAKE_WEIGHT = 0b01010
    """A beat to the weight memory; waits for it."""
    SEND = 0b01100
    """The accumulator as a beat; waits until it is taken, as the following do."""
    SEND_LANES = 0b01101
    """A beat for each lane from the activation memory."""
    SEND_WEIGHT = 0b01110
    """A beat from the weight memory."""
    SEND_SIGN = 0b01111
    """A beat of the sign of the weight."""

    NOT_SINGLE = 16
    """Remembers whether this word's sum carries."""
    PATH_CLEAR = 17
    WEIGHT = 18
    INPUT = 19
    WEIGHT_STEP = 20
    INPUT_STEP = 21
    BIAS = 22
    BIAS_RAW = 23
    OUTPUT = 24
    TERM = 25
    BIAS_TERM = 26
    DRAIN = 27
    FLUSH = 28
    SHIFT_LOW = 29
    SHIFT_HIGH = 30
    HAS_BIAS = 31


FIELDS = {
    "address": ADDRESS_BITS,
    "next": 4,
    "sum": 4,
    "carry": 2,
    "nibble": 3,
    "source": 3,
    "indexed": 1,
    "work": 1,
    "job": 5,
}
"""Bits of each field of a word, from the lowest on; 32 in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of the sequencer's program. ``address`` is that of the word to read or, with a
    source, to write in the sequencer's memory, or that of the program's word to jump to; a name is
    a label.
    """

    address: int | str = 0
    next: Next = Next.FOLLOW
    sum: Sum = Sum.KEEP
    carry: Carry = Carry.NONE
    nibble: Nibble = Nibble.KEEP
    source: Source = Source.NOTHING
    indexed: bool = False
    """The nibble is added to the address."""
    work: bool = False
    """The cycle belongs to the instruction's phase, not to fetching it."""
    job: Job = Job.NONE

    def fields(self, labels: Mapping[str, int]) -> dict[str, int]:
        """The word's fields as numbers, by the names of :data:`FIELDS`; a label is its address."""
        address = labels[self.address] if isinstance(self.address, str) else self.address
        numbers = {name: int(getattr(self, name)) for name in FIELDS if name != "address"}
        return {"address": address % (1 << ADDRESS_BITS)} | numbers


class Program:
    """Collects words and labels."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Names the next word.

        :raises ValueError: if the name is taken.
        """
        if name in self.labels:
            raise ValueError(f"label {name!r} stands twice")
        self.labels[name] = len(self.words)

    def __call__(
        self,
        address: int | str = 0,
        *,
        next: Next = Next.FOLLOW,
        sum: Sum = Sum.KEEP,
        carry: Carry = Carry.NONE,
        nibble: Nibble = Nibble.KEEP,
        source: Source = Source.NOTHING,
        indexed: bool = False,
        work: bool = False,
        job: Job = Job.NONE,
    ) -> None:
        """Adds a word."""
        self.words.append(
            Word(
                address=address,
                next=next,
                sum=sum,
                carry=carry,
                nibble=nibble,
                source=source,
                indexed=indexed,
                work=work,
                job=job,
            )
        )

    def assemble(self) -> list[dict[str, int]]:
        """All words as numbers, labels resolved: what the program memory holds, field by field.

        :raises ValueError: if there are too many words, or one uses its address twice.
        """
        if len(self.words) > DEPTH:
            raise ValueError(f"{len(self.words)} words do not fit into {DEPTH}")
        for number, word in enumerate(self.words):
            if isinstance(word.address, str) and word.source is not Source.NOTHING:
                raise ValueError(f"word {number} jumps and writes: {word}")
        return [word.fields(self.labels) for word in self.words]

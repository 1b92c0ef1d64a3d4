"""The scalar machine of compact engines: what a microinstruction can say, as data for assembler,
interpreter and gateware.

A machine of 16 bits with one accumulator executes LOSS, PERTURB, ACCUMULATE, UPDATE, and LOAD and
STORE of what the state memory holds. Every microinstruction takes :data:`CYCLES` cycles (one to
read its operand, one to compute), whatever it does and whether or not its predicate holds; only
streams may make it wait. So the cycles of an instruction are a property of the microprogram.

State ----- ``A`` (16 bits), ``Q`` (16 bits, the multiplier), ``C`` (carry), ``F`` (flag),
``R[0 ... 127]`` (16 bits; a block RAM whose first contents are the microprogram's constants),
pointers ``P`` (state memory, 14 bits), ``AP`` and ``LANE`` (activation memory), ``CP`` (the
sequencer's control memory, 8 bits), ``WP`` (weight memory), ``SH`` (shift, 4 bits), the program
counter and one return address. Memories are read where their pointers point; pointers set by one
microinstruction hold for the next.

Operations ---------- ``b`` is the operand that ``source`` names, ``a`` is A. The result ``y`` (16
bits) goes to ``target``. ``C`` changes only where it says so. Arithmetic is modulo 2**16; C is the
adder's carry (so 1 means *no borrow* behind a subtraction).

Predicates ---------- A microinstruction whose ``when`` does not hold changes nothing: no target, no
C, no F, no P, no strobe, no stream. F is taken last, so ``when`` sees the F of before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "CYCLES",
    "OPERATE_FIELDS",
    "REGISTER_COUNT",
    "START_CYCLES",
    "START_LOAD",
    "WORD_BITS",
    "Flag",
    "Jump",
    "Operation",
    "Source",
    "Target",
    "When",
    "Word",
    "decode",
    "encode_jump",
    "encode_operation",
]

CYCLES = 2
"""Cycles of every microinstruction."""
START_CYCLES = 2
"""Cycles of an instruction besides those of its microinstructions: the one of ``start``, and one
that asks for the first word."""
WORD_BITS = 24
REGISTER_COUNT = 128
TARGET_BITS = 11
"""Bits of a jump's target: the microprogram has up to 2,048 words."""
START_LOAD = 32
"""Where instructions begin: LOSS, PERTURB, ACCUMULATE and UPDATE at the word of their opcode's
number (so that words below 32 are jumps); LOAD at ``START_LOAD + 2 * memory``, STORE one behind
it."""


class Operation(IntEnum):
    """What a microinstruction computes: y, out of a and b."""

    LOAD = 0
    """Copies a number: y = b."""
    ADD = 1
    """Adds two numbers: y = a + b; sets C."""
    ADC = 2
    """Adds with the carry: y = a + b + C; sets C."""
    SUB = 3
    """Subtracts b from a: y = a - b, that is a + ~b + 1; sets C."""
    SBC = 4
    """Subtracts with the carry: y = a + ~b + C; sets C."""
    AND = 5
    OR = 6
    XOR = 7
    FUNNEL = 8
    """Shifts two words: y is the upper half of ``a:b`` (32 bits) shifted left by SH."""
    MULTIPLY = 9
    """Does one step of an unsigned product of b and Q: t = a + b if Q's lowest bit is set, else a
    (17 bits); y = t >> 1; Q = its upper 15 bits, with t's lowest bit on top. Sixteen steps with
    target A, from A = 0, leave the product in A:Q.
    """
    ROR = 10
    """Shifts to the right: y = b >> 1 with C on top; C is b's lowest bit."""
    SEX = 11
    """Extends a sign: y is sixteen copies of b's sign."""
    INC = 12
    """Adds one to b: y = b + 1; sets C."""
    DEC = 13
    """Subtracts one from b: y = b - 1, that is b + 0xFFFF; sets C."""
    NEG = 14
    """Negates a number: y = -b, that is ~b + 1; sets C."""
    ROL = 15
    """Shifts to the left: y = b << 1 with C below; C is b's highest bit."""


class Source(IntEnum):
    """Where a microinstruction takes b from."""

    R = 0
    """The register R[x] of the machine."""
    STATE = 1
    """The word at P of the state memory; P moves on if ``move``."""
    ACTIVATION = 2
    """The number in lane LANE of the activation memory's word at AP."""
    CONTROL = 3
    """The word at CP of the sequencer's control memory."""
    INPUT = 4
    """The next beat of the input stream; the machine waits for it."""
    Q = 5
    X = 6
    """The number x itself, 0 to 127."""


class Target(IntEnum):
    """Where a microinstruction writes y to."""

    NONE = 0
    A = 1
    R = 2
    AR = 3
    """Both A and the register R[x]."""
    Q = 4
    P = 5
    AP = 6
    LANE = 7
    CP = 8
    WP = 9
    SH = 10
    STATE = 11
    """The state memory at P; P moves on if ``move``."""
    WEIGHT = 12
    """The weight memory's word at WP."""
    CONTROL = 13
    """The control memory's word at CP."""
    OUTPUT = 14
    """A beat of the output stream; the machine waits until it is taken."""
    CLIP = 15
    """No memory takes y; a saturation is counted."""


class When(IntEnum):
    """The predicate: whether a microinstruction has any effect."""

    ALWAYS = 0
    F = 1
    NOT_F = 2


class Flag(IntEnum):
    """What the flag F becomes."""

    KEEP = 0
    CARRY = 1
    """The carry C, as this operation leaves it."""
    ZERO = 2
    """Whether y is zero after the operation."""
    SIGN = 3
    """The highest bit of y."""


class Jump(IntEnum):
    """The kinds of jumps that there are."""

    ALWAYS = 0
    F = 1
    NOT_F = 2
    CALL = 3
    """A jump to a subroutine: the word behind it becomes the return address."""
    RETURN = 4
    DONE = 5
    """The instruction is over: its second cycle is the one of ``done``."""


OPERATE_FIELDS: tuple[tuple[str, int], ...] = (
    ("jump", 1),
    ("operation", 4),
    ("source", 3),
    ("target", 4),
    ("x", 7),
    ("when", 2),
    ("flag", 2),
    ("move", 1),
)
"""Fields and bits of a microinstruction, the lowest first. With ``jump`` set: kind (3 bits), then
destination (11).
"""


@dataclass(frozen=True, slots=True)
class Word:
    """A microinstruction taken apart; ``kind`` and ``destination`` count for jumps, the rest for
    operations.
    """

    jump: bool
    kind: Jump = Jump.ALWAYS
    destination: int = 0
    operation: Operation = Operation.LOAD
    source: Source = Source.R
    target: Target = Target.NONE
    x: int = 0
    when: When = When.ALWAYS
    flag: Flag = Flag.KEEP
    move: bool = False


def encode_jump(kind: Jump, destination: int = 0) -> int:
    """Returns the word of a jump.

    :raises ValueError: if the destination is out of range.
    """
    if not 0 <= destination < 1 << TARGET_BITS:
        raise ValueError(f"a jump reaches words 0 to {(1 << TARGET_BITS) - 1}, not {destination}")
    return 1 | kind << 1 | destination << 4


def encode_operation(
    operation: Operation,
    source: Source,
    target: Target,
    *,
    x: int = 0,
    when: When = When.ALWAYS,
    flag: Flag = Flag.KEEP,
    move: bool = False,
) -> int:
    """Returns the word of an operation.

    :raises ValueError: if x is out of range.
    """
    if not 0 <= x < REGISTER_COUNT:
        raise ValueError(f"x goes from 0 to {REGISTER_COUNT - 1}, not {x}")
    values = {
        "operation": operation,
        "source": source,
        "target": target,
        "x": x,
        "when": when,
        "flag": flag,
        "move": int(move),
    }
    word, position = 0, 0
    for name, bits in OPERATE_FIELDS:
        word |= int(values.get(name, 0)) << position
        position += bits
    return word


def decode(word: int) -> Word:
    """The inverse of :func:`encode_jump` and :func:`encode_operation`."""
    if word & 1:
        return Word(True, Jump(word >> 1 & 7), word >> 4 & ((1 << TARGET_BITS) - 1))
    values, position = {}, 0
    for name, bits in OPERATE_FIELDS:
        values[name] = word >> position & ((1 << bits) - 1)
        position += bits
    return Word(
        False,
        operation=Operation(values["operation"]),
        source=Source(values["source"]),
        target=Target(values["target"]),
        x=values["x"],
        when=When(values["when"]),
        flag=Flag(values["flag"]),
        move=bool(values["move"]),
    )

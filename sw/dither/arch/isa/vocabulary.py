"""Sizes that instructions imply, and what the numbers in their fields stand for."""

from __future__ import annotations

import math
from enum import IntEnum

__all__ = [
    "GRADIENT_BITS",
    "LOOPS",
    "MASTER_BITS",
    "OPCODE_BITS",
    "OUTER_LOOPS",
    "REDUCTION_LOOPS",
    "REGISTERS",
    "STACK_DEPTH",
    "WORD_BITS",
    "Activation",
    "Distribution",
    "LossKind",
    "LossMode",
    "Memory",
    "Operand",
    "Rule",
]

WORD_BITS = 32
OPCODE_BITS = 8
REGISTERS = 16
"""Scalar registers of 32 bits, two's complement; register 0 always reads zero."""
STACK_DEPTH = 16
"""Loops and calls that may be open at once, together."""

MASTER_BITS = 32
"""Bits of a master parameter and of a moment."""
GRADIENT_BITS = 48
"""Bits of a gradient accumulator: a full-scale product of two activations and 2**14 times as
much.
"""

REDUCTION_LOOPS = ("k0", "k1", "k2")
"""Loops of CONTRACT that accumulate, innermost first."""
OUTER_LOOPS = ("o0", "o1", "o2", "o3")
"""Loops of CONTRACT over outputs, innermost first; o0 counts row tiles."""
LOOPS = REDUCTION_LOOPS + OUTER_LOOPS


class Memory(IntEnum):
    """Memories that LOAD reaches, and STORE too but for the tables; their words, in memory and in
    streams, have a page of their own (docs/memories.md).
    """

    ACTIVATION = 0
    """L samples of W bits, lane 0 lowest."""
    MASTER = 1
    """R master parameters of 32 bits, row 0 lowest."""
    GRADIENT = 2
    """R gradient accumulators of 48 bits."""
    MOMENT1 = 3
    """R first moments of 32 bits."""
    MOMENT2 = 4
    """R second moments of 32 bits, unsigned."""
    WEIGHT = 5
    """R working weights of W bits, each in a 32-bit slot, sign-extended."""
    ACTIVATION_TABLE = 6
    """One entry of an activation table: value in W bits, slope in the W bits above (both
    signed).
    """
    SCALAR_TABLE = 7
    """One entry of a scalar table: value in 18 bits unsigned, slope in the 18 bits above,
    signed.
    """


class Activation(IntEnum):
    """What CONTRACT does to an output after requantisation."""

    NONE = 0
    """Nothing."""
    RELU = 1
    """Replaces negative outputs by 0."""
    TABLE = 2
    """Looks it up in the activation table that the field ``table`` names."""


class Operand(IntEnum):
    """What CONTRACT multiplies its inputs by."""

    WEIGHT = 0
    """A word of the weight memory: a weight for each row, the same for all lanes."""
    LANE = 1
    """A word of the activation memory: a number for each lane, the same for all rows."""
    POSITIVE = 2
    """As LANE, but 1 where the number is greater than zero, else 0."""
    SIGN = 3
    """As LANE, but the number's sign: 1, 0 or -1."""


class Distribution(IntEnum):
    """What PERTURB and ACCUMULATE take for xi; bits are numbered through the blocks of the
    generator.
    """

    NONE = 0
    """Zero, without the generator."""
    RADEMACHER = 1
    """+1 or -1: one bit a parameter."""
    UNIFORM = 2
    """2u - 255, an odd number from -255 to 255: u is made of eight bits a parameter."""
    GAUSSIAN = 3
    """Ones among sixteen bits a parameter, minus 8: binomial, from -8 to 8, standard deviation
    2.
    """
    COORDINATE = 4
    """1 for the parameter whose index is the probe's number, else 0, without the generator."""

    @property
    def bits(self) -> int:
        """Random bits of a parameter."""
        return {Distribution.RADEMACHER: 1, Distribution.UNIFORM: 8, Distribution.GAUSSIAN: 16}.get(self, 0)

    @property
    def largest(self) -> int:
        """The greatest magnitude of xi."""
        sizes = {Distribution.NONE: 0, Distribution.UNIFORM: 255, Distribution.GAUSSIAN: 8}
        return sizes.get(self, 1)

    @property
    def deviation(self) -> float:
        """The standard deviation of a random xi; 1 for a coordinate."""
        return {Distribution.UNIFORM: math.sqrt(((1 << 16) - 1) / 3), Distribution.GAUSSIAN: 2.0}.get(self, 1.0)


class LossMode(IntEnum):
    """What LOSS does besides summing."""

    SUM = 0
    """Nothing."""
    KEEP = 1
    """Keeps every lane's loss."""
    DIFFER = 2
    """Writes every lane's loss minus the one kept to a word of the activation memory."""
    ERROR = 3
    """Writes the derivatives of every lane's loss by the outputs to words of the activation
    memory.
    """


class LossKind(IntEnum):
    """Per-sample losses."""

    CROSS_ENTROPY = 0
    """Softmax cross-entropy of a class: ``ln(sum exp(z_c - max z)) + max z - z_label``."""
    SQUARED_ERROR = 1
    """Sum of squared differences from targets."""


class Rule(IntEnum):
    """Optimisers of the update unit."""

    SGD = 0
    """The gradient."""
    SIGN = 1
    """The gradient's sign."""
    MOMENTUM = 2
    """A decaying sum of gradients."""
    ADAM = 3
    """An average of gradients over the root of an average of their squares."""
    SIGN_MOMENTUM = 4
    """An exponential average of signs."""

    @property
    def scale_free(self) -> bool:
        """Whether a common factor of all gradients changes nothing; directions have 12 fraction
        bits then.
        """
        return self in (Rule.SIGN, Rule.ADAM, Rule.SIGN_MOMENTUM)

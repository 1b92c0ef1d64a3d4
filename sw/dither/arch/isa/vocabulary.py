"""Sizes that instructions imply, and the meaning of the numbers in their fields."""

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
"""Bits of a program word and of a scalar register."""
OPCODE_BITS = 8
"""Bits of an opcode, the lowest of an instruction's first word."""
REGISTERS = 16
"""Number of scalar registers of 32 bits, two's complement; register 0 always reads zero."""
STACK_DEPTH = 16
"""Number of loops and calls that may be open at once, together."""

MASTER_BITS = 32
"""Bits of a master parameter and of a moment."""
GRADIENT_BITS = 48
"""Bits of a gradient accumulator.

They hold the sum of almost 2**13 full-scale products of two activations of 18 bits.
"""

REDUCTION_LOOPS = ("k0", "k1", "k2")
"""Names of CONTRACT's loops over the terms of a sum, innermost first."""
OUTER_LOOPS = ("o0", "o1", "o2", "o3")
"""Names of CONTRACT's loops over outputs, innermost first; o0 counts row tiles."""
LOOPS = REDUCTION_LOOPS + OUTER_LOOPS
"""Names of all of CONTRACT's loops, innermost first."""


class Memory(IntEnum):
    """Memories that LOAD reaches, and STORE too but for tables, and what one word of each holds.

    Slots are numbered from the lowest bits of a word on. A word takes one beat of a stream, or
    ``word_parts`` of them.
    """

    ACTIVATION = 0
    """Activations: L samples of W bits, signed, lane 0 lowest."""
    MASTER = 1
    """Master parameters: R numbers of 32 bits, signed, row 0 lowest."""
    GRADIENT = 2
    """Gradient accumulators: R numbers of 48 bits, signed, row 0 lowest."""
    MOMENT1 = 3
    """First moments: R numbers of 32 bits, signed, row 0 lowest."""
    MOMENT2 = 4
    """Second moments: R numbers of 32 bits, unsigned, row 0 lowest, packed (see the arithmetic)."""
    WEIGHT = 5
    """Working weights: R numbers of W bits, each sign-extended in a slot of 32 bits."""
    ACTIVATION_TABLE = 6
    """Entries of activation tables: value in W bits, slope in the W bits above, both signed."""
    SCALAR_TABLE = 7
    """Entries of scalar tables: value in 18 bits, unsigned, slope in the 18 above, signed."""


class Activation(IntEnum):
    """What CONTRACT does to an output after requantisation."""

    NONE = 0
    """The output stays as it is."""
    RELU = 1
    """Negative outputs become zero."""
    TABLE = 2
    """The output goes through one of the piecewise-linear activation tables."""


class Operand(IntEnum):
    """What CONTRACT multiplies its inputs by."""

    WEIGHT = 0
    """A word of the weight memory: one weight for each row, the same for all lanes."""
    LANE = 1
    """A word of the activation memory: one number for each lane, the same for all rows."""
    POSITIVE = 2
    """A word of activations as a mask: 1 where a lane's number is greater than zero, else 0."""
    SIGN = 3
    """The signs of a word of activations: 1, 0 or -1 for each lane."""


class Distribution(IntEnum):
    """Distribution of the numbers xi by which PERTURB and ACCUMULATE multiply.

    Random bits come from the generator's blocks, numbered through.
    """

    NONE = 0
    """Always zero, without the generator: the parameters themselves."""
    RADEMACHER = 1
    """Either +1 or -1, from one random bit for each parameter."""
    UNIFORM = 2
    """Odd numbers from -255 to 255, all equally likely.

    xi = 2u - 255, u an unsigned number of eight random bits for each parameter.
    """
    GAUSSIAN = 3
    """Binomial numbers from -8 to 8, with a standard deviation of 2.

    xi counts the ones among sixteen random bits for each parameter, minus 8.
    """
    COORDINATE = 4
    """One for the parameter whose index is the probe's number, zero for all others.

    It needs no generator.
    """

    @property
    def bits(self) -> int:
        """Number of random bits for each parameter."""
        return {Distribution.RADEMACHER: 1, Distribution.UNIFORM: 8, Distribution.GAUSSIAN: 16}.get(self, 0)

    @property
    def largest(self) -> int:
        """The greatest magnitude that xi can have."""
        sizes = {Distribution.NONE: 0, Distribution.UNIFORM: 255, Distribution.GAUSSIAN: 8}
        return sizes.get(self, 1)

    @property
    def deviation(self) -> float:
        """The standard deviation of a random xi; 1 for a coordinate."""
        return {Distribution.UNIFORM: math.sqrt(((1 << 16) - 1) / 3), Distribution.GAUSSIAN: 2.0}.get(self, 1.0)


class LossMode(IntEnum):
    """What LOSS does with every lane's loss besides adding it to the sum."""

    SUM = 0
    """The losses are summed, nothing else."""
    KEEP = 1
    """The unit also keeps every lane's loss until the next KEEP."""
    DIFFER = 2
    """Every lane's loss minus the one kept is also written, to a word of the activation memory."""
    ERROR = 3
    """The derivatives of every lane's loss by the outputs are also written, a word for each output.
    """


class LossKind(IntEnum):
    """Loss function of one sample, from the network's outputs and its label or targets."""

    CROSS_ENTROPY = 0
    """The cross-entropy of the outputs' softmax with the label's class."""
    SQUARED_ERROR = 1
    """The sum of squared differences between outputs and targets."""


class Rule(IntEnum):
    """Optimiser rule by which UPDATE turns gradients into steps.

    The arithmetic of each is in :mod:`dither.golden.rules`.
    """

    SGD = 0
    """Gradient descent: the direction is the gradient."""
    SIGN = 1
    """The direction is the sign of the gradient."""
    MOMENTUM = 2
    """The direction is a decaying sum of gradients."""
    ADAM = 3
    """The direction is Adam's: mean gradient over root mean square gradient."""
    SIGN_MOMENTUM = 4
    """The direction is an exponential average of the gradients' signs."""

    @property
    def scale_free(self) -> bool:
        """Whether a common factor of all gradients leaves the directions unchanged.

        Directions of such rules have 12 fraction bits.
        """
        return self in (Rule.SIGN, Rule.ADAM, Rule.SIGN_MOMENTUM)

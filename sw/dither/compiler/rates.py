"""How learning rates travel: from a recipe's real numbers to mantissas and shifts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..recipe import Recipe

__all__ = ["RATE_BITS", "RATE_SHIFT_MAX", "RateFormat", "Stepping", "Unit"]

RATE_BITS = 18
"""Bits of the learning rate's mantissa, unsigned."""
RATE_SHIFT_MAX = 31
DIRECTION_FRAC = 12
"""Fraction bits of the direction that a scale-free rule makes."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of a gradient accumulator is ``scale * 2**-frac`` of the mean gradient."""

    scale: float
    frac: int


@dataclass(frozen=True, slots=True)
class Stepping:
    """How steps move a tensor."""

    unit: Unit
    """What one unit of its gradient accumulators means."""
    slower: int = 0
    """Its rate is ``2**-slower`` of the recipe's."""
    deviation: float | None = None
    """Standard deviation of the probes that perturb it, in their own units; None if none do."""


@dataclass(frozen=True, slots=True)
class RateFormat:
    """How learning rates travel: one 18-bit mantissa a step for all tensors, a fixed shift per
    tensor.

    A master parameter moves by ``direction * mantissa / 2**rate_shift`` units. The direction of a
    scale-free rule has 12 fraction bits; that of SGD and MOMENTUM is the gradient accumulator over
    ``2**gradient_shift``. What one unit of an accumulator means is a power of two for each tensor,
    which goes into shifts, times a number for all of them, which goes into the mantissa:
    ``mantissa = round(rate * scale * 2**exponent)``.
    """

    exponent: int
    scale: float
    shifts: Mapping[str, int]
    """UPDATE's ``rate_shift`` by tensor name."""

    @classmethod
    def plan(
        cls,
        recipe: Recipe,
        master_fracs: Mapping[str, int],
        gradient_shifts: Mapping[str, int],
        units: Mapping[str, Unit],
    ) -> RateFormat:
        """The finest common mantissa that every tensor's shift (0 to 31) allows.

        :param master_fracs: fraction bits of the masters by tensor name.
        :param gradient_shifts: ``gradient_shift`` by tensor name.
        :param units: what one unit of each accumulator means.
        :raises ValueError: naming the tensor that the recipe's learning rate would throw across its
            range.
        """
        if recipe.rule.scale_free:
            scale = 1.0
            offsets = {name: frac - DIRECTION_FRAC for name, frac in master_fracs.items()}
        else:
            (scale,) = {units[name].scale for name in master_fracs}
            offsets = {name: frac - units[name].frac + gradient_shifts[name] for name, frac in master_fracs.items()}
        largest = recipe.largest_rate * scale
        exponent = math.floor(math.log2(((1 << RATE_BITS) - 1) / largest))
        exponent = min(exponent, min(offsets.values()) + RATE_SHIFT_MAX)
        tight = max(offsets, key=lambda name: offsets[name])
        if exponent < offsets[tight]:
            raise ValueError(f"a learning rate of {recipe.rate:g} is too large for tensor {tight}'s number format")
        return cls(exponent, scale, {name: exponent - offset for name, offset in offsets.items()})

    def mantissa(self, recipe: Recipe, step: int) -> int:
        """The number to send for step ``step`` (from 0), bias correction included."""
        rate = recipe.rate_at(step) * recipe.bias_correction(step) * self.scale
        return min(math.floor(math.ldexp(rate, self.exponent) + 0.5), (1 << RATE_BITS) - 1)

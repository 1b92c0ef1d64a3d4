"""The drain of CONTRACT: rounding, saturation and activation of sums, and what is counted there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import Activation, Instruction
from .workspace import Floats, Workspace

__all__ = ["ContractResult", "Drain", "exact_in_float", "overflow"]

_EXACT_BITS = 53


def exact_in_float(width: int, count: int) -> bool:
    """Returns whether ``count`` products, and half a unit, always add exactly in float64.

    :param width: bits of each of a product's two factors.
    """
    return (count + 1) << (2 * width - 2) < 1 << _EXACT_BITS


def overflow(config: EngineConfig) -> DeviceError:
    """Returns what to raise where a sum does not fit an accumulator."""
    return DeviceError(f"CONTRACT: a sum overflows its {config.accumulator_width} bits")


@dataclass(frozen=True, slots=True)
class ContractResult:
    """Clips and range of the outputs of one execution of CONTRACT, or of a part of it."""

    clips: int
    """Number of values that were clipped."""
    lowest: int
    """Least output after the shift, before it was clipped."""
    highest: int
    """Greatest output after the shift, before it was clipped."""

    @classmethod
    def joint(cls, results: Sequence[ContractResult]) -> ContractResult:
        """Combines the results of several parts into one."""
        if len(results) == 1:
            return results[0]
        return cls(
            sum(result.clips for result in results),
            min(result.lowest for result in results),
            max(result.highest for result in results),
        )


class Drain:
    """The drain of one CONTRACT: turns blocks of sums into outputs."""

    def __init__(self, space: Workspace, instruction: Instruction) -> None:
        self._space = space
        self._half = 1 << (space.config.width - 1)
        self._activation = Activation(instruction["activation"])
        self._table = instruction["table"]
        self.shift = instruction["shift"]
        self._limit = math.ldexp(1.0, space.config.accumulator_width - 1 - self.shift)

    def finish(self, sums: Floats, outputs: Floats) -> ContractResult:
        """Rounds, saturates and activates a block of sums and writes the outputs.

        :param sums: exact sums times ``2**-shift``, plus a half, so that a floor rounds them. They
            are overwritten.
        :param outputs: where the outputs go: as many elements in the same order.
        :raises DeviceError: if a sum does not fit an accumulator.
        """
        half, clips = self._half, 0
        least, greatest = float(sums.min()), float(sums.max())
        if least < -self._limit or greatest >= self._limit + 0.5:  # the sums include the half
            raise overflow(self._space.config)
        if least < -half or greatest >= half:
            np.floor(sums, out=sums)
            clips = int(np.count_nonzero((sums < -half) | (sums >= half)))
            np.clip(sums, -half, half - 1, out=sums)
        if self._activation is Activation.TABLE:
            clips += self._look_up(sums, outputs)
        else:
            if self._activation is Activation.RELU and least < 0:
                np.clip(sums, 0, half - 1, out=sums)  # NumPy's maximum takes twice as long
            np.floor(sums.reshape(outputs.shape), out=outputs)
        return ContractResult(clips, math.floor(least), math.floor(greatest))

    def _look_up(self, sums: Floats, outputs: Floats) -> int:
        index = self._space.scratch("index", sums.size, np.intp)
        picked = self._space.scratch("picked", sums.size, np.float32)
        np.floor(sums, out=sums)
        np.copyto(index, sums.reshape(-1), casting="unsafe")
        np.take(self._space.table(self._table), index, out=picked, mode="wrap")
        outputs[...] = picked.reshape(outputs.shape)
        clipped = self._space.table_clips(self._table)
        return 0 if clipped is None else int(np.count_nonzero(clipped.take(index, mode="wrap")))

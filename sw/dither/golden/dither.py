"""DITHER in software: random signs that each sample shares with its neighbour, one word further on.

The signs of n words and L lanes are a Toeplitz matrix, ``signs[i, l] = xi[i + l]``: a window that
slides over one vector of n + L - 1 signs. It is a view of that vector, so a word costs one new
sign, as it does in the engine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.fixedpoint import saturate
from ..arch.generator import BLOCK_BITS, stream
from ..arch.isa import Instruction
from .workspace import Floats, Workspace

__all__ = ["OFFSET_BITS", "DitherPlan", "dither", "sample_signs", "validate_dither"]

OFFSET_BITS = 16
"""Number of lowest bits of the offset register that count."""
_BLOCK = 1 << 15
"""Number of values of one block: a quarter of a megabyte of float64."""


def sample_signs(
    seed: int, step: int, probe: int, *, block: int, offset: int, words: int, lanes: int
) -> NDArray[np.float64]:
    """Returns the Rademacher numbers of samples ``offset`` to ``offset + lanes - 1``, word by word.

    :param block: first block of the generator.
    :param offset: number of the first lane's sample, modulo 2**16.
    :returns: float64 of shape (words, lanes), +1 where bit ``i + offset + l`` is 1, else -1; a
        read-only view.
    """
    skipped, first = divmod(offset % (1 << OFFSET_BITS), BLOCK_BITS)
    count = words + lanes - 1
    bits = stream(seed, step, probe, -(-(first + count) // BLOCK_BITS), first=block + skipped)
    ones = np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little", count=first + count)
    return sliding_window_view(ones[first:] * 2.0 - 1.0, lanes)


def dither(
    inputs: ArrayLike, signs: ArrayLike, scale: ArrayLike, *, gate: bool, width: int
) -> tuple[NDArray[np.int64], int]:
    """Computes ``sat_W(x + xi * scale)`` by the definition: the measure of :class:`DitherPlan`.

    :param inputs: integers x of shape (words, lanes).
    :param signs: +1 or -1 for each of them.
    :param scale: an integer for each lane.
    :param gate: whether inputs that are not greater than zero stay as they are.
    :param width: W, bits of an activation.
    :returns: the outputs, int64, and how many were clipped.
    """
    x = np.asarray(inputs, dtype=np.int64)
    moved = x + np.asarray(signs, dtype=np.int64) * np.asarray(scale, dtype=np.int64)
    return saturate(np.where(x > 0, moved, x) if gate else moved, width)


class DitherPlan:
    """One DITHER, checked and planned for one workspace.

    :raises DeviceError: if a word is beyond the memory, an output is written twice, or an output is
        the input of another.
    """

    def __init__(self, space: Workspace, instruction: Instruction) -> None:
        self._space = space
        self._count = instruction["count"]
        self._gate = bool(instruction["gate"])
        self._block = instruction["block"]
        places = validate_dither(space.config, instruction)
        self._inplace = places["x"] == places["y"]
        self._inputs, self._outputs = (self._words(base, pitch) for base, pitch in places.values())
        self._scale = space.activation[instruction["scale"]]
        words = max(1, _BLOCK // space.config.lanes)
        self._cuts = [slice(start, min(start + words, self._count)) for start in range(0, self._count, words)]

    def _words(self, base: int, pitch: int) -> Floats:
        """Returns a view of the words ``base``, ``base + pitch`` and so on."""
        memory = self._space.activation
        shape, strides = (self._count, memory.shape[1]), (pitch * memory.strides[0], memory.strides[1])
        return np.ndarray(shape, np.float64, memory, base * memory.strides[0], strides)

    def run(self, seed: int, step: int, probe: int, offset: int) -> int:
        """Executes the instruction once and returns how many values were clipped.

        :param seed: value of the register of that name; the other parameters likewise.
        """
        scale = self._scale.copy()
        largest = float(np.abs(scale).max())
        if largest == 0:  # nothing is added: a copy
            if not self._inplace:
                np.copyto(self._outputs, self._inputs)
            return 0
        signs = sample_signs(seed, step, probe, block=self._block, offset=offset, words=self._count, lanes=len(scale))
        return sum(self._space.spread(self._cuts, lambda cuts: self._run_blocks(cuts, signs, scale)))

    def _run_blocks(self, cuts: Sequence[slice], signs: Floats, scale: Floats) -> int:
        half, clips = float(1 << (self._space.config.width - 1)), 0
        for cut in cuts:
            inputs, outputs = self._inputs[cut], self._outputs[cut]
            moved = self._space.scratch("dither", inputs.size, np.float64).reshape(inputs.shape)
            np.multiply(signs[cut], scale, out=moved)
            if self._gate:
                positive = self._space.scratch("gate", inputs.size, np.float64).reshape(inputs.shape)
                # Activations are integers: 1 where greater than zero.
                np.clip(inputs, 0, 1, out=positive)
                moved *= positive
            moved += inputs
            if moved.min() < -half or moved.max() >= half:
                clips += int(np.count_nonzero((moved < -half) | (moved >= half)))
                np.clip(moved, -half, half - 1, out=moved)
            outputs[...] = moved
        return clips


def validate_dither(config: EngineConfig, instruction: Instruction) -> dict[str, tuple[int, int]]:
    """Returns first word and step of a DITHER's inputs and outputs, by the letters ``x`` and ``y``.

    :raises DeviceError: if a word is beyond the memory, an output is written twice, or an output is
        the input of another.
    """
    count = instruction["count"]
    if count < 1:
        raise DeviceError("DITHER: count must be at least 1")
    places = {name: (instruction[f"{name}_base"], instruction[f"{name}_step"]) for name in "xy"}
    for base, pitch in (*places.values(), (instruction["scale"], 0)):
        _check_reach(config.activation_depth, base, base + (count - 1) * pitch)
    _check_outputs(count, *places["x"], *places["y"])
    return places


def _check_reach(depth: int, *words: int) -> None:
    if wrong := [word for word in words if not 0 <= word < depth]:
        raise DeviceError(f"DITHER: word {wrong[0] % (1 << 16)} is beyond the {depth} of ACTIVATION")


def _check_outputs(count: int, x_base: int, x_step: int, y_base: int, y_step: int) -> None:
    inputs, outputs = ([base + i * pitch for i in range(count)] for base, pitch in ((x_base, x_step), (y_base, y_step)))
    if len(set(outputs)) < count:
        raise DeviceError("DITHER: an output is written twice")
    if inputs != outputs and not set(inputs).isdisjoint(outputs):
        raise DeviceError("DITHER: an output is the input of another")

"""Steps that devices share: what a host says to each of them, and what the answers mean.

A step is cut between samples. Each device computes some of them with the parameters that all have,
and sends what they make of the step's gradients; all of that together is applied by every device.
Gradients are sums of integers, so it does not matter who computed which samples, or in which order
the sums are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.isa import GRADIENT_BITS, WORD_BITS, Memory
from ..arch.streams import Expect, Segment
from .commands import Command, groups_of
from .emitter import Exchange
from .program import Program

__all__ = ["NUMBER_BYTES", "SharedCommands", "exchanged_numbers", "fewest_bytes"]

Integers = NDArray[np.int64]
NUMBER_BYTES = {Exchange.SCALARS: WORD_BITS // 8, Exchange.GRADIENTS: GRADIENT_BITS // 8}
"""Bytes, on the way, of each number that devices exchange: of a scalar register's value, or of a
gradient accumulator."""


def exchanged_numbers(program: Program, exchange: Exchange) -> int | None:
    """How many numbers say all about a step's gradients; None if that exchange cannot."""
    if exchange is Exchange.GRADIENTS:
        return sum(tensor.size for tensor in program.tensors.values())
    differences = program.emitter.differences
    return None if differences is None else differences * program.recipe.probe_tiles


def fewest_bytes(program: Program, devices: int) -> tuple[Exchange, dict[Exchange, int]]:
    """Chooses the exchange by which the fewest bytes travel.

    Loss differences belong to somebody's samples, so all devices together send those of one step;
    gradients are sums, of which each device sends one. Each device then gets all.

    :returns: it, and for each that is possible the bytes of a step, there and back, of all devices
        together.
    """
    sizes = {}
    for exchange, senders in ((Exchange.SCALARS, 1), (Exchange.GRADIENTS, devices)):
        count = exchanged_numbers(program, exchange)
        if count is not None:
            sizes[exchange] = count * NUMBER_BYTES[exchange] * (senders + devices)
    return min(sizes, key=lambda exchange: sizes[exchange]), sizes


@dataclass(frozen=True, slots=True)
class SharedCommands:
    """The commands of a program that was made by :meth:`~dither.compiler.Compiled.sharing`."""

    program: Program

    @property
    def exchange(self) -> Exchange:
        """What devices tell each other."""
        found = self.program.emitter.exchange
        assert found is not None
        return found

    @property
    def differences(self) -> int:
        """How many loss differences each lane group sends; 0 if gradients travel instead."""
        return (self.program.emitter.differences or 0) if self.exchange is Exchange.SCALARS else 0

    def share(self, step: int, first: int, inputs: ArrayLike, targets: ArrayLike | None) -> Command:
        """Computes neighbouring samples of one tile.

        :param step: number of the step, which decides probes.
        :param first: number of the first sample within the step's batch: a multiple of the engine's
            lanes.
        :param inputs: the samples, a multiple of the engine's lanes, shape (samples, inputs).
        :raises ValueError: if the samples are not whole lane groups of one tile.
        """
        recipe, lanes = self.program.recipe, self.program.engine.lanes
        count = len(np.asarray(inputs))
        tile, offset = divmod(first, recipe.tile)
        if not count or count % lanes or first % lanes or offset + count > recipe.tile:
            raise ValueError(f"{count} samples from number {first} on are not whole groups of {lanes} within a tile")
        probe = 0 if recipe.shared_probe else tile * recipe.most_probes
        scalars = Segment.scalars([recipe.seed, step, count // lanes, probe, offset])
        groups = groups_of(self.program, inputs, targets)
        numbers = self.differences * len(groups) + 1
        return Command(self.program.entries["share"], (scalars, *groups), (Expect(None, numbers),))

    def read_share(self, outputs: Sequence[Integers]) -> tuple[int, Integers]:
        """The sum of base losses, and the samples' loss differences in the order of
        :meth:`apply`.
        """
        sent, width = outputs[0][:, 0], self.differences
        return int(sent[-1]), sent[:-1].reshape(len(sent[:-1]) // max(1, width), width).sum(axis=0)

    def collect(self) -> Command:
        """Fetches the gradient accumulators, which stay as they are until :meth:`apply`."""
        return Command(self.program.entries["collect"], (), (Expect(Memory.GRADIENT, self.program.words),))

    def read_collect(self, outputs: Sequence[Integers]) -> Integers:
        """All gradient accumulators in logical order, shape (parameters,)."""
        return np.concatenate(
            [
                tensor.unpack(outputs[0][tensor.base : tensor.base + tensor.words]).ravel()
                for tensor in self.program.tensors.values()
            ]
        )

    def apply(self, step: int, numbers: Integers, begun: int = 0) -> Command:
        """Takes a step by what all devices together have found.

        :param numbers: loss differences, shape (tiles with probes of their own, differences), or
            gradient accumulators, shape (parameters,), by :attr:`exchange`.
        :param begun: number of the step that the schedule and Adam's correction count from.
        :raises ValueError: if they are of another shape.
        """
        recipe = self.program.recipe
        mantissa = self.program.rates.mantissa(recipe, step - begun)
        scalars = Segment.scalars([recipe.seed, step, mantissa])
        if numbers.shape != self.shape:
            raise ValueError(f"a step needs numbers of shape {self.shape}, not {numbers.shape}")
        if self.exchange is Exchange.SCALARS:
            return Command(self.program.entries["apply"], (scalars, Segment.scalars(numbers)))
        tensors, words, place = self.program.tensors.values(), [], 0
        for tensor in tensors:
            words.append(tensor.pack(numbers[place : place + tensor.size].reshape(tensor.shape)))
            place += tensor.size
        return Command(self.program.entries["apply"], (scalars, Segment(Memory.GRADIENT, np.concatenate(words))))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what :meth:`apply` takes."""
        if self.exchange is Exchange.SCALARS:
            return self.program.recipe.probe_tiles, self.differences
        return (sum(tensor.size for tensor in self.program.tensors.values()),)

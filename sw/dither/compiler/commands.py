"""What a host says to a device that runs a compiled program, and what the answers mean.

Each command is an entry of the program with the integers that it takes from the input stream;
``read_…`` methods make sense of what it sends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch import tables
from ..arch.isa import MASTER_BITS, Memory
from ..arch.streams import Expect, Segment
from ..nn.models import Parameters
from .emitter import STATE_MEMORIES
from .program import Program

__all__ = ["Command", "Commands", "Evaluation", "State", "groups_of"]

Integers = NDArray[np.int64]
Batch = tuple[ArrayLike, ArrayLike | None]


@dataclass(frozen=True, slots=True)
class Command:
    """One program run: ``device.run(command.entry, command.inputs, command.expects)``."""

    entry: int
    inputs: tuple[Segment, ...] = ()
    expects: tuple[Expect, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """A training state, as integers in each tensor's shape, by name: independent of the engine."""

    master: Mapping[str, Integers]
    moment1: Mapping[str, Integers]
    moment2: Mapping[str, Integers]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an ``evaluate`` command gave."""

    outputs: NDArray[np.float64]
    """The network's outputs, shape (samples, outputs)."""
    integers: Integers
    """The same, as the engine holds them."""
    loss_sum: int
    """Sum of losses in units of ``2**-loss_frac`` (0 where outputs have no targets)."""
    loss: float
    """Mean loss per sample."""


@dataclass(frozen=True, slots=True)
class Commands:
    """All commands of a program."""

    program: Program

    def setup(self) -> Command:
        """Loads tables and constants; once, after :meth:`Device.write_program`."""
        scalar = np.stack(tables.scalar_tables(self.program.engine.table_bits), axis=1)
        segments = [Segment(Memory.SCALAR_TABLE, scalar)]
        if self.program.activation_tables:
            contents = [table.content(self.program.engine) for table in self.program.activation_tables]
            segments.append(Segment(Memory.ACTIVATION_TABLE, np.concatenate(contents)))
        if self.program.constants:
            values = np.array(self.program.constants, dtype=np.int64)
            words = np.repeat(values[:, None], self.program.engine.lanes, axis=1)
            segments.append(Segment(Memory.ACTIVATION, words))
        return Command(self.program.entries["setup"], tuple(segments))

    def load_state(self, state: State) -> Command:
        """Loads a training state, clears the gradients and writes the working weights."""
        master, moment1, moment2 = (self._pack_all(values) for values in (state.master, state.moment1, state.moment2))
        guard = MASTER_BITS - self.program.engine.width
        others = [tensor.pack(weights) << guard for tensor, weights in self.program.fixed]
        zeros = np.zeros((self.program.zeroed, self.program.engine.rows), np.int64)
        contents = {
            Memory.MASTER: np.concatenate([master, *others, zeros]),
            Memory.GRADIENT: np.zeros_like(master),
            Memory.MOMENT1: moment1,
            Memory.MOMENT2: moment2,
        }
        return Command(self.program.entries["load_state"], tuple(Segment(*item) for item in contents.items()))

    def store_state(self) -> Command:
        """Fetches the training state; :meth:`read_state` makes sense of the outputs."""
        expects = tuple(Expect(memory, self.program.words) for memory in STATE_MEMORIES)
        return Command(self.program.entries["store_state"], (), expects)

    def read_state(self, outputs: Sequence[Integers]) -> State:
        """The outputs of a ``store_state`` command."""
        return State(*(self._unpack_all(words) for words in outputs))

    def train(self, first_step: int, batches: Sequence[Batch], seed: int | None = None, begun: int = 0) -> Command:
        """Runs ``len(batches)`` training steps.

        :param first_step: number of the first one, from 0; decides probes and rates.
        :param batches: (inputs of shape (batch, inputs), targets) for each step; targets are
            classes for cross entropy, values of shape (batch, outputs) for squared error, None for
            a differential equation.
        :param seed: of the probes; the recipe's if ``None``.
        :param begun: number of the step that the schedule and Adam's correction count from.
        :raises ValueError: on batches of another size than the recipe's, or of none.
        """
        if not batches:
            raise ValueError("a train command needs at least one batch")
        recipe, rates = self.program.recipe, self.program.rates
        segments = [Segment.scalars([recipe.seed if seed is None else seed, first_step, len(batches)])]
        for number, (inputs, targets) in enumerate(batches):
            samples = len(np.asarray(inputs))
            if samples != recipe.batch:
                raise ValueError(f"batch {number} has {samples} samples, not the recipe's {recipe.batch}")
            segments.append(Segment.scalars([rates.mantissa(recipe, first_step + number - begun)]))
            segments += self._groups(inputs, targets)
        return Command(self.program.entries["train"], tuple(segments), (Expect(None, 1),) * len(batches))

    def read_train(self, outputs: Sequence[Integers]) -> list[int]:
        """Each step's sum of base losses, exact, in units of ``2**-loss_frac``."""
        return [int(values[0, 0]) for values in outputs]

    def mean_loss(self, loss_sum: int) -> float:
        """Mean loss per sample of a training step."""
        return math.ldexp(loss_sum, -self.program.formats.loss_frac) / self.program.recipe.batch

    def gradients(self, step: int, inputs: ArrayLike, targets: ArrayLike, seed: int | None = None) -> Command:
        """What a training step would make of a batch, without taking the step; see
        :meth:`read_gradients`.
        """
        seed = self.program.recipe.seed if seed is None else seed
        segments = (Segment.scalars([seed, step]), *self._groups(inputs, targets))
        expects = (Expect(None, 1), Expect(Memory.GRADIENT, self.program.words))
        return Command(self.program.entries["gradients"], segments, expects)

    def read_gradients(self, outputs: Sequence[Integers]) -> tuple[int, dict[str, Integers]]:
        """The sum of base losses, and the gradient accumulators by tensor."""
        return int(outputs[0][0, 0]), self._unpack_all(outputs[1])

    def evaluate(self, inputs: ArrayLike, targets: ArrayLike | None = None) -> Command:
        """Runs the network forward on any number of samples, at least one."""
        groups = self._groups(inputs, targets)
        expects = (Expect(Memory.ACTIVATION, self.program.model.outputs), Expect(None, 1)) * len(groups)
        return Command(self.program.entries["evaluate"], (Segment.scalars([len(groups)]), *groups), expects)

    def read_evaluate(self, outputs: Sequence[Integers], samples: int) -> Evaluation:
        """The outputs of an ``evaluate`` command on ``samples`` samples."""
        words = np.stack(outputs[0::2])
        integers = words.transpose(0, 2, 1).reshape(-1, self.program.model.outputs)[:samples]
        loss_sum = sum(int(values[0, 0]) for values in outputs[1::2])
        mean = math.ldexp(loss_sum, -self.program.formats.loss_frac) / samples
        return Evaluation(self.program.formats.output.decode(integers), integers, loss_sum, mean)

    def measure(self, inputs: ArrayLike, targets: ArrayLike | None = None) -> Command:
        """The loss of any number of samples, at least one, as a training step would see it."""
        groups = self._groups(inputs, targets)
        expects = (Expect(None, 1),) * len(groups)
        return Command(self.program.entries["measure"], (Segment.scalars([len(groups)]), *groups), expects)

    def read_measure(self, outputs: Sequence[Integers], samples: int) -> float:
        """The mean loss of the ``samples`` samples of a ``measure`` command."""
        return math.ldexp(sum(int(values[0, 0]) for values in outputs), -self.program.formats.loss_frac) / samples

    def contract(self, inputs: ArrayLike) -> Command:
        """Forward passes alone, for benchmarks; nothing comes back."""
        groups = self._groups(inputs, None)
        return Command(self.program.entries["contract"], (Segment.scalars([len(groups)]), *groups))

    def initial_state(self, parameters: Parameters) -> State:
        """Masters rounded from real values, moments zero.

        What estimators train besides the model's parameters begins as the program says.

        :raises ValueError: if names or shapes are not the model's.
        """
        names = self.program.model.parameter_shapes()
        learned = set(self.program.tensors) - set(names)
        self.program.model.check_parameters({name: value for name, value in parameters.items() if name not in learned})
        values = {**self.program.initial, **parameters}
        masters = {
            name: tensor.master.encode(values[name] if name in values else np.zeros(tensor.shape))
            for name, tensor in self.program.tensors.items()
        }
        zeros = [{name: np.zeros(value.shape, np.int64) for name, value in masters.items()} for _ in range(2)]
        return State(masters, *zeros)

    def parameters(self, state: State) -> dict[str, NDArray[np.float64]]:
        """The real values of the model's parameters in a state."""
        names = self.program.model.parameter_shapes()
        return {name: self.program.tensors[name].master.decode(state.master[name]) for name in names}

    def _pack_all(self, values: Mapping[str, Integers]) -> Integers:
        return np.concatenate([tensor.pack(values[name]) for name, tensor in self.program.tensors.items()])

    def _unpack_all(self, words: Integers) -> dict[str, Integers]:
        return {
            name: tensor.unpack(words[tensor.base : tensor.base + tensor.words])
            for name, tensor in self.program.tensors.items()
        }

    def _groups(self, inputs: ArrayLike, targets: ArrayLike | None) -> list[Segment]:
        return groups_of(self.program, inputs, targets)


def groups_of(program: Program, inputs: ArrayLike, targets: ArrayLike | None) -> list[Segment]:
    """Samples as lane groups of words x lanes; idle lanes have label -1."""
    rows = program.samples.words(inputs, targets)
    lanes = program.engine.lanes
    padded = np.zeros((-(-len(rows) // lanes) * lanes, rows.shape[1]), np.int64)
    padded[:, program.samples.label] = -1
    padded[: len(rows)] = rows
    grouped = padded.reshape(-1, lanes, rows.shape[1]).transpose(0, 2, 1)
    return [Segment(Memory.ACTIVATION, np.ascontiguousarray(group)) for group in grouped]

"""What the compiler hands out: a program and everything that a host needs to talk to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch import tables
from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..arch.isa import MASTER_BITS, Instruction, Memory
from ..arch.streams import Expect, Segment
from ..arch.timing import execution_cycles
from ..nn.models import RNN, Model, Parameters
from ..recipe import Recipe
from .formats.forward import Formats, Proof
from .layout.memory import ActivationMap
from .layout.tensors import Tensor
from .plan.planner import LayerPlan, Step
from .plan.samples import Samples
from .program import STATE_MEMORIES, Table
from .rates import RateFormat

__all__ = ["Command", "Compiled", "Evaluation", "State", "StepReport"]

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
class StepReport:
    """One contraction step, for reports."""

    layer: int
    step: Step
    chunks: int
    macs: int
    """Useful multiply-accumulates per sample, without bias."""
    cycles: int
    """Exact execution cycles per lane group."""
    occupancy: float
    """Useful multiply-accumulates over what all multipliers could have done in these cycles."""
    shift: int
    format: FixedPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A program for one model, recipe and engine."""

    model: Model
    recipe: Recipe
    engine: EngineConfig
    program: tuple[int, ...]
    """32-bit words, from word 0."""
    entries: Mapping[str, int]
    """Word addresses of ``setup``, ``load_state``, ``store_state``, ``train``, ``evaluate`` and
    ``contract``.
    """
    plans: tuple[LayerPlan, ...]
    memory: ActivationMap
    formats: Formats
    tensors: Mapping[str, Tensor]
    rates: RateFormat
    activation_tables: tuple[Table, ...]
    constants: tuple[int, ...]
    """Bias constants and, for a recurrent layer, h_0, in address order."""
    forward: tuple[tuple[tuple[Instruction, ...], ...], ...]
    """Per layer, per step, the CONTRACTs (all of a chunked layer's in its first step)."""
    probe_passes: tuple[tuple[int, int, int], ...]
    """Per group of tensors perturbed together, or layer of perturbed activities: the layer and step
    that its forward passes start at, and how many."""
    samples: Samples
    """How samples become words."""
    fixed: tuple[tuple[Tensor, Integers], ...] = ()
    """Tensors that no step changes, behind the others, with their working weights; no part of a
    state.
    """
    zeroed: int = 0
    """Words behind all tensors whose masters are zero."""
    local_macs: int = 0
    """Useful multiply-accumulates per sample and step of local learning, besides forward passes."""
    evaluations_per_sample: int = 1
    """How often a forward pass runs the network: more than once where a loss is made of several
    evaluations.
    """
    objective_macs: int = 0
    """Useful multiply-accumulates per sample and forward pass besides the network's."""

    # Figures for reports

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """What was proven not to overflow."""
        return self.formats.proofs

    @property
    def words(self) -> int:
        """Words of the parameter memories that hold the state."""
        return sum(tensor.words for tensor in self.tensors.values())

    @property
    def forward_macs(self) -> int:
        """Useful multiply-accumulates of one sample's forward pass, without bias."""
        return sum(plan.macs for plan in self.plans)

    def passes(self) -> list[tuple[int, int, int]]:
        """Forward passes per lane group and training step: (start layer, start step, how many)."""
        return [(0, 0, 1), *self.probe_passes]

    @property
    def step_macs(self) -> int:
        """Useful multiply-accumulates of one training step, over all samples, probes and passes."""
        total = self.local_macs
        for layer, start, count in self.passes():
            if layer == len(self.plans):
                continue
            macs = sum(step.macs for step in self.plans[layer].steps[start:])
            network = macs + sum(plan.macs for plan in self.plans[layer + 1 :])
            total += count * (network * self.evaluations_per_sample + self.objective_macs)
        return total * self.recipe.batch

    @property
    def step_evaluations(self) -> int:
        """Evaluations of the network, one a sample, in one training step; partial ones are counted
        in full.
        """
        return sum(count for _, _, count in self.passes()) * self.recipe.batch * self.evaluations_per_sample

    def steps(self) -> list[StepReport]:
        """Every contraction step with its exact cycles."""
        reports = []
        for plan, buffers, formats, code in zip(
            self.plans, self.memory.layers, self.formats.layers, self.forward, strict=True
        ):
            flat = [instruction for part in code for instruction in part if instruction.name == "CONTRACT"]
            rounds = plan.layer.steps if isinstance(plan.layer, RNN) else 1
            for number, step in enumerate(plan.steps):
                mine = flat[number :: len(plan.steps)]
                cycles = rounds * sum(execution_cycles(self.engine, instruction) for instruction in mine)
                occupancy = step.macs / (cycles * self.engine.rows)
                reports.append(
                    StepReport(
                        plan.position,
                        step,
                        buffers.chunks,
                        step.macs,
                        cycles,
                        occupancy,
                        formats.shifts[number],
                        formats.sums[number],
                    )
                )
        return reports

    # Commands

    def setup(self) -> Command:
        """Loads tables and constants; once, after :meth:`Device.write_program`."""
        scalar = np.stack(tables.scalar_tables(self.engine.table_bits), axis=1)
        segments = [Segment(Memory.SCALAR_TABLE, scalar)]
        if self.activation_tables:
            contents = [np.stack(self._table(table), axis=1) for table in self.activation_tables]
            segments.append(Segment(Memory.ACTIVATION_TABLE, np.concatenate(contents)))
        if self.constants:
            words = np.repeat(np.array(self.constants, dtype=np.int64)[:, None], self.engine.lanes, axis=1)
            segments.append(Segment(Memory.ACTIVATION, words))
        return Command(self.entries["setup"], tuple(segments))

    def _table(self, table: Table) -> tuple[Integers, Integers]:
        build = {"sine": tables.sine_table, "tanh": tables.tanh_table}[table.function]
        width = self.engine.width
        return build(FixedPoint(width, table.input_frac), FixedPoint(width, table.output_frac), self.engine.table_bits)

    def load_state(self, state: State) -> Command:
        """Loads a training state, clears the gradients and writes the working weights."""
        master, moment1, moment2 = (self._pack_all(values) for values in (state.master, state.moment1, state.moment2))
        guard = MASTER_BITS - self.engine.width
        others = [tensor.pack(weights) << guard for tensor, weights in self.fixed]
        zeros = np.zeros((self.zeroed, self.engine.rows), np.int64)
        contents = {
            Memory.MASTER: np.concatenate([master, *others, zeros]),
            Memory.GRADIENT: np.zeros_like(master),
            Memory.MOMENT1: moment1,
            Memory.MOMENT2: moment2,
        }
        return Command(self.entries["load_state"], tuple(Segment(*item) for item in contents.items()))

    def store_state(self) -> Command:
        """Fetches the training state; :meth:`read_state` makes sense of the outputs."""
        expects = tuple(Expect(memory, self.words) for memory in STATE_MEMORIES)
        return Command(self.entries["store_state"], (), expects)

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
        seed = self.recipe.seed if seed is None else seed
        segments = [Segment.scalars([seed, first_step, len(batches)])]
        for number, (inputs, targets) in enumerate(batches):
            samples = len(np.asarray(inputs))
            if samples != self.recipe.batch:
                raise ValueError(f"batch {number} has {samples} samples, not the recipe's {self.recipe.batch}")
            segments.append(Segment.scalars([self.rates.mantissa(self.recipe, first_step + number - begun)]))
            segments += self._groups(inputs, targets)
        return Command(self.entries["train"], tuple(segments), (Expect(None, 1),) * len(batches))

    def read_train(self, outputs: Sequence[Integers]) -> list[int]:
        """Each step's sum of base losses, exact, in units of ``2**-loss_frac``."""
        return [int(values[0, 0]) for values in outputs]

    def mean_loss(self, loss_sum: int) -> float:
        """Mean loss per sample of a training step."""
        return math.ldexp(loss_sum, -self.formats.loss_frac) / self.recipe.batch

    def gradients(self, step: int, inputs: ArrayLike, targets: ArrayLike, seed: int | None = None) -> Command:
        """What a training step would make of a batch, without taking the step; see
        :meth:`read_gradients`.
        """
        seed = self.recipe.seed if seed is None else seed
        segments = (Segment.scalars([seed, step]), *self._groups(inputs, targets))
        return Command(self.entries["gradients"], segments, (Expect(None, 1), Expect(Memory.GRADIENT, self.words)))

    def read_gradients(self, outputs: Sequence[Integers]) -> tuple[int, dict[str, Integers]]:
        """The sum of base losses, and the gradient accumulators by tensor."""
        return int(outputs[0][0, 0]), self._unpack_all(outputs[1])

    def evaluate(self, inputs: ArrayLike, targets: ArrayLike | None = None) -> Command:
        """Runs the network forward on any number of samples, at least one."""
        groups = self._groups(inputs, targets)
        expects = (Expect(Memory.ACTIVATION, self.model.outputs), Expect(None, 1)) * len(groups)
        return Command(self.entries["evaluate"], (Segment.scalars([len(groups)]), *groups), expects)

    def read_evaluate(self, outputs: Sequence[Integers], samples: int) -> Evaluation:
        """The outputs of an ``evaluate`` command on ``samples`` samples."""
        words = np.stack(outputs[0::2])
        integers = words.transpose(0, 2, 1).reshape(-1, self.model.outputs)[:samples]
        loss_sum = sum(int(values[0, 0]) for values in outputs[1::2])
        mean = math.ldexp(loss_sum, -self.formats.loss_frac) / samples
        return Evaluation(self.formats.output.decode(integers), integers, loss_sum, mean)

    def measure(self, inputs: ArrayLike, targets: ArrayLike | None = None) -> Command:
        """The loss of any number of samples, at least one, as a training step would see it."""
        groups = self._groups(inputs, targets)
        expects = (Expect(None, 1),) * len(groups)
        return Command(self.entries["measure"], (Segment.scalars([len(groups)]), *groups), expects)

    def read_measure(self, outputs: Sequence[Integers], samples: int) -> float:
        """The mean loss of the ``samples`` samples of a ``measure`` command."""
        return math.ldexp(sum(int(values[0, 0]) for values in outputs), -self.formats.loss_frac) / samples

    def contract(self, inputs: ArrayLike) -> Command:
        """Forward passes alone, for benchmarks; nothing comes back."""
        groups = self._groups(inputs, None)
        return Command(self.entries["contract"], (Segment.scalars([len(groups)]), *groups))

    # States and samples as integers

    def initial_state(self, parameters: Parameters) -> State:
        """Masters rounded from real values, moments and learned matrices zero.

        :raises ValueError: if names or shapes are not the model's.
        """
        names = self.model.parameter_shapes()
        learned = set(self.tensors) - set(names)
        self.model.check_parameters({name: value for name, value in parameters.items() if name not in learned})
        masters = {
            name: tensor.master.encode(parameters.get(name, np.zeros(tensor.shape)))
            for name, tensor in self.tensors.items()
        }
        zeros = [{name: np.zeros(value.shape, np.int64) for name, value in masters.items()} for _ in range(2)]
        return State(masters, *zeros)

    def parameters(self, state: State) -> dict[str, NDArray[np.float64]]:
        """The real values of the model's parameters in a state."""
        names = self.model.parameter_shapes()
        return {name: self.tensors[name].master.decode(state.master[name]) for name in names}

    def _pack_all(self, values: Mapping[str, Integers]) -> Integers:
        return np.concatenate([tensor.pack(values[name]) for name, tensor in self.tensors.items()])

    def _unpack_all(self, words: Integers) -> dict[str, Integers]:
        return {
            name: tensor.unpack(words[tensor.base : tensor.base + tensor.words])
            for name, tensor in self.tensors.items()
        }

    def _groups(self, inputs: ArrayLike, targets: ArrayLike | None) -> list[Segment]:
        """Samples as lane groups of words x lanes; idle lanes have label -1."""
        rows = self.samples.words(inputs, targets)
        lanes = self.engine.lanes
        padded = np.zeros((-(-len(rows) // lanes) * lanes, rows.shape[1]), np.int64)
        padded[:, self.samples.label] = -1
        padded[: len(rows)] = rows
        grouped = padded.reshape(-1, lanes, rows.shape[1]).transpose(0, 2, 1)
        return [Segment(Memory.ACTIVATION, np.ascontiguousarray(group)) for group in grouped]

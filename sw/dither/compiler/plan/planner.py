"""Contraction planning: in which order a layer's cores meet its input.

The state of a layer is an array ``[m-prefix, r_a, n_a ... n_b, r_b, m-suffix]``, contiguous in
activation memory. A step contracts the leftmost or the rightmost core that is left; either is a
matrix (K inputs x M outputs) applied to ``[P, K, S] -> [P, M, S]``, with no transposition anywhere.
The last core carries both ranks. A train of d cores has 2^(d-1) orders.

Left-first orders may be *chunked*: the layer runs once for every few values of the first output
index m_0, which divides its intermediates and costs no multiply-accumulate more. Core 0's rows are
then padded, rank by rank, to multiples of eight, so that each chunk starts at a row tile of every
engine.

Order and padding decide roundings and generator indices, that is results. They are therefore chosen
for a *nominal* engine, never for the one at hand; only chunking, which changes no bit, adapts to
it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...nn.models import RNN, Conv2d, Dense, Layer, Model, TensorTrain

__all__ = [
    "NOMINAL_DEPTH",
    "NOMINAL_ROWS",
    "ROW_PITCH",
    "LayerPlan",
    "Step",
    "contraction_cycles",
    "layer_orders",
    "plan_layers",
]

NOMINAL_ROWS = 4
NOMINAL_DEPTH = 4096
ROW_PITCH = 8
"""Largest R: a column count that is a multiple of it is a whole number of row tiles on every
engine.
"""
CONTRACT_OVERHEAD = 36
"""Nominal cycles around a contraction's tiles: fetching its words, filling and emptying the
pipeline.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One contraction: matrix (K x M) applied to ``[P, K, S] -> [P, M, S]``, without chunking.

    A convolution's S counts its windows, a recurrent layer's P its time steps: their outputs stand
    like that, their inputs as :mod:`dither.compiler.code.windows` says.
    """

    tensor: str
    """Name of the parameter."""
    K: int
    M: int
    P: int
    S: int
    axes: tuple[int, ...]
    """Permutation of the parameter's axes that puts the K inputs in front of the M outputs."""
    groups: int = 1
    """Groups that the M outputs fall into: values of m_0 for core 0 taken from the left, else 1."""
    padded: bool = False
    """Every group of rows is padded to a multiple of eight columns."""
    skipped: int = 0
    """Multiply-accumulates per sample that fall on a convolution's padding: nobody computes
    them.
    """

    @property
    def macs(self) -> int:
        """Number of multiply-accumulates per sample."""
        return self.P * self.K * self.M * self.S - self.skipped

    @property
    def output_words(self) -> int:
        """Number of activation words that the outputs take."""
        return self.P * self.M * self.S

    @property
    def group_rows(self) -> int:
        """Outputs of one group."""
        return self.M // self.groups

    @property
    def group_pitch(self) -> int:
        """Columns that a group occupies in the parameter memories."""
        return -(-self.group_rows // ROW_PITCH) * ROW_PITCH if self.padded else self.group_rows

    @property
    def columns(self) -> int:
        """M with padding: what tiles and generator indices count."""
        return self.groups * self.group_pitch


def contraction_cycles(tiles: int, terms: int, rows: int, drain: int = 1) -> int:
    """Nominal cycles of one CONTRACT: the planner's yardstick, not the exact cost.

    :param tiles: iterations of the outer loops.
    :param terms: multiply-accumulates of a tile, bias included.
    :param drain: drain cycles of a row.
    """
    return tiles * max(terms, rows * drain) + CONTRACT_OVERHEAD


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer's contraction order."""

    position: int
    layer: Layer
    order: str
    """A letter a step: L or R for the end that the core was taken from; the last one always L."""
    steps: tuple[Step, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample, without bias."""
        return sum(step.macs for step in self.steps)

    @property
    def bias(self) -> str | None:
        """Name of the bias, if there is one."""
        return f"{self.position}.bias" if self.layer.bias else None

    @property
    def shared(self) -> bool:
        """Whether all positions have one bias, beside one matrix."""
        return isinstance(self.layer, (Conv2d, RNN))

    @property
    def largest_intermediate(self) -> int:
        """Words of the largest state between two steps (0 for a single step), without chunking."""
        return max((step.output_words for step in self.steps[:-1]), default=0)

    def chunks(self, rows: int) -> tuple[int, ...]:
        """Numbers of chunks that an engine with this many rows can run the layer in, fewest
        first.
        """
        first = self.steps[0]
        if len(self.steps) == 1 or first.groups == 1:
            return (1,)
        counts = [count for count in range(1, first.groups + 1) if first.groups % count == 0]
        return tuple(
            count
            for count in counts
            if count == 1 or first.padded or first.groups // count * first.group_rows % rows == 0
        )

    def intermediates(self, chunks: int) -> tuple[int, ...]:
        """Words of each state between two steps."""
        return tuple(step.output_words // chunks for step in self.steps[:-1])

    def scratch(self, chunks: int) -> int:
        """Words that hold the intermediates if each is given up once it is read."""
        sizes = (0, *self.intermediates(chunks), 0)
        return max(left + right for left, right in itertools.pairwise(sizes))

    def cycles(self, rows: int, drain: int = 1, chunks: int = 1, first: int = 0) -> int:
        """Nominal cycles from step ``first`` to the layer's end.

        :param drain: drain cycles of a row in the last step (table activations take more than one).
        """
        total = 0
        for number, step in enumerate(self.steps[first:], start=first):
            last = number == len(self.steps) - 1
            terms = step.K + (last and self.layer.bias)
            tiles = step.P * step.S * step.groups * -(-step.group_rows // rows)
            if number == 0 and not step.padded:
                tiles = step.P * step.S * chunks * -(-step.M // chunks // rows)
            total += contraction_cycles(tiles, terms, rows, drain if last else 1) + (chunks - 1) * CONTRACT_OVERHEAD
        return total


def _train_steps(prefix: str, layer: TensorTrain, order: Sequence[str]) -> tuple[Step, ...]:
    ranks, n, m = layer.all_ranks, layer.inputs, layer.outputs
    left, right = 0, len(n) - 1
    steps = []
    for side in order:
        done_left, done_right = math.prod(m[:left]), math.prod(m[right + 1 :])
        if left == right:
            core = left
            steps.append(
                Step(
                    f"{prefix}.core{core}",
                    ranks[core] * n[core] * ranks[core + 1],
                    m[core],
                    done_left,
                    done_right,
                    (0, 1, 3, 2),
                )
            )
        elif side == "L":
            rest = math.prod(n[left + 1 : right + 1]) * ranks[right + 1]
            steps.append(
                Step(
                    f"{prefix}.core{left}",
                    ranks[left] * n[left],
                    m[left] * ranks[left + 1],
                    done_left,
                    rest * done_right,
                    (0, 1, 2, 3),
                    groups=m[0] if left == 0 else 1,
                )
            )
            left += 1
        else:
            rest = ranks[left] * math.prod(n[left:right])
            steps.append(
                Step(
                    f"{prefix}.core{right}",
                    n[right] * ranks[right + 1],
                    ranks[right] * m[right],
                    done_left * rest,
                    done_right,
                    (1, 3, 0, 2),
                )
            )
            right -= 1
    return tuple(steps)


def _single_step(tensor: str, layer: Dense | Conv2d | RNN) -> Step:
    match layer:
        case Dense():
            return Step(tensor, layer.inputs, layer.outputs, 1, 1, (0, 1))
        case Conv2d():
            windows = math.prod(layer.windows)
            skipped = layer.fan_in * layer.channels * windows - layer.plain_macs
            return Step(tensor, layer.fan_in, layer.channels, 1, windows, (0, 1, 2, 3), skipped=skipped)
        case RNN():
            return Step(tensor, layer.outputs + layer.inputs, layer.outputs, layer.steps, 1, (0, 1))


def layer_orders(position: int, layer: Layer) -> list[LayerPlan]:
    """Every contraction order of a layer, unpadded: 2^(d-1) for a train of d cores, one for any
    other.
    """
    if not isinstance(layer, TensorTrain):
        return [LayerPlan(position, layer, "L", (_single_step(f"{position}.weight", layer),))]
    free = len(layer.inputs) - 1
    return [
        LayerPlan(position, layer, "".join(sides) + "L", _train_steps(str(position), layer, (*sides, "L")))
        for sides in itertools.product("LR", repeat=free)
    ]


def _padded(plan: LayerPlan) -> LayerPlan:
    return replace(plan, steps=(replace(plan.steps[0], padded=True), *plan.steps[1:]))


def _nominal(plan: LayerPlan, room: int) -> LayerPlan:
    """The plan, padded for chunking if it does not fit the room without, or needs no columns for
    it.
    """
    first = plan.steps[0]
    chunkable = len(plan.steps) > 1 and first.groups > 1
    if chunkable and (first.group_rows % ROW_PITCH == 0 or plan.scratch(1) > room):
        return _padded(plan)
    return plan


def plan_layers(model: Model) -> list[LayerPlan]:
    """For every layer the order of fewest nominal cycles among those that fit the nominal engine.

    Depends on the model alone, because orders decide results. Where no order fits, the one of least
    scratch is taken: the engine may be larger than the nominal one.
    """
    layers = model.layers
    persistent = model.inputs + sum(layer.output_size for layer in layers) + 8
    if model.loss == "squared_error":
        persistent += model.outputs
    room = NOMINAL_DEPTH - persistent
    plans = []
    for position, layer in enumerate(layers):
        candidates = [_nominal(plan, room) for plan in layer_orders(position, layer)]
        scratch = {plan.order: plan.scratch(plan.chunks(NOMINAL_ROWS)[-1]) for plan in candidates}
        fitting = [plan for plan in candidates if scratch[plan.order] <= room]
        if fitting:
            plans.append(min(fitting, key=lambda plan: (plan.cycles(NOMINAL_ROWS), plan.largest_intermediate)))
        else:
            plans.append(min(candidates, key=lambda plan: scratch[plan.order]))
    return plans

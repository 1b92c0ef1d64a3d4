"""Contraction planning: in which order a layer's cores meet its input.

The state of a layer is an array ``[m-prefix, r_a, n_a ... n_b, r_b, m-suffix]``, contiguous in
activation memory. A step contracts the leftmost or the rightmost core that is left; either is a
matrix (K inputs x M outputs) applied to ``[P, K, S] -> [P, M, S]``, with no transposition anywhere.
The last core carries both ranks. A train of d cores has 2^(d-1) orders, but only d(d+1)/2 states:
what is left of the cores decides a state's size and what it costs to go on, so that the best order
is found state by state (dynamic programming, from the last step back).

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
from collections.abc import Callable
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
    "plan_matrix",
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
            bias = last and self.layer.bias
            total += _step_cycles(step, rows, drain if last else 1, chunks, first=number == 0, bias=bias)
        return total


def _step_cycles(step: Step, rows: int, drain: int, chunks: int, *, first: bool, bias: bool) -> int:
    """See :meth:`LayerPlan.cycles`, for one step."""
    tiles = step.P * step.S * step.groups * -(-step.group_rows // rows)
    if first and not step.padded:
        tiles = step.P * step.S * chunks * -(-step.M // chunks // rows)
    return contraction_cycles(tiles, step.K + bias, rows, drain) + (chunks - 1) * CONTRACT_OVERHEAD


def _train_step(prefix: str, layer: TensorTrain, left: int, right: int, side: str) -> Step:
    """The step that contracts an end of the cores ``left`` to ``right``; both ends at once where
    they are one core.
    """
    ranks, n, m = layer.all_ranks, layer.inputs, layer.outputs
    before, behind = math.prod(m[:left]), math.prod(m[right + 1 :])
    if left == right:
        K = ranks[left] * n[left] * ranks[left + 1]
        return Step(f"{prefix}.core{left}", K, m[left], before, behind, (0, 1, 3, 2))
    if side == "L":
        rest = math.prod(n[left + 1 : right + 1]) * ranks[right + 1]
        return Step(
            f"{prefix}.core{left}",
            ranks[left] * n[left],
            m[left] * ranks[left + 1],
            before,
            rest * behind,
            (0, 1, 2, 3),
            groups=m[0] if left == 0 else 1,
        )
    rest = ranks[left] * math.prod(n[left:right])
    K, M = n[right] * ranks[right + 1], ranks[right] * m[right]
    return Step(f"{prefix}.core{right}", K, M, before * rest, behind, (1, 3, 0, 2))


def _train_plan(position: int, layer: TensorTrain, order: str, prefix: str | None = None) -> LayerPlan:
    left, right = 0, len(layer.inputs) - 1
    steps = []
    for side in order:
        steps.append(_train_step(prefix or str(position), layer, left, right, side))
        left, right = (left + 1, right) if side == "L" else (left, right - 1)
    return LayerPlan(position, layer, order, tuple(steps))


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
    return [_train_plan(position, layer, "".join(sides) + "L") for sides in itertools.product("LR", repeat=free)]


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


Span = tuple[int, int]
"""The first and the last core that are left."""
Way = tuple[int, int, str]
"""What an order costs, its peak, and the order itself: ways compare in this order."""


def _best_way(cores: int, step: Callable[[Span, str, Span | None], tuple[int, int] | None]) -> Way | None:
    """The order of least cost; among equals the one of least peak, and of those the first in the
    alphabet.

    :param step: cost and peak of going from one state to another (None: to the end); None where
        that is forbidden. An order's cost is the sum of its steps', its peak their maximum.
    """
    best: dict[Span | None, tuple[int, int]] = {None: (0, 0)}
    ways: dict[Span, list[tuple[str, Span | None, int, int]]] = {}
    for length in range(1, cores + 1):
        for left in range(cores - length + 1):
            span = left, left + length - 1
            ends: list[tuple[str, Span | None]] = [("L", (left + 1, span[1])), ("R", (left, span[1] - 1))]
            ways[span] = []
            for side, following in ends if length > 1 else [("L", None)]:
                if following in best and (price := step(span, side, following)) is not None:
                    cost, peak = best[following]
                    ways[span].append((side, following, price[0] + cost, max(price[1], peak)))
            if ways[span]:
                best[span] = min((cost, peak) for _, _, cost, peak in ways[span])
    span = (0, cores - 1)
    if span not in best:
        return None
    cost, peak = best[span]
    left_over, order, here = cost, "", span
    while True:
        # The first way on that still ends with this cost and below this peak.
        side, following, _, _ = next(way for way in ways[here] if way[2] == left_over and way[3] <= peak)
        order += side
        if following is None:
            return cost, peak, order
        left_over, here = best[following][0], following


def _train_order(position: int, layer: TensorTrain, room: int) -> str:
    """The order that :func:`plan_layers` chooses for a train."""
    cores = len(layer.inputs)
    prefix, whole = str(position), (0, cores - 1)
    steps: dict[tuple[Span, str], Step] = {}

    def taken(span: Span, side: str) -> Step:
        if (span, side) not in steps:
            steps[span, side] = _train_step(prefix, layer, *span, side)
        return steps[span, side]

    sizes = {None: 0, whole: 0}
    """Words of states; the input is no intermediate, and neither is the output."""

    def size(span: Span | None) -> int:
        if span not in sizes:
            assert span is not None
            left, right = span
            known = (left - 1, right), "L"
            sizes[span] = taken(*(known if left else ((left, right + 1), "R"))).output_words
        return sizes[span]

    first = taken(whole, "L")
    chunkable = cores > 1 and first.groups > 1
    # By the first core taken: whether its columns are padded, and chunks that divide the states.
    variants = [("R", False, 1)] if cores > 1 else []
    if chunkable:
        variants.append(("L", True, first.groups))
    if not (chunkable and first.group_rows % ROW_PITCH == 0):
        variants.append(("L", False, 1))

    def searched(variant: tuple[str, bool, int], fitting: bool) -> Way | None:
        begin, padded, chunks = variant

        def price(span: Span, side: str, following: Span | None) -> tuple[int, int] | None:
            scratch = size(span) // chunks + size(following) // chunks
            if (span == whole and side != begin) or (fitting and scratch > room):
                return None
            if not fitting:
                return 0, scratch
            step = replace(taken(span, side), padded=padded and span == whole)
            bias = layer.bias and following is None
            return _step_cycles(step, NOMINAL_ROWS, 1, 1, first=span == whole, bias=bias), size(following)

        return _best_way(cores, price)

    for fitting in (True, False):
        ways = [way for variant in variants if (way := searched(variant, fitting)) is not None]
        if ways:
            return min(ways)[2]
    raise AssertionError("without a limit some order is possible")


def plan_matrix(model: Model, position: int, matrix: Dense | TensorTrain, name: str) -> LayerPlan:
    """The plan of a matrix that an estimator applies at a layer's outputs, without padding.

    :param name: of the matrix; that of a train's cores begins with it.
    """
    if isinstance(matrix, Dense):
        return LayerPlan(position, matrix, "L", (_single_step(name, matrix),))
    return _train_plan(position, matrix, _train_order(position, matrix, _nominal_room(model)), name)


def _nominal_room(model: Model) -> int:
    """Words that are left for states on the nominal engine."""
    persistent = model.inputs + sum(layer.output_size for layer in model.layers) + 8
    if model.loss == "squared_error":
        persistent += model.outputs
    return NOMINAL_DEPTH - persistent


def plan_layers(model: Model) -> list[LayerPlan]:
    """For every layer the order of fewest nominal cycles among those that fit the nominal engine.

    Depends on the model alone, because orders decide results. Where no order fits, the one of least
    scratch is taken: the engine may be larger than the nominal one.
    """
    room = _nominal_room(model)
    plans = []
    for position, layer in enumerate(model.layers):
        if isinstance(layer, TensorTrain):
            plan = _train_plan(position, layer, _train_order(position, layer, room))
        else:
            (plan,) = layer_orders(position, layer)
        plans.append(_nominal(plan, room))
    return plans

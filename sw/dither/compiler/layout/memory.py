"""Activation memory: who stands where and when, and how each layer runs within the room there is.

While a lane group is at work, its program passes through *moments*: the layers' forward passes, the
loss, then for one layer after the other, the last one first, what makes its gradients. Every region
says in which moments its words must hold what they held; regions that share no moment may share
words. The input tile, labels, targets and constants hold their words all the time.

A layer's intermediates either stay from its forward pass until its gradients are made (*kept*), or
live only while the layer runs, possibly in chunks; the gradients of a layer that reads them
backwards then run it again, chunk by chunk. None of these choices changes a result.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...arch.config import EngineConfig
from ...nn.models import RNN
from ..errors import shortage
from ..plan.planner import LayerPlan
from .states import Blocks

__all__ = ["ActivationMap", "LayerBuffers", "LayerUse", "Moment", "Need", "Region", "allocate_activations"]

_TRIED = 2000
"""Combinations of the layers' options that are tried, cheapest first, before the planner falls back
on those of fewest words."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A part of the program that makes the gradients of one layer, or of all."""

    name: str
    layer: int
    """The layer, or the first one of them."""
    runs: int | None = None
    """The first layer that its forward passes run, if it has some; they run all layers behind too,
    and the loss."""


@dataclass(frozen=True, slots=True)
class Need:
    """Words that somebody asks for."""

    name: str
    words: int
    moments: frozenset[str] | None = None
    """Names of the moments in which they must stay as they are; None for all from the loss on."""


@dataclass(frozen=True, slots=True)
class Region:
    """A run of words, and the moments in which nobody else may use them."""

    name: str
    base: int
    words: int
    moments: frozenset[str] = frozenset()
    """Empty for all of them."""

    @property
    def end(self) -> int:
        """The first word behind the region."""
        return self.base + self.words


@dataclass(frozen=True, slots=True)
class LayerBuffers:
    """How one layer runs."""

    chunks: int
    kept: bool
    """Intermediates stay until the layer's gradients are made."""
    source: Region
    intermediates: tuple[Region, ...]
    """The states of one chunk behind each step but the last."""
    target: Region
    source_loops: tuple[tuple[int, int], ...] = ()
    """Counts and strides of the loops that the layer's inputs stand in, the innermost first; empty
    if they stand one behind the other."""
    pitch: int = 0
    """Words from a recurrent layer's state to its next."""


@dataclass(frozen=True, slots=True)
class ActivationMap:
    """The activation memory's contents."""

    constants: Region
    input: Region
    labels: Region
    targets: Region
    layers: tuple[LayerBuffers, ...]
    extra: Mapping[str, Region]
    """Regions that the objective or estimators ask for, by name."""
    regions: tuple[Region, ...]
    """All of them, for reports."""
    moments: tuple[str, ...]
    """Names of all moments, in their order."""
    words: int
    loads: tuple[Region, ...]
    """What the words of a lane group fill, in their order: input, labels, targets."""


@dataclass(frozen=True, slots=True)
class LayerUse:
    """What estimators do with one layer, besides running it forward."""

    passes: Sequence[tuple[int, int]] = ()
    """Forward passes that start within the layer if its intermediates are kept: the first step, and
    how many."""
    backward: str | None = None
    """The moment in which its contractions are read backwards, if they are."""
    needs: Mapping[int, Sequence[Need]] = field(default_factory=dict)
    """What that takes besides, by the number of chunks."""


@dataclass(frozen=True, slots=True)
class _Option:
    """A way to run a layer, with nominal cycles per lane group."""

    chunks: int
    kept: bool
    needs: tuple[Need, ...]
    """Intermediates first, the others behind them."""
    cycles: int

    @property
    def words(self) -> int:
        return sum(need.words for need in self.needs)


class _Timeline:
    """All moments of a lane group's program, in order.

    A moment with forward passes has parts: one for each layer that runs, and one for all else.
    """

    def __init__(self, plans: Sequence[LayerPlan], gradients: Sequence[Moment]) -> None:
        self.forward = [f"forward {plan.position}" for plan in plans]
        self.gradients = sorted(gradients, key=lambda moment: moment.layer, reverse=True)
        self.parts = {
            moment.name: (*(self._run(moment, layer) for layer in range(len(plans))[moment.runs :]), moment.name)
            if moment.runs is not None
            else (moment.name,)
            for moment in self.gradients
        }
        self.names = (*self.forward, "loss", *itertools.chain(*self.parts.values()))

    @staticmethod
    def _run(moment: Moment, layer: int) -> str:
        return f"{moment.name}, forward {layer}"

    def running(self, layer: int) -> frozenset[str]:
        """When a layer runs forward as part of the network."""
        again = (self._run(each, layer) for each in self.gradients if each.runs is not None and each.runs <= layer)
        return frozenset((self.forward[layer], *again))

    def results(self, layer: int) -> frozenset[str]:
        """When a layer's outputs must be there: from its run until the gradients of the layer and
        of the one behind are made, and as long as it and those behind run again.
        """
        again = (self.parts[each.name] for each in self.gradients if each.runs is not None and each.runs <= layer)
        return self.staying(layer, layer, layer + 1).union(*again)

    def staying(self, layer: int, *users: int) -> frozenset[str]:
        """From when a layer runs until the gradients of some layers are made, and whenever it runs
        again.
        """
        mine = [self.names.index(moment.name) for moment in self.gradients if moment.layer in users]
        first, last = layer, max(mine, default=len(self.forward))
        return frozenset(self.names[first : last + 1]) | self.running(layer)

    def of(self, moments: frozenset[str] | None) -> frozenset[str]:
        """All parts of some moments; from the loss on if None."""
        if moments is None:
            return frozenset(self.names[len(self.forward) :])
        return frozenset(itertools.chain(*(self.parts[name] for name in moments)))


def _options(
    plan: LayerPlan, engine: EngineConfig, drain: int, use: LayerUse, passing: int, timeline: _Timeline
) -> list[_Option]:
    """Ways to run a layer, the cheapest first.

    :param passing: passes that run the whole layer in any case.
    """
    position, running = plan.position, timeline.running(plan.position)

    def cycles(chunks: int, kept: bool) -> int:
        total = passing * plan.cycles(engine.rows, drain, chunks)
        for step, passes in use.passes:
            total += passes * plan.cycles(engine.rows, drain, chunks, step if kept else 0)
        if use.backward is not None and not kept:
            last = len(plan.steps) - 1
            total += plan.cycles(engine.rows, drain, chunks) - plan.cycles(engine.rows, drain, chunks, last)
        return total

    def option(chunks: int, kept: bool) -> _Option:
        names, sizes = [f"state {number} of layer {position}" for number in range(len(plan.steps) - 1)], []
        if kept:
            when, sizes = timeline.staying(position, position), list(plan.intermediates(chunks))
        elif use.backward is not None:
            when, sizes = running | {use.backward}, list(plan.intermediates(chunks))
        else:
            # One region for all: neighbours stand at its opposite ends.
            when, sizes, names = running, [plan.scratch(chunks)], [f"states of layer {position}"]
        states = [Need(name, words, when) for name, words in zip(names, sizes, strict=True)]
        others = (replace(need, moments=timeline.of(need.moments)) for need in use.needs.get(chunks, ()))
        return _Option(chunks, kept, (*states, *others), cycles(chunks, kept))

    found = [option(1, True)]
    if len(plan.steps) > 1:
        found += [option(chunks, False) for chunks in plan.chunks(engine.rows)]
    return sorted(found, key=lambda each: (each.cycles, each.words))


def _pack(needs: Sequence[Need], room: int) -> dict[str, int] | None:
    """A place for each region, so that those of one moment do not meet: large ones first, each at
    the first place where it fits; None if there is no room.
    """
    order = sorted(needs, key=lambda need: -need.words)
    placed: list[tuple[int, int, frozenset[str]]] = []
    places = {}
    for need in order:
        assert need.moments is not None
        base = 0
        for start, end in sorted((start, end) for start, end, moments in placed if moments & need.moments):
            if base + need.words <= start:
                break
            base = max(base, end)
        if base + need.words > room:
            return None
        places[need.name] = base
        if need.words:
            placed.append((base, base + need.words, need.moments))
    return places


def _choose(
    options: Sequence[Sequence[_Option]], others: Sequence[Need], room: int
) -> tuple[Sequence[_Option], dict[str, int]] | None:
    """One option a layer and a place for each region, for the fewest cycles found."""

    def packed(chosen: Sequence[_Option]) -> dict[str, int] | None:
        return _pack([*others, *(need for option in chosen for need in option.needs)], room)

    def entry(chosen: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        return sum(layer[number].cycles for layer, number in zip(options, chosen, strict=True)), chosen

    first = (0,) * len(options)
    waiting, seen = [entry(first)], {first}
    for _ in range(_TRIED):
        if not waiting:
            return None
        _, numbers = heapq.heappop(waiting)
        chosen = [layer[number] for layer, number in zip(options, numbers, strict=True)]
        if (places := packed(chosen)) is not None:
            return chosen, places
        for layer, number in enumerate(numbers):
            following = (*numbers[:layer], number + 1, *numbers[layer + 1 :])
            if number + 1 < len(options[layer]) and following not in seen:
                seen.add(following)
                heapq.heappush(waiting, entry(following))
    # So many layers that the cheap combinations cannot all be tried: begin with the smallest, and
    # let one layer after the other have what still fits.
    small = [min(layer, key=lambda option: option.words) for layer in options]
    best = packed(small)
    for position, ways in enumerate(options):
        for option in ways:
            trial = [*small[:position], option, *small[position + 1 :]]
            if best is None or option is small[position]:
                break
            if (places := packed(trial)) is not None:
                small, best = trial, places
                break
    return None if best is None else (small, best)


def allocate_activations(
    plans: Sequence[LayerPlan],
    engine: EngineConfig,
    drains: Sequence[int],
    constants: int,
    targets: int,
    passes: Sequence[tuple[int, int, int]] = (),
    moments: Sequence[Moment] = (),
    backward: Mapping[int, LayerUse] | None = None,
    objective: Mapping[str, int] | None = None,
    needs: Sequence[Need] = (),
) -> ActivationMap:
    """Places everything that stands in the activation memory.

    :param drains: drain cycles of a row in each layer's last step.
    :param constants: words of bias constants; with recurrent layers, those that
        :attr:`~dither.compiler.layout.states.Blocks.cleared` counts are the last ones.
    :param targets: words of targets (0 for labels alone).
    :param passes: forward passes besides the base pass: the layer and step from which on they must
        compute, and how many they are.
    :param moments: the parts of the program that make gradients.
    :param backward: layers that are read backwards, by position.
    :param objective: regions that the objective needs all the time, words by name.
    :param needs: what estimators need besides.
    :raises CompileError: saying by how much the memory is short and what would help.
    """
    timeline, uses = _Timeline(plans, moments), backward or {}
    options = []
    for plan, drain in zip(plans, drains, strict=True):
        use = uses.get(plan.position, LayerUse())
        own = [(step, count) for layer, step, count in passes if layer == plan.position]
        passing = 1 + sum(count for layer, _, count in passes if layer < plan.position)
        options.append(_options(plan, engine, drain, LayerUse(own, use.backward, use.needs), passing, timeline))

    cursor = 0
    regions: list[Region] = []

    def region(name: str, words: int) -> Region:
        nonlocal cursor
        regions.append(Region(name, cursor, words))
        cursor += words
        return regions[-1]

    constant_words = region("constants", constants)
    blocks = Blocks.of([plan.layer for plan in plans])
    if blocks is None:
        input_words = region("input", plans[0].layer.input_size)
    else:
        # The first states of further layers stand among rows and are loaded with the constants.
        blocks = replace(blocks, base=constant_words.end - blocks.cleared)
        region("input", blocks.end - constant_words.end)
        input_words = Region("input", blocks.row(0), blocks.end - blocks.row(0))
    label_words = region("labels", 1)
    target_words = region("targets", targets)
    wanted = {name: region(name, words) for name, words in (objective or {}).items()}
    # The states of a recurrent layer stand among the rows, all of which count as input.
    others = [
        Need(
            f"output of layer {plan.position}",
            plan.layer.output_size,
            timeline.results(plan.position) | (timeline.of(None) if plan is plans[-1] else frozenset()),
        )
        for plan in plans
        if not isinstance(plan.layer, RNN)
    ]
    asked = [replace(need, moments=timeline.of(need.moments)) for need in needs]
    room = engine.activation_depth - cursor
    choice = _choose(options, [*others, *asked], room) if room >= 0 else None
    if choice is None:
        smallest = [min(layer, key=lambda option: option.words) for layer in options]
        least = _pack([*others, *asked, *(need for option in smallest for need in option.needs)], 1 << 62)
        assert least is not None
        sizes = {need.name: need.words for need in (*others, *asked, *itertools.chain(*(o.needs for o in smallest)))}
        raise shortage(
            "activation memory",
            cursor + max((base + sizes[name] for name, base in least.items()), default=0),
            engine.activation_depth,
            "activation_depth",
            "smaller ranks or smaller layers",
        )
    chosen, places = choice
    base = cursor

    def placed(need: Need) -> Region:
        assert need.moments is not None
        return Region(need.name, base + places[need.name], need.words, need.moments)

    outputs = {need.name: placed(need) for need in others}
    found = wanted | {need.name: placed(need) for need in asked}
    regions += [*outputs.values(), *(found[need.name] for need in asked)]
    buffers: list[LayerBuffers] = []
    for plan, option in zip(plans, chosen, strict=True):
        source = buffers[-1].target if buffers else input_words
        name = f"output of layer {plan.position}"
        target = outputs.get(name) or _states(plan.position, blocks)
        mine = [placed(need) for need in option.needs]
        regions += mine
        inner = plan.intermediates(option.chunks)
        if len(mine) and not option.kept and uses.get(plan.position, LayerUse()).backward is None:
            (scratch,) = mine
            states = [
                Region(
                    f"state {number} of layer {plan.position}",
                    scratch.base if number % 2 == 0 else scratch.end - words,
                    words,
                    scratch.moments,
                )
                for number, words in enumerate(inner)
            ]
        else:
            states = mine[: len(inner)]
            found |= {each.name: each for each in mine[len(inner) :]}
        before = plans[plan.position - 1].layer if buffers else None
        loops: tuple[tuple[int, int], ...] = ()
        pitch = blocks.pitch if blocks else 0
        if isinstance(before, RNN) and before.output == "all":
            loops = (before.outputs, 1), (before.steps, pitch)
        buffers.append(LayerBuffers(option.chunks, option.kept, source, tuple(states), target, loops, pitch))
    return ActivationMap(
        constant_words,
        input_words,
        label_words,
        target_words,
        tuple(buffers),
        found,
        tuple(regions),
        timeline.names,
        max(each.end for each in regions),
        _loads(blocks, input_words, label_words.words + target_words.words),
    )


def _states(position: int, blocks: Blocks | None) -> Region:
    """The states that a recurrent layer gives, from the first to the last of them."""
    assert blocks is not None
    layer = blocks.layers[position]
    base = blocks.state(position, 1 if layer.output == "all" else layer.steps)
    return Region(f"output of layer {position}", base, blocks.state(position, layer.steps) + layer.outputs - base)


def _loads(blocks: Blocks | None, inputs: Region, others: int) -> tuple[Region, ...]:
    """Runs of words that a lane group fills.

    :param others: words of labels and targets.
    """
    if blocks is None:
        return (Region("group", inputs.base, inputs.words + others),)
    layer = blocks.layers[0]
    rows = (Region(f"row {time}", blocks.row(time), layer.inputs) for time in range(layer.steps))
    return (*rows, Region("labels and targets", inputs.end, others))

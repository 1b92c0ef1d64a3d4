"""Activation memory: who stands where, and how each layer runs within the room there is.

The input tile, labels, targets, constants and every layer's output persist while a lane group is at
work: that is what lets a probe of a late tensor start behind the activations that it cannot change.
A layer's intermediates either persist too (*kept*: probes of its later tensors then start within
the layer) or share one scratch region, possibly in chunks. None of these choices changes a result.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...arch.config import EngineConfig
from ...nn.models import RNN, Layer
from ..errors import shortage
from ..plan.planner import LayerPlan

__all__ = ["ActivationMap", "LayerBuffers", "Region", "allocate_activations"]


@dataclass(frozen=True, slots=True)
class Region:
    """A run of words."""

    name: str
    base: int
    words: int

    @property
    def end(self) -> int:
        """The first word behind the region."""
        return self.base + self.words


@dataclass(frozen=True, slots=True)
class LayerBuffers:
    """How one layer runs."""

    chunks: int
    kept: bool
    """Intermediates have words of their own."""
    source: Region
    intermediates: tuple[Region, ...]
    """The states of one chunk behind each step but the last."""
    target: Region


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
    """All of them, for reports; regions of one layer's scratch overlap those of another's."""
    words: int
    loads: tuple[Region, ...]
    """What the words of a lane group fill, in their order: input, labels, targets."""


@dataclass(frozen=True, slots=True)
class _Option:
    chunks: int
    kept: bool
    words: int
    cycles: int


def _options(
    plan: LayerPlan, engine: EngineConfig, drain: int, own: Sequence[tuple[int, int]], passing: int
) -> list[_Option]:
    """Ways to run a layer, with nominal cycles per lane group.

    :param own: passes that start within the layer, if its intermediates are kept: (first step, how
        many).
    :param passing: passes that run the whole layer in any case.
    """

    def cycles(chunks: int, own: Sequence[tuple[int, int]]) -> int:
        full = passing * plan.cycles(engine.rows, drain, chunks)
        return full + sum(passes * plan.cycles(engine.rows, drain, chunks, start) for start, passes in own)

    options = [_Option(1, True, sum(plan.intermediates(1)), cycles(1, own))]
    if len(plan.steps) > 1:
        at_start = [(0, passes) for _, passes in own]
        options += [_Option(n, False, plan.scratch(n), cycles(n, at_start)) for n in plan.chunks(engine.rows)]
    return options


def _choose(options: list[list[_Option]], room: int) -> tuple[list[_Option], int] | None:
    """One option a layer, so that kept words and the largest scratch fit the room, for the fewest
    cycles found.
    """
    best: tuple[int, list[_Option], int] | None = None
    for scratch in sorted({0, *(option.words for layer in options for option in layer if not option.kept)}):
        chosen = []
        for layer in options:
            sharing = [option for option in layer if not option.kept and option.words <= scratch]
            chosen.append(min(sharing, key=lambda option: option.cycles) if sharing else layer[0])
        left = room - scratch - sum(option.words for option in chosen if option.kept)
        gains = [
            (layer[0].words / max(1, now.cycles - layer[0].cycles), number)
            for number, (layer, now) in enumerate(zip(options, chosen, strict=True))
            if not now.kept
        ]
        for _, number in sorted(gains):
            kept = options[number][0]
            if kept.words <= left and kept.cycles <= chosen[number].cycles:
                chosen[number] = kept
                left -= kept.words
        needed = max((option.words for option in chosen if not option.kept), default=0)
        cost = sum(option.cycles for option in chosen)
        if left >= 0 and (best is None or cost < best[0]):
            best = (cost, chosen, needed)
    return None if best is None else best[1:]


def allocate_activations(
    plans: Sequence[LayerPlan],
    engine: EngineConfig,
    drains: Sequence[int],
    constants: int,
    targets: int,
    passes: Sequence[tuple[int, int, int]],
    keep: Collection[int] = (),
    extra: Mapping[str, int] | None = None,
) -> ActivationMap:
    """Places everything that stands in the activation memory.

    :param drains: drain cycles of a row in each layer's last step.
    :param constants: words of bias constants; for a recurrent layer, those of h_0 are the last
        ones.
    :param targets: words of targets (0 for labels alone).
    :param passes: forward passes besides the base pass: the layer and step from which on they must
        compute, and how many they are.
    :param keep: layers whose intermediates must be kept.
    :param extra: further regions, words by name.
    :raises CompileError: saying by how much the memory is short and what would help.
    """
    options = []
    for plan, drain in zip(plans, drains, strict=True):
        own = [(step, count) for layer, step, count in passes if layer == plan.position]
        passing = 1 + sum(count for layer, _, count in passes if layer < plan.position)
        ways = _options(plan, engine, drain, own, passing)
        options.append(ways[:1] if plan.position in keep else ways)

    cursor = 0
    regions: list[Region] = []

    def region(name: str, words: int) -> Region:
        nonlocal cursor
        regions.append(Region(name, cursor, words))
        cursor += words
        return regions[-1]

    constant_words = region("constants", constants)
    first = plans[0].layer
    blocks = first.steps * (first.inputs + first.outputs) if isinstance(first, RNN) else first.input_size
    input_words = region("input", blocks)
    label_words = region("labels", 1)
    target_words = region("targets", targets)
    # The last h of a recurrent layer stands behind the last block, all of which count as input.
    outputs = [
        Region(f"output of layer {plan.position}", input_words.end - plan.layer.outputs, plan.layer.outputs)
        if isinstance(plan.layer, RNN)
        else region(f"output of layer {plan.position}", plan.layer.output_size)
        for plan in plans
    ]
    others = {name: region(name, words) for name, words in (extra or {}).items()}
    room = engine.activation_depth - cursor
    choice = _choose(options, room) if room >= 0 else None
    if choice is None:
        least = cursor + max(min(option.words for option in layer) for layer in options)
        raise shortage(
            "activation memory", least, engine.activation_depth, "activation_depth", "smaller ranks or smaller layers"
        )
    chosen, scratch = choice
    buffers: list[LayerBuffers] = []
    scratch_base = cursor
    cursor += scratch
    for plan, option, output in zip(plans, chosen, outputs, strict=True):
        source = buffers[-1].target if buffers else input_words
        sizes = plan.intermediates(option.chunks)
        names = [f"state {number} of layer {plan.position}" for number in range(len(sizes))]
        if option.kept:
            states = [region(name, words) for name, words in zip(names, sizes, strict=True)]
        else:
            # Neighbours stand at opposite ends, so each step's input and output never meet.
            span = plan.scratch(option.chunks)
            bases = [
                scratch_base if number % 2 == 0 else scratch_base + span - words for number, words in enumerate(sizes)
            ]
            states = [Region(name, base, words) for name, base, words in zip(names, bases, sizes, strict=True)]
            regions += states
        buffers.append(LayerBuffers(option.chunks, option.kept, source, tuple(states), output))
    return ActivationMap(
        constant_words,
        input_words,
        label_words,
        target_words,
        tuple(buffers),
        others,
        tuple(regions),
        cursor,
        _loads(first, input_words, label_words.words + target_words.words),
    )


def _loads(layer: Layer, inputs: Region, others: int) -> tuple[Region, ...]:
    """Runs of words that a lane group fills.

    :param others: words of labels and targets.
    """
    if not isinstance(layer, RNN):
        return (Region("group", inputs.base, inputs.words + others),)
    pitch = layer.inputs + layer.outputs
    rows = (Region(f"row {step}", inputs.base + step * pitch, layer.inputs) for step in range(layer.steps))
    return (*rows, Region("labels and targets", inputs.end, others))

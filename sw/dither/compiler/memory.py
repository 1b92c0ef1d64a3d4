"""Activation memory: who stands where, and how each layer runs within the room there is.

The input tile, labels, targets, constants and every layer's output persist while a lane group is at work: that is what
lets a probe of a late tensor start behind the activations that it cannot change. A layer's intermediates either persist
too (*kept*: probes of its later tensors then start within the layer) or share one scratch region, possibly in chunks.
None of these choices changes a result.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..engine import EngineConfig
from .errors import CompileError
from .planner import LayerPlan
from .tensors import Layout

__all__ = ["ActivationMap", "LayerBuffers", "Region", "allocate_activations"]


@dataclass(frozen=True, slots=True)
class Region:
    """A run of words."""

    name: str
    base: int
    words: int

    @property
    def end(self) -> int:
        return self.base + self.words


@dataclass(frozen=True, slots=True)
class LayerBuffers:
    """How one layer runs."""

    chunks: int
    kept: bool
    """Intermediates have words of their own."""
    source: Region
    intermediates: tuple[Region, ...]
    """Of one chunk; the state behind each step but the last."""
    target: Region


@dataclass(frozen=True, slots=True)
class ActivationMap:
    """The activation memory's contents. ``group`` is what one LOAD fills: input, labels and targets, in this order."""

    constants: Region
    input: Region
    labels: Region
    targets: Region
    layers: tuple[LayerBuffers, ...]
    regions: tuple[Region, ...]
    """All of them, for reports; regions of one layer's scratch overlap those of another's."""
    words: int

    @property
    def group(self) -> Region:
        return Region("group", self.input.base, self.input.words + self.labels.words + self.targets.words)


@dataclass(frozen=True, slots=True)
class _Option:
    chunks: int
    kept: bool
    words: int
    cycles: int


def _options(
    plan: LayerPlan, engine: EngineConfig, drain: int, own: Sequence[Layout], passing: int, probes: int
) -> list[_Option]:
    """Ways to run a layer, with nominal cycles per lane group: probes of its own tensors and full runs for the others."""
    steps = [layout.first_step for layout in own]

    def cycles(chunks: int, starts: Sequence[int]) -> int:
        full = passing * plan.cycles(engine.rows, drain, chunks)
        return full + probes * sum(plan.cycles(engine.rows, drain, chunks, start) for start in starts)

    options = [_Option(1, True, sum(plan.intermediates(1)), cycles(1, steps))]
    if len(plan.steps) > 1:
        at_start = [0] * len(steps)
        options += [_Option(n, False, plan.scratch(n), cycles(n, at_start)) for n in plan.chunks(engine.rows)]
    return options


def _choose(options: list[list[_Option]], room: int) -> tuple[list[_Option], int] | None:
    """One option a layer, so that kept words and the largest scratch fit the room, for the fewest cycles found."""
    best: tuple[int, list[_Option], int] | None = None
    for scratch in sorted({0, *(option.words for layer in options for option in layer if not option.kept)}):
        chosen = []
        for layer in options:
            sharing = [option for option in layer if not option.kept and option.words <= scratch]
            chosen.append(min(sharing, key=lambda option: option.cycles) if sharing else layer[0])
        left = room - scratch - sum(option.words for option in chosen if option.kept)
        gains = [(layer[0].words / max(1, now.cycles - layer[0].cycles), number)
                 for number, (layer, now) in enumerate(zip(options, chosen, strict=True)) if not now.kept]  # fmt: skip
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
    plans: list[LayerPlan],
    layouts: Mapping[str, Layout],
    engine: EngineConfig,
    drains: Sequence[int],
    constants: int,
    targets: int,
    probes: int,
    joint: bool,
) -> ActivationMap:
    """Place everything.

    :param drains: drain cycles of a row in each layer's last step.
    :param constants: words of bias constants.
    :param targets: words of targets (0 for labels alone).
    :param probes: perturbed forward passes per tensor and lane group (in all, if ``joint``).
    :raises CompileError: saying by how much the memory is short and what would help.
    """
    options = []
    for plan, drain in zip(plans, drains, strict=True):
        own = [layout for layout in layouts.values() if layout.layer == plan.position and not joint]
        earlier = sum(layout.layer < plan.position for layout in layouts.values())
        passing = 1 + probes if joint else 1 + probes * earlier
        options.append(_options(plan, engine, drain, own, passing, probes))

    cursor = 0
    regions: list[Region] = []

    def region(name: str, words: int) -> Region:
        nonlocal cursor
        regions.append(Region(name, cursor, words))
        cursor += words
        return regions[-1]

    constant_words = region("constants", constants)
    input_words = region("input", plans[0].layer.input_size)
    label_words = region("labels", 1)
    target_words = region("targets", targets)
    outputs = [region(f"output of layer {plan.position}", plan.layer.output_size) for plan in plans]
    room = engine.activation_depth - cursor
    choice = _choose(options, room) if room >= 0 else None
    if choice is None:
        least = cursor + max(min(option.words for option in layer) for layer in options)
        raise CompileError(
            f"activation memory: {least} words needed, {engine.activation_depth} available "
            f"({least - engine.activation_depth} too many); use activation_depth={least}, "
            "smaller ranks or smaller layers"
        )
    chosen, scratch = choice
    buffers = []
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
            starts = [scratch_base if number % 2 == 0 else scratch_base + span - words
                      for number, words in enumerate(sizes)]  # fmt: skip
            states = [Region(name, start, words) for name, start, words in zip(names, starts, sizes, strict=True)]
            regions += states
        buffers.append(LayerBuffers(option.chunks, option.kept, source, tuple(states), output))
    assert all(a.end <= b.base or b.end <= a.base
               for layer in buffers for a, b in itertools.pairwise((layer.source, *layer.intermediates, layer.target)))  # fmt: skip
    return ActivationMap(
        constant_words, input_words, label_words, target_words, tuple(buffers), tuple(regions), cursor
    )

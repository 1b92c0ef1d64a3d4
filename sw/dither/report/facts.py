"""What a run's report says, worked out from the run folder: numbers and texts, no markup."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..arch.isa import MASTER_BITS
from ..arch.regmap import PHASES, SATURATIONS
from ..link.ports import is_line
from ..runs import CurveRow, RunFolder, TensorRecord
from ..runs.metrics import Metric

__all__ = ["Facts", "MemoryBar", "Phase", "Range", "collect"]

_PLACES = {
    "requantise": "activations, where an accumulator is requantised",
    "weight": "working weights, where a perturbed master is rounded",
    "loss": "losses of single samples",
    "update": "gradients, moments and masters, in the update unit",
}
"""Description of each place where values are clipped."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Cycles of one phase of a run."""

    name: str
    """Name of the phase, one of :data:`dither.arch.regmap.PHASES`."""
    cycles: int
    """Number of cycles charged to the phase."""
    percent: float
    """Share of all cycles, in percent."""
    color: int
    """Number of the colour in the style sheet."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values of a tensor or of activations, set against their number format.

    Positions are in percent of the format's range, from its lowest value.
    """

    name: str
    """Name of the tensor or of the activations."""
    shape: str
    """Shape of the tensor as text; empty for activations."""
    form: str
    """Number format as text, such as ``Q4.28``."""
    limit: float
    """Least magnitude that is too large for the format."""
    lowest: float
    """Least value at the last logged step (of activations: ever)."""
    highest: float
    """Greatest value at the last logged step (of activations: ever)."""
    now: tuple[float, float]
    """Left end and width of the bar for the last logged step."""
    ever: tuple[float, float]
    """Left end and width of the bar for all logged steps."""
    headroom: float
    """Number of bits between the largest magnitude seen and the format's limit."""
    clips: int | None = None
    """Number of values that were clipped; None where they are not counted."""


@dataclass(frozen=True, slots=True)
class MemoryBar:
    """How a program uses one memory: its depth, used words and regions, over time."""

    name: str
    """Name of the memory, for people."""
    depth: int
    """Number of words that the memory has."""
    used: int
    """Number of words that the program uses."""
    regions: list[tuple[str, int, int, float, float, int]]
    """Regions of the memory.

    Each is a name, base, words, left end and width in percent of the depth, and number of the
    colour.
    """
    rows: list[tuple[str, list[int]]]
    """What a lane group's program passes through, and the numbers of the regions that hold their
    words meanwhile; a single row without a name where nothing changes.
    """


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the report's template shows of a run."""

    name: str
    """Name of the run's folder."""
    description: dict[str, Any]
    """Content of the run's ``run.json``."""
    config: EngineConfig
    """Engine whose cycles are reported."""
    rows: list[CurveRow]
    """All logged steps of the run."""
    metric: Metric
    """Figure of merit that the rows have values of."""
    best: CurveRow
    """Logged step with the best metric, the first of equal ones."""
    parameters: int
    """Number of parameters in one record of the history."""
    steps: int
    """Number of optimiser steps done."""
    cycles: int
    """Number of cycles of all phases but waiting."""
    waited: int | None
    """Number of cycles in which a board's engine could only wait for the link.

    None if the device is no board.
    """
    phases: list[Phase]
    """Phases that took any cycles, the longest first."""
    utilisation: float | None
    """Fraction of all multiplier cycles that did useful work; None before the first step."""
    saturations: list[tuple[str, int]]
    """Each place where values are clipped, and the number of its clips."""
    ranges: list[Range]
    """Ranges of the parameter tensors."""
    activations: list[Range]
    """Ranges of the input and of every contraction's outputs; empty for an unfinished run."""
    memories: list[MemoryBar]
    """Use of each memory by the program."""
    seconds: float
    """Wall time of training in seconds."""

    @property
    def last(self) -> CurveRow:
        """The last logged step."""
        return self.rows[-1]

    def text(self, value: float) -> str:
        """Returns a value of the metric, with as many digits as suit a headline."""
        return f"{value:.3g}" if self.metric.lower else f"{100 * value:.1f}%"


def collect(run: RunFolder) -> Facts:
    """Reads a run folder's files and works out everything that the report shows.

    :raises RunError: if a file is missing or damaged, or nothing has been logged yet.
    """
    rows, history = run.logged()
    run.require(bool(rows), "has logged no step yet; there is nothing to report")
    try:
        description = run.description
        config = EngineConfig.from_dict(description["engine"])
        progress = description["progress"]
        counters = progress["counters"]
        phases, cycles = _phases(counters)
        utilisation = counters["row_steps"] / (cycles * config.rows) if cycles else None
        return Facts(
            name=run.path.resolve().name,
            description=description,
            config=config,
            rows=rows,
            metric=run.metric,
            best=_best(rows, run.metric),
            parameters=run.parameters,
            steps=progress["step"],
            cycles=cycles,
            waited=counters["cycles_wait"] if is_line(description["device"]) else None,
            phases=phases,
            utilisation=utilisation,
            saturations=[(_PLACES[place], counters[f"saturations_{place}"]) for place in SATURATIONS],
            ranges=_ranges(run.tensors, history),
            activations=[_activation(entry) for entry in description.get("activations", [])],
            memories=[_memory(memory) for memory in description["memories"]],
            seconds=progress["seconds"],
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        run.require(False, f"has a run.json that this version cannot report on ({error!r})")
        raise


def _best(rows: list[CurveRow], metric: Metric) -> CurveRow:
    """Returns the first of the rows with the best metric."""
    best = rows[0]
    for row in rows:
        if metric.better(row.metric, best.metric):
            best = row
    return best


def _phases(counters: dict[str, int]) -> tuple[list[Phase], int]:
    """Returns phases that took any cycles, the longest first, and the sum of all but waiting.

    Waiting is left out because it is the host's doing.
    """
    cycles = {name: counters[f"cycles_{name}"] for name in PHASES if name != "wait"}
    total = sum(cycles.values())
    phases = [
        Phase(name, count, 100 * count / total, number) for number, (name, count) in enumerate(cycles.items()) if count
    ]
    return sorted(phases, key=lambda phase: -phase.cycles), total


def _place(form: FixedPoint, lowest: int, highest: int) -> tuple[float, float]:
    """Returns left end and width of a bar, in percent of the format's range."""
    inside = (min(max(value, form.lowest), form.highest) for value in (lowest, highest))
    low, high = (100 * (value - form.lowest) / (1 << form.width) for value in inside)
    return low, high - low


def _headroom(form: FixedPoint, lowest: int, highest: int) -> float:
    return math.log2((form.highest + 1) / max(-lowest, highest, 1))


def _ranges(tensors: list[TensorRecord], history: NDArray[np.int32]) -> list[Range]:
    ranges = []
    position = 0
    for tensor in tensors:
        values = history[:, position : position + tensor.size]
        position += tensor.size
        form = FixedPoint(MASTER_BITS, tensor.frac)
        now, ever = ((int(part.min()), int(part.max())) for part in (values[-1], values))
        ranges.append(
            Range(
                name=tensor.name,
                shape="×".join(map(str, tensor.shape)),
                form=str(form),
                limit=form.limit,
                lowest=math.ldexp(now[0], -tensor.frac),
                highest=math.ldexp(now[1], -tensor.frac),
                now=_place(form, *now),
                ever=_place(form, *ever),
                headroom=_headroom(form, *ever),
            )
        )
    return ranges


def _activation(entry: dict[str, Any]) -> Range:
    form = FixedPoint(entry["width"], entry["frac"])
    seen = entry["lowest"], entry["highest"]
    return Range(
        name=entry["name"],
        shape="",
        form=str(form),
        limit=form.limit,
        lowest=math.ldexp(seen[0], -form.frac),
        highest=math.ldexp(seen[1], -form.frac),
        now=_place(form, *seen),
        ever=_place(form, *seen),
        headroom=_headroom(form, *seen),
        clips=entry["clips"],
    )


def _memory(memory: dict[str, Any]) -> MemoryBar:
    depth = memory["depth"]
    regions = [
        (part["name"], part["base"], part["words"], 100 * part["base"] / depth, 100 * part["words"] / depth, number % 9)
        for number, part in enumerate(memory["regions"])
    ]
    rows: list[tuple[str, list[int]]] = []
    for moment in memory.get("moments") or [""]:
        live = [
            number
            for number, part in enumerate(memory["regions"])
            if not part.get("moments") or moment in part["moments"]
        ]
        if not rows or rows[-1][1] != live:
            rows.append((moment, live))
    return MemoryBar(memory["name"], depth, memory["used"], regions, rows)

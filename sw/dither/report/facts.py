"""What a report says, worked out from a run folder: numbers and texts, no markup."""

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


@dataclass(frozen=True, slots=True)
class Phase:
    """Cycles of one phase: their number, their share of all in percent, and their colour's
    number.
    """

    name: str
    cycles: int
    percent: float
    color: int


@dataclass(frozen=True, slots=True)
class Range:
    """Values against their format; positions in percent of the format's range, from its lowest
    value.
    """

    name: str
    shape: str
    form: str
    limit: float
    lowest: float
    highest: float
    now: tuple[float, float]
    """Left end and width of the bar of the last logged step."""
    ever: tuple[float, float]
    """Left end and width of the bar of all logged steps."""
    headroom: float
    """Bits between the largest magnitude seen and the format's limit."""
    clips: int | None = None
    """Values clipped; None where nobody counts."""


@dataclass(frozen=True, slots=True)
class MemoryBar:
    """One memory's depth, used words and regions; regions that take turns in the same words
    overlap.
    """

    name: str
    depth: int
    used: int
    regions: list[tuple[str, int, int, float, float, int]]
    """Name, base, words, left end and width in percent of the depth, colour's number."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the report's template shows."""

    name: str
    description: dict[str, Any]
    config: EngineConfig
    rows: list[CurveRow]
    metric: Metric
    best: CurveRow
    parameters: int
    steps: int
    cycles: int
    waited: int | None
    """Cycles besides in which a board's engine could do nothing but wait for the link; None without
    one.
    """
    phases: list[Phase]
    utilisation: float | None
    """Fraction of all multiplier cycles that did a multiply-accumulate; None before the first
    step.
    """
    saturations: list[tuple[str, int]]
    ranges: list[Range]
    """Of the tensors."""
    activations: list[Range]
    """Of the input and of every contraction's outputs; empty for a run that never came to its
    end.
    """
    memories: list[MemoryBar]
    seconds: float

    @property
    def last(self) -> CurveRow:
        return self.rows[-1]

    def text(self, value: float) -> str:
        """A value of the metric, with as many digits as a headline bears."""
        return f"{value:.3g}" if self.metric.lower else f"{100 * value:.1f}%"


def collect(run: RunFolder) -> Facts:
    """Reads a run folder's files and works out the rest.

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
    """The first of the best rows."""
    best = rows[0]
    for row in rows:
        if metric.better(row.metric, best.metric):
            best = row
    return best


def _phases(counters: dict[str, int]) -> tuple[list[Phase], int]:
    """Phases that took any cycles, dearest first, and the sum of all but waiting, which is the
    host's doing.
    """
    cycles = {name: counters[f"cycles_{name}"] for name in PHASES if name != "wait"}
    total = sum(cycles.values())
    phases = [
        Phase(name, count, 100 * count / total, number) for number, (name, count) in enumerate(cycles.items()) if count
    ]
    return sorted(phases, key=lambda phase: -phase.cycles), total


def _place(form: FixedPoint, lowest: int, highest: int) -> tuple[float, float]:
    """Left end and width, in percent of the format's range."""
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
    return MemoryBar(memory["name"], depth, memory["used"], regions)

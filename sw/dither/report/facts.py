"""What a run's report says, worked out from the run folder: numbers and texts, no markup."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..arch.isa import MASTER_BITS
from ..arch.regmap import PHASES, SATURATIONS, phase_cycles, utilisation
from ..link.ports import is_line
from ..recipe import Recipe
from ..runs import CurveRow, RunFolder, TensorRecord
from ..runs.metrics import Metric
from .clips import PLACES, Verdict, weigh
from .text import count, setting
from .yardsticks import Yardstick, yardstick

__all__ = ["Confusion", "Facts", "MemoryBar", "Phase", "Range", "Setting", "collect"]

_FULL = 0.01
"""Spare bits below which a tensor is at the end of its format."""
_MOST_CLASSES = 26
"""Number of classes up to which a confusion matrix can be read."""

_LONGEST = ("contract", "correlate", "perturb", "accumulate", "loss", "update", "fetch", "dither")
"""Phases that take most of the cycles: they have the first colours, which differ most."""
_KINDS = (*_LONGEST, *(name for name in PHASES if name not in _LONGEST))
"""Phases in the order of their colours, the same in every report."""


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
    """Values of a tensor or of activations, set against their number format."""

    name: str
    """Name of the tensor or of the activations."""
    shape: str
    """Shape of the tensor as text; empty for activations."""
    form: str
    """Number format as text, such as ``Q4.28``."""
    bits: int
    """Number of bits of the format, the sign's included."""
    point: int
    """Number of bits before the binary point."""
    limit: float
    """Least magnitude that is too large for the format."""
    lowest: float
    """Least value at the last logged step (of activations: ever)."""
    highest: float
    """Greatest value at the last logged step (of activations: ever)."""
    now: float
    """Number of bits that the values of the last logged step take, the sign's included."""
    ever: float
    """Number of bits that the values of all logged steps take."""
    clips: int | None = None
    """Number of values that were clipped; None where they are not counted."""

    @property
    def spare(self) -> float:
        """Number of bits between the largest magnitude seen and the format's limit."""
        return self.bits - self.ever


@dataclass(frozen=True, slots=True)
class MemoryBar:
    """How a program uses one memory: its depth, used words and regions, over time."""

    name: str
    """Name of the memory, for people."""
    depth: int
    """Number of words that the memory has."""
    used: int
    """Number of words that the program uses."""
    drawn: int
    """Number of words that the bars show: all, or only the used ones where those are few."""
    regions: list[tuple[str, int, int]]
    """Name, base and words of each region; its number is that of its colour."""
    rows: list[tuple[str, list[int]]]
    """What a lane group's program passes through, and the numbers of the regions that hold their
    words meanwhile; a single row without a name where nothing changes.
    """


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter of the engine or the recipe, as text."""

    name: str
    """Name of the parameter, for people."""
    value: str
    """Value that the run has."""
    default: str
    """Value that it has by default."""

    @property
    def own(self) -> bool:
        """Whether the run has another value than the default."""
        return self.value != self.default


@dataclass(frozen=True, slots=True)
class Confusion:
    """Which classes held-out samples were taken for."""

    step: int
    """Number of optimiser steps that the network had done."""
    counts: list[list[int]]
    """Number of samples of each class (rows) that were taken for each class (columns)."""
    names: list[str]
    """Names of the classes."""

    def weight(self, row: int, column: int) -> float:
        """Returns a cell's depth of colour from 0 to 1.

        That of a right answer is its share of the class; mistakes are set against the worst one.
        """
        if row == column:
            return self.counts[row][row] / max(1, sum(self.counts[row]))
        return self.counts[row][column] / max(1, self.worst[0])

    @property
    def worst(self) -> tuple[int, int, int]:
        """The most frequent mistake: how often, of which class, for which."""
        mistakes = [
            (number, row, column)
            for row, line in enumerate(self.counts)
            for column, number in enumerate(line)
            if row != column
        ]
        return max(mistakes, key=lambda mistake: mistake[0], default=(0, 0, 0))


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
    """Number of optimiser steps that the counters are of."""
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
    clipping: Verdict
    """What the clips mean for the run."""
    ranges: list[Range]
    """Ranges of the parameter tensors."""
    activations: list[Range]
    """Ranges of the input and of every contraction's outputs; empty for an unfinished run."""
    memories: list[MemoryBar]
    """Use of each memory by the program."""
    engine: list[Setting]
    """Parameters of the engine, those that differ from the defaults first."""
    recipe: list[Setting]
    """Fields of the recipe, those that differ from the defaults first."""
    confusion: Confusion | None
    """What held-out samples were taken for; None if that is not known, or no classes are told."""
    yardstick: Yardstick | None
    """What back-propagation reached with the same network; None if there is no record of it."""
    seconds: float
    """Wall time of training in seconds."""

    @property
    def done(self) -> int:
        """Number of optimiser steps that are known to be done: logged or in a checkpoint."""
        return max(self.steps, self.last.step)

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
        clips = {place: counters[f"saturations_{place}"] for place in SATURATIONS}
        ranges, last = _ranges(run.tensors, history), rows[-1]
        full = [each.name for each in ranges if each.spare < _FULL]
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
            utilisation=utilisation(counters, config.rows),
            saturations=[(PLACES[place], clips[place]) for place in SATURATIONS],
            clipping=weigh(clips, last.forwards, run.parameters * progress["step"], full),
            ranges=ranges,
            activations=[_activation(entry) for entry in description.get("activations", [])],
            memories=[_memory(memory) for memory in description["memories"]],
            engine=_settings(description["engine"], EngineConfig().to_dict()),
            recipe=_settings(description["recipe"], Recipe().to_dict()),
            confusion=_confusion(description.get("confusion"), description.get("classes")),
            yardstick=yardstick(description, run.metric),
            seconds=progress["seconds"],
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        run.require(False, f"has a run.json that this version cannot report on ({error})")
        raise


def _best(rows: list[CurveRow], metric: Metric) -> CurveRow:
    """Returns the first of the rows with the best metric."""
    best = rows[0]
    for row in rows:
        if metric.better(row.metric, best.metric):
            best = row
    return best


def _phases(counters: dict[str, int]) -> tuple[list[Phase], int]:
    """Returns phases that took any cycles, the longest first, and the sum of all but waiting."""
    cycles = phase_cycles(counters)
    total = sum(cycles.values())
    phases = [Phase(name, count, 100 * count / total, _KINDS.index(name)) for name, count in cycles.items() if count]
    return phases, total


def _taken(form: FixedPoint, lowest: int, highest: int) -> float:
    """Returns the number of bits that values take of a format, the sign's included."""
    magnitude = max(-lowest, highest, 1)
    return form.width - math.log2((form.highest + 1) / magnitude)


def _ranges(tensors: list[TensorRecord], history: NDArray[np.int32]) -> list[Range]:
    ranges = []
    position = 0
    for tensor in tensors:
        values = history[:, position : position + tensor.size]
        position += tensor.size
        form = FixedPoint(MASTER_BITS, tensor.frac)
        now, ever = ((int(part.min()), int(part.max())) for part in (values[-1], values))
        shape = "×".join(map(count, tensor.shape))
        ranges.append(_range(tensor.name, shape, form, now, ever))
    return ranges


def _activation(entry: dict[str, Any]) -> Range:
    seen = entry["lowest"], entry["highest"]
    return _range(entry["name"], "", FixedPoint(entry["width"], entry["frac"]), seen, seen, entry["clips"])


def _range(
    name: str, shape: str, form: FixedPoint, now: tuple[int, int], ever: tuple[int, int], clips: int | None = None
) -> Range:
    return Range(
        name=name,
        shape=shape,
        form=str(form),
        bits=form.width,
        point=min(max(form.width - form.frac, 0), form.width),
        limit=form.limit,
        lowest=math.ldexp(now[0], -form.frac),
        highest=math.ldexp(now[1], -form.frac),
        now=_taken(form, *now),
        ever=_taken(form, *ever),
        clips=clips,
    )


def _memory(memory: dict[str, Any]) -> MemoryBar:
    depth, used, regions = memory["depth"], memory["used"], memory["regions"]
    rows: list[tuple[str, list[int]]] = []
    for moment in memory.get("moments") or [""]:
        live = [number for number, part in enumerate(regions) if not part.get("moments") or moment in part["moments"]]
        if not rows or rows[-1][1] != live:
            rows.append((moment, live))
    end = max((part["base"] + part["words"] for part in regions), default=0)
    drawn = depth if 2 * end > depth else max(end, 1)
    places = [(part["name"], part["base"], part["words"]) for part in regions]
    return MemoryBar(memory["name"], depth, used, drawn, places, rows)


def _settings(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[Setting]:
    found = [
        Setting(name.replace("_", " "), setting(value), setting(defaults.get(name))) for name, value in values.items()
    ]
    return sorted(found, key=lambda each: not each.own)


def _confusion(entry: Mapping[str, Any] | None, names: list[Any] | None) -> Confusion | None:
    if entry is None or not 2 <= len(entry["counts"]) <= _MOST_CLASSES:
        return None
    counts = entry["counts"]
    called = [str(name) for name in names or range(len(counts))]
    if any(len(line) != len(counts) for line in (*counts, called)):
        raise ValueError("a confusion matrix of other classes")
    return Confusion(entry["step"], counts, called)

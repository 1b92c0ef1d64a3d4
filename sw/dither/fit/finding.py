"""Does it fit? One training on one engine or board, and all that it takes there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..arch.config import EngineConfig
from ..boards import Board
from ..compiler import Compiled
from ..train.experiment import Experiment
from ..train.tasks import TrainingTask
from .assess import Assessment, Use, assess, fitting
from .line import Line, line_of
from .recorded import Known, recording

__all__ = ["LEVELS", "Finding", "Reached", "compiler_of", "examine", "fitting_phases"]

LEVELS = (0.80, 0.90, 0.95, 0.97)
"""Accuracies, besides the last one, that people ask the time of."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A recorded value of the metric, and what it takes to get there."""

    text: str
    """The value, as people read it."""
    step: int
    """Number of training steps until then."""
    seconds: float | None
    """Seconds on the board; None where no clock is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a training fits an engine, and what it takes there."""

    experiment: Experiment
    """Training that was asked about, on the engine that was asked about."""
    board: Board | None
    """Board that has the engine; None for an engine alone."""
    phases: tuple[Assessment, ...]
    """How each phase's program goes with the engine."""
    lines: tuple[Line | None, ...]
    """What each phase's steps take of the board's line; None without a board or a program."""
    known: Known | None
    """Recorded result of the same training; None if there is none."""

    @property
    def fits(self) -> bool:
        """Whether all phases fit."""
        return all(phase.fits for phase in self.phases)

    @property
    def refusal(self) -> str | None:
        """Why no engine of this kind could hold it; None if one could."""
        return next((phase.refusal for phase in self.phases if phase.refusal is not None), None)

    @property
    def uses(self) -> tuple[Use, ...]:
        """What is needed of each memory and unit, by the phase that needs most of it."""
        found: dict[str, Use] = {}
        for phase in self.phases:
            for use in phase.uses:
                if use.what not in found or found[use.what].needed < use.needed:
                    found[use.what] = use
        return tuple(found.values())

    @property
    def step_seconds(self) -> tuple[float | None, ...]:
        """Seconds of a step of each phase, the wait for samples included."""
        return tuple(None if line is None else line.step_seconds for line in self.lines)

    def seconds(self, steps: int) -> float | None:
        """Returns how long so many steps take on the board; None where that is not known."""
        total, left = 0.0, steps
        course = self.experiment.course
        for phase, each in zip(course, self.step_seconds, strict=True):
            if each is None or (phase is not course[-1] and phase.steps is None):
                return None
            taken = left if phase is course[-1] else min(left, phase.steps or 0)
            total, left = total + taken * each, left - taken
        return total

    @property
    def reached(self) -> tuple[Reached, ...]:
        """What is recorded of the same training: round accuracies, then the last value."""
        if self.known is None:
            return ()
        metric, last = self.known.metric, self.known.curve[-1]
        found = []
        if not metric.lower:
            for level in LEVELS:
                step = self.known.first(level)
                if step is not None and step < last[0]:
                    found.append(Reached(f"{level:.0%}", step, self.seconds(step)))
        return (*found, Reached(metric.text(last[1]), last[0], self.seconds(last[0])))

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON data."""
        return {
            "task": self.experiment.task,
            "board": None if self.board is None else self.board.name,
            "engine": self.experiment.engine.to_dict(),
            "clock": None if self.board is None else self.board.clock.hz,
            "fits": self.fits,
            "refusal": self.refusal,
            "uses": [
                {"what": use.what, "parameter": use.parameter, "needed": use.needed, "there": use.there}
                for use in self.uses
            ],
            "phases": [
                {
                    "step_cycles": phase.step_cycles,
                    "utilisation": phase.utilisation,
                    "shares": phase.shares,
                    "step_seconds": None if line is None else line.step_seconds,
                    "line_bytes": None if line is None else line.bytes,
                    "line_seconds": None if line is None else line.seconds,
                    "wait_share": None if line is None else line.wait_share,
                    "stored": None if line is None else line.stored,
                }
                for phase, line in zip(self.phases, self.lines, strict=True)
            ],
            "steps": self.experiment.steps,
            "seconds": self.seconds(self.experiment.steps),
            "record": None if self.known is None else self.known.name,
            "reached": [{"value": each.text, "step": each.step, "seconds": each.seconds} for each in self.reached],
        }


def examine(
    experiment: Experiment,
    task: TrainingTask,
    board: Board | None = None,
    phases: tuple[Assessment, ...] | None = None,
) -> Finding:
    """Returns whether a training fits its engine, and what it takes there.

    :param experiment: the training; its device is not used.
    :param task: its task, loaded.
    :param board: the board that has the experiment's engine, for clock and line.
    :param phases: how its phases go with the engine, where that is known already.
    """
    if phases is None:
        phases = tuple(
            assess(compiler_of(experiment, task, number), experiment.engine) for number in range(len(experiment.course))
        )
    batches = task.batches(experiment.recipe)
    inputs, targets = batches.take(0, 1)
    kept = task.samples["train"]
    lines = list[Line | None]()
    for found in phases:
        cycles = found.step_cycles
        if board is None or found.compiled is None or cycles is None:
            lines.append(None)
        else:
            lines.append(
                line_of(board, found.compiled, cycles, inputs[0], None if targets is None else targets[0], kept)
            )
    return Finding(experiment, board, phases, tuple(lines), recording(experiment))


def fitting_phases(experiment: Experiment, task: TrainingTask) -> tuple[Assessment, ...] | None:
    """Returns how all phases go with the engine; None, soon, if one of them does not fit."""
    phases = []
    for number in range(len(experiment.course)):
        if (found := fitting(compiler_of(experiment, task, number), experiment.engine)) is None:
            return None
        phases.append(found)
    return tuple(phases)


def compiler_of(experiment: Experiment, task: TrainingTask, phase: int) -> Callable[[EngineConfig], Compiled]:
    """Returns what compiles the program of one phase for an engine."""
    return lambda engine: experiment.compile(task, engine, phase)

"""What a sweep's file says: a task, what varies, what is wanted, and how much may be spent."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..arch.config import EngineConfig
from ..recipe import Recipe
from ..tools.files import AnyPath
from ..tools.forms import POSITIVE, misfit

__all__ = ["OBJECTIVES", "SEARCHES", "Choice", "Objective", "Plan", "SweepError", "Values"]

Values = Mapping[str, Any]
"""What one trial has chosen, by the names of what varies."""
RECIPE = tuple(field.name for field in fields(Recipe))
ENGINE = tuple(f"engine.{field.name}" for field in fields(EngineConfig))
OTHERS = ("engine", "model", "ranks", "stencil")
SEARCHES = ("grid", "random", "tpe", "nsga2", "cmaes")
"""Ways to search; all but the first two are Optuna's."""
_RANGE = {"from": (int, float), "to": (int, float), "points?": POSITIVE, "log?": bool}
_FORM = {
    "task": str,
    "steps": POSITIVE,
    "log_every?": POSITIVE,
    "objectives?": [str],
    "target?": float,
    "clock?": float,
    "search?": str,
    "trials?": POSITIVE,
    "generation?": POSITIVE,
    "halving?": POSITIVE,
    "seed?": int,
    "data?": str,
    "budget?": {"trainings?": POSITIVE, "steps?": POSITIVE, "hours?": float},
    "vary": dict,
}


class SweepError(ValueError):
    """A sweep's file or folder cannot be used; the message is one line and says what to do."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Something that trials are compared by."""

    title: str
    """Name of the objective for people, as the page shows it."""
    more: bool
    """Whether more of it is better."""


OBJECTIVES: dict[str, Objective] = {
    "merit": Objective("figure of merit", True),
    "loss": Objective("loss on held-out data", False),
    "steps": Objective("steps to the target", False),
    "cycles": Objective("engine cycles to the target", False),
    "seconds": Objective("seconds to the target", False),
    "evaluations": Objective("network evaluations to the target", False),
    "multipliers": Objective("multipliers", False),
    "memory": Objective("bits of the engine's memories", False),
    "parameters": Objective("parameters", False),
}
"""What a sweep may want, by name. ``merit`` is the task's own figure: accuracy, or relative error,
of which less is better."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that varies: some values, or a range of numbers."""

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    points: int = 0
    """Values of a range that a grid takes; 0 for any number in between."""
    log: bool = False
    """Whether a range is divided evenly in logarithms."""
    whole: bool = False
    """Whether a range has whole numbers only."""

    @classmethod
    def parse(cls, name: str, said: Any) -> Choice:
        """Makes a choice of what stands in a file.

        :raises SweepError: if that makes no sense.
        """
        if isinstance(said, dict):
            if trouble := misfit(said, _RANGE, name):
                raise SweepError(trouble)
            low, high, log = said["from"], said["to"], said.get("log", False)
            if not low < high or (log and low <= 0):
                raise SweepError(f"{name}: from must be less than to{', and more than 0' if log else ''}")
            whole = isinstance(low, int) and isinstance(high, int)
            return cls(name, (), low, high, said.get("points", 0), log, whole)
        values = said if isinstance(said, list) else [said]
        if not values:
            raise SweepError(f"{name}: there are no values")
        return cls(name, tuple(tuple(value) if isinstance(value, list) else value for value in values))

    def grid(self) -> tuple[Any, ...]:
        """Returns the values that a grid takes.

        :raises SweepError: if it is a range without a number of points.
        """
        if self.values:
            return self.values
        if not self.points:
            raise SweepError(f"{self.name}: a grid needs to know how many points to take of the range; give points")
        return tuple(dict.fromkeys(self.at(number / max(1, self.points - 1)) for number in range(self.points)))

    def at(self, place: float) -> Any:
        """Returns the value at a place from 0, the beginning, to 1, the end."""
        if self.values:
            return self.values[min(int(place * len(self.values)), len(self.values) - 1)]
        if self.log:
            value = math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + place * (self.high - self.low)
        return round(value) if self.whole else float(f"{value:.6g}")

    def draw(self, random: np.random.Generator) -> Any:
        """Returns a random value."""
        found = self.grid() if self.values or self.points else ()
        return found[int(random.integers(len(found)))] if found else self.at(float(random.random()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep, as its file says it."""

    task: str
    steps: int
    """Steps of a training that nobody ends."""
    log_every: int
    objectives: tuple[str, ...]
    target: float | None
    """Figure of merit to which steps, cycles and seconds are counted."""
    clock: float
    """Clock of the engines, in Hz."""
    search: str
    trials: int
    """Trials to make; a grid makes all of its own, at most so many."""
    generation: int
    """Trials that Optuna is asked for at once. Not the number of workers, so that results do not
    depend on that."""
    halving: int | None
    """Successive halving keeps one of so many trainings each time; None for all."""
    seed: int
    data: Path | None
    trainings: int | None
    """Most trainings; None for any number."""
    total_steps: int | None
    """Most steps of all trainings together."""
    hours: float | None
    """Most hours of one call of the command."""
    choices: tuple[Choice, ...]

    @classmethod
    def read(cls, path: AnyPath) -> Plan:
        """Reads a sweep's file.

        :raises SweepError: if it cannot be read or makes no sense.
        """
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SweepError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
        try:
            said = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SweepError(f"{path} is no TOML: {error}") from None
        try:
            return cls._of(said)
        except SweepError as error:
            raise SweepError(f"{path}: {error}") from None

    @classmethod
    def _of(cls, said: dict[str, Any]) -> Plan:
        if trouble := misfit(said, _FORM):
            raise SweepError(trouble)
        if unknown := sorted(set(said) - {key.removesuffix("?") for key in _FORM}):
            raise SweepError(f"unknown key {unknown[0]!r}; known: {', '.join(key.removesuffix('?') for key in _FORM)}")
        known = (*RECIPE, *OTHERS, *ENGINE)
        for name in _flat(said["vary"]):
            if name not in known:
                raise SweepError(f"vary: nothing is called {name!r}; known: {', '.join(known)}")
        objectives = tuple(said.get("objectives", ("merit", "multipliers")))
        for name in objectives:
            if name not in OBJECTIVES:
                raise SweepError(f"objectives: nothing is called {name!r}; known: {', '.join(OBJECTIVES)}")
        if {"steps", "cycles", "seconds", "evaluations"} & set(objectives) and "target" not in said:
            raise SweepError("steps, cycles, seconds and evaluations are counted to a target; give target")
        search = said.get("search", "grid")
        if search not in SEARCHES:
            raise SweepError(f"search must be one of {', '.join(SEARCHES)}, not {search!r}")
        if said.get("halving", 2) < 2:
            raise SweepError("halving must be at least 2")
        choices = tuple(Choice.parse(name, values) for name, values in _flat(said["vary"]).items())
        budget = said.get("budget", {})
        plan = cls(
            task=said["task"],
            steps=said["steps"],
            log_every=said.get("log_every", max(1, said["steps"] // 20)),
            objectives=objectives,
            target=said.get("target"),
            clock=float(said.get("clock", 50e6)),
            search=search,
            trials=said.get("trials", 10_000 if search == "grid" else 50),
            generation=said.get("generation", 8),
            halving=said.get("halving"),
            seed=said.get("seed", 1),
            data=Path(said["data"]) if "data" in said else None,
            trainings=budget.get("trainings"),
            total_steps=budget.get("steps"),
            hours=budget.get("hours"),
            choices=choices,
        )
        if search == "grid":
            next(plan.grid(), None)
        return plan

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields all combinations, the last choice changing first.

        :raises SweepError: if a range has no number of points.
        """
        names, values = [choice.name for choice in self.choices], [choice.grid() for choice in self.choices]
        for each in itertools.product(*values):
            yield dict(zip(names, each, strict=True))

    @property
    def varied(self) -> tuple[Choice, ...]:
        """The choices that have more than one value."""
        return tuple(choice for choice in self.choices if len(choice.values) != 1)


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    """Names of what varies with what is said of them; ``[vary.engine]`` stands for its fields."""
    found: dict[str, Any] = {}
    for name, values in said.items():
        if name == "engine" and isinstance(values, dict):
            found |= {f"engine.{key}": value for key, value in values.items()}
        else:
            found[name] = values
    return found

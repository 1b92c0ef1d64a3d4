"""Which trials to make: all, random ones, or those that Optuna proposes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .plan import OBJECTIVES, Choice, Plan, SweepError, Values

__all__ = ["Search", "search_of"]


class Search(Protocol):
    """A source of trials, which comes in generations.

    What it proposes depends on the plan and on the results of the generations before, in their
    order, but not on who was ready when. So a sweep that is begun again proposes the same.
    """

    def ask(self) -> list[Values]:
        """Returns the next generation; an empty one at the end."""

    def tell(self, results: Sequence[Sequence[float] | None]) -> None:
        """Takes the objectives of the generation asked for last, in its order.

        :param results: the plan's objectives; None for a trial that has none.
        """


def search_of(plan: Plan) -> Search:
    """Returns the search that a plan asks for.

    :raises SweepError: if Optuna is needed and not installed.
    """
    if plan.search == "grid":
        return _AtOnce(list(itertools.islice(plan.grid(), plan.trials)))
    if plan.search == "random":
        random = np.random.default_rng(plan.seed)
        return _AtOnce([{each.name: each.draw(random) for each in plan.choices} for _ in range(plan.trials)])
    return _Optuna(plan)


class _AtOnce:
    """Trials that are known from the beginning."""

    def __init__(self, trials: list[dict[str, Any]]) -> None:
        self._trials: list[Values] = [*trials]

    def ask(self) -> list[Values]:
        found, self._trials = self._trials, []
        return found

    def tell(self, results: Sequence[Sequence[float] | None]) -> None:
        """Nothing to learn: the next generation is empty."""


class _Optuna:
    """Trials that Optuna proposes, by ask and tell within this process."""

    def __init__(self, plan: Plan) -> None:
        try:
            import optuna
        except ImportError:
            raise SweepError(f"search {plan.search} needs Optuna; install it: pip install optuna pyarrow") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=plan.seed, multivariate=True),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=plan.seed, population_size=max(2, plan.generation)),
            "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=plan.seed),
        }
        directions = ["maximize" if OBJECTIVES[name].more else "minimize" for name in plan.objectives]
        if plan.search == "cmaes" and len(directions) > 1:
            raise SweepError("cmaes knows one objective; use tpe or nsga2 for several")
        create: Any = optuna.create_study
        self._study = create(directions=directions, sampler=samplers[plan.search]())
        self._failed = optuna.trial.TrialState.FAIL
        self._plan, self._left = plan, plan.trials
        self._asked: list[Any] = []

    def ask(self) -> list[Values]:
        count = min(self._plan.generation, self._left)
        self._left -= count
        self._asked = [self._study.ask() for _ in range(count)]
        return [{choice.name: _suggest(trial, choice) for choice in self._plan.choices} for trial in self._asked]

    def tell(self, results: Sequence[Sequence[float] | None]) -> None:
        for trial, values in zip(self._asked, results, strict=True):
            if values is None:
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, list(values))


def _suggest(trial: Any, choice: Choice) -> Any:
    values = choice.grid() if choice.values or choice.points else ()
    if values:
        # Optuna wants plain values; places stand for them.
        place = (
            trial.suggest_int(choice.name, 0, len(values) - 1)
            if choice.points
            else trial.suggest_categorical(choice.name, list(range(len(values))))
        )
        return values[place]
    if choice.whole:
        return trial.suggest_int(choice.name, int(choice.low), int(choice.high), log=choice.log)
    return float(f"{trial.suggest_float(choice.name, choice.low, choice.high, log=choice.log):.6g}")

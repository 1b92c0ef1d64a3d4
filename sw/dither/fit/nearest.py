"""Recipes near one that does not fit: recorded ones, then small changes, then other boards."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..arch.config import engine_name
from ..boards import Board, boards
from ..nn.layers import TensorTrain
from ..nn.models import Model, with_ranks
from ..recipe import ESTIMATORS, Recipe
from ..train.experiment import Experiment
from ..train.tasks import TrainingTask
from .assess import UNITS
from .finding import Finding, examine, fitting_phases
from .recorded import known_results

__all__ = ["Suggestion", "suggestions"]

_MOST = 12
"""Most changes that are compiled before the search gives up."""
_TRAIN_RANKS = (4, 2, 1)
_ESTIMATORS = ("tensorwise", "layerwise", "coordinate")
"""Estimators that need nothing but sums of losses, those that learn faster first."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something else that fits."""

    kind: str
    """``recorded``, ``changed`` or ``board``."""
    finding: Finding
    """What it takes, on which engine or board."""
    options: tuple[str, ...]
    """Words behind ``dither train`` that ask for it."""

    @property
    def command(self) -> str:
        """The command line that trains so."""
        board = self.finding.board
        engine = ["--engine", engine_name(self.finding.experiment.engine)] if board is None else ["--board", board.name]
        return shlex.join(["dither", "train", self.options[0], *engine, *self.options[1:]])


def suggestions(
    found: Finding, task: TrainingTask, options: tuple[str, ...], status: Callable[[str], None] = lambda text: None
) -> list[Suggestion]:
    """Returns what fits in the place of a training that does not: at most one of each kind.

    A recorded recipe comes with the accuracy that it reached. A changed one is the first that fits
    of a ladder, on which each rung is a smaller network or a poorer gradient than the one above.
    A board is the smallest that holds the training as it is.

    :param found: what was found about the training that does not fit.
    :param options: words behind ``dither train`` that ask for it, without board and engine.
    :param status: called with what is going on, as it takes long.
    """
    results = []
    status("looking for a recorded recipe that fits")
    if (recorded := _recorded(found, task)) is not None:
        results.append(recorded)
    for number, (experiment, words) in enumerate(_ladder(found.experiment)):
        if number == _MOST:
            break
        status(f"trying {' '.join(words)}")
        if (trial := _fitting(experiment, task, found.board)) is not None:
            results.append(Suggestion("changed", trial, (*options, *words)))
            break
    status("looking for a board that holds it as it is")
    if (board := _board(found, task, options)) is not None:
        results.append(board)
    return results


def _fitting(trial: Experiment, task: TrainingTask, board: Board | None) -> Finding | None:
    """Returns what was found about a training that fits; None, soon, for one that does not."""
    phases = fitting_phases(trial, task)
    return None if phases is None else examine(trial, task, board, phases)


def _recorded(found: Finding, task: TrainingTask) -> Suggestion | None:
    """Returns the best recorded recipe of the same task, derivatives and numbers that fits."""
    asked = found.experiment
    near = [each for each in known_results() if each.alike(asked)]
    near.sort(key=lambda each: (each.model != asked.model, each.final if each.metric.lower else -each.final))
    for each in near:
        recipe = each.phases[0].recipe
        phases = each.phases if len(each.phases) > 1 else ()
        trial = replace(asked, model=each.model, recipe=recipe, phases=phases, steps=each.steps, parameters=None)
        if (result := _fitting(trial, task, found.board)) is not None:
            return Suggestion("recorded", result, each.options)
    return None


def _ladder(asked: Experiment) -> Iterator[tuple[Experiment, tuple[str, ...]]]:
    """Yields changes of a training, the smaller ones first, with the options that ask for them."""
    seen: list[tuple[Recipe, Model]] = [(asked.recipe, asked.model)]
    if asked.phases or asked.parameters is not None:
        return
    for ranks in (None, *_ranks(asked.model)):
        model = asked.model if ranks is None else with_ranks(asked.model, ranks)
        ways = _recipes(asked)
        # A smaller network is tried with the best way to gradients that the engine has.
        for changes in ways if ranks is None else itertools.islice(ways, 1):
            try:
                recipe = Recipe.from_dict(asked.recipe.to_dict() | changes)
            except ValueError:
                continue
            if (recipe, model) in seen:
                continue
            seen.append((recipe, model))
            words = [word for name, value in changes.items() for word in (f"--{name.replace('_', '-')}", _text(value))]
            yield (
                replace(asked, recipe=recipe, model=model),
                (*words, *(() if ranks is None else ("--ranks", str(ranks)))),
            )


def _ranks(model: Model) -> list[int]:
    """Returns smaller ranks for all trains of a model, the largest first."""
    largest = max((max(layer.all_ranks) for layer in model.layers if isinstance(layer, TensorTrain)), default=1)
    return list(range(largest - 1, 0, -1))


def _recipes(asked: Experiment) -> Iterator[dict[str, Any]]:
    """Yields changes of the recipe alone that the engine's units allow."""
    recipe, engine = asked.recipe, asked.engine
    base: dict[str, Any] = {}
    if recipe.tile % engine.lanes:
        tile = math.lcm(recipe.tile, engine.lanes)
        base = {"tile": tile, "batch": -(-recipe.batch // tile) * tile}
    names = [name for name, _ in recipe.by_layer(len(asked.model.layers))]
    local = any(ESTIMATORS[name].local for name in names)
    if engine.local_learning or not local:
        yield base
        if any(ESTIMATORS[name].learned for name in names):
            for ranks in _TRAIN_RANKS:
                yield base | {"feedback_ranks": ranks}
    for name in _ESTIMATORS:
        one = {} if isinstance(recipe.probes, int) else {"probes": max(recipe.probes)}
        yield base | one | {"estimator": name}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _board(found: Finding, task: TrainingTask, options: tuple[str, ...]) -> Suggestion | None:
    """Returns the board with fewest multipliers, and the slowest clock, that holds the training."""
    asked, tried = found.experiment, [found.experiment.engine]
    for board in sorted(boards().values(), key=lambda each: (each.engine.multipliers, each.clock.hz, each.name)):
        lacking = [use.parameter for use in found.uses if use.parameter in UNITS]
        if board.engine in tried or any(not getattr(board.engine, parameter) for parameter in lacking):
            continue
        tried.append(board.engine)
        if (result := _fitting(replace(asked, engine=board.engine), task, board)) is not None:
            return Suggestion("board", result, options)
    return None

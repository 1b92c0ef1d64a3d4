"""Differential equations as tasks: a problem, a stencil, a network and a recipe for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..compiler import Collocation, Compiled, compile
from ..nn.models import Dense, Model, Parameters, TensorTrain
from ..physics import BlackScholes, Burgers, HamiltonJacobiBellman, Problem, Stencil, parse_stencil
from ..recipe import Recipe
from ..runs.metrics import RELATIVE_L2, Metric, Scores
from .sampler import Batches, PointBatches

if TYPE_CHECKING:
    from .session import Session

__all__ = ["EQUATIONS", "EquationTask", "black_scholes", "burgers", "hjb"]

TEST_POINTS = 10_000
MEASURED_EVALUATIONS = 20_000
"""Network evaluations, about, that a held-out loss may take."""
RANGE_POINTS = 200


_RECIPE = Recipe(batch=128, tile=32, estimator="joint", sides="two", mu=2**-7, schedule="cosine", hidden_headroom=2)
"""Every tile has directions of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EquationTask:
    """A differential equation: a :class:`~dither.train.tasks.TrainingTask` whose every step has
    fresh random points.
    """

    problem: Problem
    stencil: Stencil
    model: Model
    recipe: Recipe
    steps: int
    engine: str = "2x16"
    log_every: int = 50

    @property
    def name(self) -> str:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return self.problem.name

    @property
    def title(self) -> str:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return self.problem.title

    @property
    def metric(self) -> Metric:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return RELATIVE_L2

    @property
    def samples(self) -> Mapping[str, int]:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return {"train": 0, "test": TEST_POINTS}

    def recipe_for(self, network: str | None) -> Recipe:
        """See :class:`~dither.train.tasks.TrainingTask`: the same for all."""
        return self.recipe

    @property
    def test_points(self) -> NDArray[np.float64]:
        """The points that errors are measured at: always the same, and never trained on."""
        return self.problem.sample(np.random.Generator(np.random.Philox(0)), TEST_POINTS)

    @property
    def range_inputs(self) -> NDArray[np.float64]:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return self.test_points[:RANGE_POINTS]

    def compile(self, model: Model, recipe: Recipe, engine: EngineConfig, parameters: Parameters) -> Compiled:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return compile(model, Collocation(self.problem, self.stencil), recipe, engine, parameters)

    def batches(self, recipe: Recipe) -> Batches:
        """See :class:`~dither.train.tasks.TrainingTask`."""
        return PointBatches(self.problem, recipe.batch, recipe.seed)

    def score(self, session: Session) -> Scores:
        """See :class:`~dither.train.tasks.TrainingTask`; the loss is measured at the first test
        points only.
        """
        points = self.test_points
        count = max(16, min(TEST_POINTS, MEASURED_EVALUATIONS // self.stencil.nodes))
        outputs = session.evaluate(points).outputs[:, 0]
        return Scores(session.measure(points[:count]), self.problem.relative_error(points, outputs))


def hjb(stencil: str | None = None) -> EquationTask:
    """The 20-dimensional Hamilton-Jacobi-Bellman equation with the published network, 21-512-512-1
    at rank 2.

    Its first layer begins at a sixteenth of the published scale: f is then nearly linear, as it
    should become.
    """
    first = TensorTrain((1, 1, 3, 7), (8, 4, 4, 4), 2, "sine", gain=math.sqrt(5) / 16)
    second = TensorTrain((4, 4, 4, 8), (8, 4, 4, 4), 2, "sine")
    model = Model((first, second, Dense(512, 1)), "squared_error")
    recipe = replace(_RECIPE, rate=0.01, decay2=10, schedule_steps=300)
    return _task(HamiltonJacobiBellman(), stencil or "central:0.25", model, recipe)


def _plane() -> Model:
    """A network for two coordinates. Its first layer's large weights let it follow solutions that
    change quickly.
    """
    first = TensorTrain((2,), (64,), 1, "sine", gain=4.0)
    return Model((first, TensorTrain((8, 8), (8, 8), 4, "sine", gain=1.0), Dense(64, 1)), "squared_error")


def black_scholes(stencil: str | None = None) -> EquationTask:
    """The Black-Scholes equation of a European call."""
    recipe = replace(_RECIPE, probes=4, rate=0.007, decay2=6, schedule_steps=1000)
    return _task(BlackScholes(), stencil or "central:0.125", _plane(), recipe)


def burgers(stencil: str | None = None) -> EquationTask:
    """The viscous Burgers equation."""
    recipe = replace(_RECIPE, probes=4, rate=0.007, decay2=6, schedule_steps=2000)
    return _task(Burgers(), stencil or "central:0.0625", _plane(), recipe)


def _task(problem: Problem, stencil: str, model: Model, recipe: Recipe) -> EquationTask:
    nodes = parse_stencil(stencil, problem.dimensions)
    return EquationTask(problem=problem, stencil=nodes, model=model, recipe=recipe, steps=recipe.schedule_steps)


EQUATIONS: dict[str, Callable[[str | None], EquationTask]] = {
    "hjb": hjb,
    "black-scholes": black_scholes,
    "burgers": burgers,
}
"""Makers by name, from a stencil's name or None for the task's own."""

"""Differential equations as tasks: a problem, a stencil, a network and a recipe for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.isa import Rule
from ..compiler import Collocation, Compiled, compile
from ..nn.models import Dense, Model, Parameters, TensorTrain
from ..physics import BlackScholes, Burgers, HamiltonJacobiBellman, Poisson, Problem, Stencil, parse_stencil
from ..recipe import ESTIMATORS, Recipe
from ..runs.metrics import RELATIVE_L2, Metric, Scores
from .sampler import Batches, PointBatches

if TYPE_CHECKING:
    from .session import Session

__all__ = ["EQUATIONS", "PLANE_RECIPE", "EquationTask", "black_scholes", "burgers", "hjb", "poisson", "wave_network"]

TEST_POINTS = 10_000
"""Number of points at which a solution's error is measured."""
MEASURED_EVALUATIONS = 20_000
"""Number of network evaluations, about, that a held-out loss may take."""
RANGE_POINTS = 200
"""Number of points whose activations tell how far these reach."""


_RECIPE = Recipe(batch=128, tile=32, estimator="joint", sides="two", mu=2**-7, schedule="cosine", hidden_headroom=2)
"""Recipe that all equations start from; with it, every tile has probes of its own."""
PLANE_RECIPE = replace(_RECIPE, probes=4, rate=0.007, decay2=6, schedule_steps=1000)
"""Recipe for equations of two coordinates or so."""
_SOLVED: dict[str, Any] = {
    "batch": 512,
    "tile": 512,
    "probes": 128,
    "sides": "one",
    "shared_probe": True,
    "mu": 2**-8,
    "rule": Rule.SGD,
    "rate": 2**-5,
    "hidden_headroom": 1,
}
"""What is different where steps are solved for: many probes, which all points of a step share. Such
steps are far smaller in all, so that hidden layers need less room for growth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EquationTask:
    """A differential equation as a task; every step trains on fresh random points.

    It is a :class:`~dither.train.tasks.TrainingTask`.
    """

    problem: Problem
    """The differential equation to solve."""
    stencil: Stencil
    """Nodes and weights by which derivatives are taken."""
    model: Model
    """Model that is trained unless another is asked for."""
    recipe: Recipe
    """Recipe that is used unless another is asked for."""
    steps: int
    """Number of optimiser steps unless another is asked for."""
    engine: str | None = "2x16"
    """Preset of an engine that the recipe's program fits; None for the first that it does fit."""
    log_every: int = 50
    """Number of optimiser steps between evaluations unless another is asked for."""

    @property
    def name(self) -> str:
        """Name of the equation, as the command line takes it."""
        return self.problem.name

    @property
    def title(self) -> str:
        """Title of the equation, one line for people."""
        return self.problem.title

    @property
    def metric(self) -> Metric:
        """Figure of merit: the relative L2 error of the solution."""
        return RELATIVE_L2

    @property
    def samples(self) -> Mapping[str, int]:
        """Number of samples to ``train`` on (0: new ones in every step) and to ``test`` with."""
        return {"train": 0, "test": TEST_POINTS}

    def recipe_for(self, network: str | None, estimator: Any = None) -> Recipe:
        """Returns the recipe for another network than the task's own, which is the same for all, or
        for an estimator that solves for steps.
        """
        solved = isinstance(estimator, str) and estimator in ESTIMATORS and ESTIMATORS[estimator].solved
        return replace(self.recipe, estimator=estimator, **_SOLVED) if solved else self.recipe

    @property
    def test_points(self) -> NDArray[np.float64]:
        """Points that errors are measured at: always the same, and never trained on.

        Shape (:data:`TEST_POINTS`, dimensions).
        """
        return self.problem.sample(np.random.Generator(np.random.Philox(0)), TEST_POINTS)

    @property
    def range_inputs(self) -> NDArray[np.float64]:
        """Points whose activations tell how far these reach, shape (points, dimensions)."""
        return self.test_points[:RANGE_POINTS]

    def compile(self, model: Model, recipe: Recipe, engine: EngineConfig, parameters: Parameters) -> Compiled:
        """Compiles the program that trains a model on this equation.

        :raises CompileError: if it does not fit.
        """
        return compile(model, Collocation(self.problem, self.stencil), recipe, engine, parameters)

    def batches(self, recipe: Recipe) -> Batches:
        """Returns the source of each step's random points."""
        return PointBatches(self.problem, recipe.batch, recipe.seed)

    def score(self, session: Session) -> Scores:
        """Returns loss and relative error of the network that a device holds.

        The error is measured at all test points, the loss at the first of them only.
        """
        points = self.test_points
        count = max(16, min(TEST_POINTS, MEASURED_EVALUATIONS // self.stencil.nodes))
        outputs = session.evaluate(points).outputs[:, 0]
        return Scores(session.measure(points[:count]), self.problem.relative_error(points, outputs))


def hjb(stencil: str | None = None) -> EquationTask:
    """Returns the task of the 20-dimensional Hamilton-Jacobi-Bellman equation.

    The network is the published one, 21-512-512-1 at rank 2. Its first layer begins at a sixteenth
    of the published scale: f is then nearly linear, as it should become.

    :param stencil: name of the stencil; central differences of 0.25 if None.
    """
    first = TensorTrain((1, 1, 3, 7), (8, 4, 4, 4), 2, "sine", gain=math.sqrt(5) / 16)
    second = TensorTrain((4, 4, 4, 8), (8, 4, 4, 4), 2, "sine")
    model = Model((first, second, Dense(512, 1)), "squared_error")
    recipe = replace(_RECIPE, rate=0.01, decay2=10, schedule_steps=300)
    return _task(HamiltonJacobiBellman(), stencil or "central:0.25", model, recipe)


def wave_network(dimensions: int = 2) -> Model:
    """Returns a network of sines for a few coordinates.

    Its first layer's large weights let it follow solutions that change quickly.
    """
    first = TensorTrain((dimensions,), (64,), 1, "sine", gain=4.0 * math.sqrt(2 / dimensions))
    return Model((first, TensorTrain((8, 8), (8, 8), 4, "sine", gain=1.0), Dense(64, 1)), "squared_error")


def black_scholes(stencil: str | None = None) -> EquationTask:
    """Returns the task of the Black-Scholes equation of a European call.

    :param stencil: name of the stencil; central differences of 0.125 if None.
    """
    return _task(BlackScholes(), stencil or "central:0.125", wave_network(), PLANE_RECIPE)


def burgers(stencil: str | None = None) -> EquationTask:
    """Returns the task of the viscous Burgers equation.

    :param stencil: name of the stencil; central differences of 0.0625 if None.
    """
    recipe = replace(PLANE_RECIPE, schedule_steps=2000)
    return _task(Burgers(), stencil or "central:0.0625", wave_network(), recipe)


def poisson(stencil: str | None = None) -> EquationTask:
    """Returns the task of Poisson's equation in two dimensions.

    :param stencil: name of the stencil; differences of fourth order with steps of 0.125 if None.
    """
    return _task(Poisson(), stencil or "fourth:0.125", wave_network(), PLANE_RECIPE)


def _task(problem: Problem, stencil: str, model: Model, recipe: Recipe) -> EquationTask:
    nodes = parse_stencil(stencil, problem.dimensions)
    return EquationTask(problem=problem, stencil=nodes, model=model, recipe=recipe, steps=recipe.schedule_steps)


EQUATIONS: dict[str, Callable[[str | None], EquationTask]] = {
    "hjb": hjb,
    "black-scholes": black_scholes,
    "burgers": burgers,
    "poisson": poisson,
}
"""Functions that make the tasks, by name, from a stencil's name or None for the task's own."""

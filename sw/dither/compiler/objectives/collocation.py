"""Differential equations: a network is to make their residual vanish at random points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...nn import reference
from ...nn.models import RNN, Model, Parameters
from ...physics import Problem, Stencil
from ...recipe import ESTIMATORS, Recipe
from ..code.network import NetworkCode
from ..errors import CompileError, ShortageError
from ..formats.calibration import network_formats
from ..formats.forward import Formats, Headroom, Proof
from ..formats.probes import CALIBRATION_TILES, Losses
from ..formats.residual import ResidualFormats, loss_format, residual_formats
from ..layout.tensors import Layout, Tensor
from ..plan.lowering import Lowered, lower
from ..plan.setting import Setting
from .objective import Objective
from .points import Points
from .residual import Residual, ResidualRegions

__all__ = ["Collocation"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_EVALUATIONS = 8192
"""Network evaluations of a calibration pass, about."""
_FEWEST = 16
"""Calibration points, however many nodes each of them takes."""


@dataclass(frozen=True, slots=True)
class Collocation(Objective):
    """A differential equation to solve, and how derivatives are taken.

    Samples of the program are points of the problem's box, without targets; its loss is the mean
    squared residual, and ``evaluate`` gives the network's outputs f, of which the problem makes its
    solution.
    """

    problem: Problem
    stencil: Stencil

    def check(self, model: Model, recipe: Recipe, engine: EngineConfig) -> None:
        problem, stencil = self.problem, self.stencil
        if (model.inputs, model.outputs) != (problem.dimensions, 1) or stencil.dimensions != problem.dimensions:
            raise ValueError(
                f"{problem.name} has {problem.dimensions} coordinates: the network needs as many inputs and one "
                f"output, not {model.inputs} and {model.outputs}, and the stencil as many dimensions, not "
                f"{stencil.dimensions}"
            )
        if isinstance(model.layers[0], RNN):
            raise CompileError(
                "the points of a differential equation are no sequences; use other layers than recurrent ones"
            )
        if any(ESTIMATORS[name].local for name, _ in recipe.by_layer(len(model.layers))):
            raise CompileError(
                "differential equations have no error signal of a layer's own; use an estimator that perturbs "
                "parameters"
            )
        if not engine.local_learning:
            raise ShortageError(
                "differential equations need lane-wise operands; use an engine with local_learning",
                "local learning",
                1,
                0,
                "local_learning",
            )

    def headroom(self, recipe: Recipe) -> Headroom:
        # Problems say how large f becomes. Second differences see the roundings of all layers,
        # hence no room is given away.
        return Headroom(outputs=1, hidden=recipe.hidden_headroom, intermediates=recipe.hidden_headroom)

    def calibrate(self, setting: Setting, parameters: Parameters, headroom: Headroom) -> _Calibrated:
        problem, stencil, recipe, width = self.problem, self.stencil, setting.recipe, setting.engine.width
        floats = _Floats(problem, stencil, setting, lower(problem.form, stencil))
        count = min(1024, max(_FEWEST, _EVALUATIONS // stencil.nodes))
        points = problem.sample(np.random.default_rng(0), count)
        edges = np.maximum(np.abs(problem.lower), np.abs(problem.upper)) + stencil.reach
        point = FixedPoint.covering(float(edges.max()), width)
        layers, tensors, proofs = network_formats(
            setting, parameters, point, floats.nodes(points), problem.magnitude, headroom, visible=False
        )
        slots = floats.slots(parameters, points)
        own = residual_formats(floats.lowered, width, point, layers[-1].target, problem.magnitude, points, slots)
        proofs.append(_accumulators(setting.engine, max(*floats.lowered.matrix.shape, problem.dimensions + 1)))
        loss_frac, more = loss_format(recipe, own.residual, float(floats.losses(parameters, points).max()))
        formats = Formats(width, tensors, tuple(layers), loss_frac, (*proofs, *more))
        few = points[: CALIBRATION_TILES * recipe.tile]
        return _Calibrated(
            problem,
            stencil,
            floats.lowered,
            own,
            formats,
            lambda moved, first: floats.losses(moved, few),
            len(few),
            len(setting.plans),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Floats:
    """Residuals in float64."""

    problem: Problem
    stencil: Stencil
    setting: Setting
    lowered: Lowered

    def nodes(self, points: Array) -> Array:
        """All points that the network is evaluated at, shape (points * nodes, dimensions)."""
        return np.asarray((points[:, None, :] + self.stencil.offsets).reshape(-1, self.problem.dimensions))

    def slots(self, parameters: Parameters, points: Array) -> Array:
        """What the slots hold, shape (points, nodes)."""
        parts = []
        for some in reference.blocks(points, reference.BLOCK // self.stencil.nodes):
            state = self.nodes(some)
            for plan in self.setting.plans:
                _, state = reference.run_layer(plan.position, plan.layer, plan.steps, parameters, state)
            parts.append(state.reshape(len(some), self.stencil.nodes))
        values = np.concatenate(parts)
        return np.concatenate([values[:, :1], values[:, 1:] - values[:, :1]], axis=1)

    def losses(self, parameters: Parameters, points: Array) -> Array:
        """Squared residuals, shape (points,)."""
        found = self.lowered.residuals(points, *self.lowered.words(self.slots(parameters, points)))
        return np.asarray((found + self.lowered.source.value(points)) ** 2)


def _accumulators(engine: EngineConfig, terms: int) -> Proof:
    """The proof that a residual's contractions fit.

    :param terms: of its longest sum.
    """
    bound = (terms + 1) << (2 * engine.width - 2)
    if bound >= 1 << (engine.accumulator_width - 1):
        raise CompileError(f"a residual of {terms} terms could overflow an accumulator; use a smaller stencil")
    return Proof("accumulators of the residual", bound, engine.accumulator_width)


@dataclass(frozen=True, slots=True, eq=False)
class _Calibrated:
    """A differential equation, once number formats are chosen."""

    problem: Problem
    stencil: Stencil
    lowered: Lowered
    own: ResidualFormats
    formats: Formats
    losses: Losses
    count: int
    layers: int
    """Of the network."""
    examples: None = None
    targets: int = 0
    partial: bool = False

    @property
    def samples(self) -> Points:
        return Points(self.lowered, self.own, self.problem.dimensions)

    @property
    def evaluations(self) -> int:
        return self.stencil.nodes

    @property
    def macs(self) -> int:
        nodes, columns = self.lowered.matrix.shape
        products = sum(entry.left.count for entry in self.lowered.sums) + len(self.lowered.terms)
        return int(nodes * (self.problem.dimensions + columns) + products)

    def constants(self) -> set[int]:
        return {1, -1}

    def regions(self) -> dict[str, int]:
        terms, columns = len(self.lowered.terms), self.lowered.matrix.shape[1]
        outer = sum(not run.linear for _, run in self.lowered.terms)
        return {
            "point, coefficients, label and source": self.problem.dimensions + terms + 2,
            "values at nodes": self.stencil.nodes,
            "inner products": len(self.lowered.sums) - outer,
            "derivatives and products": columns + outer,
            "residual": 1,
        }

    def matrices(self) -> dict[str, tuple[Layout, Integers]]:
        columns = [form.encode(weights) for form, weights in zip(self.own.columns, self.lowered.matrix.T, strict=True)]
        matrices = {
            "identity": np.eye(self.problem.dimensions, dtype=np.int64),
            "offsets": self.own.point.encode(self.stencil.offsets),
            "functionals": np.stack(columns, axis=1),
        }
        return {
            name: (Layout.plain(name, (len(matrix), matrix.shape[1]), self.layers), matrix)
            for name, matrix in matrices.items()
        }

    def code(self, network: NetworkCode, tensors: Mapping[str, Tensor], constants: Mapping[int, int]) -> Residual:
        return Residual(
            network=network,
            lowered=self.lowered,
            formats=self.own,
            loss_frac=self.formats.loss_frac,
            samples=self.samples,
            regions=ResidualRegions(*(network.memory.extra[name] for name in self.regions())),
            identity=tensors["identity"],
            offsets=tensors["offsets"],
            functionals=tensors["functionals"],
            one=constants[1],
            minus_one=constants[-1],
        )

"""Differential equation, stencil, model, recipe and engine in; program out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..nn import reference
from ..nn.models import RNN, Model, Parameters
from ..physics import Problem, Stencil
from ..recipe import Recipe
from .code.network import activation_tables, drains, layer_code, place
from .compiled import Compiled
from .errors import CompileError, shortage
from .formats.calibration import network_formats
from .formats.forward import Formats, Headroom, Proof
from .formats.probes import CALIBRATION_TILES, gradient_shifts
from .formats.residual import ResidualFormats, loss_format, residual_formats
from .gradients.probing import GroupProbes
from .layout.memory import ActivationMap, allocate_activations
from .layout.tensors import Layout, layouts
from .objectives.residual import Collocation, Residual, ResidualRegions
from .objectives.supervised import Supervised
from .plan.lowering import Lowered, lower
from .plan.planner import LayerPlan, plan_layers
from .program import ENTRIES, Emitter

__all__ = ["compile_physics"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_EVALUATIONS = 8192
"""Network evaluations of a calibration pass, about."""
_FEWEST = 16
"""Calibration points, however many nodes each of them takes."""


def compile_physics(
    problem: Problem,
    stencil: Stencil,
    model: Model,
    recipe: Recipe,
    engine: EngineConfig,
    parameters: Parameters,
    headroom: Headroom | None = None,
) -> Compiled:
    """Compile the training of a network on a differential equation.

    Samples of the program are points of the problem's box, without targets; its loss is the mean
    squared residual, and ``evaluate`` gives the network's outputs f, of which the problem makes its
    solution.

    :param stencil: how derivatives are taken.
    :param parameters: initial values by name; number formats are chosen for them.
    :param headroom: of number formats; the recipe's for all hidden states, if None.
    :raises ValueError: if model, stencil, parameters or recipe do not suit the problem, each other
        or the engine.
    :raises CompileError: if something does not fit or cannot be proven safe; says what would help.
    """
    recipe.check_engine(engine)
    model.check_parameters(parameters)
    if (model.inputs, model.outputs) != (problem.dimensions, 1) or stencil.dimensions != problem.dimensions:
        raise ValueError(
            f"{problem.name} has {problem.dimensions} coordinates: the network needs as many inputs and one output, "
            f"not {model.inputs} and {model.outputs}, and the stencil as many dimensions, not {stencil.dimensions}"
        )
    if isinstance(model.layers[0], RNN):
        raise CompileError(
            "the points of a differential equation are no sequences; use other layers than recurrent ones"
        )
    if recipe.local_layers(len(model.layers)):
        raise CompileError(
            "differential equations have no error signal of a layer's own; use an estimator that perturbs parameters"
        )
    if not engine.local_learning:
        raise CompileError("differential equations need lane-wise operands; use an engine with local_learning")
    build = _Build(problem, stencil, model, recipe, engine, tuple(plan_layers(model)), lower(problem.form, stencil))
    bits = recipe.hidden_headroom
    # Problems say how large f becomes. Second differences see the roundings of all layers, hence no
    # room is given away.
    headroom = headroom or Headroom(outputs=1, hidden=bits, intermediates=bits)
    return build({name: np.asarray(parameters[name], dtype=np.float64) for name in model.parameter_shapes()}, headroom)


@dataclass(frozen=True, slots=True, eq=False)
class _Build:
    problem: Problem
    stencil: Stencil
    model: Model
    recipe: Recipe
    engine: EngineConfig
    plans: tuple[LayerPlan, ...]
    lowered: Lowered

    def __call__(self, parameters: Parameters, headroom: Headroom) -> Compiled:
        model, recipe, engine, plans = self.model, self.recipe, self.engine, list(self.plans)
        formats, own = self._formats(parameters, headroom)
        fixed = self._fixed(own)
        found = layouts(plans, model.parameter_shapes()) | {name: layout for name, (layout, _) in fixed.items()}
        forms = dict(formats.tensors) | dict.fromkeys(fixed, FixedPoint(engine.width, 0))
        tensors, rates, _ = place(model, recipe, engine, found, forms, formats, {}, fixed)
        trained = {name: tensor for name, tensor in tensors.items() if tensor.trained}
        tables = activation_tables(model, engine, formats)
        constants = tuple(sorted({1 << f.constant for f in formats.layers if f.constant is not None} | {1, -1}))
        memory = allocate_activations(
            plans,
            {name: tensor.layout for name, tensor in tensors.items()},
            engine,
            drains(model, engine),
            len(constants),
            0,
            (),
            recipe.evaluations,
            extra=self._regions(),
        )
        forward = tuple(layer_code(engine, plan, memory, formats, tensors, tables, constants) for plan in plans)
        places = {value: memory.constants.base + number for number, value in enumerate(constants)}
        samples = Collocation(self.lowered, own, self.problem.dimensions)
        objective = Residual(
            engine=engine,
            network=Supervised(model=model, memory=memory, formats=formats, code=forward),
            lowered=self.lowered,
            formats=own,
            loss_frac=formats.loss_frac,
            samples=samples,
            regions=_places(memory),
            identity=tensors["identity"],
            offsets=tensors["offsets"],
            functionals=tensors["functionals"],
            one=places[1],
            minus_one=places[-1],
        )
        probes = tuple(
            GroupProbes(
                objective=objective, recipe=recipe, group=group, tensors=tuple(tensors[name] for name in group.tensors)
            )
            for group in recipe.groups(model.parameter_shapes())
        )
        emitter = Emitter(
            recipe=recipe,
            lanes=engine.lanes,
            scalar_entries=3 << engine.table_bits,
            activation_entries=len(tables) << engine.table_bits,
            constants=memory.constants,
            objective=objective,
            gradients=probes,
            tensors=tuple(trained.values()),
            trained=tuple(trained.values()),
            fixed=sum(tensors[name].words for name in fixed),
        )
        program = emitter.program()
        if program.size > engine.program_depth:
            raise shortage("program memory", program.size, engine.program_depth, "program_depth", "fewer layers")
        return Compiled(
            model=model,
            recipe=recipe,
            engine=engine,
            program=tuple(program.words()),
            entries={name: program.labels[name] for name in ENTRIES},
            plans=self.plans,
            memory=memory,
            formats=formats,
            tensors=trained,
            rates=rates,
            activation_tables=tables,
            constants=constants,
            forward=forward,
            probe_passes=tuple((*code.start, code.passes) for code in probes),
            samples=samples,
            fixed=tuple((tensors[name], weights) for name, (_, weights) in fixed.items()),
            evaluations_per_sample=self.stencil.nodes,
            objective_macs=objective.macs,
        )

    def _slots(self, parameters: Parameters, points: Array) -> Array:
        """What the slots hold, in float64, shape (points, nodes)."""
        state = (points[:, None, :] + self.stencil.offsets).reshape(-1, self.problem.dimensions)
        for plan in self.plans:
            states = reference.contract_layer(plan.position, plan.layer, plan.steps, parameters, state)
            state = reference.activate(plan.layer.activation, states[-1])
        values = state.reshape(len(points), self.stencil.nodes)
        return np.concatenate([values[:, :1], values[:, 1:] - values[:, :1]], axis=1)

    def _losses(self, parameters: Parameters, points: Array) -> Array:
        """Squared residuals in float64, shape (points,)."""
        found = self.lowered.residuals(points, *self.lowered.words(self._slots(parameters, points)))
        return np.asarray((found + self.lowered.source.value(points)) ** 2)

    def _formats(self, parameters: Parameters, headroom: Headroom) -> tuple[Formats, ResidualFormats]:
        """The network's number formats, and the residual's. Of the engine, only the width
        counts.
        """
        problem, stencil, recipe, lowered, width = (
            self.problem,
            self.stencil,
            self.recipe,
            self.lowered,
            self.engine.width,
        )
        count = min(1024, max(_FEWEST, _EVALUATIONS // stencil.nodes))
        points = problem.sample(np.random.default_rng(0), count)
        edges = np.maximum(np.abs(problem.lower), np.abs(problem.upper)) + stencil.reach
        point = FixedPoint.covering(float(edges.max()), width)
        nodes = (points[:, None, :] + stencil.offsets).reshape(-1, problem.dimensions)
        layers, tensors, proofs = network_formats(
            self.model,
            recipe,
            list(self.plans),
            self.engine,
            parameters,
            point,
            nodes,
            problem.magnitude,
            headroom,
            visible=False,
        )
        slots = self._slots(parameters, points)
        own = residual_formats(lowered, width, point, layers[-1].target, problem.magnitude, points, slots)
        proofs.append(self._accumulators())
        loss_frac, more = loss_format(recipe, own.residual, float(self._losses(parameters, points).max()))
        samples = min(count, CALIBRATION_TILES * recipe.tile)
        shifts = gradient_shifts(
            recipe, parameters, lambda moved, first: self._losses(moved, points[:samples]), samples, loss_frac
        )
        ordered = {name: tensors[name] for name in parameters}
        return Formats(width, ordered, tuple(layers), loss_frac, shifts, (*proofs, *more)), own

    def _accumulators(self) -> Proof:
        """Of the residual's contractions."""
        engine, terms = self.engine, max(*self.lowered.matrix.shape, self.problem.dimensions + 1)
        bound = (terms + 1) << (2 * engine.width - 2)
        if bound >= 1 << (engine.accumulator_width - 1):
            raise CompileError(f"a residual of {terms} terms could overflow an accumulator; use a smaller stencil")
        return Proof("accumulators of the residual", bound, engine.accumulator_width)

    def _fixed(self, own: ResidualFormats) -> dict[str, tuple[Layout, Integers]]:
        """Constant matrices by name, with their working weights as integers."""
        size = self.problem.dimensions
        columns = [form.encode(weights) for form, weights in zip(own.columns, self.lowered.matrix.T, strict=True)]
        matrices = {
            "identity": np.eye(size, dtype=np.int64),
            "offsets": own.point.encode(self.stencil.offsets),
            "functionals": np.stack(columns, axis=1),
        }
        return {name: (_layout(name, matrix, len(self.plans)), matrix) for name, matrix in matrices.items()}

    def _regions(self) -> dict[str, int]:
        terms, columns = len(self.lowered.terms), self.lowered.matrix.shape[1]
        outer = sum(not run.linear for _, run in self.lowered.terms)
        return {
            "point, coefficients, label and source": self.problem.dimensions + terms + 2,
            "values at nodes": self.stencil.nodes,
            "inner products": len(self.lowered.sums) - outer,
            "derivatives and products": columns + outer,
            "residual": 1,
        }


def _places(memory: ActivationMap) -> ResidualRegions:
    group, slots, inner, words, residual = memory.extra.values()
    return ResidualRegions(group, slots, inner, words, residual)


def _layout(name: str, matrix: Integers, layer: int) -> Layout:
    """Of a plain matrix, behind all layers."""
    inner, columns = matrix.shape
    return Layout(
        name=name,
        shape=matrix.shape,
        view=matrix.shape,
        axes=(0, 1),
        inner=inner,
        groups=1,
        group_rows=columns,
        group_pitch=columns,
        first_step=0,
        layer=layer,
    )

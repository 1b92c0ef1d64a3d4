"""Model, recipe and engine in; program out."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from ..arch.config import EngineConfig
from ..arch.isa import Distribution
from ..nn.models import RNN, Model, Parameters
from ..recipe import Recipe
from .code.network import activation_tables, drains, layer_code, place
from .compiled import Compiled
from .errors import shortage
from .formats.calibration import calibrate
from .formats.forward import Formats, Headroom
from .formats.local import LocalFormats, local_formats
from .gradients.local import LocalCodes
from .gradients.needs import LocalLearning
from .gradients.probing import GroupProbes
from .layout.memory import allocate_activations
from .layout.tensors import Tensor, layouts
from .measurement import measured
from .objectives.supervised import Supervised
from .plan.planner import LayerPlan, plan_layers
from .plan.samples import Labelled
from .program import ENTRIES, Emitter
from .rates import RateFormat

__all__ = ["compile"]


def compile(
    model: Model,
    recipe: Recipe,
    engine: EngineConfig,
    parameters: Parameters,
    calibration_inputs: ArrayLike,
    calibration_targets: ArrayLike,
    headroom: Headroom | None = None,
) -> Compiled:
    """Compile a model and a training recipe to a program for an engine.

    :param parameters: initial values by name; number formats are chosen for them, and they are not
        part of the program.
    :param calibration_inputs: shape (samples, inputs); typical samples, of which the first
        1,024 are run.
    :param calibration_targets: classes of shape (samples,) or values of shape (samples, outputs).
    :raises ValueError: if parameters or recipe do not suit model or engine.
    :raises CompileError: if something does not fit or cannot be proven safe; says what would help.
    """
    recipe.check_engine(engine)
    recipe.by_layer(len(model.layers))
    model.check_parameters(parameters)
    plans = plan_layers(model)
    formats = calibrate(
        model,
        recipe,
        plans,
        engine,
        parameters,
        calibration_inputs,
        calibration_targets,
        headroom or Headroom(hidden=recipe.hidden_headroom),
    )
    layers = local_formats(model, recipe, plans, formats, parameters, calibration_inputs, calibration_targets)
    build = _Build(model, recipe, tuple(plans), layers)
    if layers:
        formats = measured(build, recipe, engine, formats, parameters, calibration_inputs, calibration_targets)
    return build(engine, formats)


@dataclass(frozen=True, slots=True)
class _Build:
    """The last part of compilation: for an engine and number formats."""

    model: Model
    recipe: Recipe
    plans: tuple[LayerPlan, ...]
    layers: dict[int, LocalFormats]

    def __call__(self, engine: EngineConfig, formats: Formats, only: Recipe | None = None) -> Compiled:
        """The program.

        :param only: for measurements: with this recipe, and local learning alone.
        """
        model, recipe, plans = self.model, only or self.recipe, list(self.plans)
        groups = recipe.groups(model.parameter_shapes()) if only is None else ()
        learning = LocalLearning(
            model=model, recipe=recipe, engine=engine, plans=self.plans, formats=formats, layers=self.layers
        )
        tensors, rates, block = _tensors(model, recipe, engine, plans, formats, learning)
        tables = activation_tables(model, engine, formats)
        biases = {1 << f.constant for f in formats.layers if f.constant is not None}
        first = model.layers[0]
        initial = (0,) * first.outputs if isinstance(first, RNN) else ()
        constants = (*sorted(biases | learning.constants()), *initial)
        memory = allocate_activations(
            plans,
            {name: tensor.layout for name, tensor in tensors.items()},
            engine,
            drains(model, engine),
            len(constants),
            model.outputs if model.loss == "squared_error" else 0,
            groups,
            recipe.evaluations,
            keep=learning.layers,
            extra=learning.regions(),
        )
        forward = tuple(layer_code(engine, plan, memory, formats, tensors, tables, constants) for plan in plans)
        objective = Supervised(model=model, memory=memory, formats=formats, code=forward)
        probes = tuple(
            GroupProbes(
                objective=objective, recipe=recipe, group=group, tensors=tuple(tensors[name] for name in group.tensors)
            )
            for group in groups
        )
        words = sum(tensor.words for tensor in tensors.values())
        places = {value: memory.constants.base + number for number, value in enumerate(constants)}
        local = LocalCodes(learning, objective, memory, places, tensors, words, block)
        emitter = Emitter(
            recipe=recipe,
            lanes=engine.lanes,
            scalar_entries=3 << engine.table_bits,
            activation_entries=len(tables) << engine.table_bits,
            constants=memory.constants,
            objective=objective,
            gradients=(*probes, *local.codes),
            tensors=tuple(tensors.values()),
            trained=tuple(tensor for tensor in tensors.values() if tensor.trained),
            zeroed=local.zeroed,
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
            tensors=tensors,
            rates=rates,
            activation_tables=tables,
            constants=constants,
            forward=forward,
            probe_passes=(*((*code.start, code.passes) for code in probes), *local.passes),
            samples=Labelled(model, formats.input, formats.output),
            zeroed=local.zeroed,
            local_macs=local.macs,
        )


def _tensors(
    model: Model,
    recipe: Recipe,
    engine: EngineConfig,
    plans: list[LayerPlan],
    formats: Formats,
    learning: LocalLearning,
) -> tuple[dict[str, Tensor], RateFormat, int]:
    """Tensors by name, how rates travel, and the first generator block behind all tensors'."""
    matrices = learning.matrices()
    found = layouts(plans, model.parameter_shapes()) | {name: layout for name, (layout, _) in matrices.items()}
    forms = dict(formats.tensors) | {name: form for name, (_, form) in matrices.items()}
    tensors, rates, block = place(model, recipe, engine, found, forms, formats, learning.units(), slow=matrices)
    return tensors, rates, block * max(1, Distribution[recipe.distribution.upper()].bits)

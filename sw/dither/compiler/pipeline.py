"""Model, objective, recipe and engine in; program out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..arch.isa import Distribution
from ..nn.models import Model, Parameters
from ..recipe import ESTIMATORS, Recipe
from .code.network import NetworkCode, activation_tables, drains, layer_code, place
from .compiled import Compiled, assembled
from .emitter import Emitter
from .errors import ShortageError, shortage
from .formats.forward import Formats, Headroom
from .formats.probes import FloatProbes
from .gradients import Estimator, Places, Sharing, calibrated, estimators, gradient_codes
from .layout.memory import ActivationMap, Need, allocate_activations
from .layout.states import Blocks
from .layout.tensors import Layout, layouts
from .measurement import measured
from .objectives.objective import CalibratedObjective, Objective
from .plan.planner import plan_layers
from .plan.setting import Setting

__all__ = ["compile"]


def compile(
    model: Model,
    objective: Objective,
    recipe: Recipe,
    engine: EngineConfig,
    parameters: Parameters,
    headroom: Headroom | None = None,
) -> Compiled:
    """Compile a model and a training recipe to a program for an engine.

    :param objective: what to train for: :class:`~dither.compiler.Labelled` samples, or
        :class:`~dither.compiler.Collocation` for a differential equation.
    :param parameters: initial values by name; number formats are chosen for them, and they are not
        part of the program.
    :param headroom: of number formats; the objective's own if None.
    :raises ValueError: if objective, parameters or recipe do not suit model or engine.
    :raises CompileError: if something does not fit or cannot be proven safe; says what would help.
    """
    recipe.check_engine(engine)
    _require_options(recipe, engine, len(model.layers))
    model.check_parameters(parameters)
    objective.check(model, recipe, engine)
    setting = Setting(model, recipe, engine, tuple(plan_layers(model)))
    parameters = {name: np.asarray(parameters[name], dtype=np.float64) for name in model.parameter_shapes()}
    found, formats = _formats(
        _Question(
            objective,
            model,
            recipe,
            engine.width,
            engine.table_bits,
            headroom or objective.headroom(recipe),
            tuple((name, values.tobytes()) for name, values in parameters.items()),
            setting,
            parameters,
        )
    )
    return _Build(found)(setting, formats, estimators(setting, formats))


def _require_options(recipe: Recipe, engine: EngineConfig, layers: int) -> None:
    """Refuses recipes that need units which an engine lacks."""
    chosen = [name for name, _ in recipe.by_layer(layers)]
    local = [name for name in chosen if ESTIMATORS[name].local]
    if local and not engine.local_learning:
        raise ShortageError(
            f"estimator {local[0]} needs an engine with local_learning; use one that perturbs parameters: "
            f"{', '.join(name for name, traits in ESTIMATORS.items() if not traits.local)}",
            "local learning",
            1,
            0,
            "local_learning",
        )
    drawn = any(ESTIMATORS[name].probes and not ESTIMATORS[name].local for name in chosen)
    if drawn and recipe.distribution != Distribution.RADEMACHER.name.lower() and not engine.wide_probes:
        raise ShortageError(
            f"{recipe.distribution} probes need an engine with wide_probes; use distribution rademacher",
            "wide probes",
            1,
            0,
            "wide_probes",
        )


@dataclass(frozen=True, slots=True)
class _Question:
    """What number formats depend on, and, out of comparison, the rest of what finds them."""

    objective: Objective
    model: Model
    recipe: Recipe
    width: int
    table_bits: int
    headroom: Headroom
    values: tuple[tuple[str, bytes], ...]
    setting: Setting = field(compare=False)
    parameters: Parameters = field(compare=False)


@functools.lru_cache(maxsize=1)
def _formats(question: _Question) -> tuple[CalibratedObjective, Formats]:
    """Number formats: the same for all geometries, so that who compiles for one after the other
    does not wait for them again.
    """
    setting, parameters = question.setting, question.parameters
    found = question.objective.calibrate(setting, parameters, question.headroom)
    formats = replace(found.formats, gradient_shifts=_shifts(setting, found, parameters))
    if found.examples is not None:
        formats = calibrated(setting, formats, parameters, *found.examples)
        if formats.signals:
            formats = measured(_Build(found), setting, formats, parameters, *found.examples)
    return found, formats


def _shifts(setting: Setting, objective: CalibratedObjective, parameters: Parameters) -> dict[str, int]:
    """The shift that brings each tensor's gradient accumulators to an RMS near 2**9, for all
    tensors that probes perturb.
    """
    formats = objective.formats
    floats = FloatProbes(
        setting.recipe, parameters, objective.losses, objective.count, formats.loss_frac, np.random.default_rng(0)
    )
    return {name: shift for each in estimators(setting, formats) for name, shift in each.shifts(floats).items()}


@dataclass(frozen=True, slots=True)
class _Build:
    """The last part of compilation: from number formats to a program."""

    objective: CalibratedObjective

    def __call__(self, setting: Setting, formats: Formats, used: Sequence[Estimator]) -> Compiled:
        """The program whose gradients come from some estimators."""
        model, engine, plans, objective = setting.model, setting.engine, setting.plans, self.objective
        learned = {name: each for estimator in used for name, each in estimator.matrices().items()}
        fixed = objective.matrices()
        others = {name: layout for name, (layout, _) in (*learned.items(), *fixed.items())}
        found = layouts(plans, model.parameter_shapes()) | others
        forms = {name: form for name, (_, form) in learned.items()} | dict.fromkeys(fixed, FixedPoint(engine.width, 0))
        steppings = {name: each for estimator in used for name, each in estimator.steppings().items()}
        tensors, rates, block = place(setting, found, {**formats.tensors, **forms}, steppings, formats.gradient_shifts)
        trained = {name: tensor for name, tensor in tensors.items() if name not in fixed}

        tables = activation_tables(model, engine, formats)
        constants = self._constants(setting, formats, used)
        memory = self._memory(setting, found, len(constants), used)
        places = {value: memory.constants.base + number for number, value in enumerate(constants)}
        forward = tuple(layer_code(engine, plan, memory, formats, tensors, tables, constants) for plan in plans)
        code = objective.code(NetworkCode(engine, memory, forward), tensors, places)

        words = sum(tensor.words for tensor in tensors.values())
        first_block = block * max(1, Distribution[setting.recipe.distribution.upper()].bits)
        for sharing in Sharing:
            room = Places(
                objective=code,
                memory=memory,
                tensors=tensors,
                constants=places,
                free=words,
                block=first_block,
                sharing=sharing,
            )
            for each in used:
                room.zeroed[each.layers[0]] = [(room.words(count), room.signs(signs)) for count, signs in each.zeroed()]
            zeroed = room.free - words
            gradients = gradient_codes(used, room)
            if room.end <= engine.weight_depth:
                break
        else:
            raise shortage("weight memory", room.end, engine.weight_depth, "parameter_depth", "smaller layers")
        if words + zeroed > engine.parameter_depth:
            depth = engine.parameter_depth
            raise shortage("parameter memory", words + zeroed, depth, "parameter_depth", "smaller layers")
        emitter = Emitter(
            recipe=setting.recipe,
            lanes=engine.lanes,
            scalar_entries=3 << engine.table_bits,
            activation_entries=len(tables) << engine.table_bits,
            constants=memory.constants,
            objective=code,
            gradients=tuple(gradients),
            tensors=tuple(trained.values()),
            fixed=sum(tensors[name].words for name in fixed),
            zeroed=zeroed,
        )
        assembly, entries = assembled(emitter, engine)
        return Compiled(
            model=model,
            recipe=setting.recipe,
            engine=engine,
            emitter=emitter,
            program=assembly,
            entries=entries,
            plans=plans,
            memory=memory,
            formats=formats,
            tensors=trained,
            rates=rates,
            activation_tables=tables,
            constants=constants,
            forward=forward,
            probe_passes=tuple(passes for each in gradients for passes in each.passes),
            samples=objective.samples,
            fixed=tuple((tensors[name], weights) for name, (_, weights) in fixed.items()),
            zeroed=zeroed,
            parameter_words=room.end,
            initial={name: values for each in used for name, values in each.initial().items()},
            gradient_macs=sum(each.macs for each in gradients),
            evaluations_per_sample=objective.evaluations,
            objective_macs=objective.macs,
        )

    def _constants(self, setting: Setting, formats: Formats, used: Sequence[Estimator]) -> tuple[int, ...]:
        """Values of the constant words; zeros for recurrent layers' first states are the last."""
        biases = {1 << form.constant for form in formats.layers if form.constant is not None}
        wanted = biases.union(self.objective.constants(), *(each.constants() for each in used))
        blocks = Blocks.of(setting.model.layers)
        return (*sorted(wanted), *((0,) * blocks.cleared if blocks else ()))

    def _memory(
        self, setting: Setting, found: Mapping[str, Layout], constants: int, used: Sequence[Estimator]
    ) -> ActivationMap:
        """The activation memory."""
        partial = self.objective.partial
        shared: dict[str, int] = {}
        for each in used:
            for name, words in each.regions().items():
                shared[name] = max(shared.get(name, 0), words)
        passes = []
        for tensors, count in (planned for each in used for planned in each.planned()):
            layer, step = min((found[name].layer, found[name].first_step) for name in tensors)
            passes.append((layer, step, count) if partial else (0, 0, count))
        moments = [moment for each in used for moment in each.moments()]
        return allocate_activations(
            setting.plans,
            setting.engine,
            drains(setting.model, setting.engine),
            constants,
            self.objective.targets,
            passes,
            moments if partial else [replace(moment, runs=0) for moment in moments],
            {position: use for each in used for position, use in each.uses().items()},
            self.objective.regions(),
            [Need(name, words) for name, words in shared.items()],
        )

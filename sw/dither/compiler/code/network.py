"""A network as code and tensors: what all objectives share."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa import MASTER_BITS, REDUCTION_LOOPS, Activation, Distribution, Instruction
from ...arch.timing import drain_cycles_per_row
from ...nn.models import RNN, Model
from ...recipe import ProbeGroup, Recipe
from ..errors import CompileError
from ..formats.forward import TABLED, Formats
from ..layout.memory import ActivationMap
from ..layout.tensors import Layout, Tensor, place_tensors
from ..plan.planner import LayerPlan
from ..program import Table
from ..rates import RateFormat, Unit
from .contraction import bias_nest, step_nests
from .nests import Access, Drain
from .windows import recurrent_code

__all__ = ["activation_tables", "drains", "layer_code", "place"]


def place(
    model: Model,
    recipe: Recipe,
    engine: EngineConfig,
    found: dict[str, Layout],
    forms: Mapping[str, FixedPoint],
    formats: Formats,
    units: Mapping[str, Unit],
    fixed: Collection[str] = (),
    slow: Collection[str] = (),
) -> tuple[dict[str, Tensor], RateFormat, int]:
    """Tensors by name, how rates travel, and the first of the generator's blocks of indices behind
    all tensors'.

    :param found: all layouts, in order.
    :param forms: formats of the working weights.
    :param units: of the gradients of tensors that no probe perturbs.
    :param fixed: tensors that no step changes; the last ones.
    :param slow: tensors whose rate is ``2**-feedback_slowness`` of the others'.
    :raises CompileError: if something does not fit.
    """
    places, block = place_tensors(found, engine)
    groups = {name: group for group in recipe.groups(model.parameter_shapes()) for name in group.tensors}
    master_fracs = {name: form.frac + MASTER_BITS - form.width for name, form in forms.items() if name not in fixed}
    deviations = {name: group.distribution.deviation for name, group in groups.items()}
    all_units = dict(units) | {
        name: Unit(
            1 / (recipe.batch * recipe.mu * recipe.evaluations * group.probes * deviations[name]), formats.loss_frac
        )
        for name, group in groups.items()
    }
    shifts = {name: formats.gradient_shifts.get(name, 0) for name in found}
    shrinking = _shrinking(recipe, groups, found)
    # A binary point further left makes steps smaller.
    stepping = {
        name: frac - (recipe.feedback_slowness if name in slow else 0) - shrinking.get(name, 0)
        for name, frac in master_fracs.items()
    }
    try:
        rates = RateFormat.plan(recipe, stepping, shifts, all_units)
    except ValueError as error:
        raise CompileError(str(error)) from None
    tensors = {}
    for name, layout in found.items():
        amplitude = 0
        if name in groups:
            amplitude = round(math.ldexp(recipe.mu / deviations[name], master_fracs[name]))
            if amplitude * deviations[name] < 1 << (MASTER_BITS - engine.width):
                # Smaller probes would mostly round away in the working weights.
                raise CompileError(f"{name}: mu = {recipe.mu:g} is less than one unit of its working weights; use more")
        base, first_block = places[name]
        tensors[name] = Tensor(
            layout=layout,
            format=forms[name],
            rows=engine.rows,
            base=base,
            block=first_block,
            amplitude=amplitude,
            gradient_shift=shifts[name],
            rate_shift=rates.shifts.get(name, 0),
            trained=name not in fixed,
        )
    return tensors, rates, block


def _shrinking(recipe: Recipe, groups: Mapping[str, ProbeGroup], found: Mapping[str, Layout]) -> dict[str, int]:
    """log2 of what the recipe's shrinkage divides each tensor's rate by, rounded, because it
    becomes a shift.
    """
    shrinking = {}
    for name, group in groups.items():
        if group.distribution is not Distribution.COORDINATE:
            size = sum(math.prod(found[each].shape) for each in group.tensors)
            factor = {"none": 0.0, "root": 0.5, "linear": 1.0}[recipe.shrinkage]
            shrinking[name] = round(factor * math.log2((group.probes + size - 1) / group.probes))
    return shrinking


def drains(model: Model, engine: EngineConfig) -> list[int]:
    """Drain cycles of a row in each layer's last step."""
    kinds = [Activation.TABLE if layer.activation in TABLED else Activation.NONE for layer in model.layers]
    return [drain_cycles_per_row(engine, kind) for kind in kinds]


def _table(model: Model, formats: Formats, position: int) -> Table | None:
    function, form = model.layers[position].activation, formats.layers[position]
    return Table(function, form.sums[-1].frac, form.target.frac) if function in TABLED else None


def activation_tables(model: Model, engine: EngineConfig, formats: Formats) -> tuple[Table, ...]:
    """The tables that a network's activation functions come from.

    :raises CompileError: if the engine has fewer.
    """
    wanted = [_table(model, formats, position) for position in range(len(model.layers))]
    found = tuple(dict.fromkeys(table for table in wanted if table is not None))
    if len(found) > engine.activation_tables:
        raise CompileError(
            f"activation tables: {len(found)} needed, {engine.activation_tables} available; use an engine with more "
            "activation_tables, or fewer layers of sine or tanh"
        )
    return found


def layer_code(
    engine: EngineConfig,
    plan: LayerPlan,
    memory: ActivationMap,
    formats: Formats,
    tensors: dict[str, Tensor],
    tables: tuple[Table, ...],
    constants: tuple[int, ...],
) -> tuple[tuple[Instruction, ...], ...]:
    """A layer's contractions: for every step that a forward pass may start at, those up to the next
    such step.

    A recurrent layer has its loop over time around them.
    """
    buffers, form = memory.layers[plan.position], formats.layers[plan.position]
    function = plan.layer.activation

    def instructions(number: int, chunk: int) -> Sequence[Instruction]:
        last = number == len(plan.steps) - 1
        drain = Drain(form.shifts[number])
        if last and function in TABLED:
            table = Table(function, form.sums[-1].frac, form.target.frac)
            drain = Drain(form.shifts[number], Activation.TABLE, tables.index(table))
        elif last and function == "relu":
            drain = Drain(form.shifts[number], Activation.RELU)
        bias, one = None, 0
        if last and plan.bias and form.constant is not None:
            one = memory.constants.base + constants.index(1 << form.constant)
            words = bias_nest(plan, chunk, buffers, tensors[plan.bias], one).w
            bias = Access(words.base, words.strides[len(REDUCTION_LOOPS) :])
        nests = step_nests(plan, number, chunk, buffers, tensors[plan.steps[number].tensor])
        if isinstance(plan.layer, RNN):
            return recurrent_code(plan.layer, engine, nests[0], drain, bias, one)
        return [nest.contract(engine, drain, bias, one) for nest in nests]

    numbers = range(len(plan.steps))
    if buffers.kept:
        return tuple(tuple(instructions(number, 0)) for number in numbers)
    parts = (instructions(number, chunk) for chunk in range(buffers.chunks) for number in numbers)
    return (tuple(each for part in parts for each in part),)

"""Model, recipe and engine in; program out."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ..engine import EngineConfig
from ..isa import Activation, Instruction
from ..models import Model, Parameters
from ..recipe import RateFormat, Recipe
from ..timing import drain_cycles_per_row
from .calibration import calibrate
from .compiled import Compiled
from .contraction import Drain, contract_step
from .emit import Emitter, Table
from .errors import CompileError, shortage
from .formats import TABLED, Formats, Headroom
from .memory import ActivationMap, allocate_activations
from .planner import LayerPlan, plan_layers
from .tensors import Tensor, layouts, place_tensors

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

    :param parameters: initial values by name; number formats are chosen for them, and they are not part of the program.
    :param calibration_inputs: shape (samples, inputs); typical samples, of which the first
        1,024 are run.
    :param calibration_targets: classes of shape (samples,) or values of shape (samples, outputs).
    :raises ValueError: if parameters or recipe do not suit model or engine.
    :raises CompileError: if something does not fit or cannot be proven safe; says what would help.
    """
    recipe.check_engine(engine)
    groups = recipe.groups(model.parameter_shapes())
    model.check_parameters(parameters)
    plans = plan_layers(model)
    formats = calibrate(
        model, recipe, plans, engine, parameters, calibration_inputs, calibration_targets, headroom or Headroom()
    )
    tensors, rates = _tensors(model, recipe, engine, plans, formats)
    activation_tables = _activation_tables(model, engine, formats)
    constants = tuple(sorted({1 << f.constant for f in formats.layers if f.constant is not None}))
    drains = [
        drain_cycles_per_row(engine, Activation.TABLE if layer.activation in TABLED else Activation.NONE)
        for layer in model.layers
    ]
    memory = allocate_activations(
        plans, {name: tensor.layout for name, tensor in tensors.items()}, engine, drains, len(constants),
        model.outputs if model.loss == "squared_error" else 0, groups, recipe.evaluations,
    )  # fmt: skip
    forward = tuple(_layer_code(engine, plan, memory, formats, tensors, activation_tables, constants) for plan in plans)
    emitter = Emitter(
        model=model, recipe=recipe, lanes=engine.lanes, scalar_entries=3 << engine.table_bits,
        activation_entries=len(activation_tables) << engine.table_bits, memory=memory, formats=formats,
        tensors=tuple(tensors.values()), groups=groups, forward=forward,
    )  # fmt: skip
    program = emitter.program()
    if program.size > engine.program_depth:
        raise shortage("program memory", program.size, engine.program_depth, "program_depth", "fewer layers")
    names = ("setup", "load_state", "store_state", "train", "evaluate", "contract")
    return Compiled(
        model=model, recipe=recipe, engine=engine, program=tuple(program.words()),
        entries={name: program.labels[name] for name in names}, plans=tuple(plans), memory=memory, formats=formats,
        tensors=tensors, rates=rates, activation_tables=activation_tables, constants=constants, forward=forward,
        probe_passes=tuple((*emitter.start(group), group.probes * recipe.evaluations) for group in groups),
    )  # fmt: skip


def _tensors(
    model: Model, recipe: Recipe, engine: EngineConfig, plans: list[LayerPlan], formats: Formats
) -> tuple[dict[str, Tensor], RateFormat]:
    found = layouts(plans, model.parameter_shapes())
    places = place_tensors(found, engine)
    master_fracs = {name: form.frac + 32 - form.width for name, form in formats.tensors.items()}
    try:
        rates = RateFormat.plan(recipe, master_fracs, formats.gradient_shifts, formats.loss_frac)
    except ValueError as error:
        raise CompileError(str(error)) from None
    tensors = {}
    for name, layout in found.items():
        amplitude = round(recipe.mu * 2.0 ** master_fracs[name])
        if amplitude < 1 << (32 - engine.width):
            # Smaller probes would mostly round away in the working weights.
            raise CompileError(f"{name}: mu = {recipe.mu:g} is less than one unit of its working weights; use more")
        base, block = places[name]
        tensors[name] = Tensor(
            layout=layout, format=formats.tensors[name], rows=engine.rows, base=base, block=block,
            amplitude=amplitude, gradient_shift=formats.gradient_shifts[name], rate_shift=rates.shifts[name],
        )  # fmt: skip
    return tensors, rates


def _table(model: Model, formats: Formats, position: int) -> Table | None:
    function, form = model.layers[position].activation, formats.layers[position]
    return Table(function, form.sums[-1].frac, form.target.frac) if function in TABLED else None


def _activation_tables(model: Model, engine: EngineConfig, formats: Formats) -> tuple[Table, ...]:
    wanted = [_table(model, formats, position) for position in range(len(model.layers))]
    found = tuple(dict.fromkeys(table for table in wanted if table is not None))
    if len(found) > engine.activation_tables:
        raise CompileError(
            f"activation tables: {len(found)} needed, {engine.activation_tables} available; use an engine with more "
            "activation_tables, or fewer layers of sine or tanh"
        )
    return found


def _layer_code(
    engine: EngineConfig, plan: LayerPlan, memory: ActivationMap, formats: Formats, tensors: dict[str, Tensor],
    activation_tables: tuple[Table, ...], constants: tuple[int, ...],
) -> tuple[tuple[Instruction, ...], ...]:  # fmt: skip
    buffers, form = memory.layers[plan.position], formats.layers[plan.position]
    function = plan.layer.activation

    def instruction(number: int, chunk: int) -> Instruction:
        last = number == len(plan.steps) - 1
        drain = Drain(form.shifts[number])
        if last and function in TABLED:
            table = Table(function, form.sums[-1].frac, form.target.frac)
            drain = Drain(form.shifts[number], Activation.TABLE, activation_tables.index(table))
        elif last and function == "relu":
            drain = Drain(form.shifts[number], Activation.RELU)
        bias = tensors[plan.bias] if last and plan.bias else None
        one = 0 if form.constant is None else memory.constants.base + constants.index(1 << form.constant)
        weights = tensors[plan.steps[number].tensor]
        return contract_step(engine, plan, number, chunk, buffers, weights, bias, one, drain)

    numbers = range(len(plan.steps))
    if buffers.kept:
        return tuple((instruction(number, 0),) for number in numbers)
    return (tuple(instruction(number, chunk) for chunk in range(buffers.chunks) for number in numbers),)

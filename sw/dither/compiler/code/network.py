"""A network as code and tensors: what all objectives share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...arch import tables
from ...arch.config import EngineConfig
from ...arch.fixedpoint import FixedPoint
from ...arch.isa import MASTER_BITS, REDUCTION_LOOPS, Activation, Instruction
from ...arch.isa.assembler import Assembler
from ...arch.timing import drain_cycles_per_row
from ...nn.models import RNN, Model
from ..errors import CompileError, ShortageError
from ..formats.forward import TABLED, Formats
from ..layout.memory import ActivationMap, Region
from ..layout.tensors import Layout, Tensor, place_tensors
from ..plan.planner import LayerPlan
from ..plan.setting import Setting
from ..rates import RateFormat, Stepping
from .contraction import bias_nest, chunk_strides, each_chunk, step_nests
from .nests import Drain
from .windows import recurrent_code

__all__ = ["NetworkCode", "Table", "activation_tables", "drains", "layer_code", "place"]


@dataclass(frozen=True, slots=True)
class Table:
    """An activation table: its function and the layers' formats that it serves."""

    function: str
    input_frac: int
    output_frac: int

    def content(self, engine: EngineConfig) -> NDArray[np.int64]:
        """Values and slopes of the table on an engine, shape (words, 2)."""
        build = {"sine": tables.sine_table, "tanh": tables.tanh_table}[self.function]
        source, target = FixedPoint(engine.width, self.input_frac), FixedPoint(engine.width, self.output_frac)
        return np.stack(build(source, target, engine.table_bits), axis=1)


def place(
    setting: Setting,
    found: Mapping[str, Layout],
    forms: Mapping[str, FixedPoint],
    steppings: Mapping[str, Stepping],
    shifts: Mapping[str, int],
) -> tuple[dict[str, Tensor], RateFormat, int]:
    """Tensors by name, how rates travel, and the first of the generator's blocks of indices behind
    all tensors'.

    :param found: all layouts, in order; the last ones may be those of tensors that no step changes.
    :param forms: formats of the working weights.
    :param steppings: how steps move the tensors that they change.
    :param shifts: UPDATE's first shift by tensor, 0 where none is given.
    :raises CompileError: if something does not fit.
    """
    recipe, engine = setting.recipe, setting.engine
    places, block = place_tensors(found, engine)
    master_fracs = {name: forms[name].frac + MASTER_BITS - forms[name].width for name in found if name in steppings}
    shifts = {name: shifts.get(name, 0) for name in found}
    # A binary point further left makes steps smaller.
    stepping = {name: frac - steppings[name].slower for name, frac in master_fracs.items()}
    try:
        units = {name: each.unit for name, each in steppings.items()}
        rates = RateFormat.plan(recipe, stepping, shifts, units)
    except ValueError as error:
        raise CompileError(str(error)) from None
    tensors = {}
    for name, layout in found.items():
        amplitude = 0
        if name in steppings and (deviation := steppings[name].deviation) is not None:
            amplitude = round(math.ldexp(recipe.mu / deviation, master_fracs[name]))
            if amplitude * deviation < 1 << (MASTER_BITS - engine.width):
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
        )
    return tensors, rates, block


@dataclass(frozen=True, slots=True)
class NetworkCode:
    """A network's forward pass as subroutines: one that begins at each step that it may start
    at.
    """

    engine: EngineConfig
    memory: ActivationMap
    code: tuple[tuple[tuple[Instruction, ...], ...], ...]
    """Per layer, per step that a forward pass may start at, the instructions up to the next such
    step."""

    @property
    def output(self) -> Region:
        """Where the network's outputs stand."""
        return self.memory.layers[-1].target

    def subroutines(self, asm: Assembler) -> None:
        """Emits what :meth:`forward` calls."""
        for layer, steps in enumerate(self.code):
            for number, instructions in enumerate(steps):
                asm.label(f"forward {layer}.{number}")
                for instruction in instructions:
                    asm.add(instruction)
        asm.label(f"forward {len(self.code)}.0")
        asm.emit("RETURN")

    def forward(self, asm: Assembler, start: tuple[int, int] = (0, 0)) -> None:
        """Emits a forward pass from a layer's step on."""
        layer, step = start
        asm.call(f"forward {layer}.{step}")

    def start(self, tensors: Sequence[Tensor]) -> tuple[int, int]:
        """The layer and step that a forward pass may start at if nothing but these tensors has
        changed since the last one.
        """
        layer, step = min((tensor.layout.layer, tensor.layout.first_step) for tensor in tensors)
        return layer, step if self.memory.layers[layer].kept else 0


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
        raise ShortageError(
            f"activation tables: {len(found)} needed, {engine.activation_tables} available; use an engine with more "
            "activation_tables, or fewer layers of sine or tanh",
            "activation tables",
            len(found),
            engine.activation_tables,
            "activation_tables",
        )
    return found


def layer_code(
    engine: EngineConfig,
    plan: LayerPlan,
    memory: ActivationMap,
    formats: Formats,
    tensors: Mapping[str, Tensor],
    tables: tuple[Table, ...],
    constants: tuple[int, ...],
) -> tuple[tuple[Instruction, ...], ...]:
    """A layer's contractions: for every step that a forward pass may start at, those up to the next
    such step.

    A recurrent layer has its loop over time around them.
    """
    buffers, form = memory.layers[plan.position], formats.layers[plan.position]
    function = plan.layer.activation

    def instructions(number: int) -> Sequence[Instruction]:
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
            words = bias_nest(plan, buffers, tensors[plan.bias], one).w
            bias = replace(words, strides=words.strides[len(REDUCTION_LOOPS) :])
        nests = step_nests(plan, number, buffers, tensors[plan.steps[number].tensor])
        if isinstance(plan.layer, RNN):
            return recurrent_code(plan.layer, engine, nests[0], drain, bias, one)
        return [nest.contract(engine, drain, bias, one) for nest in nests]

    numbers = range(len(plan.steps))
    if buffers.kept:
        return tuple(tuple(instructions(number)) for number in numbers)
    asm = Assembler()
    with each_chunk(asm, buffers.chunks, chunk_strides(plan, buffers.chunks, tensors)):
        for number in numbers:
            for instruction in instructions(number):
                asm.add(instruction)
    return (tuple(asm.instructions()),)

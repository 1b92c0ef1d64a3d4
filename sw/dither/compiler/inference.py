"""Programs that run a trained network forward, and do nothing else.

They give the outputs that a training program's ``evaluate`` gives, bit for bit: formats, layouts
and code of a forward pass are the same. They need less memory, no samples to be compiled from, and
fit engines that cannot train.

Entries and their input streams (→ output streams):

- ``setup``: activation tables if any, constants if any.
- ``load``: masters; then working weights are written.
- ``evaluate``: number of groups; per group its words (input, and one that is not used) → per group
  the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.fixedpoint import FixedPoint
from ..arch.isa import Memory
from ..arch.isa.assembler import Assembler
from ..arch.streams import Expect, Segment
from ..nn.models import Model
from .code.network import NetworkCode, activation_tables, drains, layer_code
from .code.perturbation import restore
from .code.registers import GROUPS
from .commands import Command
from .errors import CompileError, shortage
from .formats.forward import Formats, LayerFormats
from .layout.memory import allocate_activations
from .layout.states import Blocks
from .layout.tensors import Tensor, layouts, place_tensors
from .plan.planner import plan_layers
from .plan.samples import encoded, matrix

__all__ = ["Inference", "compile_inference", "formats_from_dict", "formats_to_dict"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A forward program for one engine, and what its host sends and receives."""

    engine: EngineConfig
    """Engine that the program is for."""
    program: tuple[int, ...]
    """32-bit words of the program, from word 0."""
    entries: Mapping[str, int]
    """Word addresses of ``setup``, ``load`` and ``evaluate``."""
    inputs: int
    """Number of inputs of a sample."""
    outputs: int
    """Number of outputs of a sample."""
    source: FixedPoint
    """Format of the inputs."""
    target: FixedPoint
    """Format of the outputs."""
    tables: Integers
    """Activation tables, shape (words, 2); no words if there are none."""
    constants: Integers
    """Constant words: the same number in all lanes, shape (words,)."""
    masters: Integers
    """Master parameters as words of the memory, shape (words, rows)."""

    def begin(self) -> list[Command]:
        """Returns what a device has to run once: tables, constants and parameters."""
        setup = []
        if len(self.tables):
            setup.append(Segment(Memory.ACTIVATION_TABLE, self.tables))
        if len(self.constants):
            words = np.repeat(self.constants[:, None], self.engine.lanes, axis=1)
            setup.append(Segment(Memory.ACTIVATION, words))
        load = (Segment(Memory.MASTER, self.masters),)
        return [Command(self.entries["setup"], tuple(setup)), Command(self.entries["load"], load)]

    def evaluate(self, inputs: ArrayLike) -> Command:
        """Returns what runs samples forward; :meth:`read` makes sense of the outputs.

        :param inputs: shape (samples, inputs), at least one.
        :raises ValueError: on another shape, or inputs far out of range.
        """
        rows = encoded(matrix(inputs, self.inputs), self.source, "inputs")
        lanes = self.engine.lanes
        padded = np.zeros((-(-len(rows) // lanes) * lanes, self.inputs + 1), np.int64)
        padded[: len(rows), :-1] = rows
        groups = padded.reshape(-1, lanes, self.inputs + 1).transpose(0, 2, 1)
        segments = [Segment(Memory.ACTIVATION, np.ascontiguousarray(group)) for group in groups]
        expects = (Expect(Memory.ACTIVATION, self.outputs),) * len(groups)
        return Command(self.entries["evaluate"], (Segment.scalars([len(groups)]), *segments), expects)

    def read(self, outputs: Sequence[Integers], samples: int) -> Integers:
        """Returns the network's outputs as the engine holds them, shape (samples, outputs)."""
        return np.stack(outputs).transpose(0, 2, 1).reshape(-1, self.outputs)[:samples]


def compile_inference(
    model: Model, formats: Formats, engine: EngineConfig, masters: Mapping[str, ArrayLike]
) -> Inference:
    """Compiles the forward pass of a network whose number formats are known.

    :param formats: those of a program that trained it; their width must be the engine's.
    :param masters: master parameters by name, as integers.
    :raises CompileError: if it does not fit the engine.
    :raises ValueError: if formats or masters do not go with the model.
    """
    if formats.width != engine.width:
        raise CompileError(
            f"the network's numbers have {formats.width} bits, the engine's {engine.width}; take an engine of "
            f"{formats.width} bits, or train the network for this one"
        )
    shapes = model.parameter_shapes()
    if set(formats.tensors) != set(shapes) or len(formats.layers) != len(model.layers):
        raise ValueError("the number formats are of another network")
    if wrong := [name for name, shape in shapes.items() if name not in masters or np.shape(masters[name]) != shape]:
        raise ValueError(f"the values of {wrong[0]} are missing or have another shape than the model's")
    plans = tuple(plan_layers(model))
    found = layouts(plans, shapes)
    places, _ = place_tensors(found, engine)
    tensors = {
        name: Tensor(
            layout=layout,
            format=formats.tensors[name],
            rows=engine.rows,
            base=places[name][0],
            block=places[name][1],
            amplitude=0,
            gradient_shift=0,
            rate_shift=0,
        )
        for name, layout in found.items()
    }
    blocks = Blocks.of(model.layers)
    ones = sorted({1 << form.constant for form in formats.layers if form.constant is not None})
    constants = (*ones, *((0,) * blocks.cleared if blocks else ()))
    memory = allocate_activations(plans, engine, drains(model, engine), len(constants), 0)
    used = activation_tables(model, engine, formats)
    code = NetworkCode(
        engine, memory, tuple(layer_code(engine, plan, memory, formats, tensors, used, constants) for plan in plans)
    )
    contents = [table.content(engine) for table in used]
    packed = [tensor.pack(np.asarray(masters[name], np.int64)) for name, tensor in tensors.items()]
    entries, program = _program(code, len(contents) << engine.table_bits, sum(map(len, packed)))
    if len(program) > engine.program_depth:
        raise shortage("program memory", len(program), engine.program_depth, "program_depth", "fewer layers")
    return Inference(
        engine=engine,
        program=program,
        entries=entries,
        inputs=model.inputs,
        outputs=model.outputs,
        source=formats.input,
        target=formats.output,
        tables=np.concatenate(contents) if contents else np.zeros((0, 2), np.int64),
        constants=np.array(constants, np.int64),
        masters=np.concatenate(packed),
    )


def _program(code: NetworkCode, table_words: int, words: int) -> tuple[dict[str, int], tuple[int, ...]]:
    asm, constants = Assembler(), code.memory.constants
    code.subroutines(asm)
    asm.label("setup")
    if table_words:
        asm.emit("LOAD", memory=Memory.ACTIVATION_TABLE, base=0, count=table_words)
    if constants.words:
        asm.emit("LOAD", memory=Memory.ACTIVATION, base=constants.base, count=constants.words)
    asm.emit("HALT")
    asm.label("load")
    asm.emit("LOAD", memory=Memory.MASTER, base=0, count=words)
    restore(asm, 0, words)
    asm.emit("HALT")
    asm.label("evaluate")
    asm.emit("PULL", target=GROUPS)
    with asm.loop(register=GROUPS):
        for region in code.memory.loads:
            asm.emit("LOAD", memory=Memory.ACTIVATION, base=region.base, count=region.words)
        code.forward(asm)
        asm.emit("STORE", memory=Memory.ACTIVATION, base=code.output.base, count=code.output.words)
    asm.emit("HALT")
    return {name: asm.labels[name] for name in ("setup", "load", "evaluate")}, tuple(asm.words())


def formats_to_dict(formats: Formats) -> dict[str, Any]:
    """Returns what a forward pass needs of number formats, ready for JSON."""
    return {
        "width": formats.width,
        "tensors": {name: form.frac for name, form in formats.tensors.items()},
        "layers": [
            {
                "source": layer.source.frac,
                "sums": [form.frac for form in layer.sums],
                "shifts": list(layer.shifts),
                "constant": layer.constant,
                "target": layer.target.frac,
            }
            for layer in formats.layers
        ],
    }


def formats_from_dict(values: Mapping[str, Any]) -> Formats:
    """Makes formats from what :func:`formats_to_dict` returned, with nothing but a forward pass in
    them.

    :raises ValueError: if something is missing or no format.
    """
    try:
        width = values["width"]
        layers = tuple(
            LayerFormats(
                source=FixedPoint(width, layer["source"]),
                sums=tuple(FixedPoint(width, frac) for frac in layer["sums"]),
                shifts=tuple(layer["shifts"]),
                constant=layer["constant"],
                target=FixedPoint(width, layer["target"]),
                peaks=(),
            )
            for layer in values["layers"]
        )
        return Formats(
            width, {name: FixedPoint(width, frac) for name, frac in values["tensors"].items()}, layers, 0, ()
        )
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"no number formats: {error!r}") from None

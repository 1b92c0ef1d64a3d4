"""What engines and their units have in common: an engine's ports, instruction layouts, memory
ports.
"""

from __future__ import annotations

from amaranth.hdl import Shape, Value, ValueLike, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, OPCODE_BITS, Field

__all__ = [
    "ADDRESS_BITS",
    "EnginePorts",
    "LaneWritePort",
    "ReadPort",
    "WritePort",
    "instruction_layout",
    "instruction_view",
]

ADDRESS_BITS = 16
"""Width of every memory address in instructions and on ports; memories use the low bits."""


def instruction_layout(name: str) -> data.StructLayout:
    """The layout of an instruction's bit string, opcode first, as the instruction table has it."""
    (form,) = (form for form in INSTRUCTIONS if form.name == name)
    members = {"opcode": unsigned(OPCODE_BITS)}
    members |= {field.name: _shape(field) for field in form.fields}
    return data.StructLayout(members)


def instruction_view(name: str, bits: ValueLike) -> data.View:
    """Bits that hold an instruction, and perhaps more, as that instruction."""
    layout = instruction_layout(name)
    return data.View(layout, Value.cast(bits)[: layout.size])


def _shape(field: Field) -> Shape:
    return signed(field.width) if field.signed else unsigned(field.width)


class ReadPort(wiring.Signature):
    """A memory's read port, from the reader's side: data belong to the address of as many cycles
    ago as the memory takes."""

    def __init__(self, width: int) -> None:
        super().__init__({"addr": Out(ADDRESS_BITS), "data": In(width)})


class WritePort(wiring.Signature):
    """A memory's write port, from the writer's side; perhaps with several enables, each for its
    part of the word.
    """

    def __init__(self, width: int, enables: int = 1) -> None:
        super().__init__({"enable": Out(enables), "addr": Out(ADDRESS_BITS), "data": Out(width)})


class LaneWritePort(wiring.Signature):
    """A write port of the activation memory, from the writer's side, that writes one number into
    chosen lanes.

    ``enable`` has a bit for each lane; ``data`` is the number of ``width`` bits.
    """

    def __init__(self, lanes: int, width: int) -> None:
        super().__init__({"enable": Out(lanes), "addr": Out(ADDRESS_BITS), "data": Out(width)})


class EnginePorts(wiring.Signature):
    """An engine's ports, from its own side.

    ``reset``: a pulse makes the engine forget what it was at, but not its memories. ``host_addr``,
    ``host_write``, ``host_wdata``, ``host_rdata``: the registers of :mod:`dither.arch.regmap`;
    reads take the family's ``host_read_cycles``. ``busy``, ``fault``: as in the register
    ``status``. ``input``, ``output``: streams of beats, what LOAD and PULL take, what STORE and
    EMIT send (:mod:`dither.arch.streams`).
    """

    def __init__(self, config: EngineConfig) -> None:
        beats = stream.Signature(config.beat_width)
        super().__init__(
            {
                "reset": In(1),
                "host_addr": In(ADDRESS_BITS),
                "host_write": In(1),
                "host_wdata": In(32),
                "host_rdata": Out(32),
                "busy": Out(1),
                "fault": Out(1),
                "input": In(beats),
                "output": Out(beats),
            }
        )

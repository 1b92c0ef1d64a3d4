"""What the units of the engine have in common: instruction layouts, memory ports, start and done."""

from __future__ import annotations

from amaranth.hdl import Shape, Value, ValueLike, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.isa import INSTRUCTIONS, OPCODE_BITS, Field

__all__ = ["ADDRESS_BITS", "LaneWritePort", "ReadPort", "WritePort", "instruction_layout", "instruction_view"]

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
    """A memory's read port, from the reader's side: data belongs to the address of two cycles ago."""

    def __init__(self, width: int) -> None:
        super().__init__({"addr": Out(ADDRESS_BITS), "data": In(width)})


class WritePort(wiring.Signature):
    """A memory's write port, from the writer's side; perhaps with several enables, each for its part of the word."""

    def __init__(self, width: int, enables: int = 1) -> None:
        super().__init__({"enable": Out(enables), "addr": Out(ADDRESS_BITS), "data": Out(width)})


class LaneWritePort(wiring.Signature):
    """A write port of the activation memory, from the writer's side, that writes one number into chosen lanes.

    ``enable`` has a bit for each lane; ``data`` is the number of ``width`` bits.
    """

    def __init__(self, lanes: int, width: int) -> None:
        super().__init__({"enable": Out(lanes), "addr": Out(ADDRESS_BITS), "data": Out(width)})

"""What the units of the engine have in common: instruction layouts, memory ports, start and done."""

from __future__ import annotations

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.isa import INSTRUCTIONS, OPCODE_BITS, Field

__all__ = ["ADDRESS_BITS", "ReadPort", "WritePort", "instruction_layout"]

ADDRESS_BITS = 16
"""Width of every memory address in instructions and on ports; memories use the low bits."""


def instruction_layout(name: str) -> data.StructLayout:
    """The layout of an instruction's bit string, opcode first, as the instruction table has it."""
    (form,) = (form for form in INSTRUCTIONS if form.name == name)
    members = {"opcode": unsigned(OPCODE_BITS)}
    members |= {field.name: _shape(field) for field in form.fields}
    return data.StructLayout(members)


def _shape(field: Field) -> Shape:
    return signed(field.width) if field.signed else unsigned(field.width)


class ReadPort(wiring.Signature):
    """A memory's read port, from the reader's side: data belongs to the address of two cycles ago."""

    def __init__(self, width: int) -> None:
        super().__init__({"addr": Out(ADDRESS_BITS), "data": In(width)})


class WritePort(wiring.Signature):
    """A memory's write port, from the writer's side."""

    def __init__(self, width: int) -> None:
        super().__init__({"enable": Out(1), "addr": Out(ADDRESS_BITS), "data": Out(width)})

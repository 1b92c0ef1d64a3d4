"""What engines and their units have in common: instruction layouts, memory ports, engine ports."""

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
    """Returns the layout of an instruction's bits, opcode first, as in the table of instructions.

    :param name: the instruction's name, such as ``CONTRACT``.
    """
    (form,) = (form for form in INSTRUCTIONS if form.name == name)
    members = {"opcode": unsigned(OPCODE_BITS)}
    members |= {field.name: _shape(field) for field in form.fields}
    return data.StructLayout(members)


def instruction_view(name: str, bits: ValueLike) -> data.View:
    """Returns a view of the lowest bits of a value as the instruction of that name.

    :param name: the instruction's name, such as ``CONTRACT``.
    :param bits: the instruction, and perhaps more bits above it.
    """
    layout = instruction_layout(name)
    return data.View(layout, Value.cast(bits)[: layout.size])


def _shape(field: Field) -> Shape:
    return signed(field.width) if field.signed else unsigned(field.width)


class ReadPort(wiring.Signature):
    """A memory's read port, from the reader's side.

    ``data`` belongs to the ``addr`` of as many cycles ago as the memory's latency says, such as
    :data:`dither.arch.timing.MEMORY_LATENCY`.

    :param width: bits of ``data``.
    """

    def __init__(self, width: int) -> None:
        super().__init__({"addr": Out(ADDRESS_BITS), "data": In(width)})


class WritePort(wiring.Signature):
    """A memory's write port, from the writer's side.

    :param width: bits of ``data``.
    :param enables: bits of ``enable``, each of which writes its own share of the word.
    """

    def __init__(self, width: int, enables: int = 1) -> None:
        super().__init__({"enable": Out(enables), "addr": Out(ADDRESS_BITS), "data": Out(width)})


class LaneWritePort(wiring.Signature):
    """A write port of the activation memory that writes one number into chosen lanes of a word.

    It is seen from the writer's side. ``enable`` has a bit for each lane; ``data`` is the number of
    ``width`` bits.
    """

    def __init__(self, lanes: int, width: int) -> None:
        super().__init__({"enable": Out(lanes), "addr": Out(ADDRESS_BITS), "data": Out(width)})


class EnginePorts(wiring.Signature):
    """The ports of every engine, seen from the engine.

    ``reset``: a pulse makes the engine forget what it was doing, but not the contents of its
    memories. ``host_addr``, ``host_write``, ``host_wdata``, ``host_rdata``: reads and writes of the
    registers of :mod:`dither.arch.regmap`; a read takes as many cycles as ``host_read_cycles`` of
    the engine's family says. ``busy``, ``fault``: the same as in the register ``status``.
    ``input``, ``output``: streams of beats; LOAD and PULL take from the first, STORE and EMIT send
    to the second (:mod:`dither.arch.streams`).

    :param config: the engine; gives the width of a beat.
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

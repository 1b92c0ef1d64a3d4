"""A memory for numbers that nobody needs whole: positions, counts and headers of requests."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dither.link.protocol import POSITION_BITS, REQUEST

from .memories import BitMemory
from .serial import SLOT, Number

__all__ = ["COLUMN", "FIELD_BITS", "Column", "ColumnMemory", "RequestField"]

_NAMES = ("session", "next", "kept", "acknowledged", "left", "reason")
_SIDES = 2
FIELD_BITS = 2
"""Width in bits of the number of a header's field."""


class RequestField:
    """Numbers of the 16-bit fields of a request's header."""

    TYPE, SESSION, NUMBER, ARGUMENT = (REQUEST.offset(name) // 2 for name in ("type", "session", "number", "argument"))


COLUMN = wiring.Signature({"out": Out(1), "enter": In(1)})
"""The port of one number in the memory, from the memory's side.

``out`` is the number's bit of this cycle, ``enter`` the bit that replaces it.
"""


class Column(Number):
    """A number in a :class:`ColumnMemory`, for whoever works with that number.

    :param port: a :data:`COLUMN` from the user's side.
    """

    def __init__(self, m: Module, slot: data.View, port: wiring.PureInterface, name: str) -> None:
        super().__init__(m, slot, name, port.out)
        m.d.comb += port.enter.eq(self.enter)


class ColumnMemory(wiring.Component):
    """Keeps numbers as the columns of a memory that has a word for each bit of a slot.

    The headers of two requests are among them: of the one that comes in, and of the one that is to
    be answered.

    Resources: one block RAM of an iCE40, used for its width alone; one register, about 35 LUTs.

    Attributes
    ----------
    slot : In(SLOT)
        The current cycle's place in its slot.
    session, next, kept, acknowledged, left, reason : Out(COLUMN)
        Numbers of the link, each for the one component that works with it.
    write, write_field, write_bit : In(1), In(2), In(1)
        With ``write``, writes this cycle's bit of a field of the request that comes in.
    field, bit : In(2), Out(1)
        Reads a field of the request that comes in, bit by bit.
    asked_field, asked_bit : In(2), Out(1)
        Reads a field of the request that is to be answered, bit by bit.
    remember : In(1)
        A pulse that makes the request that came in the one to be answered: the two headers change
        places.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "slot": In(SLOT),
                **{name: Out(COLUMN) for name in _NAMES},
                "write": In(1),
                "write_field": In(FIELD_BITS),
                "write_bit": In(1),
                "field": In(FIELD_BITS),
                "bit": Out(1),
                "asked_field": In(FIELD_BITS),
                "asked_bit": Out(1),
                "remember": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot = self.slot
        fields = 1 << FIELD_BITS
        width = len(_NAMES) + _SIDES * fields
        m.submodules.memory = memory = BitMemory(POSITION_BITS, width)
        side = Signal()
        with m.If(self.remember):
            m.d.sync += side.eq(~side)
        columns = [getattr(self, name) for name in _NAMES]
        m.d.comb += [
            memory.write_addr.eq(slot.bit),
            memory.write_data.eq(Cat(*(column.enter for column in columns), self.write_bit.replicate(_SIDES * fields))),
            memory.read_addr.eq(slot.ahead),
        ]
        for number, column in enumerate(columns):
            m.d.comb += [column.out.eq(memory.read_data[number]), memory.write_enables[number].eq(~slot.gap)]
        headers = [memory.read_data[len(_NAMES) + i * fields :][:fields] for i in range(_SIDES)]
        for i in range(_SIDES):
            for field in range(fields):
                chosen = self.write & (side == i) & (self.write_field == field)
                m.d.comb += memory.write_enables[len(_NAMES) + i * fields + field].eq(chosen)
        m.d.comb += [
            self.bit.eq(Array(Mux(side, headers[1], headers[0]))[self.field]),
            self.asked_bit.eq(Array(Mux(side, headers[0], headers[1]))[self.asked_field]),
        ]
        return m

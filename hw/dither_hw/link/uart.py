"""Bytes on a serial line: 8 data bits, no parity, one stop bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["MIN_BIT_CYCLES", "UartReceiver", "UartTransmitter", "baud_generator"]

MIN_BIT_CYCLES = 8
"""Least number of cycles of a bit.

With that, the receiver samples within a sixteenth of a bit from the bit's middle.
"""
_TOLERANCE = 0.002
_MAX_PHASE_BITS = 24


def baud_generator(clock_hz: int, baud: int) -> tuple[int, int]:
    """Returns the shortest phase accumulator that makes a baud rate within 0.2 %.

    :returns: the accumulator's bits, and what is added to it in every cycle.
    :raises ValueError: if a bit would have fewer than :data:`MIN_BIT_CYCLES` cycles, or the rate is
        not positive or too low.
    """
    if baud <= 0 or clock_hz < MIN_BIT_CYCLES * baud:
        most = clock_hz // MIN_BIT_CYCLES
        raise ValueError(f"baud must be from 1 to {most} with a clock of {clock_hz} Hz, not {baud}")
    for bits in range(3, _MAX_PHASE_BITS + 1):
        step = round(baud * (1 << bits) / clock_hz)
        if abs(step * clock_hz / (baud * (1 << bits)) - 1) <= _TOLERANCE:
            return bits, step
    raise ValueError(f"baud must be at least {clock_hz >> _MAX_PHASE_BITS} with a clock of {clock_hz} Hz, not {baud}")


class UartReceiver(wiring.Component):
    """Receives bytes from a serial line, sampling each bit in its middle.

    ``valid`` is high for one cycle, half a stop bit before the byte ends. A start bit that is gone
    in its middle is taken for noise. A byte without its stop bit comes with ``error``; the next
    byte begins with a falling edge.

    Resources: 17 registers and the phase accumulator; about 25 LUTs.

    Attributes
    ----------
    rx : In(1)
        The line, asynchronous.
    data, valid, error : Out(8), Out(1), Out(1)
        A byte, in the cycle with ``valid``; with ``error``, its stop bit was missing.

    :param clock_hz: clock rate of the domain ``sync``.
    :param baud: bits a second.
    """

    def __init__(self, *, clock_hz: int, baud: int) -> None:
        self._bits, self._step = baud_generator(clock_hz, baud)
        super().__init__(
            {
                "rx": In(1),
                "data": Out(8),
                "valid": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        meta = Signal(init=1)
        line = Signal(init=1)
        before = Signal(init=1)
        m.d.sync += [meta.eq(self.rx), line.eq(meta), before.eq(line)]
        phase = Signal(self._bits)
        advanced = phase + self._step
        sample = advanced[self._bits]
        # The start bit is shifted in before the data; when it comes out, the byte is complete.
        shift = Signal(9)
        m.d.comb += self.data.eq(shift[1:])
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += phase.eq(1 << self._bits - 1)
                with m.If(before & ~line):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += phase.eq(advanced)
                with m.If(sample):
                    m.d.sync += shift.eq(0xFF)
                    m.next = "DATA"
                    with m.If(line):
                        m.next = "IDLE"
            with m.State("DATA"):
                m.d.sync += phase.eq(advanced)
                with m.If(sample):
                    m.d.sync += shift.eq(Cat(shift[1:], line))
                    with m.If(~shift[0]):
                        m.d.comb += [self.valid.eq(1), self.error.eq(~line)]
                        m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Sends bytes on a serial line, which is high between them and from the first cycle on.

    A byte is taken when its start bit begins.

    Resources: 10 registers and the phase accumulator; about 20 LUTs.

    Attributes
    ----------
    input : In(stream)
        The bytes.
    tx : Out(1)
        The line.

    :param clock_hz: clock rate of the domain ``sync``.
    :param baud: bits a second.
    """

    def __init__(self, *, clock_hz: int, baud: int) -> None:
        self._bits, self._step = baud_generator(clock_hz, baud)
        super().__init__(
            {
                "input": In(stream.Signature(8)),
                "tx": Out(1, init=1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        phase = Signal(self._bits)
        advanced: Value = phase + self._step
        m.d.sync += phase.eq(advanced)
        tick = advanced[self._bits]
        # A one behind the data is the stop bit, and the mark that nothing is left when it is gone.
        shift = Signal(9)
        empty = shift == 0
        m.d.comb += self.input.ready.eq(tick & empty)
        with m.If(tick):
            m.d.sync += [self.tx.eq(shift[0] | empty), shift.eq(shift[1:])]
            with m.If(empty & self.input.valid):
                m.d.sync += [self.tx.eq(0), shift.eq(Cat(self.input.payload, 1))]
        return m

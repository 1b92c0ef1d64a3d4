"""Registers on the way between the link and an engine."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig

from ..base.interfaces import EnginePorts

__all__ = ["Bridge"]

_NEAR_BITS = 24
"""Number of a beat's bits that share the register that tells them to change."""
_RESET_CYCLES = 3
"""Cycles until a reset has passed its registers here, in the engine and in the link."""


class Bridge(wiring.Component):
    """Puts registers between the link and an engine, so that no path leads through both.

    A stream has a register for one beat. It is ready while that is empty, so it takes a beat in
    every other cycle at most; a serial line is far slower than that.

    Resources: registers for two beats and for the host port.

    Attributes
    ----------
    engine : In(EnginePorts)
        The ports of the engine, to be connected to it.
    link : Out(EnginePorts)
        The same ports for the link, with two differences: ``busy`` stays high as long as a beat
        from the engine waits here, and reads take :attr:`READ_CYCLES` more cycles.
    holds : Out(1)
        A beat for the engine waits here.
    """

    READ_CYCLES = 2
    """Additional cycles of a read: one on the way there, one on the way back."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"engine": In(EnginePorts(config)), "link": Out(EnginePorts(config)), "holds": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine, link = self.engine, self.link
        # No beat is taken from an engine whose reset is still on its way.
        late = Signal(_RESET_CYCLES)
        m.d.sync += [engine.reset.eq(link.reset), late.eq(Cat(link.reset, late))]
        self._reset = link.reset | late.any()
        for name in ("host_addr", "host_write", "host_wdata"):
            m.d.sync += getattr(engine, name).eq(getattr(link, name))
        busy = Signal()
        m.d.sync += [link.host_rdata.eq(engine.host_rdata), busy.eq(engine.busy), link.fault.eq(engine.fault)]
        self._stream(m, link.input, engine.input)
        self._stream(m, engine.output, link.output)
        m.d.comb += [self.holds.eq(engine.input.valid), link.busy.eq(busy | link.output.valid)]
        return m

    def _stream(self, m: Module, source: Any, target: Any) -> None:
        """Passes beats from ``source`` to ``target`` through a register for one beat."""
        valid, free = Signal(), Signal()
        m.d.comb += [
            source.ready.eq(free),
            valid.eq(Mux(free, source.valid, target.valid & ~target.ready) & ~self._reset),
        ]
        m.d.sync += [target.valid.eq(valid), free.eq(~valid)]
        for start in range(0, len(target.payload), _NEAR_BITS):
            near = Signal(name=f"free{start}_copy")
            m.d.sync += near.eq(~valid)
            with m.If(near):
                m.d.sync += target.payload[start : start + _NEAR_BITS].eq(source.payload[start : start + _NEAR_BITS])

"""The link with registers behind its host port, so that benches rest in most cycles."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["WithRegisters", "register"]

_SEED = 0x9E3779B1


def register(address: int) -> int:
    """What register ``address`` holds."""
    return (address | (address ^ 0xFFFF) << 16) ^ _SEED


class WithRegisters(wiring.Component):
    """A link whose registers read as :func:`register` says.

    :param link: a :class:`dither_hw.link.link.Link`; its ports are this component's, but for
        ``host_rdata``.

    Attributes
    ----------
    willing : In(1)
        The bench would take beats.
    attention : Out(1)
        Something happens at the engine's ports in this cycle.
    """

    def __init__(self, link: Any) -> None:
        self.link = link
        members = {name: member for name, member in link.signature.members.items() if name != "host_rdata"}
        super().__init__({**members, "willing": In(1), "attention": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.link = link = self.link
        m.d.sync += link.host_rdata.eq(Cat(link.host_addr, ~link.host_addr) ^ _SEED)
        for name in ("rx", "busy", "fault", "cold", "holds"):
            m.d.comb += getattr(link, name).eq(getattr(self, name))
        for name in ("tx", "host_addr", "host_write", "host_wdata", "reset", "session", "error"):
            m.d.comb += getattr(self, name).eq(getattr(link, name))
        wiring.connect(m, link.input, wiring.flipped(self.input))
        wiring.connect(m, wiring.flipped(self.output), link.output)
        beats = (self.input.valid & self.willing) | (self.output.valid & self.output.ready)
        m.d.comb += self.attention.eq(beats | self.host_write | self.reset)
        return m

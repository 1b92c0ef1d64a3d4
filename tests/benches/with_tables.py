"""A unit together with the scalar tables that it asks, as one component for a bench."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring

from dither.arch.config import EngineConfig
from dither_hw.tables.scalar_tables import ScalarTables

__all__ = ["WithTables"]


class WithTables(wiring.Component):
    """The ports of ``unit``, but for ``scalar``, and ``load`` of
    :class:`~dither_hw.tables.scalar_tables.ScalarTables`.

    :param unit: has a member ``scalar``.
    :param config: the unit's.
    :param port: name of the tables' member for this unit.
    """

    def __init__(self, unit: Any, config: EngineConfig, port: str) -> None:
        self._unit, self._tables, self._port = unit, ScalarTables(config), port
        members = dict(unit.signature.members)
        del members["scalar"]
        super().__init__(members | {"load": self._tables.signature.members["load"]})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit, m.submodules.tables = self._unit, self._tables
        wiring.connect(m, self._unit.scalar, getattr(self._tables, self._port))
        wiring.connect(m, wiring.flipped(self.load), self._tables.load)
        for name, member in self._unit.signature.members.items():
            if name == "scalar":
                continue
            inner, outer = getattr(self._unit, name), getattr(self, name)
            if member.is_signature:
                wiring.connect(m, inner, wiring.flipped(outer))
            elif member.flow is wiring.In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        return m

"""The scalar tables exp, log and rsqrt, which the units of LOSS and UPDATE share."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.config import EngineConfig
from dither.arch.streams import SCALAR_TABLE_BITS
from dither.arch.tables import SCALAR_INPUT_BITS, SCALAR_VALUE_BITS, ScalarTable

from .interpolator import Interpolator, TablePort

__all__ = ["ScalarPort", "ScalarTables"]


class ScalarPort(wiring.Signature):
    """A port for lookups in the scalar tables, from the side of the unit that asks.

    With ``enable`` high, ``table`` and ``x`` (16 bits, unsigned) give ``y`` (18 bits, unsigned)
    after :data:`dither.arch.timing.INTERPOLATOR_LATENCY` cycles; one lookup a cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "table": Out(ceil_log2(len(ScalarTable))),
                "x": Out(SCALAR_INPUT_BITS),
                "y": In(SCALAR_VALUE_BITS),
            }
        )


class ScalarTables(wiring.Component):
    """Holds the scalar tables in one memory and looks values up with one interpolator.

    The tables are those of ``docs/arithmetic.md``, section *Tables*. Latency:
    :data:`dither.arch.timing.INTERPOLATOR_LATENCY` cycles; throughput: one lookup a cycle. The two
    units that ask are never at work at the same time; so a multiplexer is enough instead of an
    arbiter, and both units see every result.

    Resources (ECP5, 512 segments): three 18 Kbit block RAMs, one multiplier, about 170 LUT4, 260
    flip-flops.

    Attributes
    ----------
    load : In(TablePort)
        Writes entries; an entry's address is ``table * 2**table_bits + index``.
    loss, update : In(ScalarPort)
        The units' lookups; ``loss`` wins where both are enabled.

    :param config: gives ``table_bits``.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "load": In(TablePort(value_width=SCALAR_VALUE_BITS, slope_width=SCALAR_TABLE_BITS)),
                "loss": In(ScalarPort()),
                "update": In(ScalarPort()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.interpolator = interpolator = Interpolator(
            index_bits=self.config.table_bits,
            fraction_bits=SCALAR_INPUT_BITS - self.config.table_bits,
            value=unsigned(SCALAR_VALUE_BITS),
            slope_width=SCALAR_TABLE_BITS,
            tables=len(ScalarTable),
        )
        wiring.connect(m, wiring.flipped(self.load), interpolator.load)
        m.d.comb += [
            interpolator.table.eq(Mux(self.loss.enable, self.loss.table, self.update.table)),
            interpolator.x.eq(Mux(self.loss.enable, self.loss.x, self.update.x)),
            self.loss.y.eq(interpolator.y),
            self.update.y.eq(interpolator.y),
        ]
        return m

"""The interpolator: a table of values and slopes, and the formula between its entries."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Shape, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.timing import BLOCK_RAM_LATENCY, INTERPOLATOR_LATENCY, MULTIPLIER_LATENCY

from ..base.interfaces import ADDRESS_BITS
from ..base.multiplier import MAX_OPERAND_WIDTH, Multiplier
from ..memory.memories import BankedMemory

__all__ = ["Interpolator", "TablePort"]

assert INTERPOLATOR_LATENCY == BLOCK_RAM_LATENCY + MULTIPLIER_LATENCY + 2, "table, product, sum, clip"


class TablePort(wiring.Signature):
    """A write port of a table memory, from the writer's side; an entry is a value and a slope.

    ``addr`` is ``table * 2**index_bits + index``; ``value`` and ``slope`` are bit strings.
    """

    def __init__(self, *, value_width: int, slope_width: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "addr": Out(ADDRESS_BITS),
                "value": Out(value_width),
                "slope": Out(slope_width),
            }
        )


class Interpolator(wiring.Component):
    """Computes a piecewise-linear function, given by a table of values and slopes.

    ``y = clip(value[i] + ((slope[i] * f + 2**(F-1)) >> F))``, where i are the upper bits of ``x``
    and f is its lower F bits. ``x`` is unsigned; for a signed argument, the caller inverts the
    uppermost bit. The result is clipped to the range of a value.

    Latency: :data:`dither.arch.timing.INTERPOLATOR_LATENCY` cycles from ``table`` and ``x`` to
    ``y`` and ``clipped``. Throughput: one result a cycle. Resources: one multiplier, and block RAM
    of ``tables * 2**index_bits`` words as wide as a value and a slope.

    Attributes
    ----------
    load : In(TablePort)
        Writes table entries.
    table : In
        Number of the table, a register of the caller's. Only with more than one table.
    x : In(index_bits + fraction_bits)
        The argument, a register of the caller's.
    y, clipped : Out
        Registers: the result, and whether it was clipped.

    :param index_bits: log2 of the number of a table's segments.
    :param fraction_bits: F, at least 1.
    :param value: shape of values and results; whether it is signed decides the range.
    :param slope_width: bits of a slope, signed.
    :param tables: number of tables in the memory, at least 1; it need not be a power of two.
    :raises ValueError: on sizes out of range.
    """

    def __init__(self, *, index_bits: int, fraction_bits: int, value: Shape, slope_width: int, tables: int = 1) -> None:
        for name, number in (("index_bits", index_bits), ("fraction_bits", fraction_bits), ("tables", tables)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
        for name, width in (("slope_width", slope_width), ("fraction_bits", fraction_bits + 1)):
            if width > MAX_OPERAND_WIDTH:
                raise ValueError(f"{name} makes an operand of {width} bits, wider than {MAX_OPERAND_WIDTH}")
        if tables << index_bits > 1 << ADDRESS_BITS:
            raise ValueError(f"{tables} tables of 2**{index_bits} segments exceed {ADDRESS_BITS} address bits")
        self.index_bits = index_bits
        self.fraction_bits = fraction_bits
        self.value = value
        self.slope_width = slope_width
        self.tables = tables
        ports = {
            "load": In(TablePort(value_width=value.width, slope_width=slope_width)),
            "x": In(index_bits + fraction_bits),
            "y": Out(value),
            "clipped": Out(1),
        }
        if tables > 1:
            ports["table"] = In(ceil_log2(tables))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        F, width = self.fraction_bits, self.value.width

        entry = data.StructLayout({"value": self.value, "slope": signed(self.slope_width)})
        m.submodules.memory = memory = BankedMemory(
            depth=self.tables << self.index_bits, banks=1, bits=entry.size, near=True
        )
        m.d.comb += [
            memory.write.enable.eq(self.load.enable),
            memory.write.addr.eq(self.load.addr),
            memory.write.data.eq(Cat(self.load.value, self.load.slope)),
            memory.read.addr.eq(Cat(self.x[F:], self.table) if self.tables > 1 else self.x[F:]),
        ]
        fetched = data.View(entry, memory.read.data)
        fractions = [Signal(F, name=f"fraction{i}", reset_less=True) for i in range(BLOCK_RAM_LATENCY)]
        m.d.sync += [register.eq(source) for register, source in zip(fractions, [self.x[:F], *fractions], strict=False)]

        m.submodules.multiplier = multiplier = Multiplier(a=signed(self.slope_width), b=unsigned(F))
        m.d.comb += [
            multiplier.a.eq(fetched.slope),
            multiplier.b.eq(fractions[-1]),
        ]
        values = [Signal(self.value, name=f"value{i}", reset_less=True) for i in range(MULTIPLIER_LATENCY)]
        m.d.sync += [register.eq(source) for register, source in zip(values, [fetched.value, *values], strict=False)]

        # value + ((product + half) >> F) is ((value << F) + half + product) >> F: the first two
        # terms do not overlap, so one adder does it all.
        half = Const(1 << (F - 1), F)
        start = Cat(half, values[-1])
        if self.value.signed:
            start = start.as_signed()
        total = Signal(signed(max(width + F, self.slope_width + F) + 2), reset_less=True)
        m.d.sync += total.eq(start + multiplier.product)

        result = total[F:].as_signed()
        lowest, highest = self.value_range
        sign, high = result[-1], result[width - self.value.signed : -1]
        over = Signal()
        under = Signal()
        if self.value.signed:
            m.d.comb += [over.eq(~sign & high.any()), under.eq(sign & ~high.all())]
        else:
            m.d.comb += [over.eq(~sign & high.any()), under.eq(sign)]
        y, clipped = Signal(self.value, reset_less=True), Signal(reset_less=True)
        m.d.comb += [self.y.eq(y), self.clipped.eq(clipped)]
        m.d.sync += clipped.eq(over | under)
        with m.If(over):
            m.d.sync += y.eq(highest)
        with m.Elif(under):
            m.d.sync += y.eq(lowest)
        with m.Else():
            m.d.sync += y.eq(result[:width])
        return m

    @property
    def value_range(self) -> tuple[int, int]:
        """The lowest and the highest result that is not clipped."""
        if self.value.signed:
            return -(1 << (self.value.width - 1)), (1 << (self.value.width - 1)) - 1
        return 0, (1 << self.value.width) - 1

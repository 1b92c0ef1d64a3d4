"""The interpolator equals its formula, and its table holds what was written."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import data

from dither.arch.timing import BLOCK_RAM_LATENCY, INTERPOLATOR_LATENCY, MULTIPLIER_LATENCY
from dither_hw.tables.interpolator import Interpolator
from tests.benches.mutation import Change

from .harness import Bench, Proof


def specify(value: Shape, slope: int, fraction: int) -> Callable[[Bench], None]:
    def body(bench: Bench) -> None:
        m, dut = bench.m, bench.dut
        depth = dut.tables << dut.index_bits
        width = (depth - 1).bit_length()
        # One entry of the table, whichever: what was written there last, a cycle late.
        address = bench.constant(width, "address")
        bench.assume(address < depth)
        bench.assume(~dut.load.enable | (dut.load.addr < depth))
        written = bench.past(dut.load.enable & (dut.load.addr == address), name="written")
        entry = Signal(data.StructLayout({"value": value, "slope": signed(slope)}))
        bits = bench.past(Cat(dut.load.value, dut.load.slope), name="entry")
        with m.If(written):
            m.d.sync += entry.eq(bits)

        at = Cat(dut.x[fraction:], dut.table) if dut.tables > 1 else dut.x[fraction:]
        hit = Signal()
        m.d.comb += hit.eq((at == address) & ~written)
        # What the multiplier gets, and what becomes of its product; that it multiplies is one more
        # check, so that no solver has to compare two ways of multiplying.
        asked = Signal(data.StructLayout({"hit": 1, "fraction": fraction, "entry": entry.shape()}))
        m.d.comb += [asked.hit.eq(hit), asked.fraction.eq(dut.x[:fraction]), asked.entry.eq(entry)]
        factors = bench.past(asked, BLOCK_RAM_LATENCY, name="factors")
        a, b, product = (bench.register(f"multiplier.{name}") for name in ("a", "b", "product"))
        read = {name: bench.register(name) for name in ("a", "b")}
        with m.If(factors.hit):
            bench.check(read["a"] == factors.entry.slope, "the slope is multiplied")
            bench.check(read["b"] == factors.fraction, "by the fraction")
        bench.check(product == bench.past(a * b, name="multiplied"), "the product")
        summed = bench.past(factors, MULTIPLIER_LATENCY, name="summed")
        exact, result = Signal(signed(40)), Signal(data.StructLayout({"hit": 1, "clipped": 1, "y": value}))
        lowest, highest = dut.value_range
        m.d.comb += [
            exact.eq(summed.entry.value + ((product + (1 << (fraction - 1))) >> fraction)),
            result.hit.eq(summed.hit),
            result.clipped.eq((exact > highest) | (exact < lowest)),
            result.y.eq(Mux(exact > highest, highest, Mux(exact < lowest, lowest, exact))),
        ]
        known = bench.past(result, 2, name="known")
        with m.If(known.hit):
            bench.check(dut.y == known.y, "value")
            bench.check(dut.clipped == known.clipped, "clipped")

        writes = [
            bench.register(f"memory.{name}") for name in ("write_enable0_copy", "write_addr0_copy", "write_data0")
        ]
        bench.invariant((writes[0] & (writes[1] == address)) == written, "write")
        bench.invariant(~writes[0] | (writes[1] < depth), "address")
        bench.invariant(~written | (writes[2] == bits), "data")
        bench.invariant(bench.cell("memory.bank0", address) == entry.as_value(), "entry")

    return body


def _proof(
    name: str, size: str, value: Shape, slope: int, index: int, fraction: int, tables: int, fault: Change
) -> Proof:
    return Proof(
        name,
        "Six cycles behind an argument comes the value of the entry that was written last, plus its slope times the "
        "fraction, rounded half-up and clipped.",
        size,
        lambda: Interpolator(index_bits=index, fraction_bits=fraction, value=value, slope_width=slope, tables=tables),
        specify(value, slope, fraction),
        faults=(fault,),
        depth=INTERPOLATOR_LATENCY + 2,
        fault_depth=INTERPOLATOR_LATENCY + 6,
    )


PROOFS = (
    _proof(
        "interpolator of activations",
        "two tables of 64 segments, arguments and values of 16 bits",
        signed(16),
        16,
        6,
        10,
        2,
        Change("it rounds down", "total", lambda old, c, m: old - 1),
    ),
    _proof(
        "interpolator of scalars",
        "three tables of 64 segments, arguments of 16 and values of 18 bits",
        unsigned(18),
        18,
        6,
        10,
        3,
        Change("negative values are not clipped", "under", lambda old, c, m: old & 0),
    ),
)

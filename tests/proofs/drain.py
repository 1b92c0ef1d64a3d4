"""The drain orders each row of a tile once, and writes it to the address of the formula."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal, Value

from dither.arch.config import EngineConfig
from dither.arch.isa import LOOPS, OUTER_LOOPS, Activation
from dither.arch.timing import INTERPOLATOR_LATENCY, REQUANTISER_LATENCY
from dither_hw.contract.drain import Drain
from dither_hw.contract.loops import TileMove
from tests.benches.mutation import Change
from tests.cocotb.faults import never, only

from .harness import Bench, Proof

CONFIG = EngineConfig(rows=2, lanes=2, width=16, table_bits=6, lanes_per_table=2)
_SHORT = REQUANTISER_LATENCY + 3
"""Cycles from the choice of a row to its write, without a table."""
_LONG = _SHORT + INTERPOLATOR_LATENCY + CONFIG.lanes_per_table


def specify(bench: Bench) -> None:
    """The specification makes a row's address when it is chosen, and waits until it is written."""
    m, dut = bench.m, bench.dut
    fields, start, term = dut.fields, dut.start, dut.term
    table = fields.activation == Activation.TABLE
    left, wait = Signal(range(CONFIG.rows + 1)), Signal(range(CONFIG.lanes_per_table))
    tile, row, first, final, move = Signal(16), Signal(16), Signal(), Signal(), Signal(TileMove)
    begins, step, address = Signal(16), Signal(16), Signal(16)
    m.d.comb += begins.eq(fields.y_base + dut.index)
    for loop in OUTER_LOOPS:
        with m.If(Value.cast(move) == 1 + LOOPS.index(loop)):
            m.d.comb += step.eq(fields[f"y_{loop}"])
    m.d.comb += address.eq(Mux(first, tile + step, row + fields.y_row))
    goes = (left != 0) & (wait == 0)
    with m.If(goes):
        m.d.sync += [row.eq(address), first.eq(0), left.eq(left - 1)]
        m.d.sync += wait.eq(Mux(table, CONFIG.lanes_per_table - 1, 0))
        with m.If(first):
            m.d.sync += tile.eq(address)
    with m.Elif(left != 0):
        m.d.sync += wait.eq(wait - 1)
    with m.If(term.last):
        m.d.sync += [left.eq(Mux(term.partial, fields.last_rows, CONFIG.rows)), wait.eq(0), first.eq(1)]
        m.d.sync += [move.eq(term.move), final.eq(term.final)]
    with m.If(start):
        m.d.sync += tile.eq(begins)

    # An instruction stands from the cycle before its start until all is written. A tile ends when
    # the rows of the one before have been chosen, the first one not at once.
    quiet, age = Signal(range(_LONG + 5), init=_LONG + 4), Signal(range(_LONG + 2), init=_LONG + 1)
    m.d.sync += quiet.eq(Mux(start | term.last | (left != 0), 0, Mux(quiet == _LONG + 4, quiet, quiet + 1)))
    m.d.sync += age.eq(Mux(start, 1, Mux(age == _LONG + 1, age, age + 1)))
    busy = quiet != _LONG + 4
    told = Cat(fields, dut.index)
    before = bench.past(told, name="told")
    bench.assume(~start | (~busy & bench.started & ~term.last))
    bench.assume(~(busy | start) | (told == before))
    bench.assume(~term.last | (busy & (age >= 3) & ((left == 0) | ((left == 1) & goes))))
    bench.assume((fields.last_rows != 0) & (fields.last_rows <= CONFIG.rows))
    kind = Value.cast(term.move)
    moves = [1 + LOOPS.index(loop) for loop in OUTER_LOOPS]
    bench.assume(~term.last | (kind == TileMove.FIRST.value) | kind.matches(*moves))

    chosen = Signal(18)
    m.d.comb += chosen.eq(Mux(goes, Cat(address, final & (left == 1), goes), 0))
    short, long = bench.past(chosen, _SHORT, name="short"), bench.past(chosen, _LONG, name="long")
    known = Signal(18)
    m.d.comb += known.eq(Mux(table, long, short))
    ordered = bench.past(chosen[17], name="ordered")
    bench.check(dut.order == ordered, "each row is ordered once")
    bench.check(dut.enable == known[17], "a row is written when its result is there")
    bench.check(~dut.enable | (dut.addr == known[:16]), "rows go to the addresses of the formula")
    ended = bench.past(known[16], name="ended")
    bench.check(dut.done == ended, "it is done when the last row is written")

    # How the component counts.
    its_wait = bench.register("wait")
    (its_left,) = (r for r in bench.registers() if r.name == "$signal" and len(r) == len(left))
    (its_row,) = (r for r in bench.registers() if r.name == "$signal" and len(r) == len(move) + 1)
    its_move = Mux(first, Value.cast(move), TileMove.ROW.value)
    bench.invariant((left == 0) | (its_row[: len(move)] == its_move), "row")
    bench.invariant((left == 0) | (bench.register("final") == final), "final")
    bench.invariant(bench.register("use_table") == bench.past(table, name="table"), "table")
    bench.invariant((left == 0) | ~first | Value.cast(move).matches(TileMove.FIRST.value, *moves), "move")
    bench.invariant((its_left == left) & ((left == 0) | (its_wait == wait)), "left")
    bench.invariant((left <= CONFIG.rows) & (quiet <= _LONG + 4) & (age != 0) & (age <= _LONG + 1), "ranges")
    bench.invariant((left == 0) | (busy & (quiet == 0)), "busy")
    tiles, rows = Signal(16), Signal(16)
    tile_past = [bench.past(tile, cycles - 1, name=f"tile{cycles}") for cycles in (_SHORT, _LONG)]
    row_past = [bench.past(row, cycles - 1, name=f"row{cycles}") for cycles in (_SHORT, _LONG)]
    m.d.comb += [tiles.eq(Mux(table, tile_past[1], tile_past[0])), rows.eq(Mux(table, row_past[1], row_past[0]))]
    its_tile = bench.register("tile")
    limit = Mux(table, _LONG, _SHORT)
    bench.invariant(~busy | (age < 2) | (its_tile == Mux(age >= limit, tiles, begins)), "tile")
    begun = Signal()
    with m.If(start):
        m.d.sync += begun.eq(0)
    with m.Elif(goes):
        m.d.sync += begun.eq(1)
    late = [bench.past(begun, cycles - 1, name=f"begun{cycles}") for cycles in (_SHORT, _LONG)]
    bench.invariant(~busy | (age < limit) | ~Mux(table, late[1], late[0]) | (dut.addr == rows), "row")


PROOFS = (
    Proof(
        "drain",
        "Each row of a tile is ordered once and written to the address of the formula: base, index, the step of each "
        "loop as often as it has advanced, and the row's; the last row's end is the instruction's.",
        "two rows, tables of two lanes",
        lambda: Drain(CONFIG),
        specify,
        faults=(
            Change("rows do not wait for their table", "wait", never),
            Change("rows follow the tile", "moved", only("+", lambda old: old.operands[0])),
        ),
        depth=_LONG + 3,
        fault_depth=36,
        slow=True,
    ),
)

"""The loop nest gives the terms that the instruction names, in order, with their addresses."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import enum

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, LOOPS, OUTER_LOOPS, REDUCTION_LOOPS, Operand
from dither.arch.timing import ISSUE_LATENCY
from dither_hw.base.interfaces import instruction_view
from dither_hw.contract.loops import LoopNest, TileMove
from tests.benches.mutation import Change
from tests.cocotb.faults import never

from .harness import Bench, Proof

CONFIG = EngineConfig(rows=2, lanes=2, width=16, table_bits=6, lanes_per_table=1, local_learning=0)
LOCAL = EngineConfig(rows=2, lanes=2, width=16, table_bits=6, lanes_per_table=1)
_CORRELATE = next(form.opcode for form in INSTRUCTIONS if form.name == "CORRELATE")
_INNER = len(REDUCTION_LOOPS)


class _Phase(enum.Enum, shape=3):
    WAIT = 0
    BIAS = 1
    TERM = 2
    GAP = 3
    LEFT = 4


def specify(bench: Bench) -> None:
    """The specification counts iterations up and adds the step of the loop that advances.

    It is :data:`ISSUE_LATENCY` - 1 cycles ahead of the terms that it compares, as the component is.
    """
    m, dut = bench.m, bench.dut
    fields, start, config = dut.fields, dut.start, dut.config
    correlate, lanewise, idle, last_rows = Signal(), Signal(), Signal.like(fields.idle), Signal.like(fields.last_rows)
    m.d.comb += [idle.eq(fields.idle), last_rows.eq(fields.last_rows)]
    if config.local_learning:
        # A term with a lane-wise operand takes two cycles. CORRELATE's fields stand elsewhere.
        other = instruction_view("CORRELATE", fields)
        m.d.comb += [
            correlate.eq(fields.opcode == _CORRELATE),
            lanewise.eq(~correlate & (fields.operand != Operand.WEIGHT)),
        ]
        with m.If(correlate):
            m.d.comb += [idle.eq(other.idle), last_rows.eq(other.last_rows)]
    second, row = Signal(), Signal(range(max(config.rows, 2)))
    delay = ISSUE_LATENCY - 1
    phase, fresh, move = Signal(_Phase), Signal(), Signal(TileMove)
    gap = Signal.like(fields.idle)
    index = [Signal(16, name=f"index_{loop}") for loop in LOOPS]
    w, x, b = (Signal(16, name=name) for name in ("weight", "input", "bias"))

    ends = [index[i] == fields[f"n_{loop}"] - 1 for i, loop in enumerate(LOOPS)]
    ended = Cat(*ends)
    going = (phase == _Phase.TERM) | (phase == _Phase.BIAS)
    ready = ~lanewise | second
    m.d.sync += second.eq(going & ~ready)
    term, tile_ends, nest_ends = (phase == _Phase.TERM) & ready, ended[:_INNER].all(), ended.all()
    advances = [~ends[i] & ended[:i].all() for i in range(len(LOOPS))]
    following = Mux(correlate, _Phase.LEFT, Mux(fields.bias, _Phase.BIAS, _Phase.TERM))
    with m.Switch(phase):
        with m.Case(_Phase.LEFT):
            m.d.sync += row.eq(Mux(row == config.rows - 1, 0, row + 1))
            with m.If(row == config.rows - 1):
                m.d.sync += phase.eq(_Phase.TERM)
        with m.Case(_Phase.BIAS), m.If(ready):
            m.d.sync += [phase.eq(_Phase.TERM), fresh.eq(0)]
        with m.Case(_Phase.TERM), m.If(ready):
            for i, loop in enumerate(LOOPS):
                with m.If(advances[i]):
                    m.d.sync += [index[i].eq(index[i] + 1), *(inner.eq(0) for inner in index[:i])]
                    m.d.sync += [w.eq(w + fields[f"w_{loop}"]), x.eq(x + fields[f"x_{loop}"])]
                    if loop in OUTER_LOOPS:
                        m.d.sync += [b.eq(b + fields[f"b_{loop}"]), move.eq(getattr(TileMove, loop.upper()))]
            m.d.sync += [fresh.eq(tile_ends), gap.eq(idle)]
            with m.If(nest_ends):
                m.d.sync += phase.eq(_Phase.WAIT)
            with m.Elif(tile_ends):
                m.d.sync += phase.eq(Mux(idle == 0, following, _Phase.GAP))
        with m.Case(_Phase.GAP):
            m.d.sync += gap.eq(gap - 1)
            with m.If(gap == 1):
                m.d.sync += phase.eq(following)
    with m.If(start):
        m.d.sync += [phase.eq(following), fresh.eq(1), move.eq(TileMove.FIRST), *(i.eq(0) for i in index)]
        m.d.sync += [
            address.eq(fields[f"{kind}_base"] + dut.index[number])
            for address, kind, number in ((w, "w", 0), (x, "x", 1), (b, "b", 3))
        ]

    # An instruction stands from the cycle before its start until its last term is out.
    rest = Signal(range(delay + 3), init=delay + 2)
    m.d.sync += rest.eq(Mux(start | (phase != _Phase.WAIT), 0, Mux(rest == delay + 2, rest, rest + 1)))
    busy = rest != delay + 2
    before = bench.past(fields, name="fields")
    bench.assume(~(start & (busy | ~bench.started)))
    bench.assume(~(busy | start) | (fields == before))
    for loop in LOOPS:
        bench.assume(fields[f"n_{loop}"] != 0)

    # What must come, each with the next term, and the address of the input a cycle later.
    bias, contracts = (phase == _Phase.BIAS) & ready, term & ~correlate
    expected = {
        "valid": contracts | bias,
        "bias": bias,
        "first": (contracts | bias) & fresh,
        "last": contracts & tile_ends,
        "final": contracts & nest_ends,
    }
    for name, value in expected.items():
        kept = Signal(name=f"expected_{name}")
        m.d.comb += kept.eq(value)
        bench.check(dut.term[name] == bench.past(kept, delay), f"{name} comes when it must")
    valid = dut.term.valid
    late = {}
    for name, value in (
        ("partial", ends[_INNER]),
        ("move", Value.cast(move)),
        ("w", Mux(bias, b, w)),
        ("x", Mux(bias, fields.one, x)),
    ):
        kept = Signal(len(value), name=f"expected_{name}")
        m.d.comb += kept.eq(value)
        late[name] = bench.past(kept, delay)
    bench.check(~valid | dut.term.bias | (dut.term.partial == late["partial"]), "partial tiles")
    bench.check(~valid | (Value.cast(dut.term.move) == late["move"]), "how the tile is reached")
    bench.check(~valid | (dut.weight_addr == late["w"]), "address of the weights")
    x_late, then = bench.past(late["x"], name="x_late"), bench.past(valid, name="then")
    bench.check(~then | (dut.activation_addr == x_late), "address of the input")
    rows = Signal.like(dut.row_steps)
    m.d.comb += rows.eq(Mux(term, Mux(ends[_INNER], last_rows, config.rows), 0))
    bench.check(dut.row_steps == bench.past(rows, name="rows"), "rows that count")

    if config.local_learning:
        left, advance = Signal(config.rows), Signal(len(LOOPS))
        correlates = term & correlate
        m.d.comb += left.eq(Mux(phase == _Phase.LEFT, 1 << row, 0))
        m.d.comb += advance.eq(Mux(correlates, Cat(*advances), 0))
        live = row < Mux(ends[_INNER], last_rows, config.rows)
        for name, value in (
            ("left", left),
            ("term", correlates),
            ("final", correlates & nest_ends),
            ("advance", advance),
        ):
            paced = Signal(len(value), name=f"paced_{name}")
            m.d.comb += paced.eq(value)
            bench.check(dut.pace[name] == bench.past(paced), f"pace of CORRELATE {name}")
        counts = Signal()
        m.d.comb += counts.eq(live)
        counted = bench.past(counts, name="counted")
        bench.check(~dut.pace.left.any() | (dut.pace.live == counted), "rows of CORRELATE that count")
        its_row = bench.register("row")
        bench.invariant(its_row == (Const(1, config.rows) << row)[: config.rows], "row")
        bench.invariant((row < config.rows) & ((phase == _Phase.LEFT) | (row == 0)), "rows")
        (its_second,) = (r for r in bench.registers() if r.name == "second")
        bench.invariant(its_second == second, "second")
        bench.invariant(~second | (going & lanewise), "second cycle")

    # How the component counts: iterations that are left, and flags about them.
    state, within = bench.register("state"), bench.register("within")
    active = phase != _Phase.WAIT
    bench.invariant(Value.cast(state) == Value.cast(phase), "state")
    bench.invariant(~(phase == _Phase.GAP) | (bench.register("gap") == gap), "gap")
    bench.invariant(~(phase == _Phase.GAP) | (gap != 0), "gap runs")
    bench.invariant(
        ~active | ((bench.register("fresh") == fresh) & (Value.cast(bench.register("move")) == Value.cast(move))),
        "tile",
    )
    its_ends = bench.register("$signal")
    bench.invariant(~active | (its_ends == ended), "ends")
    for i, loop in enumerate(LOOPS):
        count, limit = bench.register(f"count_{loop}"), fields[f"n_{loop}"]
        two, nearly = bench.register(f"two_{loop}"), bench.register(f"nearly_{loop}")
        bench.invariant(~active | (index[i] < limit), "index")
        bench.invariant(~active | (count == (limit - index[i])[:16]), "count")
        bench.invariant(~active | (nearly == (count == 2)), "nearly")
        bench.invariant(~active | (two == (limit == 2)), "two")
        bench.invariant(~active | (bench.register("ones")[i] == (limit == 1)), "one")
        bench.invariant(~active | (within[i + 1] == ended[: i + 1].all()), "within")
    bench.invariant(within[0], "innermost")
    bench.invariant(~active | (rest == 0), "rest")
    # Addresses follow two cycles behind.
    settled = bench.past(active, 2, name="settled")
    for kind, address in (("w", w), ("x", x), ("b", b)):
        pointer, chosen = bench.register(f"{kind}_pointer"), bench.register(f"chosen_{kind}_copy")
        bench.invariant(~settled | correlate | (pointer == bench.past(address, 2, name=f"old_{kind}")), "pointer")
        moves = Signal(len(LOOPS), name=f"moves_{kind}")
        m.d.comb += moves.eq(Mux(contracts, Cat(*advances), 0))
        bench.invariant(chosen == bench.past(moves, name=f"went_{kind}"), "chosen")


PROOFS = (
    Proof(
        "loop nest",
        "Behind a start come the instruction's terms, in order, in the cycles in which they must, with tile flags and "
        "the addresses of the formula: a base, an index, and the step of each loop as often as it has advanced.",
        "CONTRACT without lane-wise operands; all seven loops, 16 bits each",
        lambda: LoopNest(CONFIG),
        specify,
        faults=(
            Change("a loop of two runs on", "two_k1", never),
            Change("the bias address takes a step of k0", "b_step", lambda old, c, m: old | c.fields.w_k0),
        ),
        depth=6,
        fault_depth=14,
        slow=True,
    ),
    Proof(
        "loop nest with CORRELATE",
        "The same, with lane-wise operands, whose terms take two cycles; and CORRELATE's left words, terms, and loops "
        "that advance, in the cycles in which they must.",
        "two rows; CONTRACT and CORRELATE; all seven loops, 16 bits each",
        lambda: LoopNest(LOCAL),
        specify,
        faults=(Change("a lane-wise term takes one cycle", "second", never),),
        depth=6,
        fault_depth=14,
        slow=True,
    ),
)

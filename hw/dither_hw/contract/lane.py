"""The data path of CONTRACT and CORRELATE: multiply-accumulate cells and the lanes made of them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.config import EngineConfig
from dither.arch.isa import Operand
from dither.arch.timing import INTERPOLATOR_LATENCY, MULTIPLIER_LATENCY, OPERAND_LATENCY, REQUANTISER_LATENCY

from ..base.accumulator import next_sum
from ..base.multiplier import Multiplier
from ..base.pipeline import delay_line, registered_sum, tree_sum
from ..tables.interpolator import Interpolator, TablePort
from .requantiser import Requantiser

__all__ = ["LaneGroup", "Mode"]

assert OPERAND_LATENCY == 1, "a register for the lane's activation, one for each of its weights"
_TO_PRODUCT = OPERAND_LATENCY + MULTIPLIER_LATENCY
"""Cycles from a lane's operands to their products."""

_NEAR_ROWS = 4
"""Number of neighbouring rows of a lane that share one set of control registers."""

Mode = data.StructLayout({"shift": 6, "relu": 1, "use_table": 1, "table": 2})
"""Says what an instruction does to all of its outputs; it is steady while the instruction runs.

``shift``: the requantiser's right shift. ``relu``: negative outputs become zero. ``use_table``:
outputs pass the activation table number ``table``.
"""


class _Lane(wiring.Component):
    """Computes R sums of products of one sample and rounds them, with one requantiser for all R.

    When a tile is complete, its accumulators are copied, so that the next tile begins at once. The
    copies form a chain: each time the requantiser takes a number from the chain's end, all others
    move one row down.

    With ``local_learning``, each multiplier's weight stands in a register, which takes (``accept``)
    either the weight that all lanes share or, with ``load``, a number made of the lane's own
    activation of the cycle before, and keeps it until it takes another.

    Resources on ECP5, for W = 18: one requantiser, and for each row one multiplier, about 80 LUT4,
    24 carry cells, 96 flip-flops, and 72 more as long as the multiplier's own registers are not
    used.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        ports = {
            "weight": In(signed(config.width)).array(config.rows),
            "x": In(signed(config.width)),
            "due": In(1),
            "first": In(1),
            "last": In(1),
            "drain": In(1),
            "stages": In(REQUANTISER_LATENCY),
            "shift": In(6),
            "relu": In(1),
            "y": Out(signed(config.width)),
            "clipped": Out(1),
        }
        if config.local_learning:
            ports |= {
                "accept": In(config.rows),
                "load": In(config.rows),
                "kind": In(Operand),
                "product": Out(signed(2 * config.width)).array(config.rows),
            }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, operand = self.config, signed(self.config.width)
        sums = signed(config.accumulator_width)
        # The memory's choice among its block RAMs ends here.
        x, own = Signal(operand, name="x_taken", reset_less=True), Signal(operand)
        m.d.sync += x.eq(self.x)
        if config.local_learning:
            # A row that does not count loads zero; its kind is WEIGHT.
            with m.Switch(self.kind):
                with m.Case(Operand.LANE):
                    m.d.comb += own.eq(x)
                with m.Case(Operand.POSITIVE):
                    m.d.comb += own.eq(x > 0)
                with m.Case(Operand.SIGN):
                    m.d.comb += own.eq(Cat(x.any(), x[-1].replicate(config.width - 1)))
        held = [Signal(sums, name=f"held{r}", reset_less=True) for r in range(config.rows)]
        controls = [self._controls(m, start // _NEAR_ROWS) for start in range(0, config.rows, _NEAR_ROWS)]
        for r, number in enumerate(held):
            accumulate, begin, copy, load = controls[r // _NEAR_ROWS]
            m.submodules[f"multiplier{r}"] = multiplier = Multiplier(a=operand, b=operand)
            accumulator = Signal(sums, name=f"accumulator{r}", reset_less=True)
            total = next_sum(m, platform, multiplier.product, accumulator, begin, f"total{r}")
            m.d.comb += [multiplier.a.eq(self.weight[r]), multiplier.b.eq(x)]
            if config.local_learning:
                weight = Signal(operand, name=f"weight{r}", reset_less=True)
                with m.If(self.accept[r]):
                    m.d.sync += weight.eq(Mux(self.load[r], own, self.weight[r]))
                m.d.comb += [multiplier.a.eq(weight), self.product[r].eq(multiplier.product)]
            with m.If(accumulate):
                m.d.sync += accumulator.eq(total)
            with m.If(load):
                m.d.sync += number.eq(Mux(copy, accumulator, held[r + 1]) if r + 1 < config.rows else accumulator)

        m.submodules.requantiser = requantiser = Requantiser(width=config.accumulator_width, output=config.width)
        shift, relu = Signal.like(self.shift, name="shift_copy"), Signal(name="relu_copy")
        m.d.sync += [shift.eq(self.shift), relu.eq(self.relu)]
        m.d.comb += [
            requantiser.x.eq(held[0]),
            requantiser.stages.eq(self.stages),
            requantiser.shift.eq(shift),
            requantiser.relu.eq(relu),
            self.y.eq(requantiser.y),
            self.clipped.eq(requantiser.clipped),
        ]
        return m

    def _controls(self, m: Module, number: int) -> tuple[Signal, Signal, Signal, Signal]:
        """Makes the control registers of a few neighbouring rows.

        Returns four: add the product to the accumulator; begin with the product instead; copy the
        accumulator into the chain, instead of the next row's number; take either of the two.
        """
        accumulate, begin, copy, load = (
            Signal(name=f"{name}{number}_copy") for name in ("accumulate", "begin", "hold", "load")
        )
        m.d.sync += Cat(accumulate, begin, copy, load).eq(Cat(self.due, self.first, self.last, self.last | self.drain))
        return accumulate, begin, copy, load


class LaneGroup(wiring.Component):
    """One interpolator group: ``lanes_per_table`` lanes, and the interpolator that they share.

    A group has its own copies of weights and controls, which keep long nets out of the lanes. A
    synthesiser that merges equal registers must be told to keep those whose names end in ``_copy``
    (Yosys: ``proc; flatten; setattr -set keep 1 w:*_copy %ci1``).

    With ``local_learning``, the group also sums each row's products over its lanes, in every cycle,
    by R trees of adders with registers behind every level.

    Latency from ``valid`` to the accumulator: 1 (the group's copies) +
    :data:`~dither.arch.timing.OPERAND_LATENCY` + :data:`~dither.arch.timing.MULTIPLIER_LATENCY` + 1
    cycles. From ``drain`` to ``result``: 1 +
    :data:`~dither.arch.timing.REQUANTISER_LATENCY` + 1 cycles, and with a table
    :data:`~dither.arch.timing.INTERPOLATOR_LATENCY` + ``lanes_per_table`` more until the last
    lane's. Throughput: a term every cycle; a row every cycle, or with a table every
    ``lanes_per_table`` cycles.

    Attributes
    ----------
    weight : In(signed(W)), array of R
        One weight word, a number for each row.
    valid, first, last : In(1)
        Controls that come together with ``weight``: the word is to be multiplied; it begins a tile;
        it ends a tile.
    x : In(signed(W)), array of lanes
        The lanes' activations, one cycle after the weights that they are multiplied by.
    drain : In(1)
        The next row of the copied tile is to be requantised. The first order of a tile comes
        :data:`~dither.arch.timing.OPERAND_LATENCY` + :data:`~dither.arch.timing.MULTIPLIER_LATENCY`
        + 2 cycles after ``last`` at the earliest.
    mode : In(Mode)
        What happens to the outputs.
    load : In(TablePort)
        Writes entries of the activation tables. Only with ``activation_tables``.
    take : In(R)
        A bit for each row, set if that row's multipliers are to take, one cycle later, a number
        made of their lane's activation as their weight, and keep it. This port and the following
        are there only with ``local_learning``.
    kind : In(Operand)
        Which number ``take`` makes of the activation: LANE the activation itself, POSITIVE whether
        it is positive, SIGN its sign, WEIGHT zero.
    keep : In(1)
        With ``valid``: multiply by the weights that were taken instead of ``weight``.
    correlate : In(1)
        Multiply by the weights that were taken and sum over the lanes; used instead of ``valid``.
    sums : Out(signed), array of R
        Registers with each row's sum over the lanes, 1 +
        :data:`~dither.arch.timing.OPERAND_LATENCY` + :data:`~dither.arch.timing.MULTIPLIER_LATENCY`
        + ceil(log2(lanes)) cycles after ``correlate``. With a single lane, its products.
    result : Out(signed(W)), array of lanes
        Registers with the row's outputs, one for each lane.
    clips : Out
        Number of outputs that were clipped: by requantisers, 2 +
        :data:`~dither.arch.timing.REQUANTISER_LATENCY` cycles after ``drain``; by the interpolator,
        together with the result.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.lanes = config.lanes_per_table
        self.levels = ceil_log2(self.lanes)
        word = signed(config.width)
        ports = {
            "weight": In(word).array(config.rows),
            "valid": In(1),
            "first": In(1),
            "last": In(1),
            "x": In(word).array(self.lanes),
            "drain": In(1),
            "mode": In(Mode),
            "result": Out(word).array(self.lanes),
            "clips": Out(range(self.lanes + 2)),
        }
        if config.activation_tables:
            ports["load"] = In(TablePort(value_width=config.width, slope_width=config.width))
        if config.local_learning:
            ports |= {
                "take": In(config.rows),
                "kind": In(Operand),
                "keep": In(1),
                "correlate": In(1),
                "sums": Out(signed(2 * config.width + self.levels)).array(config.rows),
            }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        mode = Signal(Mode, name="mode_copy")
        valid, first, last, drain = (Signal(name=f"{name}_copy") for name in ("valid", "first", "last", "drain"))
        m.d.sync += [
            mode.eq(self.mode),
            valid.eq(self.valid),
            first.eq(self.first),
            last.eq(self.last),
            drain.eq(self.drain),
        ]
        weights = [Signal(signed(config.width), name=f"weight{r}_copy", reset_less=True) for r in range(config.rows)]
        m.d.sync += [copied.eq(source) for copied, source in zip(weights, self.weight, strict=True)]
        # The lanes' inputs come a cycle before the lanes' own registers take them.
        due = delay_line(m, valid, _TO_PRODUCT - 1, "valid")[-1]
        starts = delay_line(m, first, _TO_PRODUCT - 1, "first")[-1]
        ends = delay_line(m, last, _TO_PRODUCT, "last")[-1]
        if config.local_learning:
            # What is made of an activation is taken when it stands in the lane's register.
            take, kind = Signal(config.rows, name="take_copy"), Signal(Operand, name="kind_copy")
            load, made = Signal(config.rows, name="load_copy"), Signal(Operand, name="made_copy")
            accept, correlate = Signal(config.rows, name="accept_copy"), Signal(name="correlate_copy")
            m.d.sync += [
                take.eq(self.take),
                kind.eq(self.kind),
                load.eq(take),
                made.eq(kind),
                accept.eq(take | (self.valid & ~self.keep).replicate(config.rows)),
                correlate.eq(self.correlate),
            ]
        else:
            shared = [Signal.like(copied, name=f"shared{r}_copy") for r, copied in enumerate(weights)]
            m.d.sync += [late.eq(copied) for late, copied in zip(shared, weights, strict=True)]
            weights = shared
        stages = delay_line(m, drain, REQUANTISER_LATENCY, "drain")
        rounded = stages.pop()

        lanes = []
        for i in range(self.lanes):
            m.submodules[f"lane{i}"] = lane = _Lane(config)
            m.d.comb += [
                *(port.eq(source) for port, source in zip(lane.weight, weights, strict=True)),
                lane.x.eq(self.x[i]),
                lane.due.eq(due),
                lane.first.eq(starts),
                lane.last.eq(ends),
                lane.drain.eq(self.drain),
                lane.stages.eq(Cat(*stages)),
                lane.shift.eq(mode.shift),
                lane.relu.eq(mode.relu),
            ]
            if config.local_learning:
                m.d.comb += [lane.accept.eq(accept), lane.load.eq(load), lane.kind.eq(made)]
            lanes.append(lane)
        if config.local_learning:
            due = delay_line(m, correlate, _TO_PRODUCT + max(0, self.levels - 1), "correlate")
            enables = due[_TO_PRODUCT:][: self.levels]
            for r, port in enumerate(self.sums):
                m.d.comb += port.eq(registered_sum(m, [lane.product[r] for lane in lanes], enables, f"sum{r}"))

        results = [Signal.like(port, name=f"result{i}", reset_less=True) for i, port in enumerate(self.result)]
        m.d.comb += [port.eq(result) for port, result in zip(self.result, results, strict=True)]
        clips = [lane.clipped & rounded for lane in lanes]
        if config.activation_tables:
            clips.append(self._through_tables(m, mode, rounded, lanes, results))
        else:
            with m.If(rounded):
                m.d.sync += [result.eq(lane.y) for result, lane in zip(results, lanes, strict=True)]
        m.d.sync += self.clips.eq(tree_sum(clips))
        return m

    def _through_tables(
        self, m: Module, mode: Signal, rounded: Signal, lanes: list[_Lane], results: list[Signal]
    ) -> Signal:
        """Drives the results, through the interpolator where the mode says so; returns its clips.

        The lanes hold a row's numbers for as many cycles as there are lanes. In that time, one lane
        after the other enters the interpolator, followed by a flag that says when its value is due.
        """
        config, width = self.config, self.config.width
        m.submodules.interpolator = interpolator = Interpolator(
            index_bits=config.table_bits,
            fraction_bits=width - config.table_bits,
            value=signed(width),
            slope_width=width,
            tables=config.activation_tables,
        )
        for name in self.load.signature.members:
            m.d.sync += getattr(interpolator.load, name).eq(getattr(self.load, name))
        if config.activation_tables > 1:
            m.d.comb += interpolator.table.eq(mode.table[: ceil_log2(config.activation_tables)])

        turns = delay_line(m, rounded & mode.use_table, INTERPOLATOR_LATENCY + self.lanes, "turn")
        enters, leaves = turns[: self.lanes], turns[INTERPOLATOR_LATENCY + 1 :]
        argument = Signal(width, reset_less=True)
        for turn, lane in zip(enters, lanes, strict=True):
            with m.If(turn):
                m.d.sync += argument.eq(lane.y ^ (1 << (width - 1)))
        m.d.comb += interpolator.x.eq(argument)

        for turn, lane, result in zip(leaves, lanes, results, strict=True):
            with m.If(turn):
                m.d.sync += result.eq(interpolator.y)
            with m.Elif(rounded & ~mode.use_table):
                m.d.sync += result.eq(lane.y)
        return interpolator.clipped & Cat(*leaves).any()

"""LOSS: softmax cross-entropy and squared error, an element a cycle."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.engine import EngineConfig
from dither.isa import LossKind
from dither.tables import SCALAR_INPUT_BITS, ScalarTable
from dither.timing import (
    INTERPOLATOR_LATENCY,
    LOSS_EXPONENTIAL_STAGE,
    LOSS_FINISH_CYCLES,
    LOSS_LOGARITHM_STAGE,
    LOSS_SHORTEST_PASS,
    LOSS_SQUARE_STAGE,
    MEMORY_LATENCY,
    MULTIPLIER_LATENCY,
)

from .interfaces import ADDRESS_BITS, ReadPort, instruction_layout
from .multiplier import Multiplier
from .pipeline import delay_line
from .scalar_tables import ScalarPort

__all__ = ["LossUnit"]

_COUNT_BITS = 16
_LN2 = 45426  # with 16 fraction bits
_ONE = 17  # log2 of exp(0) in units of the table: no sum of exponentials is below it
_LOSS_BITS = 24
_SUM_BITS = 18 + _COUNT_BITS
_RAW_BITS = 36 + _COUNT_BITS
_MAX_FRAC = 16
_ARRIVAL = MEMORY_LATENCY + 2  # cycles from an element's address to the element
_FAN_IN = 8  # lanes that one level of the lane multiplexer selects from


class _Phase(IntEnum):
    IDLE = 0
    LABEL = 1
    OUTPUT = 2
    TARGET = 3
    """The target of the last output, for SQUARED_ERROR."""


class _Tags(NamedTuple):
    """What the pipeline has to know about an element."""

    label: Value
    take: Value
    """An output; of the lane ahead, into the maximum."""
    begin: Value
    """Begin the maximum with it."""
    use: Value
    """Of the lane behind, into the sum."""
    first: Value
    """Begin the sum with it."""
    last: Value
    """The lane's sum ends with it."""
    final: Value
    """The last lane's sum ends with it."""


class LossUnit(wiring.Component):
    """Sums the lanes' losses, bit-exact to :func:`dither.golden.loss.loss`.

    A word (an output, a target or the labels of all lanes) is read each cycle. Two neighbouring lanes are picked from
    it in two levels: the lane behind goes down the pipeline, either distance to the maximum, alignment, exponential,
    sum, logarithm; or difference, square, sum. Rounding, clipping and the sum over lanes follow. CROSS_ENTROPY finds
    the maximum of the lane ahead meanwhile, so that every round over the outputs finishes a lane. A lane's logarithm is
    looked up when the tables are next free of exponentials, at the latest when labels pass.

    Of two neighbours one has an even number and the other an odd one: each comes out of its own half of the lanes, so
    two selections cost little more than one.

    Cycles: :func:`dither.timing.execution_cycles`; a lane takes ``1 + max(C, 8)`` (CROSS_ENTROPY, and one round more
    for all) or ``1 + 2C`` (SQUARED_ERROR). Nothing depends on data. The scalar tables must give ``exp(0) >= 2**17``,
    as those of :mod:`dither.tables` do.

    Resources (ECP5, R = 4, L = 32, W = 18, without the tables): about 1450 LUT4, 190 carry cells, 1080
    flip-flops, one multiplier. Alone on an ECP5-85F of speed grade 6, it runs at 140 MHz.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle.
    fields : In
        The instruction, stable from start to done.
    activation : Out
        Read port of the activation memory, L times W bits.
    scalar : Out
        Lookups in the scalar tables.
    loss : Out(32)
        The sum over the lanes, from ``done`` to the next start.
    saturations : Out(1)
        A lane's loss was clipped.

    :param config: gives L and W; at most 64 lanes.
    :raises ValueError: with more than 64 lanes.
    """

    def __init__(self, config: EngineConfig) -> None:
        if config.lanes > _FAN_IN**2:
            raise ValueError(f"the loss unit takes up to {_FAN_IN**2} lanes, not {config.lanes}")
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "fields": In(instruction_layout("LOSS")),
                "activation": Out(ReadPort(config.lanes * config.width)),
                "scalar": Out(ScalarPort()),
                "loss": Out(32),
                "saturations": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        squared = Signal()
        m.d.comb += squared.eq(self.fields.kind == LossKind.SQUARED_ERROR.value)
        tags, ahead, behind = self._read(m, squared)
        leading, element = self._select(m, ahead, behind)

        # Everything below sees an element's tags when it sees the element.
        tags = _Tags(*(delay_line(m, tag, _ARRIVAL, name)[-1] for name, tag in tags._asdict().items()))
        distance, hit, live = self._compare(m, squared, leading, element, tags)

        # The two kinds leave the pipeline at different stages; what is out of it must not reach the other exit, where
        # it would meet the next instruction.
        ending = Cat(tags.last & live, tags.final)
        entropy, late = self._cross_entropy(m, distance, hit, ending, squared, tags)
        error = self._squared_error(m, distance, tags.use & squared, tags.first)
        early = delay_line(m, ending & squared.replicate(2), LOSS_SQUARE_STAGE - _ARRIVAL, "early")[-1]
        raw, counts, ends = Signal(_RAW_BITS), Signal(), Signal()
        m.d.sync += [raw.eq(Mux(squared, error, entropy)), Cat(counts, ends).eq(early | late)]
        self._finish(m, squared, raw, counts, ends)
        return m

    def _read(self, m: Module, squared: Value) -> tuple[_Tags, Signal, Signal]:
        """Walks lanes and elements. Returns the tags of the element that is addressed in this cycle, the lane ahead
        and the lane behind."""
        fields, lanes = self.fields, self.config.lanes
        phase = Signal(_Phase)
        ahead, behind = Signal(range(lanes + 1)), Signal(range(lanes + 1))
        left = Signal(_COUNT_BITS)  # outputs of this round
        spare = Signal(range(LOSS_SHORTEST_PASS))
        address, other = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        beginning, ending, last_round = Signal(), Signal(), Signal()
        m.d.comb += [
            self.activation.addr.eq(address),
            ending.eq(~left[1:].any()),
            last_round.eq(ahead == lanes),
        ]
        next_round = [
            phase.eq(Mux(last_round, _Phase.IDLE, _Phase.LABEL)),
            address.eq(fields.label),
            behind.eq(ahead),
            ahead.eq(ahead + 1),
        ]
        with m.Switch(phase):
            with m.Case(_Phase.LABEL):
                m.d.sync += [
                    phase.eq(_Phase.OUTPUT),
                    address.eq(fields.z_base),
                    other.eq(fields.t_base),
                    left.eq(fields.count),
                    spare.eq(LOSS_SHORTEST_PASS - 1),
                    beginning.eq(1),
                ]
            with m.Case(_Phase.OUTPUT):
                m.d.sync += address.eq(address + fields.z_step)
                with m.If(squared):
                    m.d.sync += [phase.eq(_Phase.TARGET), address.eq(other), other.eq(address + fields.z_step)]
                with m.Else():
                    m.d.sync += [beginning.eq(0), left.eq(left - left.any()), spare.eq(spare - spare.any())]
                    with m.If(ending & (spare == 0)):
                        m.d.sync += next_round
            with m.Case(_Phase.TARGET):
                m.d.sync += [
                    beginning.eq(0),
                    left.eq(left - 1),
                    phase.eq(_Phase.OUTPUT),
                    address.eq(other),
                    other.eq(address + fields.t_step),
                ]
                with m.If(ending):
                    m.d.sync += next_round
        with m.If(self.start):
            # Squared errors have nothing to find out ahead of the first lane.
            m.d.sync += [phase.eq(_Phase.LABEL), address.eq(fields.label), ahead.eq(squared), behind.eq(0)]

        take = (phase == _Phase.OUTPUT) & left.any()
        use = Mux(squared, phase == _Phase.TARGET, take & ahead.any())
        last = use & ending
        tags = _Tags(
            label=phase == _Phase.LABEL, take=take, begin=beginning, use=use, first=beginning, last=last,
            final=last & last_round,
        )  # fmt: skip
        return tags, ahead, behind

    def _select(self, m: Module, ahead: Signal, behind: Signal) -> tuple[Signal, Signal]:
        """The two lanes' parts of the word that was addressed ``MEMORY_LATENCY + 2`` cycles ago."""
        lanes, width = self.config.lanes, self.config.width
        words = [self.activation.data[i * width : (i + 1) * width] for i in range(lanes)]
        # With behind = ahead - 1, ahead >> 1 is the even lane's place among the even ones, and behind >> 1 the odd's.
        near = [delay_line(m, lane[1:4], MEMORY_LATENCY, name)[-1] for name, lane in (("even", ahead), ("odd", behind))]
        groups: list[Signal] = []
        for i in range(0, lanes, 2 * _FAN_IN):
            for parity, place in enumerate(near):
                members = words[i + parity : i + 2 * _FAN_IN : 2]
                if members:
                    group = Signal(width, name=f"group{len(groups)}", reset_less=True)
                    m.d.sync += group.eq(Array(members)[place])
                    groups.append(group)
        picked = []
        for name, lane in (("leading", ahead), ("element", behind)):
            far = delay_line(m, Cat(lane[0], lane[4:]), MEMORY_LATENCY + 1, f"{name}_far")[-1]
            element = Signal(signed(width), name=name, reset_less=True)
            m.d.sync += element.eq(Array(groups)[far])
            picked.append(element)
        leading, element = picked
        return leading, element

    def _compare(
        self, m: Module, squared: Value, leading: Signal, element: Signal, tags: _Tags
    ) -> tuple[Signal, Signal, Signal]:
        """The distance of the element from its lane's maximum (or of the target from its output), one cycle later;
        whether the element is the label's; whether the lane counts, valid with its last element."""
        wanted = Signal(signed(self.config.width))
        index = Signal(_COUNT_BITS)
        found = Signal()
        highest = Signal(signed(self.config.width), reset_less=True)
        reference = Signal(signed(self.config.width), reset_less=True)
        distance = Signal(signed(self.config.width + 1), reset_less=True)
        hit, live = Signal(), Signal()
        m.d.comb += [
            hit.eq(tags.use & (wanted == index)),
            live.eq(Mux(squared, wanted >= 0, found | hit)),
        ]
        with m.If(tags.label):
            m.d.sync += [wanted.eq(element), index.eq(0), found.eq(0)]
        with m.Elif(tags.use):
            m.d.sync += [index.eq(index + 1), found.eq(found | hit)]
        with m.If(tags.take & (tags.begin | (leading > highest))):
            m.d.sync += highest.eq(leading)
        with m.If(tags.label | (squared & tags.take)):
            m.d.sync += reference.eq(Mux(squared, element, highest))
        m.d.sync += distance.eq(reference - element)
        return distance, hit, live

    def _cross_entropy(
        self, m: Module, distance: Signal, hit: Value, ending: Value, squared: Value, tags: _Tags
    ) -> tuple[Value, Value]:
        """The loss with 16 fraction bits, and ``ending`` of the lane that it is of: the last lane's in cycle
        ``LOSS_LOGARITHM_STAGE`` of its last element, another's when the tables were free for it."""
        asked = LOSS_EXPONENTIAL_STAGE - _ARRIVAL  # in the cycle before, the argument is written
        normalised = LOSS_LOGARITHM_STAGE - INTERPOLATOR_LATENCY - 1 - _ARRIVAL  # what the logarithm is looked up for
        uses = delay_line(m, tags.use & ~squared, asked + INTERPOLATOR_LATENCY, "use")
        firsts = delay_line(m, tags.first, asked + INTERPOLATOR_LATENCY, "first")
        lasts = delay_line(m, tags.last & ~squared, normalised - 1, "last")
        hits = delay_line(m, hit, 3, "hit")

        # The logarithm waits while exponentials are asked for; the sum's registers hold until the next lane's sum.
        due, waiting, asks = Signal(), Signal(), Signal()
        m.d.comb += due.eq(lasts[-1] | waiting)
        m.d.sync += [asks.eq(due & ~uses[asked - 2]), waiting.eq(due & uses[asked - 2])]

        # Alignment to 16 fraction bits, which loses nothing; both the label's distance and the exponential's
        # argument come from there.
        width = self.config.width + 1
        shift = Signal(range(_MAX_FRAC + 1))
        coarse = Signal(width + _MAX_FRAC, reset_less=True)
        aligned = Signal(width + _MAX_FRAC, reset_less=True)
        m.d.sync += [
            shift.eq(_MAX_FRAC - self.fields.z_frac),
            coarse.eq(distance.as_unsigned() << (shift[3:] << 3)),
            aligned.eq(coarse << shift[:3]),
        ]
        # The next lane's label may pass before this one's logarithm is asked for, but not before the lane is over.
        label_distance = Signal.like(aligned, name="label_distance")
        lane_distance = Signal.like(aligned, name="lane_distance")
        ended, lane_ending = Signal(2), Signal(2)
        with m.If(hits[3]):
            m.d.sync += label_distance.eq(aligned)
        with m.If(tags.last):
            m.d.sync += ended.eq(ending)
        with m.If(lasts[asked]):
            m.d.sync += [lane_distance.eq(label_distance), lane_ending.eq(ended)]
        rounded = Signal(SCALAR_INPUT_BITS + 1, reset_less=True)
        beyond = Signal()
        m.d.sync += [
            rounded.eq((aligned[3 : SCALAR_INPUT_BITS + 4] + 1) >> 1),
            beyond.eq(aligned[SCALAR_INPUT_BITS + 4 :].any()),
        ]

        total = Signal(_SUM_BITS, reset_less=True)
        with m.If(uses[-1]):
            m.d.sync += total.eq(Mux(firsts[-1], 0, total) + self.scalar.y)

        exponent = Signal(range(_SUM_BITS - _ONE))
        mantissa = Signal(_SUM_BITS - 1, reset_less=True)
        with m.If(lasts[asked + INTERPOLATOR_LATENCY + 1]):
            m.d.sync += mantissa.eq(total[1:])
            for i in range(_SUM_BITS - _ONE):
                with m.If(total[_ONE + i]):
                    m.d.sync += exponent.eq(i)
        fine = Signal(3)
        shifted = Signal(SCALAR_INPUT_BITS + 7, reset_less=True)
        units = Signal(range((_SUM_BITS - _ONE) * _LN2), reset_less=True)
        m.d.sync += [
            shifted.eq(mantissa >> (exponent[3:] << 3)),
            fine.eq(exponent[:3]),
            units.eq(Array(i * _LN2 for i in range(_SUM_BITS - _ONE))[exponent]),
        ]

        offset = Signal(_MAX_FRAC + width + 1, reset_less=True)
        asking, late = Signal(), Signal(2)
        m.d.sync += [asking.eq(asks), late.eq(Mux(asks, lane_ending, 0))]
        with m.If(asks):
            m.d.sync += [self.scalar.table.eq(ScalarTable.LOG), self.scalar.x.eq(shifted >> fine)]
            m.d.sync += offset.eq(lane_distance + units)
        with m.Else():
            argument = Mux(beyond | rounded[-1], (1 << SCALAR_INPUT_BITS) - 1, rounded)
            m.d.sync += [self.scalar.table.eq(ScalarTable.EXP), self.scalar.x.eq(argument)]
        m.d.comb += self.scalar.enable.eq(uses[asked] | asking)
        return offset + self.scalar.y, delay_line(m, late, INTERPOLATOR_LATENCY, "late")[-1]

    def _squared_error(self, m: Module, distance: Signal, use: Value, first: Value) -> Signal:
        """The sum of squares, in cycle ``LOSS_SQUARE_STAGE`` of the lane's last element."""
        width = self.config.width
        m.submodules.multiplier = multiplier = Multiplier(a=unsigned(width), b=unsigned(width))
        magnitude = Signal(width)
        error = Signal(_RAW_BITS, reset_less=True)
        uses, firsts = (delay_line(m, tag, MULTIPLIER_LATENCY + 1, "tag")[-1] for tag in (use, first))
        m.d.comb += [
            magnitude.eq(Mux(distance[-1], -distance, distance)),
            multiplier.enable.eq(~0),
            multiplier.a.eq(magnitude),
            multiplier.b.eq(magnitude),
        ]
        with m.If(uses):
            m.d.sync += error.eq(Mux(firsts, 0, error) + multiplier.product)
        return error

    def _finish(self, m: Module, squared: Value, raw: Signal, counts: Signal, ends: Signal) -> None:
        """Shifts a lane's loss to ``loss_frac`` bits, rounds, clips and adds it."""
        # A right shift of the loss and 16 + 1 zeros below it, whose lowest bit that is left is the rounding bit.
        # Bits that cannot come down any more to the 24 + 1 that are kept show an overflow at once.
        shift = Signal(range(3 * _MAX_FRAC + 1))
        m.d.sync += shift.eq(_MAX_FRAC - self.fields.loss_frac + Mux(squared, self.fields.z_frac << 1, _MAX_FRAC))
        value: Value = raw << (_MAX_FRAC + 1)
        beyond: Value = Const(0)
        for low, high in ((4, 6), (2, 4), (0, 2)):
            kept = Signal(_LOSS_BITS + 1 + (1 << low) - 1, name=f"shifted{low}", reset_less=True)
            overflow = Signal(name=f"overflow{low}")
            wide = Signal(len(value), name=f"wide{low}")
            m.d.comb += wide.eq(value >> (shift[low:high] << low))
            m.d.sync += [kept.eq(wide), overflow.eq(beyond | wide[len(kept) :].any())]
            value, beyond = kept, overflow
        rounded = Signal(_LOSS_BITS + 1, reset_less=True)
        overflows = Signal()
        m.d.sync += [rounded.eq((value + 1) >> 1), overflows.eq(beyond)]

        counts = delay_line(m, counts, 4, "counts")[-1]
        clip = Signal()
        clipped = Signal(_LOSS_BITS)
        m.d.comb += clip.eq(overflows | rounded[-1])
        m.d.sync += [
            clipped.eq(Mux(counts, rounded[:_LOSS_BITS] | clip.replicate(_LOSS_BITS), 0)),
            self.saturations.eq(counts & clip),
            self.loss.eq(Mux(self.start, 0, self.loss + clipped)),
        ]
        m.d.comb += self.done.eq(delay_line(m, ends, LOSS_FINISH_CYCLES, "ends")[-1])

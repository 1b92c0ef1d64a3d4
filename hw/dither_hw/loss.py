"""LOSS: softmax cross-entropy and squared error, one lane after the other."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

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
    FIRST = 2
    """CROSS_ENTROPY: the pass that finds the maximum; SQUARED_ERROR: an output."""
    SECOND = 3
    """CROSS_ENTROPY: the pass that sums exponentials; SQUARED_ERROR: the target of the last output."""


class LossUnit(wiring.Component):
    """Sums the lanes' losses, bit-exact to :func:`dither.golden.loss.loss`.

    One element (an output, a target or a label of one lane) is read each cycle and goes down one pipeline: memory,
    lane multiplexer in two levels, then either distance to the maximum, alignment, exponential, sum, logarithm; or
    difference, square, sum. Rounding, clipping and the sum over lanes follow. The lanes follow each other without a
    gap; a lane's logarithm is looked up during the next lane's first pass, which leaves the tables alone and lasts
    long enough for it, also with few outputs.

    Cycles: :func:`dither.timing.execution_cycles`; a lane takes ``1 + max(C, 9) + C`` (CROSS_ENTROPY) or ``1 + 2C``.
    Nothing depends on data. The scalar tables must give ``exp(0) >= 2**17``, as those of :mod:`dither.tables` do.

    Resources (ECP5, R = 4, L = 32, W = 18, without the tables): about 1400 LUT4, 190 carry cells, 1000
    flip-flops, one multiplier.

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
        tags, lane = self._read(m, squared)
        element = self._select(m, lane)

        # Everything below sees an element's tags when it sees the element.
        label, take, begin, use, first, last, final = (delay_line(m, tag, _ARRIVAL, "tag")[-1] for tag in tags)
        distance, hit, live = self._compare(m, squared, element, label, take, begin, use)

        # The two kinds leave the pipeline at different stages; what is out of it must not reach the other exit, where
        # it would meet the next instruction.
        entropy = self._cross_entropy(m, distance, hit, use & ~squared, first, last & ~squared)
        error = self._squared_error(m, distance, use & squared, first)
        ending = delay_line(m, Cat(last & live, final), LOSS_SQUARE_STAGE - _ARRIVAL, "ending")[-1]
        early, late = ending & squared.replicate(2), ending & (~squared).replicate(2)
        late = delay_line(m, late, LOSS_LOGARITHM_STAGE - LOSS_SQUARE_STAGE, "late")[-1]
        raw, counts, ends = Signal(_RAW_BITS), Signal(), Signal()
        m.d.sync += [raw.eq(Mux(squared, error, entropy)), Cat(counts, ends).eq(early | late)]
        self._finish(m, squared, raw, counts, ends)
        return m

    def _read(self, m: Module, squared: Value) -> tuple[Sequence[Value], Signal]:
        """Walks lanes and elements. Returns the tags of the element that is addressed in this cycle (label, take it
        into the maximum, begin the maximum with it, use it in the sum, first and last of the sum, last of all) and its
        lane."""
        fields = self.fields
        phase = Signal(_Phase)
        lane = Signal(range(max(self.config.lanes, 2)))
        left = Signal(_COUNT_BITS)  # elements of this pass
        spare = Signal(range(LOSS_SHORTEST_PASS))
        address, other = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        beginning, last = Signal(), Signal()
        ends_pass, last_lane = Signal(), Signal()
        m.d.comb += [
            self.activation.addr.eq(address),
            ends_pass.eq(~left[1:].any()),
            last.eq((phase == _Phase.SECOND) & ends_pass),
            last_lane.eq(lane == self.config.lanes - 1),
        ]
        with m.Switch(phase):
            with m.Case(_Phase.LABEL):
                m.d.sync += [
                    phase.eq(_Phase.FIRST),
                    address.eq(fields.z_base),
                    other.eq(fields.t_base),
                    left.eq(fields.count),
                    spare.eq(LOSS_SHORTEST_PASS - 1),
                    beginning.eq(1),
                ]
            with m.Case(_Phase.FIRST):
                m.d.sync += address.eq(address + fields.z_step)
                with m.If(squared):
                    m.d.sync += [phase.eq(_Phase.SECOND), address.eq(other), other.eq(address + fields.z_step)]
                with m.Else():
                    m.d.sync += [beginning.eq(0), left.eq(left - left.any()), spare.eq(spare - spare.any())]
                    with m.If(ends_pass & (spare == 0)):
                        m.d.sync += [
                            phase.eq(_Phase.SECOND),
                            address.eq(fields.z_base),
                            left.eq(fields.count),
                            beginning.eq(1),
                        ]
            with m.Case(_Phase.SECOND):
                m.d.sync += [beginning.eq(0), left.eq(left - 1), address.eq(address + fields.z_step)]
                with m.If(squared):
                    m.d.sync += [phase.eq(_Phase.FIRST), address.eq(other), other.eq(address + fields.t_step)]
                with m.If(last):
                    m.d.sync += [
                        phase.eq(Mux(last_lane, _Phase.IDLE, _Phase.LABEL)),
                        address.eq(fields.label),
                        lane.eq(lane + 1),
                    ]
        with m.If(self.start):
            m.d.sync += [phase.eq(_Phase.LABEL), address.eq(fields.label), lane.eq(0)]

        is_first = phase == _Phase.FIRST
        is_second = phase == _Phase.SECOND
        take = is_first & left.any()
        begin, first = is_first & (beginning | squared), is_second & beginning
        return (phase == _Phase.LABEL, take, begin, is_second, first, last, last & last_lane), lane

    def _select(self, m: Module, lane: Signal) -> Signal:
        """The lane's part of the word that was addressed ``MEMORY_LATENCY + 2`` cycles ago."""
        lanes, width = self.config.lanes, self.config.width
        near, far = lane[:3], lane[3:]
        near = delay_line(m, near, MEMORY_LATENCY, "near")[-1]
        far = delay_line(m, far, MEMORY_LATENCY + 1, "far")[-1]
        words = [self.activation.data[i * width : (i + 1) * width] for i in range(lanes)]
        groups = []
        for i in range(0, lanes, _FAN_IN):
            group = Signal(width, name=f"group{i // _FAN_IN}", reset_less=True)
            m.d.sync += group.eq(Array(words[i : i + _FAN_IN])[near])
            groups.append(group)
        element = Signal(signed(width), reset_less=True)
        m.d.sync += element.eq(Array(groups)[far])
        return element

    def _compare(
        self, m: Module, squared: Value, element: Signal, label: Value, take: Value, begin: Value, use: Value
    ) -> tuple[Signal, Signal, Signal]:
        """The distance of the element from the maximum (or of the target from its output), one cycle later; whether
        the element is the label's; whether the lane counts, valid with its last element."""
        wanted = Signal(signed(self.config.width))
        index = Signal(_COUNT_BITS)
        found = Signal()
        reference = Signal(signed(self.config.width), reset_less=True)
        distance = Signal(signed(self.config.width + 1), reset_less=True)
        hit, live = Signal(), Signal()
        m.d.comb += [
            hit.eq(use & (wanted == index)),
            live.eq(Mux(squared, wanted >= 0, found | hit)),
        ]
        with m.If(label):
            m.d.sync += [wanted.eq(element), index.eq(0), found.eq(0)]
        with m.Elif(use):
            m.d.sync += [index.eq(index + 1), found.eq(found | hit)]
        with m.If(take & (begin | (element > reference))):
            m.d.sync += reference.eq(element)
        m.d.sync += distance.eq(reference - element)
        return distance, hit, live

    def _cross_entropy(self, m: Module, distance: Signal, hit: Value, use: Value, first: Value, last: Value) -> Value:
        """The loss with 16 fraction bits, in cycle ``LOSS_LOGARITHM_STAGE`` of the lane's last element."""
        stages = LOSS_LOGARITHM_STAGE - _ARRIVAL
        uses, firsts, lasts = (delay_line(m, tag, stages, "tag") for tag in (use, first, last))
        hits = delay_line(m, hit, 3, "hit")

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
        label_distance = Signal.like(aligned)
        with m.If(hits[3]):
            m.d.sync += label_distance.eq(aligned)
        rounded = Signal(SCALAR_INPUT_BITS + 1, reset_less=True)
        beyond = Signal()
        m.d.sync += [
            rounded.eq((aligned[3 : SCALAR_INPUT_BITS + 4] + 1) >> 1),
            beyond.eq(aligned[SCALAR_INPUT_BITS + 4 :].any()),
        ]

        asked = LOSS_EXPONENTIAL_STAGE - _ARRIVAL  # in the cycle before, the argument is written
        logarithm_asked = stages - INTERPOLATOR_LATENCY
        total = Signal(_SUM_BITS, reset_less=True)
        with m.If(uses[asked + INTERPOLATOR_LATENCY]):
            m.d.sync += total.eq(Mux(firsts[asked + INTERPOLATOR_LATENCY], 0, total) + self.scalar.y)

        summed = asked + INTERPOLATOR_LATENCY + 1
        exponent = Signal(range(_SUM_BITS - _ONE))
        mantissa = Signal(_SUM_BITS - 1, reset_less=True)
        with m.If(lasts[summed]):
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
        with m.If(lasts[logarithm_asked - 1]):
            m.d.sync += offset.eq(label_distance + units)

        with m.If(lasts[logarithm_asked - 1]):
            m.d.sync += [self.scalar.table.eq(ScalarTable.LOG), self.scalar.x.eq(shifted >> fine)]
        with m.Else():
            argument = Mux(beyond | rounded[-1], (1 << SCALAR_INPUT_BITS) - 1, rounded)
            m.d.sync += [self.scalar.table.eq(ScalarTable.EXP), self.scalar.x.eq(argument)]
        m.d.comb += self.scalar.enable.eq(uses[asked] | lasts[logarithm_asked])
        return offset + self.scalar.y

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

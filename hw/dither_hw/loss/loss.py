"""The unit of LOSS: softmax cross-entropy and squared error, one element a cycle."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import LossKind, LossMode
from dither.arch.timing import (
    INTERPOLATOR_LATENCY,
    LOSS_EXPONENTIAL_STAGE,
    LOSS_PAUSE,
    LOSS_SHORTEST_PASS,
    LOSS_SQUARE_STAGE,
    MULTIPLIER_LATENCY,
)

from ..base.interfaces import ADDRESS_BITS, LaneWritePort, ReadPort, instruction_layout
from ..base.multiplier import Multiplier
from ..base.pipeline import delay_line
from ..tables.scalar_tables import ScalarPort
from .entropy import ARRIVAL, COUNT_BITS, CrossEntropy, Ending
from .results import RAW_BITS, LossResults

__all__ = ["LossUnit"]

_FAN_IN = 4  # lanes that the first level of the lane multiplexer selects from
_PLACE_BITS = 2
_MAX_LANES = 64
_DERIVATIVE_STAGE = LOSS_EXPONENTIAL_STAGE + INTERPOLATOR_LATENCY


class _Phase(IntEnum):
    """What the unit reads in this cycle."""

    IDLE = 0
    LABEL = 1
    OUTPUT = 2
    TARGET = 3
    """The target that belongs to the output just read is read, for SQUARED_ERROR."""
    PAUSE = 4
    """Nothing is read until the lane's logarithm is known, for derivatives of CROSS_ENTROPY."""
    DERIVATIVE = 5
    """An output whose derivative is to be written is read."""


class _Tags(NamedTuple):
    """What the pipeline has to know about an element.

    Two lanes are at work: the lane ahead, whose maximum is being found, and the lane behind, the
    one before it, whose loss is being summed.
    """

    label: Value
    take: Value
    """The element is an output; that of the lane ahead is compared with the maximum so far."""
    begin: Value
    """The maximum begins anew with the element."""
    use: Value
    """The element of the lane behind is added to that lane's sum."""
    first: Value
    """The sum begins anew with the element."""
    last: Value
    """The lane's sum is complete with the element."""
    final: Value
    """The sum of the last lane is complete with the element."""
    rewind: Value
    """The outputs of the lane behind are counted from zero again."""
    derive: Value
    """A derivative is wanted: by the element or, for a target, by the output before it."""
    closes: Value
    """The element's derivative is the last one of its lane."""


class LossUnit(wiring.Component):
    """Computes the lanes' losses, their sum and, where asked, their derivatives (instruction LOSS).

    The results are bit-exact to :func:`dither.golden.loss.loss`. One word is read in each cycle: an
    output, a target or the labels, for all lanes. Two neighbouring lanes are chosen from it. The
    lane behind goes down the pipeline: for CROSS_ENTROPY through distance to the maximum,
    alignment, exponential, sum and logarithm; for SQUARED_ERROR through difference, square and sum.
    Rounding, clipping and the sum over the lanes follow. Meanwhile, CROSS_ENTROPY finds the maximum
    of the lane ahead, so that every round over the outputs completes a lane. A lane's logarithm is
    looked up when the tables are next free of exponentials, at the latest when labels pass.

    Of two neighbouring lanes, one has an even number and the other an odd one. Each is chosen from
    its own half of the lanes, so choosing two costs little more than choosing one.

    Derivatives of squared errors are the differences on their way to the squares. For derivatives
    of CROSS_ENTROPY, a lane's outputs pass a second time when its logarithm is known
    (:class:`~dither_hw.loss.entropy.CrossEntropy`). Results are written lane by lane, each into its
    lane's number of a word.

    Cycles: :func:`dither.arch.timing.execution_cycles`. With C outputs, a lane of CROSS_ENTROPY
    takes ``1 + max(C, LOSS_SHORTEST_PASS)`` cycles, and one round more comes before all lanes; a
    lane of SQUARED_ERROR takes ``1 + 2C``. Derivatives of CROSS_ENTROPY take ``LOSS_PAUSE + C``
    more for each lane. No number of cycles depends on data. The scalar tables must give
    ``exp(0) >= 2**17``, as those of :mod:`dither.arch.tables` do.

    Resources (ECP5, R = 4, L = 32, W = 18, without the tables): about 1700 LUT4, 250 carry cells,
    1290 flip-flops, 32 words of 24 bits in distributed RAM, one multiplier; without
    ``local_learning`` 1460 LUT4, 195 carry cells, 1080 flip-flops. Alone on an ECP5-85F of speed
    grade 6, it runs at 140 MHz either way.

    Attributes
    ----------
    reset : In(1)
        Makes the unit read nothing more; what is under way leaves the pipeline.
    start, done : In, Out
        Pulses in the first and in the last cycle of the instruction.
    fields : In
        The instruction, stable from ``start`` to ``done``.
    activation : Out
        Read port of the activation memory, L times W bits.
    scalar : Out(ScalarPort)
        Lookups in the scalar tables.
    loss : Out(32)
        The sum of the lanes' losses, from ``done`` to the next ``start``.
    saturations : Out
        Number of losses and results that were clipped in one cycle.
    result : Out(LaneWritePort)
        Writes differences and derivatives to the activation memory; zero in all cycles in which
        nothing is written. Only with ``config.local_learning``, as are all modes but SUM.

    :param config: gives L, W and ``local_learning``; at most 64 lanes.
    :raises ValueError: with more than 64 lanes.
    """

    def __init__(self, config: EngineConfig) -> None:
        if config.lanes > _MAX_LANES:
            raise ValueError(f"the loss unit takes up to {_MAX_LANES} lanes, not {config.lanes}")
        self.config = config
        ports = {
            "reset": In(1),
            "start": In(1),
            "done": Out(1),
            "fields": In(instruction_layout("LOSS")),
            "activation": Out(ReadPort(config.lanes * config.width)),
            "scalar": Out(ScalarPort()),
            "loss": Out(32),
            "saturations": Out(2 if config.local_learning else 1),
        }
        if config.local_learning:
            ports["result"] = Out(LaneWritePort(config.lanes, config.width))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.entropy = entropy = CrossEntropy(config)
        m.submodules.results = results = LossResults(config)
        squared = Signal()
        m.d.comb += squared.eq(self.fields.kind == LossKind.SQUARED_ERROR.value)
        tags, ahead, behind = self._read(m, squared)
        leading, element = self._select(m, ahead, behind)

        # Everything below sees an element's tags when it sees the element.
        tags = _Tags(*(delay_line(m, tag, ARRIVAL, name)[-1] for name, tag in tags._asdict().items()))
        distance, hit, live = self._compare(m, squared, leading, element, tags)

        # The two kinds of loss leave the pipeline at different stages. What has left at one must
        # not reach the other, where it would meet the next instruction.
        ending = Signal(Ending)
        m.d.comb += [ending.counts.eq(tags.last & live), ending.over.eq(tags.last), ending.final.eq(tags.final)]
        m.d.comb += [
            entropy.z_frac.eq(self.fields.z_frac),
            entropy.distance.eq(distance),
            entropy.use.eq(tags.use & ~squared),
            entropy.first.eq(tags.first),
            entropy.last.eq(tags.last & ~squared),
            entropy.hit.eq(hit),
            entropy.ending.eq(ending),
            entropy.derive.eq(tags.derive & ~squared),
        ]
        wiring.connect(m, entropy.scalar, wiring.flipped(self.scalar))
        error = self._squared_error(m, distance, tags.use & squared, tags.first)
        early = delay_line(m, Mux(squared, ending, 0), LOSS_SQUARE_STAGE - ARRIVAL, "early")[-1]
        raw, ends = Signal(RAW_BITS), Signal(Ending)
        m.d.sync += [raw.eq(Mux(squared, error, entropy.loss)), ends.eq(early | entropy.ended.as_value())]
        m.d.comb += [
            results.start.eq(self.start),
            results.fields.eq(self.fields),
            results.raw.eq(raw),
            results.ending.eq(ends),
            self.done.eq(results.done),
            self.loss.eq(results.loss),
            self.saturations.eq(results.saturations),
        ]
        if config.local_learning:
            self._derive(m, squared, tags, live, distance, entropy, results)
        return m

    def _derive(
        self,
        m: Module,
        squared: Value,
        tags: _Tags,
        live: Value,
        distance: Value,
        entropy: CrossEntropy,
        results: LossResults,
    ) -> None:
        """Hands derivatives of either kind to the results, with the tags that belong to them."""
        order = Signal(2)
        m.d.comb += order.eq(Cat(tags.derive, tags.closes))
        orders = delay_line(m, Mux(squared, 0, order), _DERIVATIVE_STAGE - ARRIVAL, "order")[-1]
        early = Signal(2, name="early_order")
        m.d.sync += early.eq(Mux(squared, order, 0))
        # The lane's last derivative is out before the next lane's first is wanted.
        counts = Signal(name="derivative_counts")
        with m.If(tags.derive):
            m.d.sync += counts.eq(live)
        m.d.comb += [
            results.derivative.eq(Mux(squared, distance, entropy.derivative)),
            Cat(results.valid, results.closes).eq(early | orders),
            results.live.eq(counts),
        ]
        wiring.connect(m, results.result, wiring.flipped(self.result))

    def _read(self, m: Module, squared: Value) -> tuple[_Tags, Signal, Signal]:
        """Walks through lanes and elements.

        Returns the tags of the element that is addressed in this cycle, the number of the lane
        ahead and that of the lane behind.
        """
        fields, lanes = self.fields, self.config.lanes
        phase = Signal(_Phase)
        ahead, behind = Signal(range(lanes + 1)), Signal(range(lanes + 1))
        left = Signal(COUNT_BITS)  # outputs of this round
        spare = Signal(range(max(LOSS_SHORTEST_PASS, LOSS_PAUSE)))
        address, other = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        # Registers hold what is asked of counters: ``ending`` says left <= 1, ``rested`` spare ==
        # 0, ``some`` left != 0, ``follows`` ahead != 0.
        beginning, ending, rested, last_round = Signal(), Signal(), Signal(), Signal()
        some, follows = Signal(), Signal()
        single = Signal()
        derives, pauses = Signal(), Signal()
        m.d.comb += [
            self.activation.addr.eq(address),
        ]
        m.d.sync += [last_round.eq(ahead == lanes), single.eq(~fields.count[1:].any())]
        if self.config.local_learning:
            m.d.comb += derives.eq(fields.mode == LossMode.ERROR.value)
            m.d.sync += pauses.eq(derives & follows)
        next_round = [
            phase.eq(Mux(last_round, _Phase.IDLE, _Phase.LABEL)),
            address.eq(fields.label),
            behind.eq(ahead),
            ahead.eq(ahead + 1),
            follows.eq(1),
        ]
        with m.Switch(phase):
            with m.Case(_Phase.LABEL):
                m.d.sync += [
                    phase.eq(_Phase.OUTPUT),
                    address.eq(fields.z_base),
                    other.eq(fields.t_base),
                    left.eq(fields.count),
                    ending.eq(single),
                    some.eq(1),
                    spare.eq(LOSS_SHORTEST_PASS - 1),
                    rested.eq(LOSS_SHORTEST_PASS == 1),
                    beginning.eq(1),
                ]
            with m.Case(_Phase.OUTPUT):
                m.d.sync += address.eq(address + fields.z_step)
                with m.If(squared):
                    m.d.sync += [phase.eq(_Phase.TARGET), address.eq(other), other.eq(address + fields.z_step)]
                with m.Else():
                    m.d.sync += [beginning.eq(0), left.eq(left - some), spare.eq(spare - spare.any())]
                    m.d.sync += [ending.eq(left <= 2), some.eq(left[1:].any()), rested.eq(spare <= 1)]
                    with m.If(ending & rested):
                        m.d.sync += next_round
                        if self.config.local_learning:
                            with m.If(pauses):
                                m.d.sync += [
                                    phase.eq(_Phase.PAUSE),
                                    spare.eq(LOSS_PAUSE - 1),
                                    rested.eq(LOSS_PAUSE == 1),
                                    ahead.eq(ahead),
                                    behind.eq(behind),
                                ]
            with m.Case(_Phase.TARGET):
                m.d.sync += [
                    beginning.eq(0),
                    left.eq(left - 1),
                    ending.eq(left <= 2),
                    phase.eq(_Phase.OUTPUT),
                    address.eq(other),
                    other.eq(address + fields.t_step),
                ]
                with m.If(ending):
                    m.d.sync += next_round
            if self.config.local_learning:
                with m.Case(_Phase.PAUSE):
                    m.d.sync += [address.eq(fields.z_base), left.eq(fields.count), ending.eq(single)]
                    m.d.sync += [spare.eq(spare - 1), rested.eq(spare <= 1)]
                    with m.If(rested):
                        m.d.sync += phase.eq(_Phase.DERIVATIVE)
                with m.Case(_Phase.DERIVATIVE):
                    m.d.sync += [address.eq(address + fields.z_step), left.eq(left - 1), ending.eq(left <= 2)]
                    with m.If(ending):
                        m.d.sync += next_round
        with m.If(self.start):
            # Squared errors need no maximum, so no round comes before the first lane's.
            m.d.sync += [phase.eq(_Phase.LABEL), address.eq(fields.label), ahead.eq(squared), behind.eq(0)]
            m.d.sync += follows.eq(squared)
        with m.If(self.reset):
            m.d.sync += phase.eq(_Phase.IDLE)

        take = (phase == _Phase.OUTPUT) & some
        use = Mux(squared, phase == _Phase.TARGET, take & follows)
        last = use & ending
        label = phase == _Phase.LABEL
        derive: Value = Const(0)
        rewind: Value = label
        if self.config.local_learning:
            derive = (phase == _Phase.DERIVATIVE) | (use & squared & derives)
            rewind = label | (phase == _Phase.PAUSE)
        tags = _Tags(
            label=label,
            take=take,
            begin=beginning,
            use=use,
            first=beginning,
            last=last,
            final=last & last_round,
            rewind=rewind,
            derive=derive,
            closes=derive & ending,
        )
        return tags, ahead, behind

    def _select(self, m: Module, ahead: Signal, behind: Signal) -> tuple[Signal, Signal]:
        """Returns both lanes' numbers of the word that was addressed ``ARRIVAL`` cycles ago."""
        lanes, width = self.config.lanes, self.config.width
        words = [Signal(width, name=f"lane{i}", reset_less=True) for i in range(lanes)]
        m.d.sync += Cat(*words).eq(self.activation.data)
        # With behind = ahead - 1, ahead >> 1 is the even lane's place among the even ones, and
        # behind >> 1 the odd's.
        near = [
            delay_line(m, lane[1 : 1 + _PLACE_BITS], ARRIVAL - 3, name)[-1]
            for name, lane in (("even", ahead), ("odd", behind))
        ]
        groups: list[Signal] = []
        for i in range(0, lanes, 2 * _FAN_IN):
            for parity, places in enumerate(near):
                members = words[i + parity : i + 2 * _FAN_IN : 2]
                if members:
                    place = Signal.like(places, name=f"place{len(groups)}_copy")
                    m.d.sync += place.eq(places)
                    group = Signal(width, name=f"group{len(groups)}", reset_less=True)
                    m.d.sync += group.eq(Array(members)[place])
                    groups.append(group)
        picked = []
        for name, lane in (("leading", ahead), ("element", behind)):
            far = delay_line(m, Cat(lane[0], lane[1 + _PLACE_BITS :]), ARRIVAL - 1, f"{name}_far")[-1]
            element = Signal(signed(width), name=name, reset_less=True)
            m.d.sync += element.eq(Array(groups)[far])
            picked.append(element)
        leading, element = picked
        return leading, element

    def _compare(
        self, m: Module, squared: Value, leading: Signal, element: Signal, tags: _Tags
    ) -> tuple[Signal, Signal, Signal]:
        """Compares an element with its lane's maximum (or a target with its output) and its label.

        Returns the distance, one cycle later; whether the element is the label's; and whether the
        lane counts, which is valid with the lane's last element.
        """
        wanted = Signal(signed(self.config.width))
        index = Signal(COUNT_BITS)
        found = Signal()
        highest = Signal(signed(self.config.width), reset_less=True)
        reference = Signal(signed(self.config.width), reset_less=True)
        distance = Signal(signed(self.config.width + 1), reset_less=True)
        hit, live = Signal(), Signal()
        passes = tags.use | tags.derive
        m.d.comb += [
            hit.eq(passes & (wanted == index)),
            live.eq(Mux(squared, wanted >= 0, found | hit)),
        ]
        with m.If(tags.label):
            m.d.sync += [wanted.eq(element), found.eq(0)]
        with m.Elif(hit):
            m.d.sync += found.eq(1)
        with m.If(tags.rewind):
            m.d.sync += index.eq(0)
        with m.Elif(passes):
            m.d.sync += index.eq(index + 1)
        with m.If(tags.take & (tags.begin | (leading > highest))):
            m.d.sync += highest.eq(leading)
        with m.If(tags.label | (squared & tags.take)):
            m.d.sync += reference.eq(Mux(squared, element, highest))
        m.d.sync += distance.eq(reference - element)
        return distance, hit, live

    def _squared_error(self, m: Module, distance: Signal, use: Value, first: Value) -> Signal:
        """Returns a lane's sum of squares, in cycle ``LOSS_SQUARE_STAGE`` of its last element."""
        width = self.config.width
        m.submodules.multiplier = multiplier = Multiplier(a=unsigned(width), b=unsigned(width))
        magnitude = Signal(width, reset_less=True)
        error = Signal(RAW_BITS, reset_less=True)
        uses, firsts = (delay_line(m, tag, MULTIPLIER_LATENCY + 2, "tag")[-1] for tag in (use, first))
        m.d.sync += magnitude.eq(Mux(distance[-1], -distance, distance))
        m.d.comb += [multiplier.a.eq(magnitude), multiplier.b.eq(magnitude)]
        with m.If(uses):
            m.d.sync += error.eq(Mux(firsts, 0, error) + multiplier.product)
        return error

"""The unit of UPDATE: it takes one optimiser step, a parameter every few cycles."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import GRADIENT_BITS, MASTER_BITS, Rule
from dither.arch.moments import ADAM_FRAC, COARSE_SHIFT, EPSILON, MOMENT_FRAC, ROOT_SHIFT, SQUARE_FRAC, WIDE_BITS
from dither.arch.tables import SCALAR_INPUT_BITS, SCALAR_VALUE_BITS, ScalarTable
from dither.arch.timing import INTERPOLATOR_LATENCY, MEMORY_LATENCY, MULTIPLIER_LATENCY, UPDATE_INTERVAL, UPDATE_LATENCY

from ..base.interfaces import ADDRESS_BITS, ReadPort, WritePort, instruction_layout
from ..base.multiplier import Multiplier
from ..base.schedule import Kept, Schedule, Slots
from ..tables.scalar_tables import ScalarPort

__all__ = ["RoundingShifter", "UpdateUnit", "WideMultiplier"]

_SHIFTED_BITS = 17
_SHIFTED_PRODUCT_BITS = 36
_DIRECTION_BITS = 18
_SIGN_UNIT = 4096
_FINE_BITS = MASTER_BITS - 1
"""Bits of a second moment's word in which it counts, on either scale."""
_HALF_SHIFT = 16
"""Where the leading one of a second moment is brought, above a mantissa and a bit that is cut."""
_NEAR_ROWS = 4
_SELECTION = 1
"""Cycles between the two levels in which a row is chosen from a part of a word."""
_MANTISSA_BITS = SCALAR_INPUT_BITS - 1
_MEMORIES = {"gradient": GRADIENT_BITS, "master": MASTER_BITS, "moment1": MASTER_BITS, "moment2": MASTER_BITS}


class WideMultiplier(wiring.Component):
    """Multiplies 32 signed bits (``a``) by 18 unsigned bits (``b``), with two 18x18 multipliers.

    Latency: :attr:`LATENCY` cycles; throughput: one product a cycle. The multipliers take ``b`` as
    a signed number; where its highest bit is set, adding ``a << 18`` makes up for that.

    Resources: two 18x18 multipliers, two adders of 50 bits.
    """

    LATENCY = MULTIPLIER_LATENCY + 2
    """Cycles from the operands to their product."""

    def __init__(self) -> None:
        super().__init__(
            {
                "a": In(signed(MASTER_BITS)),
                "b": In(SCALAR_VALUE_BITS),
                "product": Out(signed(MASTER_BITS + SCALAR_VALUE_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        half, width = MASTER_BITS // 2, SCALAR_VALUE_BITS
        m.submodules.high = high = Multiplier(a=signed(half), b=signed(width))
        m.submodules.low = low = Multiplier(a=signed(half + 1), b=signed(width))
        m.d.comb += [high.a.eq(self.a[half:]), low.a.eq(self.a[:half])]
        m.d.comb += [part.b.eq(self.b) for part in (high, low)]

        missing: Value = Mux(self.b[-1], self.a, 0)
        for i in range(MULTIPLIER_LATENCY + 1):
            delayed = Signal(signed(MASTER_BITS), name=f"missing{i}", reset_less=True)
            m.d.sync += delayed.eq(missing)
            missing = delayed
        total, product = (Signal.like(self.product, name=name, reset_less=True) for name in ("total", "whole"))
        m.d.sync += [total.eq((high.product << half) + low.product), product.eq(total + (missing << width))]
        m.d.comb += self.product.eq(product)
        return m


class RoundingShifter(wiring.Component):
    """Shifts right and rounds half up: ``result = (value + 2**(amount-1)) >> amount``.

    ``value`` has 50 bits and is signed, ``amount`` goes from 0 to 47 (0 changes nothing), and the
    result must fit in 48 bits. Latency: :attr:`LATENCY` cycles for ``result``, one less for
    ``floor``, which is the result without rounding. Throughput: one shift a cycle.

    Resources: two levels of multiplexers (6 and 8 inputs, about 50 bits), an adder of 49 bits, no
    multiplier.
    """

    LATENCY = 4
    """Cycles from a value to its rounded result."""
    VALUE_BITS = 50
    """Width in bits of the value that is shifted."""
    RESULT_BITS = GRADIENT_BITS
    """Width in bits of a result."""

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(self.VALUE_BITS)),
                "amount": In(range(GRADIENT_BITS)),
                "floor": Out(signed(self.RESULT_BITS)),
                "result": Out(signed(self.RESULT_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # One more bit below takes the half to be added.
        value = Signal(signed(self.VALUE_BITS + 1), reset_less=True)
        amount = Signal.like(self.amount)
        coarse = Signal.like(value)
        fine_amount = Signal(3)
        fine = Signal(signed(self.RESULT_BITS + 1), reset_less=True)
        result = Signal.like(self.result, reset_less=True)
        m.d.sync += [
            value.eq(self.value << 1),
            amount.eq(self.amount),
            coarse.eq(value >> (amount[3:] << 3)),
            fine_amount.eq(amount[:3]),
            fine.eq(coarse >> fine_amount),
            result.eq((fine + 1) >> 1),
        ]
        m.d.comb += [self.floor.eq(fine >> 1), self.result.eq(result)]
        return m


class UpdateUnit(wiring.Component):
    """Takes an optimiser step for all parameters of consecutive words (instruction UPDATE).

    The results are bit-exact to :func:`dither.golden.update.update`. A parameter enters every
    :data:`dither.arch.timing.UPDATE_INTERVAL` cycles and is written
    :data:`dither.arch.timing.UPDATE_LATENCY` cycles later, whatever the rule and the data;
    parameters overlap in between. All six shifts of a parameter pass through one shifter, all three
    products through one multiplier (see :mod:`dither_hw.base.schedule`). Each memory is read just
    when its value is needed. A part of a word is written when its last row's value is known.

    Cycles: :func:`dither.arch.timing.execution_cycles`.

    Resources (ECP5, R = 4, without the tables): about 1820 LUT4, 240 carry cells, 2470 flip-flops,
    two multipliers.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle of the instruction.
    fields : In
        The instruction, stable from ``start`` to ``done``.
    rate : In(32)
        Value of the register that the field of this name chooses, as stable as ``fields``; its
        lowest 18 bits count.
    gradient, master, moment1, moment2 : Out
        Read ports of the states: for every row of a part of a word 48 bits of gradient, 32 of the
        others.
    gradient_write, master_write, moment1_write, moment2_write : Out
        Write ports of the states. Moments that the rule does not use are not written.
    scalar : Out(ScalarPort)
        Lookups in the scalar tables.
    saturations : Out
        Number of values that were clipped in one cycle, from 0 to 4.

    :param config: gives R and the parts of a word.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        words = {name: config.part_rows * bits for name, bits in _MEMORIES.items()}
        ports = {name: Out(ReadPort(bits)) for name, bits in words.items()}
        ports |= {f"{name}_write": Out(WritePort(bits)) for name, bits in words.items()}
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "fields": In(instruction_layout("UPDATE")),
                "rate": In(32),
                **ports,
                "scalar": Out(ScalarPort()),
                "saturations": Out(range(5)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fields = self.fields
        schedule = Schedule(m, UPDATE_INTERVAL)
        schedule.begin(self.start)
        pipeline = _Pipeline(self, m, schedule)

        adam, momentum, with_moment = Signal(), Signal(), Signal()
        by_sign = Signal()
        m.d.comb += [
            adam.eq(fields.rule == Rule.ADAM.value),
            momentum.eq(fields.rule == Rule.MOMENTUM.value),
            by_sign.eq((fields.rule == Rule.SIGN.value) | (fields.rule == Rule.SIGN_MOMENTUM.value)),
            with_moment.eq(fields.rule >= Rule.MOMENTUM.value),
        ]

        m.submodules.shifter = shifter = RoundingShifter()
        m.submodules.multiplier = multiplier = WideMultiplier()
        shifts = Slots(schedule, shifter.value, shifter.amount)
        products = Slots(schedule, multiplier.a, multiplier.b)
        # Only gradients are wider than a direction times a rate when they are shifted.
        shifted = shifter.result[:_SHIFTED_PRODUCT_BITS].as_signed()

        # h = sat17(rnd(g, gradient_shift))
        t = MEMORY_LATENCY + _SELECTION
        gradient = pipeline.read("gradient", t)
        pipeline.write("gradient", Const(0, GRADIENT_BITS), t + 1, Const(1))
        t = shifts.reserve(t + 1)
        shifts.use(t, gradient.at(t).as_signed(), fields.gradient_shift)
        t += shifter.LATENCY
        h = pipeline.saturate(shifter.result, _SHIFTED_BITS, t, "h", Const(1))
        t_h = t + 1

        # What a rule steps by: s = h, or sign(h) * 4096.
        signal = h.at(t_h)
        sign = Mux(signal == 0, 0, Mux(signal[-1], -_SIGN_UNIT, _SIGN_UNIT))
        drive = schedule.keep(Mux(by_sign, sign, signal), t_h, "drive")

        # First moment. MOMENTUM: (m + (s << 10)) - step(m, b); SIGN_MOMENTUM: m + step((s << 10) -
        # m, b); ADAM likewise, with s << 15. A step is rounded, but is one unit where that is none.
        moment1 = pipeline.read("moment1", t_h).at(t_h + 1).as_signed()
        raised = Mux(adam, drive.at(t_h + 1) << ADAM_FRAC, drive.at(t_h + 1) << MOMENT_FRAC)
        t = t_h + 1
        change = schedule.keep(Mux(momentum, moment1, raised - moment1), t, "change1")
        base = schedule.keep(Mux(momentum, moment1 + raised, moment1), t, "base1")
        t = shifts.reserve(t + 1)
        shifts.use(t, change.at(t), fields.decay1)
        way = change.at(t)
        unit = schedule.keep(Mux(way[-1], -1, way.any()).as_signed(), t, "unit")
        t += shifter.LATENCY
        step = schedule.keep(Mux(shifted.any(), shifted, unit.at(t)), t, "step")
        t += 1
        moved = schedule.keep(
            base.at(t) + Mux(momentum, ~step.at(t).as_signed(), step.at(t).as_signed()) + momentum, t, "moved1"
        )
        moment1 = pipeline.saturate(moved.at(t + 1), MASTER_BITS, t + 1, "moment1_new", with_moment)
        pipeline.write("moment1", moment1.at(t + 2), t + 2, with_moment)
        t_moment1 = t + 2

        # Second moment, unpacked: v + rnd((min(h * h, 2**32 - 2) << 13) - v, c).
        magnitude = schedule.keep(Mux(h.at(t_h)[-1], -h.at(t_h), h.at(t_h))[:_SHIFTED_BITS], t_h, "magnitude")
        t = products.reserve(t_h + 1)
        products.use(t, magnitude.at(t), magnitude.at(t))
        t += multiplier.LATENCY
        limit = multiplier.product[MASTER_BITS].replicate(MASTER_BITS - 1) << 1
        square = schedule.keep(multiplier.product[:MASTER_BITS] | limit, t, "square")
        word = pipeline.read("moment2", t - 1).at(t)
        fine = word[:_FINE_BITS]
        wide = schedule.keep(Mux(word[-1], fine << COARSE_SHIFT, fine), t, "wide")
        t += 1
        change = schedule.keep((square.at(t) << SQUARE_FRAC) - wide.at(t), t, "change2")
        t = shifts.reserve(t + 1)
        shifts.use(t, change.at(t), fields.decay2)
        t += shifter.LATENCY
        wide = schedule.keep((wide.at(t) + shifter.result)[:WIDE_BITS], t, "wide_new")
        t += 1
        coarse = (wide.at(t) + (1 << COARSE_SHIFT - 1))[COARSE_SHIFT:]
        packed = Mux(wide.at(t)[_FINE_BITS:].any(), Cat(coarse[:_FINE_BITS], 1), wide.at(t)[:MASTER_BITS])
        pipeline.write("moment2", schedule.keep(packed, t, "moment2_new").at(t + 1), t + 1, adam)

        # n = max(v + epsilon, 1), e = floor(log2 n), 1/sqrt from the mantissa, the 15 bits below
        # n's leading one: (n << 16) >> e, or n >> (e - 16), without that one and a bit. Zero is
        # taken for 1 by itself. e goes up to 44, so e - 16, where it is not negative, is e without
        # bit 4.
        epsilon = Signal(range(EPSILON + 1))
        m.d.comb += epsilon.eq(EPSILON >> fields.decay2)
        n = schedule.keep((wide.at(t) + epsilon)[:WIDE_BITS], t, "n")
        exponent = _leading_one(schedule, n, t + 1)
        t = shifts.reserve(t + 3)
        large = exponent.at(t)[4:].any()
        shifts.use(t, Mux(large, n.at(t), n.at(t) << _HALF_SHIFT), Cat(exponent.at(t)[:4], exponent.at(t)[5]))
        t += shifter.LATENCY - 1
        # The moment's own exponent is odd where e, which counts from its lowest bit, is even.
        argument = schedule.keep(Cat(shifter.floor[1 : 1 + _MANTISSA_BITS], ~exponent.at(t)[0]), t, "argument")
        # The multiplier takes the root in the cycle in which it comes from the table.
        t = products.reserve(t + 1 + INTERPOLATOR_LATENCY)
        asked = t - INTERPOLATOR_LATENCY
        m.d.comb += [
            self.scalar.enable.eq(schedule.at(asked) & pipeline.valid.at(asked) & adam),
            self.scalar.table.eq(ScalarTable.RSQRT.value),
            self.scalar.x.eq(argument.at(asked)),
        ]

        # Direction. ADAM: sat18(rnd(m * r, 13 + (e + 1 >> 1))); others with a moment: sat18(rnd(m,
        # 10)); the rest: s.
        products.use(t, moment1.at(t).as_signed(), self.scalar.y)
        t += multiplier.LATENCY
        ratio = schedule.keep(multiplier.product, t, "ratio")
        halved = schedule.keep(ROOT_SHIFT + exponent.at(t)[1:] + exponent.at(t)[0], t, "halved")
        t = shifts.reserve(max(t, t_moment1) + 1)
        shifts.use(
            t,
            Mux(adam, ratio.at(t), moment1.at(t).as_signed()),
            Mux(adam, halved.at(t), MOMENT_FRAC),
        )
        t += shifter.LATENCY
        clipped = pipeline.saturate(shifted, _DIRECTION_BITS, t, "clipped", with_moment)
        t += 1
        direction = schedule.keep(Mux(with_moment, clipped.at(t), drive.at(t)), t, "direction")

        # p = sat32(p - rnd(u * rate, rate_shift))
        t = products.reserve(t + 1)
        products.use(t, direction.at(t), self.rate[:SCALAR_VALUE_BITS])
        t += multiplier.LATENCY
        change = schedule.keep(multiplier.product, t, "change")
        t = shifts.reserve(t + 1)
        shifts.use(t, change.at(t), fields.rate_shift)
        t += shifter.LATENCY
        master = pipeline.read("master", t - 1)
        moved = schedule.keep(master.at(t).as_signed() - shifted, t, "moved")
        master = pipeline.saturate(moved.at(t + 1), MASTER_BITS, t + 1, "master_new", Const(1))
        pipeline.write("master", master.at(t + 2), t + 2, Const(1))
        pipeline.finish(t + 3)
        return m


class _Pipeline:
    """Knows which parameter is at which time: reads and writes memories, counts clips, ends."""

    def __init__(self, unit: UpdateUnit, m: Module, schedule: Schedule) -> None:
        self._unit, self._m, self._schedule = unit, m, schedule
        self._rows = unit.config.part_rows
        self._clips: list[Value] = []
        # What this class counts as words are parts of the instruction's words.
        shift = unit.config.part_bits
        count, base = unit.fields.count << shift, unit.fields.base << shift
        valid, words = Signal(), Signal.like(count)
        address, row = Signal(ADDRESS_BITS), Signal(range(max(self._rows, 2)))
        last_row, last = Signal(), Signal()
        m.d.comb += [last_row.eq(row == self._rows - 1), last.eq(last_row & (words == 1))]
        with m.If(unit.start):
            m.d.sync += [valid.eq(1), words.eq(count), address.eq(base), row.eq(0)]
        with m.Elif(schedule.at(-1) & valid):
            m.d.sync += [row.eq(row + 1), valid.eq(~last)]
            with m.If(last_row):
                m.d.sync += [row.eq(0), address.eq(address + 1), words.eq(words - 1)]
        self.valid = Kept(schedule, valid, -1, "valid", unit.start)
        self._last = Kept(schedule, last, -1, "last")
        self._address = Kept(schedule, address, -1, "address")
        self._row = Kept(schedule, row, -1, "row")

    def read(self, memory: str, time: int) -> Kept:
        """Returns the parameter's value in a memory, taken at a time.

        Its row is chosen first within groups of four rows, then among these groups, because a
        memory's banks lie far apart.
        """
        port, bits = getattr(self._unit, memory), _MEMORIES[memory]
        t = time - _SELECTION
        self._m.d.comb += port.addr.eq(self._address.at(t - MEMORY_LATENCY))
        groups: list[Value] = []
        for start in range(0, self._rows, _NEAR_ROWS):
            rows = min(_NEAR_ROWS, self._rows - start)
            part = port.data[start * bits : (start + rows) * bits]
            place = self._row.at(t)[: (rows - 1).bit_length()]
            name = f"{memory}_group{len(groups)}"
            groups.append(self._schedule.keep(part.word_select(place, bits) if rows > 1 else part, t, name).at(time))
        group = self._row.at(time)[(_NEAR_ROWS - 1).bit_length() :]
        return self._schedule.keep(Array(groups)[group] if len(groups) > 1 else groups[0], time, memory)

    def write(self, memory: str, value: Value, time: int, enable: Value) -> None:
        """Collects the parameter's value at a time; a full part is written a cycle later."""
        port = getattr(self._unit, f"{memory}_write")
        bits = _MEMORIES[memory]
        word = Signal(self._rows * bits, name=f"{memory}_word", reset_less=True)
        with self._m.If(self._schedule.copy(time, f"{memory}_word")):
            self._m.d.sync += word.eq(Cat(word, value)[bits:])
        t = time + 1
        full = self._row.at(t) == self._rows - 1
        self._m.d.comb += [
            port.enable.eq(self._schedule.copy(t, f"{memory}_write") & self.valid.at(t) & full & enable),
            port.addr.eq(self._address.at(t)),
            port.data.eq(word),
        ]

    def saturate(self, value: Value, width: int, time: int, name: str, counts: Value) -> Kept:
        """Returns a value clipped to ``width`` bits at a time; clips count where ``counts``."""
        sign, high = value[-1], value[width - 1 : -1]
        clip = Signal(name=f"{name}_clips")
        self._m.d.comb += clip.eq(Mux(sign, ~high.all(), high.any()))
        limit = Cat((~sign).replicate(width - 1), sign)
        self._clips.append(self._schedule.copy(time, f"{name}_clips") & self.valid.at(time) & clip & counts)
        return self._schedule.keep(Mux(clip, limit, value[:width]).as_signed(), time, name)

    def finish(self, time: int) -> None:
        """Ends the instruction when its last parameter is at a time."""
        if time != UPDATE_LATENCY:
            raise ValueError(f"the schedule takes {time} cycles, dither.arch.timing says {UPDATE_LATENCY}")
        self._m.d.comb += self._unit.done.eq(self._schedule.at(time) & self.valid.at(time) & self._last.at(time))
        self._m.d.sync += self._unit.saturations.eq(sum(self._clips))


def _leading_one(schedule: Schedule, value: Kept, time: int) -> Kept:
    """Returns the position of the leading one of a value above zero, two cycles after ``time``."""
    bits = value.at(time)
    groups = [bits[i : i + 8] for i in range(0, len(bits), 8)]
    tops = [schedule.keep(_position(group), time, f"top{i}") for i, group in enumerate(groups)]
    some = schedule.keep(Cat(group.any() for group in groups), time, "some")
    exponent: Value = Const(0)
    for i, top in enumerate(tops):
        exponent = Mux(some.at(time + 1)[i], 8 * i + top.at(time + 1), exponent)
    return schedule.keep(exponent, time + 1, "exponent")


def _position(bits: Value) -> Value:
    """Returns the index of the highest bit that is set."""
    index: Value = Const(0)
    for i, bit in enumerate(bits):
        index = Mux(bit, i, index)
    return index

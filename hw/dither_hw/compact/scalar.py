"""The compact scalar unit: PERTURB, ACCUMULATE, UPDATE, LOSS and the state memory, by a
microprogram on a machine of 16 bits."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory as Contents
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.compact.scalar.assembler import MicroProgram
from dither.arch.compact.scalar.machine import (
    REGISTER_COUNT,
    START_LOAD,
    TARGET_BITS,
    WORD_BITS,
    Flag,
    Jump,
    Operation,
    Source,
    Target,
    When,
    decode,
)
from dither.arch.compact.scalar.program import program as microprogram
from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, Memory

from .memories import BlockMemory

__all__ = ["ScalarUnit"]

_BITS = 16
_PART = 1024  # six block RAMs of iCE40UP, of words of four bits
_LOAD, _STORE = (form.opcode for form in INSTRUCTIONS if form.name in ("LOAD", "STORE"))


class ScalarUnit(wiring.Component):
    """PERTURB, ACCUMULATE, UPDATE, LOSS, and LOAD and STORE of MASTER, GRADIENT, MOMENT1, MOMENT2
    and SCALAR_TABLE: the machine of :mod:`dither.arch.compact.scalar.machine`.

    LOAD and STORE of other memories, PULL, EMIT and CONTRACT are not this unit's; it must not be
    started for them.

    Whatever the unit writes or sends is on ``data``, in the cycle of the strobe that says where it
    goes.

    Cycles: two for each microinstruction, whatever it does, and
    :data:`~dither.arch.compact.scalar.machine.START_CYCLES` for an instruction, from ``start``
    to ``done``, both included; and those of ``waiting``.

    A microinstruction's first cycle reads what it computes with and takes its word apart; the
    second computes, writes and asks for the next word. There, most of what controls the computation
    comes from a register, which costs nothing, since it is one behind a look-up table. A register
    may be read while it is written; the value is undefined then and must not be used.

    Resources on iCE40UP: 460 logic cells; seven block RAMs, one for the registers and the others
    for 1,024 microinstructions. Up to 256 more take two block RAMs and 25 logic cells. Its logic is
    good for 31 MHz.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle of an instruction.
    opcode, memory : In(5), In(Memory)
        The instruction's opcode, and the memory of a LOAD or STORE; stable in the cycle of
        ``start``.
    data : Out(16)
        What is written or sent.
    control_addr, control_data, control_write : Out(8), In(16), Out
        The sequencer's memory: ``control_data`` is what stood at ``control_addr`` a cycle ago; with
        ``control_write``, ``data`` is written there. Read are slots 0 to 9 (16 bits of the
        instruction each, from behind the opcode on; for LOAD and STORE slot 0 is ``base`` and slot
        1 is ``count``) and the halves of scalar registers, of which LOSS writes its target's before
        ``done``.
    state_addr, state_write, state_data : Out(14), Out, In(16)
        The state memory, a single port of latency 1: a write of ``data`` in cycles with
        ``state_write``, else a read. One SB_SPRAM256KA as it is; what a write gives on
        ``state_data`` does not matter.
    activation_addr, activation_lane, activation_data : Out, Out(range(L)), In(16)
        The activation memory: the lane's number of the word, latency 1.
    weight_addr, weight_write : Out, Out
        A write of ``data`` to the weight memory.
    input_valid, input_ready, input_payload : In, Out, In(16)
        The input stream, of 16 bits: a word is two or three beats, lowest first. Three for GRADIENT
        and SCALAR_TABLE (36 bits).
    output_valid, output_ready : Out, In
        The output stream, of 16 bits: ``data`` is the beat.
    waiting : Out
        The unit can do nothing in this cycle but wait for a stream.
    saturations : Out(1)
        A value was clipped: a weight, a loss or something of an update, as the instruction at work
        says.

    :param config: a compact configuration.
    :param program: the microprogram and the registers' first contents; the configuration's own if
        not given.
    :raises ValueError: if jumps do not reach all words, or one of them asks for what the machine
        cannot do at once.
    """

    def __init__(self, config: EngineConfig, *, program: MicroProgram | None = None) -> None:
        program = microprogram(config) if program is None else program
        if not 0 < len(program.words) <= 1 << TARGET_BITS:
            raise ValueError(f"a microprogram has up to {1 << TARGET_BITS} words, not {len(program.words)}")
        for address, number in enumerate(program.words):
            word = decode(number)
            if not word.jump and word.target == Target.P and word.move:
                raise ValueError(f"word {address} sets P and moves it")
            if not word.jump and word.target == Target.Q and word.operation == Operation.MULTIPLY:
                raise ValueError(f"word {address} has a product step change Q twice")
        self.config = config
        self.program = program
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "opcode": In(5),
                "memory": In(Memory),
                "data": Out(_BITS),
                "control_addr": Out(8),
                "control_data": In(_BITS),
                "control_write": Out(1),
                "state_addr": Out(14),
                "state_write": Out(1),
                "state_data": In(_BITS),
                "activation_addr": Out(ceil_log2(config.activation_depth)),
                "activation_lane": Out(range(config.lanes)),
                "activation_data": In(_BITS),
                "weight_addr": Out(ceil_log2(config.parameter_depth)),
                "weight_write": Out(1),
                "input_valid": In(1),
                "input_ready": Out(1),
                "input_payload": In(_BITS),
                "output_valid": Out(1),
                "output_ready": In(1),
                "waiting": Out(1),
                "saturations": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        constants = dict(enumerate(self.program.constants))
        m.submodules.registers = registers = BlockMemory(depth=REGISTER_COUNT, bits=_BITS, init=constants)
        self.word = word = Signal(WORD_BITS)
        self.x = word[12:19]
        # Phases; in one cycle before an instruction's first, ``second`` alone asks for its word.
        self.first, self.second = (Signal(name=name) for name in ("first", "second"))
        self.moves_on, self.acts = (Signal(name=name) for name in ("moves_on", "acts"))
        self.c, self.f = Signal(name="c", reset_less=True), Signal(name="f")
        self.a, self.q = (Signal(_BITS, name=name, reset_less=True) for name in "aq")
        self.b, self.y = (Signal(_BITS, name=name) for name in "by")
        m.d.comb += [
            registers.addr.eq(self.x),
            registers.write_addr.eq(self.x),
            registers.write_data.eq(self.y),
            self.data.eq(self.y),
        ]
        self._phases(m)
        self._fetch(m, self._next(m))
        self._source(m, registers.word)
        self._compute(m)
        m.d.comb += registers.write.eq(self._targets(m))
        return m

    def _fetch(self, m: Module, address: Value) -> None:
        """Words, from memories whose depths are powers of two: others take logic, or block RAMs
        that are half empty.
        """
        words, parts = self.program.words, []
        for number, first in enumerate(range(0, len(words), _PART)):
            own = words[first : first + _PART]
            depth = 1 << max(1, ceil_log2(len(own)))
            memory = Contents(shape=WORD_BITS, depth=depth, init=own, attrs={"rom_style": "block"})
            m.submodules[f"program{number}"] = memory
            port = memory.read_port()
            m.d.comb += [port.addr.eq(address), port.en.eq(self.moves_on)]
            parts.append(port.data)
        if len(parts) == 1:
            m.d.comb += self.word.eq(parts[0])
        else:
            part = Signal(ceil_log2(len(parts)))
            with m.If(self.moves_on):
                m.d.sync += part.eq(address[ceil_log2(_PART) :])
            m.d.comb += self.word.eq(Array(parts)[part])

    def _decoded(self, m: Module, value: Value, *, name: str, init: int | None = None) -> Signal:
        """What the first cycle says, in the second."""
        held = Signal(len(value), name=name, init=init or 0, reset_less=init is None)
        with m.If(self.first):
            m.d.sync += held.eq(value)
        return held

    def _phases(self, m: Module) -> None:
        """Predicates, streams and the order of things."""
        word = self.word
        when, jump = word[19:21], word[0]
        enabled = Signal()
        stall = Signal()
        m.d.comb += enabled.eq(~jump & ~((when == When.F) & ~self.f) & ~((when == When.NOT_F) & self.f))
        acts = self._decoded(m, enabled, name="enabled", init=0)
        takes = self._decoded(m, enabled & (word[5:8] == Source.INPUT), name="takes", init=0)
        gives = self._decoded(m, enabled & (word[8:12] == Target.OUTPUT), name="gives", init=0)
        m.d.sync += [
            self.done.eq(self.first & jump & (word[1:4] == Jump.DONE)),
            self.first.eq(self.moves_on & ~self.done),
            self.second.eq(self.first | self.waiting | self.start),
        ]
        m.d.comb += [
            stall.eq(takes & ~self.input_valid | gives & ~self.output_ready),
            self.moves_on.eq(self.second & ~stall),
            self.waiting.eq(self.second & stall),
            self.acts.eq(self.second & acts & ~stall),
            self.input_ready.eq(self.second & takes & (~gives | self.output_ready)),
            self.output_valid.eq(self.second & gives & (~takes | self.input_valid)),
        ]

    def _next(self, m: Module) -> Value:
        """The address of the next word, in a second cycle; an instruction begins like a return to
        its entry.
        """
        word = self.word
        jump, kind, destination = word[0], word[1:4], word[4 : 4 + TARGET_BITS]
        behind, back = (Signal(TARGET_BITS, name=name, reset_less=True) for name in ("behind", "back"))
        address, entry = (Signal(TARGET_BITS, name=name) for name in ("address", "entry"))
        call = Signal()
        # DONE returns too, but nothing follows.
        returns = self._decoded(m, jump & kind[2], name="returns", init=1)
        taken = Mux(kind[1], ~(self.f & ~kind[0]), ~kind[0] | self.f)
        jumps = self._decoded(m, jump & taken, name="jumps")
        m.d.comb += address.eq(Mux(returns, back, Mux(jumps, destination, behind)))
        transfer = Cat(self.opcode[0] ^ _LOAD & 1, Value.cast(self.memory), Const(0, _BITS))[:TARGET_BITS] | START_LOAD
        m.d.comb += entry.eq(Mux(self.opcode.matches(_LOAD, _STORE), transfer, self.opcode))
        m.d.sync += call.eq(self.first & jump & (kind == Jump.CALL))
        with m.If(self.moves_on):
            m.d.sync += behind.eq(address + 1)
        with m.If(self.start | call):
            m.d.sync += back.eq(Mux(self.start, entry, behind))
        return address

    def _source(self, m: Module, register: Value) -> None:
        """b, or ~b for subtractions, or nothing for a step of a product that adds nothing."""
        word = self.word
        operation, source = word[1:5], word[5:8]
        adds = ~((operation == Operation.MULTIPLY) & ~self.q[0])
        inverts = self._decoded(m, _among(operation, "SUB", "SBC", "NEG"), name="inverts")
        values = {
            Source.R: register,
            Source.STATE: self.state_data,
            Source.ACTIVATION: self.activation_data,
            Source.CONTROL: self.control_data,
            Source.INPUT: self.input_payload,
        }
        # What the machine has itself is chosen in the first cycle already, where that costs
        # nothing.
        chosen = {number: Signal(name=f"from_{number.name.lower()}") for number in Source}
        m.d.comb += [signal.eq(adds & (source == number)) for number, signal in chosen.items()]
        low = self.q[: len(self.x)] & chosen[Source.Q].replicate(len(self.x))
        low = self._decoded(m, low | self.x & chosen[Source.X].replicate(len(self.x)), name="low")
        high = self.q[len(low) :] & self._decoded(m, chosen[Source.Q], name="q_chosen").replicate(_BITS - len(low))
        result: Value = Cat(low, high)
        for number, value in values.items():
            own = self._decoded(m, chosen[number], name=f"{number.name.lower()}_chosen")
            result = result | value & own.replicate(_BITS)
        m.d.comb += self.b.eq(result ^ inverts.replicate(_BITS))

    def _compute(self, m: Module) -> None:
        """y, C and F."""
        word, a, b, y = self.word, self.a, self.b, self.y
        operation, flag = word[1:5], word[21:23]
        # One adder: a or 0 or -1 or b, and b or ~b, and a carry.
        left = Signal(_BITS)
        self.total = total = Signal(_BITS + 1)
        kept = self._decoded(m, ~_among(operation, "LOAD", "INC", "NEG", "ROR", "ROL"), name="left_a")
        other = self._decoded(m, _among(operation, "DEC", "ROL"), name="left_other")
        carry = _among(operation, "SUB", "INC", "NEG") | _among(operation, "ADC", "SBC", "ROL") & self.c
        carry_in = self._decoded(m, carry, name="carry_in")
        for i in range(_BITS):
            m.d.comb += left[i].eq(Mux(other, Mux(kept, 1, b[i]), Mux(kept, a[i], 0)))
        m.d.comb += total.eq((Cat(1, left, 0) + Cat(carry_in, b, 0))[1:])
        halves = _among(operation, "MULTIPLY", "ROR")
        top = Mux(operation == Operation.ROR, self.c, total[_BITS])
        # Two look-up tables a bit choose among four things and a number of equal bits: the first
        # has one of two, or what the second chooses the other two by.
        extends = operation == Operation.SEX
        of_late = _among(operation, "AND", "OR", "XOR", "FUNNEL")
        equal = self._decoded(m, extends | of_late, name="equal")
        late = self._decoded(m, of_late, name="late")
        sign = self._decoded(m, extends, name="sign")
        second = self._decoded(m, halves | (operation == Operation.FUNNEL), name="second_of_two")
        logic, funnel = self._logic(a, b), self._funnel(m)
        choice = Signal()
        early = Signal(_BITS)
        m.d.comb += choice.eq(Mux(sign, b[-1], second))
        for i in range(_BITS):
            half = total[i + 1] if i + 1 < _BITS else top
            m.d.comb += early[i].eq(Mux(equal, choice, Mux(choice, half, total[i])))
            m.d.comb += y[i].eq(Mux(late, Mux(early[i], funnel[i], logic[i]), early[i]))
        carries = self._decoded(
            m, _among(operation, "ADD", "ADC", "SUB", "SBC", "INC", "DEC", "NEG", "ROL"), name="carries"
        )
        drops = self._decoded(m, operation == Operation.ROR, name="drops")
        carry_out = Signal()
        m.d.comb += carry_out.eq(Mux(carries, total[_BITS], Mux(drops, total[0], self.c)))
        with m.If(self.acts):
            m.d.sync += self.c.eq(carry_out)
        # Whether y is zero is known in parts; the next microinstruction's first cycle has time for
        # the rest of it.
        bit, by_zero = (Signal(name=name, reset_less=True) for name in ("bit", "by_zero"))
        zero = Signal(4, reset_less=True)
        with m.If(self.acts & (flag != Flag.KEEP)):
            m.d.sync += [
                bit.eq(Mux(flag[1], y[-1], carry_out)),
                by_zero.eq(flag == Flag.ZERO),
                zero.eq(Cat(y[i : i + 4] == 0 for i in range(0, _BITS, 4))),
            ]
        m.d.comb += self.f.eq(Mux(by_zero, zero.all(), bit))

    def _logic(self, a: Value, b: Value) -> Value:
        low = self.word[1:3]  # AND is 5, OR 6, XOR 7
        return Mux(low[1], Mux(low[0], a ^ b, a | b), a & b)

    def _funnel(self, m: Module) -> Value:
        self.shift = Signal(4)
        value: Value = Cat(self.b, self.a)
        for level in reversed(range(4)):
            distance = 1 << level
            # What the levels behind it may still want.
            wanted = _BITS + distance - 1
            part = Signal(wanted, name=f"funnel{level}")
            m.d.comb += part.eq(Mux(self.shift[level], value[-wanted - distance : -distance], value[-wanted:]))
            value = part
        return value

    def _targets(self, m: Module) -> Value:
        """All writes but those of flags. Returns whether y goes to the register file."""
        word, y = self.word, self.y
        target = word[8:12]
        quarters = [self._decoded(m, target[2:] == i, name=f"targets{i}") for i in range(4)]

        def strobe(number: Target) -> Value:
            return self.acts & quarters[number >> 2] & (target[:2] == (number & 3))

        multiplies = self._decoded(m, word[1:5] == Operation.MULTIPLY, name="multiplies")
        for number, pointer in {
            Target.AP: self.activation_addr,
            Target.LANE: self.activation_lane,
            Target.CP: self.control_addr,
            Target.WP: self.weight_addr,
            Target.SH: self.shift,
        }.items():
            held = Signal(len(pointer), name=number.name.lower(), reset_less=True)
            m.d.comb += pointer.eq(held)
            with m.If(strobe(number)):
                m.d.sync += held.eq(y)
        with m.If(self.acts & quarters[0] & target[0]):
            m.d.sync += self.a.eq(y)
        with m.If(strobe(Target.Q) | self.acts & multiplies):
            m.d.sync += self.q.eq(Mux(multiplies, Cat(self.q[1:], self.total[0]), y))
        # P counts in the look-up tables that load it: what is added to it in cycles of a load does
        # not matter.
        load = Signal()
        pointer = Signal(len(self.state_addr), name="p", reset_less=True)
        m.d.comb += load.eq(quarters[1] & (target[:2] == (Target.P & 3)))
        counted = pointer + load.replicate(len(pointer)) + 1
        with m.If(self.acts & (load | word[23])):
            m.d.sync += pointer.eq(Mux(load, y, counted))
        m.d.comb += [
            self.state_addr.eq(pointer),
            self.state_write.eq(strobe(Target.STATE)),
            self.weight_write.eq(strobe(Target.WEIGHT)),
            self.control_write.eq(strobe(Target.CONTROL)),
            self.saturations.eq(strobe(Target.CLIP)),
        ]
        return self.acts & quarters[0] & target[1]


def _among(operation: Value, *names: str) -> Value:
    """Whether it is one of these operations."""
    return operation.matches(*(Operation[name] for name in names))

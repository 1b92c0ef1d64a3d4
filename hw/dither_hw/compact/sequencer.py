"""A compact engine's sequencer: a machine of 16 bits that fetches instructions, runs loops and
calls, and walks CONTRACT's nest."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory as Store
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dither.arch.compact.sequencer.program import CONSTANTS, DISPATCH, UNKNOWN, control_program
from dither.arch.compact.sequencer.words import ADDRESS_BITS, DEPTH, FIELDS, Carry, Job, Next, Nibble, Source, Sum
from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, Memory

from .contract import Steps
from .memories import BlockMemory

__all__ = ["MEMORY_DEPTH", "OPCODE_BITS", "CompactSequencer"]

MEMORY_DEPTH = 256
"""Words of the sequencer's own memory."""
OPCODE_BITS = 5
_WORD = data.StructLayout(FIELDS)

_PATH_JOBS: dict[str, tuple[Job, ...]] = {
    "clear": (Job.PATH_CLEAR,),
    "weight": (Job.WEIGHT,),
    "input": (Job.INPUT,),
    "weight_step": (Job.WEIGHT_STEP,),
    "input_step": (Job.INPUT_STEP,),
    "bias": (Job.BIAS, Job.BIAS_RAW),
    "bias_raw": (Job.BIAS_RAW,),
    "output": (Job.OUTPUT,),
    "term": (Job.TERM,),
    "bias_term": (Job.BIAS_TERM,),
    "drain": (Job.DRAIN,),
    "flush": (Job.FLUSH,),
    "shift_low": (Job.SHIFT_LOW,),
    "shift_high": (Job.SHIFT_HIGH,),
    "has_bias": (Job.HAS_BIAS,),
}


class CompactSequencer(wiring.Component):
    """Executes the program of :mod:`~dither.arch.compact.sequencer.program`, a word a cycle.

    Instruction, scalar registers, stack and loop counters stand in one memory of 256 words; there
    is one accumulator, one adder, and a nibble that counts and indexes.

    Resources on iCE40UP: 420 logic cells, 5 block RAMs.

    Attributes
    ----------
    fresh : In(1)
        High for a cycle behind every reset, together with a reset of this component.
    start, entry : In
        A pulse begins at word ``entry`` of the program memory; heeded only while not busy.
    cleared : In(1)
        All counters are zero.
    busy, fault : Out
        As those of :class:`dither_hw.control.sequencer.Sequencer`.
    program_addr, program_data : Out, In
        Read port of the program memory, latency 1.
    fetching, working, waiting : Out
        What a cycle is to be charged to: none of them in cycles that do not count.
    opcode, memory : Out
        Of the instruction at work.
    steps, word : Out
        For the data path.
    path_idle : In(1)
        The data path has written everything.
    input_valid, input_ready, input_payload, output_valid, output_ready : In, Out, In, Out, In
        The streams, of 16 bits. What is sent is chosen outside by :attr:`job`.
    moved : Out(1)
        A beat moves in this cycle.
    lane, next_lane : Out, Out
        The lane of the beat that is to move, and what it is in the next cycle.
    job : Out(Job)
    accumulator : Out(16)
    scalar_start, scalar_done, scalar_waiting : Out, In, In
        The scalar unit.
    scalar_addr : In(8)
        While it works: what it reads of this memory, to :attr:`word` in the next cycle, or writes.
    scalar_write, scalar_data : In, In
        What it writes there, to be read again two cycles later at the soonest.

    :param config: the engine.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "fresh": In(1),
                "start": In(1),
                "entry": In(16),
                "cleared": In(1),
                "busy": Out(1),
                "fault": Out(1),
                "program_addr": Out(ceil_log2(config.program_depth)),
                "program_data": In(32),
                "fetching": Out(1),
                "working": Out(1),
                "waiting": Out(1),
                "opcode": Out(OPCODE_BITS),
                "memory": Out(Memory),
                "steps": Out(Steps),
                "word": Out(16),
                "path_idle": In(1),
                "input_valid": In(1),
                "input_ready": Out(1),
                "input_payload": In(16),
                "output_valid": Out(1),
                "output_ready": In(1),
                "moved": Out(1),
                "lane": Out(range(config.lanes)),
                "next_lane": Out(range(config.lanes)),
                "job": Out(Job),
                "accumulator": Out(16),
                "scalar_start": Out(1),
                "scalar_done": In(1),
                "scalar_waiting": In(1),
                "scalar_addr": In(ceil_log2(MEMORY_DEPTH)),
                "scalar_write": In(1),
                "scalar_data": In(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.program = program = Store(shape=_WORD, depth=DEPTH, init=control_program().assemble())
        read = program.read_port()
        now = read.data
        jobs = {job: Signal(name=f"job_{job.name.lower()}") for job in Job}
        m.d.comb += [signal.eq(now.job == job) for job, signal in jobs.items()]
        m.d.comb += [self.job.eq(now.job), self.program_addr.eq(self.accumulator)]
        carries = self._sum(m, now)
        nibble = self._nibble(m, now)
        self._memory(m, now, nibble, jobs)
        ready = self._streams(m, jobs)
        not_single = Signal()
        with m.If(jobs[Job.NOT_SINGLE]):
            m.d.sync += not_single.eq(carries)

        # The next word: a target that the word itself decides, or the one behind. The sum's carry
        # is the last to be known.
        at, following, target = (Signal(ADDRESS_BITS, name=name) for name in ("at", "following", "target"))
        condition = Signal()
        with m.Switch(now.next):
            for case, known in (
                (Next.JUMP, Const(1, 1)),
                (Next.DISPATCH, Const(1, 1)),
                (Next.NEGATIVE, self.accumulator[-1]),
                (Next.SINGLE, ~not_single),
                (Next.COUNT, nibble != 15),
                (Next.REPEAT_COUNT, nibble != 15),
                (Next.BELOW_FOUR, ~nibble[2]),
                (Next.ACTIVATION, self.memory == Memory.ACTIVATION),
                (Next.WEIGHT, self.memory == Memory.WEIGHT),
                (Next.ODD, self.opcode[0]),
                (Next.REPEAT_WAIT, ~ready),
            ):
                with m.Case(case):
                    m.d.comb += condition.eq(known)
        with m.Switch(now.next):
            with m.Case(Next.REPEAT_CARRY, Next.REPEAT_COUNT, Next.REPEAT_WAIT):
                m.d.comb += target.eq(at)
            with m.Case(Next.DISPATCH):
                m.d.comb += target.eq(DISPATCH | self.opcode)
            with m.Default():
                m.d.comb += target.eq(now.address)
        on_carry = (now.next == Next.CARRY) | (now.next == Next.REPEAT_CARRY)
        with m.If(condition | (on_carry & carries) | ((now.next == Next.NO_CARRY) & ~carries)):
            m.d.comb += following.eq(target)
        with m.Else():
            m.d.comb += following.eq(at + 1)
        m.d.sync += at.eq(following)
        m.d.comb += read.addr.eq(Mux(self.fresh, 0, following))

        # The opcode, as far as the table goes.
        arriving = self.program_data[:8]
        with m.If(jobs[Job.OPCODE]):
            m.d.sync += [
                self.opcode.eq(Mux(arriving[OPCODE_BITS:].any(), UNKNOWN, arriving)),
                self.memory.eq(self.program_data[8:11]),
            ]
        uncounted = jobs[Job.IDLE] | jobs[Job.CLEAR]
        with m.If(jobs[Job.FAULT]):
            m.d.sync += self.fault.eq(1)
        with m.If(jobs[Job.IDLE] & self.start):
            m.d.sync += self.fault.eq(0)
        m.d.comb += [
            self.busy.eq(~jobs[Job.IDLE]),
            self.fetching.eq(~uncounted & ~now.work),
            self.working.eq(now.work & ~self.waiting),
            *(self.steps[name].eq(Cat(*(jobs[job] for job in own)).any()) for name, own in _PATH_JOBS.items()),
            self.steps.last_term.eq(~carries),
            self.scalar_start.eq(jobs[Job.SCALAR]),
        ]
        return m

    def _sum(self, m: Module, now: data.View) -> Value:
        """The accumulator; whether the sum carries."""
        accumulator = self.accumulator
        odd, flag, lost = self.opcode[0], Signal(), Signal()
        left, right, carry = Signal(16), Signal(16), Signal()
        mode, other = now.sum[:2], now.sum[2:]
        with m.Switch(mode):
            with m.Case(Sum.KEEP & 3):
                m.d.comb += left.eq(accumulator)
            with m.Case(Sum.CONDITIONAL & 3):
                m.d.comb += left.eq(accumulator ^ odd.replicate(16))
            with m.Case(Sum.SHIFT & 3):
                m.d.comb += left.eq(Cat(accumulator[1:], lost))
                m.d.sync += lost.eq(accumulator[0])
        m.d.comb += right.eq((self.word & other[0].replicate(16)) | other[1].replicate(16))
        with m.Switch(now.carry):
            with m.Case(Carry.ONE):
                m.d.comb += carry.eq(1)
            with m.Case(Carry.FLAG):
                m.d.comb += carry.eq(flag)
            with m.Case(Carry.ODD):
                m.d.comb += carry.eq(odd)
        total = Signal(18)
        # One adder: the lowest bit makes the carry.
        m.d.comb += total.eq(Cat(Const(1, 1), left) + Cat(carry, right))
        m.d.sync += accumulator.eq(total[1:17])
        with m.If((mode != 0) & (other != 0)):
            m.d.sync += flag.eq(total[17])
        return total[17]

    def _nibble(self, m: Module, now: data.View) -> Signal:
        nibble = Signal(4)
        with m.Switch(now.nibble):
            with m.Case(Nibble.ACCUMULATOR):
                m.d.sync += nibble.eq(self.accumulator)
            with m.Case(Nibble.ADDRESS):
                m.d.sync += nibble.eq(now.address)
            with m.Case(Nibble.NEXT):
                m.d.sync += nibble.eq(nibble + 1)
            for i, case in enumerate((Nibble.READ_0, Nibble.READ_4, Nibble.READ_8, Nibble.READ_12)):
                with m.Case(case):
                    m.d.sync += nibble.eq(self.word[4 * i : 4 * i + 4])
        return nibble

    def _memory(self, m: Module, now: data.View, nibble: Signal, jobs: dict[Job, Signal]) -> None:
        """The sequencer's memory, and what is written to it."""
        m.submodules.memory = memory = BlockMemory(depth=MEMORY_DEPTH, bits=16, init=CONSTANTS)
        program, before = self.program_data, Signal(8)
        m.d.sync += before.eq(program[24:])
        address, written = Signal(ceil_log2(MEMORY_DEPTH)), Signal(16)
        late, late_addr, late_data = Signal(), Signal.like(address), Signal.like(written)
        m.d.comb += address.eq(now.address + (nibble & now.indexed.replicate(4)))
        with m.Switch(now.source):
            for source, value in (
                (Source.ACCUMULATOR, self.accumulator),
                (Source.LOW, program[:16]),
                (Source.HIGH, program[16:]),
                (Source.MIDDLE, program[8:24]),
                (Source.STRADDLE, Cat(before, program[:8])),
                (Source.COUNT, program[12:28]),
                (Source.OUTSIDE, Mux(self.busy, self.input_payload, self.entry)),
            ):
                with m.Case(source):
                    m.d.comb += written.eq(value)
            # What comes out of the scalar unit has come a long way: it is written a cycle later.
            with m.Case(Source.NOTHING):
                m.d.comb += written.eq(late_data)
        m.d.sync += [
            late.eq(jobs[Job.SCALAR_WORK] & self.scalar_write),
            late_addr.eq(self.scalar_addr),
            late_data.eq(self.scalar_data),
        ]
        m.d.comb += [
            memory.addr.eq(Mux(jobs[Job.SCALAR_WORK], self.scalar_addr, address)),
            memory.write_addr.eq(Mux(late, late_addr, address)),
            memory.write_data.eq(written),
            memory.write.eq((now.source != Source.NOTHING) | late),
            self.word.eq(memory.word),
        ]

    def _streams(self, m: Module, jobs: dict[Job, Signal]) -> Value:
        """Beats, one at a time or one for each lane; whether what the word at work waits for is
        there.
        """
        taking, sending, by_lane = Signal(), Signal(), Signal()
        job = Value.cast(self.job)
        last = self.lane == self.config.lanes - 1
        m.d.comb += [
            taking.eq(job.matches("010--")),
            sending.eq(job.matches("011--")),
            by_lane.eq(job.matches("01-01")),
        ]
        m.d.comb += [
            self.input_ready.eq(taking),
            self.output_valid.eq(sending),
            self.moved.eq((taking & self.input_valid) | (sending & self.output_ready)),
            self.waiting.eq(((taking | sending) & ~self.moved) | (jobs[Job.SCALAR_WORK] & self.scalar_waiting)),
        ]
        with m.If(by_lane & self.moved):
            m.d.comb += self.next_lane.eq(Mux(last, 0, self.lane + 1))
        with m.Else():
            m.d.comb += self.next_lane.eq(self.lane)
        m.d.sync += self.lane.eq(self.next_lane)
        ready = Signal()
        m.d.comb += ready.eq(
            Cat(
                jobs[Job.IDLE] & self.start,
                jobs[Job.CLEAR] & self.cleared,
                jobs[Job.SCALAR_WORK] & self.scalar_done,
                jobs[Job.DRAINED] & self.path_idle,
                self.moved & (~by_lane | last),
            ).any()
        )
        return ready


assert all(form.opcode < 1 << OPCODE_BITS for form in INSTRUCTIONS)

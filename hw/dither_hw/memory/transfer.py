"""The unit of LOAD, STORE, PULL and EMIT: it moves words between streams and memories."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.arch.isa import INSTRUCTIONS, OPCODE_BITS, Memory
from dither.arch.timing import STORE_INTERVAL

from ..base.interfaces import ADDRESS_BITS, instruction_layout

__all__ = ["TransferUnit"]

_OPCODES = {form.name: form.opcode for form in INSTRUCTIONS}


class TransferUnit(wiring.Component):
    """Moves beats between a stream and a memory or register, in one direction at a time.

    LOAD takes a beat a cycle and writes it in the next. STORE sends a beat every
    :data:`dither.arch.timing.STORE_INTERVAL` cycles, because it holds the address until the beat is
    taken. PULL and EMIT take a cycle a beat, and one and three cycles more. Waiting for a stream
    comes on top of that; ``waiting`` shows it.

    A word is transferred in parts, the lowest first. Each part has a place of its own in the
    memory: ``word_parts`` times the word's address, plus the part's number. Scalars and table
    entries have one place each, but a beat is sent for each part all the same; the last one counts.

    Resources: two registers of a beat's width, two 16-bit counters.

    Attributes
    ----------
    start, done : In, Out
        Pulses in the first and in the last cycle of the instruction.
    opcode, fields : In
        The instruction; ``fields`` in LOAD's layout, which STORE shares. ``opcode`` and the memory
        are there a cycle before ``start``, EMIT's opcode three cycles before.
    operand : In(signed(32))
        The value that EMIT sends.
    input, output : In(stream), Out(stream)
        Streams of beats into the engine and out of it.
    memory : Out(Memory)
        The memory that LOAD writes or STORE reads.
    write_enable, place, write_data : Out
        A write of ``write_data`` at ``place`` of ``memory``; ``place`` is also where STORE reads.
        With ``local_learning``, ``write_data`` is zero outside of LOADs, so that other units' data
        can be joined to it without a multiplexer.
    stores : Out(1)
        The instruction is STORE, not EMIT.
    read_data : In
        What is at ``place`` of ``memory`` if ``stores``, else zero,
        :data:`~dither.arch.timing.MEMORY_LATENCY` + :data:`~dither.arch.timing.STORED_LATENCY`
        cycles after ``place``.
    result : Out(32)
        The value that PULL has taken, in the last cycle.
    waiting : Out(1)
        The unit can do nothing in this cycle but wait for a stream.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._clears = bool(config.local_learning)
        self._parts, self._part_bits = config.word_parts, config.part_bits
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "opcode": In(OPCODE_BITS),
                "fields": In(instruction_layout("LOAD")),
                "operand": In(signed(32)),
                "input": In(stream.Signature(config.beat_width)),
                "output": Out(stream.Signature(config.beat_width)),
                "memory": Out(Memory),
                "write_enable": Out(1),
                "place": Out(ADDRESS_BITS + self._part_bits),
                "write_data": Out(config.beat_width),
                "stores": Out(1),
                "read_data": In(config.beat_width),
                "result": Out(32),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat = Signal.like(self.input.payload, reset_less=not self._clears)
        remaining = Signal(16)
        part = Signal(range(self._parts))
        latency = Signal(range(STORE_INTERVAL))
        whole, complete, last = Signal(), Signal(), Signal()
        m.d.comb += [complete.eq(part == self._parts - 1), last.eq(complete & (remaining == 1))]
        moves = complete | ~whole
        m.d.sync += whole.eq((self.memory == Memory.ACTIVATION_TABLE) | (self.memory == Memory.SCALAR_TABLE))
        emitted = Signal.like(self.operand)  # one of the two is zero
        m.d.comb += [
            self.memory.eq(self.fields.memory),
            self.write_data.eq(beat),
            self.result.eq(self.input.payload[:32]),
            self.stores.eq(self.opcode == _OPCODES["STORE"]),
            self.output.payload.eq(self.read_data | emitted),
        ]
        m.d.sync += emitted.eq(Mux(self.opcode == _OPCODES["EMIT"], self.operand, 0))
        if not self._clears:
            m.d.sync += beat.eq(self.input.payload)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [
                    self.place.eq(Mux(whole, self.fields.base, self.fields.base << self._part_bits)),
                    remaining.eq(self.fields.count),
                    latency.eq(0),
                ]
                with m.Switch(self.opcode):
                    with m.Case(_OPCODES["PULL"]):
                        m.next = "PULL"
                    with m.Case(_OPCODES["EMIT"]):
                        m.next = "EMIT"
                    with m.Case(_OPCODES["LOAD"]):
                        m.next = "LOAD"
                    with m.Default():
                        m.next = "STORE"
            with m.State("PULL"):
                m.d.comb += [
                    self.input.ready.eq(1),
                    self.waiting.eq(~self.input.valid),
                    self.done.eq(self.input.valid & complete),
                ]
                with m.If(self.input.valid):
                    m.d.sync += part.eq(part + 1)
                with m.If(self.done):
                    m.next = "IDLE"
            with m.State("EMIT"):
                m.d.comb += [
                    self.output.valid.eq(latency == 2),
                    self.done.eq(self.output.valid & self.output.ready & complete),
                    self.waiting.eq(self.output.valid & ~self.output.ready),
                ]
                with m.If(~self.output.valid):
                    m.d.sync += latency.eq(latency + 1)
                with m.Elif(self.output.ready):
                    m.d.sync += part.eq(part + 1)
                with m.If(self.done):
                    m.next = "IDLE"
            with m.State("LOAD"):
                m.d.comb += [self.input.ready.eq(1), self.waiting.eq(~self.input.valid)]
                m.d.sync += self.write_enable.eq(self.input.valid & moves)
                with m.If(self.write_enable):
                    m.d.sync += self.place.eq(self.place + 1)
                with m.If(self.input.valid):
                    m.d.sync += [part.eq(part + 1), remaining.eq(remaining - complete)]
                    if self._clears:
                        m.d.sync += beat.eq(self.input.payload)
                    with m.If(last):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.done.eq(1)
                m.d.sync += self.write_enable.eq(0)
                if self._clears:
                    m.d.sync += beat.eq(0)
                m.next = "IDLE"
            with m.State("STORE"):
                m.d.sync += latency.eq(latency + 1)
                with m.If(latency == STORE_INTERVAL - 1):
                    m.d.comb += [self.output.valid.eq(1), self.waiting.eq(~self.output.ready)]
                    m.d.sync += latency.eq(latency)
                    with m.If(self.output.ready):
                        m.d.sync += [latency.eq(0), part.eq(part + 1), remaining.eq(remaining - complete)]
                        with m.If(moves):
                            m.d.sync += self.place.eq(self.place + 1)
                        with m.If(last):
                            m.d.comb += self.done.eq(1)
                            m.next = "IDLE"
        return m

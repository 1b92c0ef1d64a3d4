"""LOAD, STORE, PULL and EMIT: words between the streams and the memories."""

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
    """Moves beats one way at a time.

    LOAD takes a beat a cycle and writes it in the next; STORE sends a beat every ``STORE_INTERVAL``
    cycles, because it holds the address until the beat is taken; PULL and EMIT take a cycle a beat,
    and one and three more. Waiting for a stream comes on top and is shown on ``waiting``.

    A word is transferred in parts, from the lowest on, and each has a place of its own in the
    memory: ``word_parts`` times the word's address, and the part. Scalars and entries of tables,
    which have one place each, come as often, and the last time counts.

    Resources: two registers of a beat's width, two 16-bit counters.

    Attributes
    ----------
    opcode, fields : In
        The instruction at work; ``fields`` in LOAD's layout, which STORE shares. ``opcode`` and the
        memory are there a cycle before ``start``, EMIT's opcode three cycles.
    operand : In(32)
        EMIT's value.
    input, output : streams of beats
    write_enable, place, write_data : Out
        A write of ``write_data`` into ``memory``; ``place`` is also that of the part to read from
        it. With ``local_learning``, outside of LOADs ``write_data`` is zero, so others' data can be
        joined to it without a multiplexer.
    stores : Out(1)
        STORE, not EMIT.
    read_data : In
        What is at ``place`` of ``memory`` if ``stores``, else zero; the memory's and
        :data:`dither.arch.timing.STORED_LATENCY` cycles behind the place.
    result : Out(32)
        PULL's value, in the last cycle.
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

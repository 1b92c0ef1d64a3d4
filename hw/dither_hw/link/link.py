"""The board's end of the serial link: all of its parts, connected."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.link.protocol import RESPONSE, Identity

from ..base.interfaces import EnginePorts
from .buffer import InputBuffer, OutputBuffer
from .cobs import ROM_BYTES, CobsDecoder, FrameMemory
from .columns import ColumnMemory
from .intake import Intake
from .judge import Judge
from .packing import Packer, Unpacker
from .registers import RegisterAccess
from .responder import Responder
from .serial import SlotCounter
from .uart import UartReceiver, UartTransmitter

__all__ = ["Link"]

_FIRST_CODE = 1
"""Number of bytes before a frame's payload: one, the first code of its encoding."""


class Link(wiring.Component):
    """Connects a serial line to an engine by the protocol of docs/protocol.md.

    A frame has its effect six to eight slots of 17 cycles behind its last byte; its answer begins a
    dozen slots later, and one more for each byte of a body (three for each register).

    Resources, measured: with the preset ``1x8-compact``, 32 KB of input and 512 bytes of output
    buffer on an iCE40UP5K 821 logic cells, 3 block RAMs, a single-port RAM, 37 MHz; with the preset
    ``4x32`` (beats of 576 bits), 8 KB and 1 KB on an ECP5 of speed grade 6 1.3 k LUTs, 1.7 k
    registers, 6 block RAMs, 123 MHz.

    Attributes
    ----------
    rx, tx : In(1), Out(1)
        The serial line, asynchronous; ``tx`` is high from the first cycle on.
    reset, host_addr and so on
        The other side of an engine's ports (:class:`~dither_hw.base.interfaces.EnginePorts`). A new
        session begins with a reset.
    session, error : Out(1), Out(1)
        A driver has opened a session; a broken frame has come since.
    cold : In(1)
        Makes everything begin anew, the receiver and transmitter of the line included.
    holds : In(1)
        A beat that has left the link has not yet reached the engine.

    :param config: the engine that the link is for.
    :param clock_hz: clock rate of the domain ``sync``.
    :param baud: bits a second, at most an eighth of the clock.
    :param identity: what the response to HELLO tells.
    :param input_bytes: size of the input buffer, a power of two.
    :param output_bytes: size of the output buffer, a power of two.
    :param read_cycles: cycles of the engine's host port from an address to its register's value.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        clock_hz: int,
        baud: int,
        identity: Identity | bytes,
        input_bytes: int,
        output_bytes: int,
        read_cycles: int = 1,
    ) -> None:
        self._identity = identity.encode() if isinstance(identity, Identity) else identity
        most = ROM_BYTES - RESPONSE.size - _FIRST_CODE
        if len(self._identity) > most:
            raise ValueError(f"an identity has up to {most} bytes, not {len(self._identity)}")
        self._uart = {"clock_hz": clock_hz, "baud": baud}
        self._receiver, self._transmitter = UartReceiver(**self._uart), UartTransmitter(**self._uart)
        self._input_buffer, self._output_buffer = InputBuffer(input_bytes), OutputBuffer(output_bytes)
        self._config = config
        self._read_cycles = read_cycles
        super().__init__(
            {
                "rx": In(1),
                "tx": Out(1, init=1),
                **{name: port.flip() for name, port in EnginePorts(config).members.items()},
                "session": Out(1),
                "error": Out(1),
                "cold": In(1),
                "holds": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counter, receiver, transmitter = SlotCounter(), self._receiver, self._transmitter
        decoder, intake, columns, judge = CobsDecoder(), Intake(), ColumnMemory(), Judge()
        responder = Responder(len(self._identity))
        frame = FrameMemory(bytes(_FIRST_CODE + RESPONSE.size) + self._identity)
        for name, component in (
            ("counter", counter),
            ("receiver", receiver),
            ("transmitter", transmitter),
            ("decoder", decoder),
            ("intake", intake),
            ("columns", columns),
            ("judge", judge),
            ("responder", responder),
            ("frame", frame),
        ):
            m.submodules[name] = ResetInserter(self.cold)(component)
        received, sent = self._input_buffer, self._output_buffer
        held = Signal()
        unpacker, packer, registers = Unpacker(self._config), Packer(self._config), RegisterAccess(self._read_cycles)
        for name, component in (
            ("input_buffer", received),
            ("output_buffer", sent),
            ("unpacker", unpacker),
            ("packer", packer),
            ("registers", registers),
        ):
            clear = Signal(name=f"{name}_reset_copy")
            m.d.sync += clear.eq(judge.clear | self.cold)
            m.submodules[name] = ResetInserter(clear)(component)
        for component in (intake, columns, judge, responder, received, sent, registers):
            m.d.comb += component.slot.eq(counter.slot)

        m.d.comb += [
            held.eq(unpacker.held | self.holds),
            receiver.rx.eq(self.rx),
            decoder.data.eq(receiver.data),
            decoder.valid.eq(receiver.valid),
            decoder.error.eq(receiver.error),
            intake.payload.eq(decoder.payload),
            intake.emit.eq(decoder.emit),
            intake.end.eq(decoder.end),
            intake.good.eq(decoder.good),
            received.write.eq(intake.body),
            received.data.eq(intake.data),
            columns.write.eq(intake.header),
            columns.write_field.eq(intake.field),
            columns.write_bit.eq(intake.bit),
            self.tx.eq(transmitter.tx),
        ]
        wiring.connect(m, frame.output, transmitter.input)
        m.d.comb += [
            judge.ended.eq(intake.ended),
            judge.sound.eq(intake.sound & received.complete & ~received.overlong),
            judge.begun.eq(intake.begun),
            intake.done.eq(judge.done),
            judge.bit.eq(columns.bit),
            judge.bodyless.eq(received.bodyless),
            judge.words.eq(received.words),
            judge.overflow.eq(received.overflow),
            judge.nonempty.eq(received.nonempty | held),
            judge.within.eq(sent.within),
            judge.busy.eq(self.busy | packer.held),
            judge.writing.eq(registers.writing),
            judge.occupied.eq(responder.occupied),
            columns.field.eq(judge.field),
            columns.asked_field.eq(responder.field),
            columns.remember.eq(judge.remember),
            self.reset.eq(judge.clear),
            self.session.eq(judge.opened),
            self.error.eq(judge.error),
        ]
        m.d.comb += [
            responder.remember.eq(judge.remember),
            responder.query.eq(judge.query),
            responder.clear.eq(judge.clear),
            responder.urgent.eq(judge.urgent),
            responder.wait.eq(registers.writing | registers.starting),
            responder.asked.eq(columns.asked_bit),
            responder.reason.eq(columns.reason.out),
            responder.busy.eq(judge.busy),
            responder.fault.eq(self.fault),
            responder.writing.eq(registers.writing),
            responder.session.eq(columns.session.out),
            responder.next.eq(columns.next.out),
            responder.free.eq(received.free),
            responder.produced.eq(sent.produced),
            responder.fetched.eq(sent.bit),
            responder.more.eq(sent.more),
            responder.word.eq(registers.word_bit),
            responder.constant.eq(frame.constant),
            responder.sending.eq(frame.sending),
            frame.start.eq(responder.start),
            frame.data.eq(responder.data),
            frame.valid.eq(responder.valid),
            frame.finish.eq(responder.finish),
        ]
        m.d.comb += [
            received.commit.eq(judge.commit),
            received.forget.eq(judge.forget),
            received.settle.eq(judge.settle),
            received.want.eq(Mux(registers.writing, registers.want, unpacker.want)),
            received.pair.eq(unpacker.pair & ~registers.writing),
            received.held.eq(held),
            unpacker.bits.eq(received.bits & ~registers.writing),
            unpacker.bit.eq(received.bit),
            sent.offer.eq(packer.held),
            sent.input_bit.eq(packer.bit),
            packer.take.eq(sent.take),
            sent.hold.eq(responder.composing),
            sent.number.eq(columns.bit),
            sent.forget.eq(judge.forget),
            sent.acknowledge.eq(judge.acknowledge),
            sent.seek.eq(responder.seek),
            sent.seek_number.eq(columns.asked_bit),
            sent.next.eq(responder.fetch),
        ]
        m.d.comb += [
            registers.argument.eq(columns.bit),
            registers.start.eq(judge.start),
            registers.write.eq(judge.write),
            registers.bits.eq(received.bits),
            registers.bit.eq(received.bit),
            registers.remains.eq(received.remains),
            registers.seek.eq(responder.seek),
            registers.seek_number.eq(columns.asked_bit),
            registers.load.eq(responder.load),
            registers.shift.eq(responder.shift),
            self.host_addr.eq(registers.host_addr),
            self.host_write.eq(registers.host_write),
            self.host_wdata.eq(registers.host_wdata),
            registers.host_rdata.eq(self.host_rdata),
        ]
        for column, user in (
            (columns.session, judge.session),
            (columns.next, judge.next),
            (columns.reason, judge.reason),
            (columns.kept, received.kept),
            (columns.acknowledged, sent.acknowledged),
            (columns.left, responder.left),
        ):
            wiring.connect(m, column, user)
        wiring.connect(m, unpacker.output, wiring.flipped(self.input))
        wiring.connect(m, wiring.flipped(self.output), packer.input)
        return m

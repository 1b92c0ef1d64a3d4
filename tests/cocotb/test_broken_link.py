"""The link's components, broken on purpose: their benches must notice."""

from __future__ import annotations

import pytest
from amaranth.hdl import Const, Mux
from amaranth.hdl._ast import Concat

from dither.arch.config import EngineConfig
from dither.link.protocol import CRC_SLACK, RESPONSE, Identity
from dither_hw.link.cobs import CobsDecoder, FrameMemory
from dither_hw.link.link import Link
from dither_hw.link.packing import Packer, Unpacker
from dither_hw.link.uart import UartReceiver, UartTransmitter
from tests.benches.mutation import Change, survivors
from tests.benches.with_registers import WithRegisters

from .faults import Suite, always, never, only, value

CONFIG = EngineConfig(rows=1, lanes=2, width=18, table_bits=6, lanes_per_table=1)
PARTS = EngineConfig(rows=4, lanes=4, table_bits=6, lanes_per_table=1, word_parts=4, local_learning=0)
EVEN = EngineConfig(rows=1, lanes=4, width=18, table_bits=6, lanes_per_table=1)
"""Beats of an even number of chunks: some words end where a byte does."""
CLOCK_HZ, BAUD = 24_000_000, 3_000_000
CONSTANTS = bytes([0, *range(RESPONSE.size), 7, 0, 0, 255])
IDENTITY = Identity.of(CONFIG, clock=CLOCK_HZ, baud=BAUD, input=2048 - CRC_SLACK, output=128, build=1, board="bench")


def link() -> WithRegisters:
    buffers = {"input_bytes": IDENTITY.input + CRC_SLACK, "output_bytes": IDENTITY.output}
    return WithRegisters(Link(CONFIG, clock_hz=CLOCK_HZ, baud=BAUD, identity=IDENTITY, **buffers))


UART = {"bit_cycles": CLOCK_HZ / BAUD, "count": 20}
PACKING = {"config": EVEN, "pattern": "bursts", "count": 20}
WHOLE = {"config": CONFIG, "identity": IDENTITY.encode().hex(), "bit_cycles": CLOCK_HZ / BAUD, "count": 24}

SUITES = {
    "receiver": Suite(
        lambda: UartReceiver(clock_hz=CLOCK_HZ, baud=BAUD),
        "bench_link_uart",
        {"part": "receiver", **UART},
        (
            Change("stop bits are not looked at", "error", never),
            Change("samples at the end of bits", "phase", only(Const, lambda old: Const(0))),
            Change("the highest bit first", "data", value(lambda old: old[::-1])),
        ),
    ),
    "transmitter": Suite(
        lambda: UartTransmitter(clock_hz=CLOCK_HZ, baud=BAUD),
        "bench_link_uart",
        {"part": "transmitter", **UART},
        (
            Change("low in between", "tx", only("|", lambda old: old.operands[0])),
            Change("a bit short", "shift", only(Concat, lambda old: old[:8])),
            Change("takes bytes too early", "input__ready", lambda old, unit, m: ~old),
        ),
    ),
    "decoder": Suite(
        CobsDecoder,
        "bench_link_cobs",
        {"part": "decoder", "count": 40},
        (
            Change("no zero behind a block", "zero_due", never),
            Change("a zero behind full blocks", "zero_due", only("!=", lambda old: Const(1))),
            Change("errors are forgotten", "broken", never),
            Change("cut blocks are good", "good", always),
        ),
    ),
    "memory": Suite(
        lambda: FrameMemory(CONSTANTS),
        "bench_link_cobs",
        {"part": "memory", "count": 12, "constants": CONSTANTS.hex()},
        (
            Change("blocks of any length", "close", lambda old, unit, m: (unit.valid & (unit.data == 0)) | unit.finish),
            Change("codes count from zero", "code", only(Const, lambda old: Const(0))),
            Change("sends after a zero", "sending", only(Const, lambda old: Const(1))),
            Change("a byte waits for nobody", "accepted", lambda old, unit, m: unit.output.valid),
            Change("constants are shifted", "read_addr", lambda old, unit, m: Mux(unit.sending, old, old + 1)),
        ),
    ),
    "unpacker": Suite(
        lambda: Unpacker(EVEN),
        "bench_link_packing",
        {"part": "unpacker", **PACKING},
        (
            Change("the beat before is forgotten", "beats", only(Concat, lambda old: old[: -EVEN.width])),
            Change("the highest bit first", "beats", only(Concat, lambda old: old ^ 1)),
            Change("beats have a bit too many", "least", only(Const, lambda old: old + 1)),
            Change("bits on their way are forgotten", "want", value(lambda old: old.operands[0] != 0)),
            Change("always two bytes", "pair", always),
            Change("offers too early", "output__valid", lambda old, unit, m: unit.held),
        ),
    ),
    "unpacker_parts": Suite(
        lambda: Unpacker(PARTS),
        "bench_link_packing",
        {**PACKING, "part": "unpacker", "config": PARTS},
        (
            Change("words are one beat", "offered", never),
            Change("beats are offered too soon", "done", always),
            Change("turns too far", "turns", only(Const, lambda old: Const(old.value + 1))),
            Change("offers a beat that turns", "output__valid", only("&", lambda old: old.operands[0])),
            Change("offers the same beat again", "turning", never),
        ),
    ),
    "packer": Suite(
        lambda: Packer(EVEN),
        "bench_link_packing",
        {"part": "packer", **PACKING},
        (
            Change("zeros are sent, too", "bit", lambda old, unit, m: old | ~old),
            Change("takes two beats", "input__ready", always),
            Change("chunks stand still", "beat", only(">>", lambda old: old.operands[0])),
        ),
    ),
}

LINK_FAULTS = {
    "bench_link": (
        Change("the CRC does not matter", "link.intake.sound", always),
        Change("broken COBS does not matter", "link.intake.passable", always),
        Change("sessions do not matter", "link.judge.own", always),
        Change("sequence numbers stand still", "link.judge.next_carry", never),
        Change("bodies are never taken back", "link.settle", never),
        Change("full buffers are written over", "link.input_buffer.full", never),
        Change("unread output is written over", "link.output_buffer.full", never),
        Change("a position is as good as any", "link.within", always),
        Change("registers are read again and again", "link.registers.address_carry", never),
        Change("the engine is not reset", "link.reset", never),
        Change("buffers outlive their session", "link.judge.forget", never),
        Change("what the packer holds does not count", "link.busy", only("|", lambda old: old.operands[0])),
        Change("a beat that waits does not count", "link.held", never),
        Change("writes although data waits", "link.nonempty", never),
        Change("numbers outlive a reset", "link.judge.forget", only("|", lambda old: old.operands[0])),
        Change("ranges are not checked", "link.judge.excess", never),
        Change("bodies may have any length", "link.words", always),
        Change("output goes on under an answer", "link.output_buffer.fetched_carry", never),
    ),
    "bench_link_storm": (
        Change("registers are taken from an answer's hands", "link.urgent", never),
        Change("a query is forgotten", "link.occupied", never),
        Change("repetitions have effect", "link.judge.next_enter", lambda old, unit, m: old & ~old),
    ),
    "bench_link_long": (Change("frames of any length", "link.input_buffer.overlong", never),),
}


_QUICK = ("decoder", "packer")


@pytest.mark.parametrize(
    "name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SUITES]
)
def test_named_faults_are_found(name: str) -> None:
    suite = SUITES[name]
    alive = survivors(
        suite.component, suite.faults, suite.bench, name=f"broken_link_{name}", parameters=suite.parameters
    )
    assert not alive, "\n".join(alive)


@pytest.mark.slow
@pytest.mark.parametrize("bench", LINK_FAULTS)
def test_named_faults_of_the_whole_are_found(bench: str) -> None:
    name = f"broken_{bench.removeprefix('bench_')}"
    alive = survivors(link, LINK_FAULTS[bench], bench, name=name, parameters=WHOLE)
    assert not alive, "\n".join(alive)

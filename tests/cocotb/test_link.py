"""The link's benches on Verilator: parts against their software, the whole against its model."""

from __future__ import annotations

from typing import Any

import pytest

from dither.arch.config import EngineConfig
from dither.link.protocol import CRC_SLACK, RESPONSE, Identity
from dither_hw.board.core import BoardCore
from dither_hw.link.buffer import InputBuffer
from dither_hw.link.cobs import CobsDecoder, FrameMemory
from dither_hw.link.link import Link
from dither_hw.link.packing import Packer, Unpacker
from dither_hw.link.uart import UartReceiver, UartTransmitter, baud_generator
from dither_sim.netlist import emit_netlist
from tests.benches import runner as cocotb_runner
from tests.benches.runner import run_bench
from tests.benches.with_registers import WithRegisters

CONFIGURATIONS = {
    # A beat of whole chunks; one whose last chunk is padded; words in parts.
    "whole": EngineConfig(rows=1, lanes=4, width=16, table_bits=6, lanes_per_table=1),
    "padded": EngineConfig(rows=1, lanes=2, width=18, table_bits=6, lanes_per_table=1),
    "parts": EngineConfig(rows=4, lanes=4, table_bits=6, lanes_per_table=1, word_parts=4, local_learning=0),
}
CLOCK_HZ = 24_000_000


def link(
    config: EngineConfig, *, input_bytes: int, output_bytes: int, baud: int, count: int = 0
) -> tuple[Any, dict[str, Any]]:
    """A link for its benches, and their parameters."""
    identity = Identity.of(
        config,
        clock=CLOCK_HZ,
        baud=baud,
        input=input_bytes - CRC_SLACK,
        output=output_bytes,
        build=0x0123456789ABCDEF,
        board="bench",
    )
    component = Link(
        config, clock_hz=CLOCK_HZ, baud=baud, identity=identity, input_bytes=input_bytes, output_bytes=output_bytes
    )
    parameters = {
        "config": config,
        "identity": identity.encode().hex(),
        "bit_cycles": CLOCK_HZ / baud,
        "count": count,
    }
    return WithRegisters(component), parameters


@pytest.mark.parametrize(
    ("name", "input_bytes", "output_bytes", "baud"),
    [("whole", 256, 128, 3_000_000), pytest.param("padded", 256, 64, 2_750_000, marks=pytest.mark.slow)],
)
def test_requests(name: str, input_bytes: int, output_bytes: int, baud: int) -> None:
    component, parameters = link(
        CONFIGURATIONS[name], input_bytes=input_bytes, output_bytes=output_bytes, baud=baud, count=40
    )
    run_bench(component, "bench_link", name=f"link_{name}", parameters=parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_many_requests(name: str) -> None:
    component, parameters = link(CONFIGURATIONS[name], input_bytes=512, output_bytes=256, baud=3_000_000, count=1000)
    run_bench(component, "bench_link", name=f"link_many_{name}", parameters=parameters)


@pytest.mark.parametrize("name", ["whole", pytest.param("padded", marks=pytest.mark.slow)])
def test_storm(name: str) -> None:
    component, parameters = link(
        CONFIGURATIONS[name], input_bytes=2048, output_bytes=512, baud=3_000_000, count=40 if name == "whole" else 800
    )
    run_bench(component, "bench_link_storm", name=f"link_storm_{name}", parameters=parameters)


@pytest.mark.slow
def test_netlist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthesised for an iCE40UP5K, with its block RAMs, contents and all, and its single-port
    RAM.
    """
    monkeypatch.setattr(cocotb_runner, "emit", lambda component, name, fabric: emit_netlist(component, name))
    for bench, output_bytes in (("bench_link", 1024), ("bench_link_storm", 512)):
        component, parameters = link(
            CONFIGURATIONS["whole"], input_bytes=512, output_bytes=output_bytes, baud=3_000_000, count=40
        )
        run_bench(component, bench, name=f"netlist_{bench}", parameters={**parameters, "netlist": True})


@pytest.mark.slow
@pytest.mark.parametrize("input_bytes", [1024, 4096])
def test_longest_requests(input_bytes: int) -> None:
    component, parameters = link(CONFIGURATIONS["whole"], input_bytes=input_bytes, output_bytes=1024, baud=3_000_000)
    run_bench(component, "bench_link_long", name=f"link_long_{input_bytes}", parameters=parameters)


@pytest.mark.parametrize("part", [UartReceiver, UartTransmitter])
@pytest.mark.parametrize(
    ("clock_hz", "baud"),
    [
        (25_000_000, 2_999_999),
        (100_000_000, 12_000_000),
        pytest.param(24_000_000, 3_000_000, marks=pytest.mark.slow),
        pytest.param(1_000_000, 9_600, marks=pytest.mark.slow),
    ],
)
def test_uart(part: Any, clock_hz: int, baud: int) -> None:
    parameters = {
        "part": part.__name__.removeprefix("Uart").lower(),
        "bit_cycles": clock_hz / baud,
        "count": 60 if clock_hz > 10 * baud else 20,
    }
    run_bench(part(clock_hz=clock_hz, baud=baud), "bench_link_uart", name="uart", parameters=parameters)


def test_cobs() -> None:
    run_bench(CobsDecoder(), "bench_link_cobs", name="cobs_decoder", parameters={"part": "decoder", "count": 60})
    constants = bytes([0, *range(RESPONSE.size), 7, 0, 0, 255])
    parameters = {"part": "memory", "count": 20, "constants": constants.hex()}
    run_bench(FrameMemory(constants), "bench_link_cobs", name="frame_memory", parameters=parameters)


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("part", [Unpacker, Packer])
def test_packing(name: str, part: Any) -> None:
    config = CONFIGURATIONS[name]
    parameters = {"config": config, "part": part.__name__.lower(), "pattern": "bursts", "count": 40}
    run_bench(part(config), "bench_link_packing", name=f"packing_{name}", parameters=parameters)


@pytest.mark.parametrize("baud", [115_200, 230_400, 921_600, 1_000_000, 1_500_000, 2_000_000, 3_000_000])
@pytest.mark.parametrize("clock_hz", [24_000_000, 25_000_000, 48_000_000, 80_000_000, 125_000_000])
def test_baud_rates_are_near(clock_hz: int, baud: int) -> None:
    bits, step = baud_generator(clock_hz, baud)
    assert abs(clock_hz * step / 2**bits / baud - 1) < 0.005


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UartReceiver(clock_hz=24_000_000, baud=3_000_001), "baud must be from 1 to 3000000"),
        (lambda: UartTransmitter(clock_hz=24_000_000, baud=0), "baud must be from 1 to 3000000"),
        (lambda: InputBuffer(1000), "power of two from 64 to 32768 bytes, not 1000"),
        (lambda: InputBuffer(65536), "power of two from 64 to 32768 bytes, not 65536"),
        (lambda: FrameMemory(bytes(129)), "up to 128 bytes, not 129"),
        (
            lambda: Link(
                CONFIGURATIONS["whole"],
                clock_hz=24_000_000,
                baud=115_200,
                identity=bytes(116),
                input_bytes=64,
                output_bytes=64,
            ),
            "an identity has up to 115 bytes, not 116",
        ),
        (
            lambda: BoardCore(CONFIGURATIONS["whole"], clock_hz=24_000_000, baud=115_200, output_bytes=100),
            "the output buffer must have a power of two",
        ),
        (
            lambda: BoardCore(CONFIGURATIONS["whole"], clock_hz=24_000_000, baud=115_200, board="x" * 17),
            "up to 16 ASCII characters",
        ),
    ],
)
def test_wrong_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

"""Emission of Verilog: what is cut and rewritten, and that it means the same."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.tools.sources import source_files
from dither_sim.registers import merge_registers
from dither_sim.verilog import emit
from tests.benches.runner import BenchError, run_bench

BENCH = '''
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from tests.benches.runner import bench_config, bench_parameters

@cocotb.test(timeout_time=10, timeout_unit="us")
async def counts(dut):
    """What a Python model of the component says, cycle by cycle."""
    dut.rst.value = dut.enable.value = dut.up.value = 0
    Clock(dut.clk, 10, "ns").start()
    expected = bench_parameters()["begin"]
    for cycle in range(200):
        await FallingEdge(dut.clk)
        assert dut.count.value.to_unsigned() == expected, f"cycle {cycle}"
        assert dut.wide.value.to_signed() == (expected ^ 128) - 128
        enable, up, reset = cycle % 3 != 0, cycle % 7 < 4, cycle == 90
        dut.enable.value, dut.up.value, dut.rst.value = enable, up, reset
        if enable:
            expected = (expected + (1 if up else -3)) % 256
        if reset:
            expected = 5

@cocotb.test(timeout_time=10, timeout_unit="us")
async def knows_the_configuration(dut):
    assert bench_config().rows == 2

@cocotb.test(skip=True)
async def skipped(dut):
    assert False
'''


class Counter(wiring.Component):
    """Counts up by one or down by three, from 5; ``held`` only counts what nobody enables it
    for.
    """

    def __init__(self, init: list[int] | None = None) -> None:
        super().__init__({"enable": In(1), "up": In(1), "count": Out(8), "wide": Out(signed(16)), "word": Out(32)})
        self.init = init or []

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(8, init=5)
        held = Signal(8)
        m.submodules.memory = memory = Memory(shape=32, depth=8, init=self.init)
        read = memory.read_port()
        m.d.comb += [self.count.eq(count), self.wide.eq(count.as_signed()), read.addr.eq(held), self.word.eq(read.data)]
        with m.If(self.enable):
            with m.If(self.up):
                m.d.sync += count.eq(count + 1)
            with m.Else():
                m.d.sync += count.eq(count - 3)
        with m.Else():
            m.d.sync += [held[:4].eq(count), held[4:].eq(Cat(held[:3], count[0]))]
        return m


@pytest.fixture
def bench(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "counting").mkdir()
    (tmp_path / "counting" / "bench.py").write_text(BENCH)
    monkeypatch.syspath_prepend(tmp_path)
    return "counting.bench"


def test_registers_are_assigned_where_they_change() -> None:
    text = emit(Counter(), "counter")
    assert "module counter(" in text
    assert "always_comb" not in text
    assert "(* " not in text
    assert "if (enable) begin" in text
    assert "{8{count[7]}}" in text


def test_memories_of_zeros_are_not_initialised() -> None:
    assert "initial" not in emit(Counter(), "counter")
    assert "32'd3" in emit(Counter([0, 3]), "counter")


def test_a_next_value_that_is_read_stays() -> None:
    text = (
        "module m(clk);\n  reg \\$1 ;\n  assign y = \\$1 ;\n"
        "  always_ff @(posedge clk)\n    r <= \\$1 ;\n"
        "  always_comb begin\n    \\$1  = r;\n    if (e) begin\n      \\$1  = d;\n    end\n  end\nendmodule\n"
    )
    assert merge_registers(text) == text


def test_other_clocks_and_slices() -> None:
    text = (
        "module m(c);\n  reg [1:0] \\$1 ;\n"
        "  always_ff @(posedge c)\n    \\a$2  <= \\$1 ;\n"
        "  always_comb begin\n    \\$1  = q;\n    if (e) begin\n      \\$1 [0] = d;\n    end\n  end\nendmodule\n"
    )
    merged = (
        "  always_ff @(posedge c) begin\n    \\a$2  <= q;\n    if (e) begin\n      \\a$2 [0] <= d;\n    end\n  end\n"
    )
    assert merge_registers(text) == f"module m(c);\n  reg [1:0] \\$1 ;\n{merged}endmodule\n"


def test_the_emitted_component_does_the_same(bench: str) -> None:
    from dither.arch.config import EngineConfig

    run_bench(Counter(), bench, name="counter", parameters={"begin": 5, "config": EngineConfig(rows=2)})


def test_a_failing_bench_is_told(bench: str) -> None:
    with pytest.raises(BenchError, match=r"^counting.bench on counter: counts: AssertionError: cycle 0") as caught:
        run_bench(Counter(), bench, name="counter", parameters={"begin": 6, "config": {}})
    assert "knows_the_configuration: AssertionError" in str(caught.value)
    assert "end of the log" in str(caught.value)


def test_a_missing_bench_is_told() -> None:
    with pytest.raises(BenchError, match=r"No module named 'tests.benches.no_such'"):
        run_bench(Counter(), "no_such", name="counter")


def test_a_hanging_bench_is_ended(bench: str, tmp_path: Any) -> None:
    (tmp_path / "counting" / "hang.py").write_text("import time\ntime.sleep(1000)\n")
    with pytest.raises(BenchError, match="did not end within 2 s"):
        run_bench(Counter(), "counting.hang", name="counter", timeout=2)


def test_source_files_are_those_that_are_imported() -> None:
    paths = source_files("dither_hw.engines")
    names = {"/".join(path.parts[-2:]) for path in paths}
    assert {"dither_hw/engine.py", "compact/engine.py", "contract/lane.py", "arch/timing.py"} <= names
    assert not {"cli", "golden", "compiler"} & {path.parent.name for path in paths}

"""A test of the tests: every bench fails on deliberately broken components (and passes on the same
component unbroken).

One compiled simulation for each component with all of its faults. Random faults: ``make mutate``.
"""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Const, Fragment, Module, Mux, Signal, Value
from amaranth.hdl._ast import Concat, Slice, SwitchValue

from dither.arch.config import EngineConfig
from dither.arch.isa import LOOPS
from dither.arch.regmap import PHASES, REGISTERS
from dither_hw.base.generator import Generator
from dither_hw.contract.contract import ContractUnit
from dither_hw.contract.dither import DitherUnit
from dither_hw.control.host import HostRegisters
from dither_hw.control.sequencer import Sequencer
from dither_hw.engine import Engine
from dither_hw.link.bridge import Bridge
from dither_hw.loss.loss import LossUnit
from dither_hw.memory.memories import BankedMemory
from dither_hw.memory.transfer import TransferUnit
from dither_hw.memory.transpose import TransposeUnit
from dither_hw.tables.interpolator import Interpolator
from dither_hw.update.probes import ParameterUnit
from dither_hw.update.update import UpdateUnit
from tests.benches.mutation import Change, Mutable, survivors
from tests.benches.with_tables import WithTables

from .faults import Suite, only, value

CONTRACT = EngineConfig(
    rows=2, lanes=4, lanes_per_table=2, activation_tables=4, table_bits=6, activation_depth=128, parameter_depth=64
)
SMALL = EngineConfig(rows=2, lanes=2, lanes_per_table=1, table_bits=6, program_depth=64, rounds_per_cycle=4)
PARTS = EngineConfig(rows=4, lanes=4, lanes_per_table=1, table_bits=6, word_parts=4, local_learning=0)
ENGINE = EngineConfig(
    rows=2,
    lanes=2,
    lanes_per_table=1,
    table_bits=6,
    activation_depth=64,
    parameter_depth=32,
    program_depth=256,
    rounds_per_cycle=4,
)
WAIT = PHASES.index("wait")
START = next(register.address for register in REGISTERS if register.name == "start")


def index(old: Value, component: Any, m: Module) -> Value | None:
    """No index, where there is one."""
    return Const(0) if isinstance(old, Slice) and getattr(old.value, "name", "") == "index" else None


def all_rows(old: SwitchValue) -> Value | None:
    """Of a choice between ``last_rows`` and all rows, all."""
    rows = [result for _, result in old.cases if isinstance(result, Const) and result.value == CONTRACT.rows]
    return rows[0] if rows else None


def new_value(old: Value, memory: BankedMemory, m: Module) -> Value:
    met, written = Signal(), Signal(memory.bits)
    m.d.sync += [
        met.eq(memory.write.enable & (memory.write.addr == memory.read.addr)),
        written.eq(memory.write.data),
    ]
    return Mux(met, written, old)


SUITES = {
    "sequencer": Suite(
        Sequencer,
        "bench_sequencer",
        {"count": 40},
        (
            Change("a loop once more", "step", value(lambda old: Mux(old < 0, old, old + 1))),
            Change("no fault is one", "fails", value(lambda old: Const(0))),
            Change("differences are sums", "subtracts", value(lambda old: Const(0))),
            Change("the last operand is not read", "sources", value(lambda old: Mux(old > 1, old - 1, old))),
            Change("results of units are lost", "result__data", value(lambda old: Const(0))),
            Change("waits are not charged as such", "phase", value(lambda old: Mux(old == WAIT, 0, old))),
        ),
    ),
    "bridge": Suite(
        lambda: Bridge(SMALL),
        "bench_bridge",
        {"config": SMALL, "patterns": ("bursts", "often"), "cycles": 300},
        (
            Change("a waiting beat is not busy", "link__busy", lambda old, unit, m: old & ~unit.link.output.valid),
            Change("resets are over too soon", "late", value(lambda old: Const(0))),
            Change("beats stay for ever", "link__output__valid", value(lambda old: Const(1))),
            Change("writes go astray", "engine__host_write", value(lambda old: Const(0))),
        ),
    ),
    "transfer": Suite(
        lambda: TransferUnit(PARTS),
        "bench_transfer",
        {"config": PARTS, "input": "bursts", "output": "reluctant", "count": 60},
        (
            Change("places are left out", "place", only("+", lambda old: old + 1)),
            Change("valid waits for ready", "output__valid", lambda old, unit, m: old & unit.output.ready),
            Change("a beat changes while it waits", "output__payload", lambda old, unit, m: old ^ ~unit.output.ready),
            Change("beats are lost", "write_enable", lambda old, unit, m: old & unit.input.payload[0]),
            Change("takes beats that are not there", "write_enable", lambda old, unit, m: ~unit.done),
            Change("waits are not shown", "waiting", value(lambda old: Const(0))),
            Change("sends early", "latency", only("+", lambda old: old + 1)),
        ),
    ),
    "host": Suite(
        lambda: HostRegisters(SMALL),
        "bench_host",
        {"config": SMALL, "count": 10},
        (
            Change("starts while busy", "start", lambda old, host, m: host.write & (host.addr == START)),
            Change("the window is everywhere", "write__enable", lambda old, host, m: host.write),
            Change("counters are not cleared", "started", value(lambda old: Const(0))),
            Change("idle cycles count", "cycles_fetch_step", lambda old, host, m: host.phase == 0),
        ),
    ),
    "memory": Suite(
        lambda: BankedMemory(depth=16, banks=1, bits=32),
        "bench_memories",
        {"depth": 16, "width": 32, "near": False, "count": 1500},
        (
            Change("new instead of old value", "bank0_stage1", new_value),
            Change("an address bit is ignored", "read__addr", value(lambda old: old & ~1)),
            Change("writes always", "write__en", value(lambda old: Const(1))),
        ),
    ),
    "contract": Suite(
        lambda: ContractUnit(CONTRACT),
        "bench_contract,tests.benches.bench_correlate",
        {"config": CONTRACT, "count": 120},
        (
            Change("no rounding", "group*.lane*.requantiser.total", only("+", lambda old: old.operands[0])),
            Change("saturates one early", "group*.lane*.requantiser.*", only(Concat, lambda old: old ^ 1)),
            Change(
                "the step of a loop is ignored",
                "nest.chosen_x_copy",
                value(lambda old: old & ~(1 << LOOPS.index("o1"))),
            ),
            Change("last_rows is ignored", "drain.*", only(SwitchValue, all_rows)),
            Change("clips of tables do not count", "group*.interpolator.clipped", value(lambda old: Const(0))),
            Change("one clip a group at most", "group*.clips", value(lambda old: old.any())),
            Change("bias terms count", "nest.row_steps", lambda old, unit, m: Mux(unit.row_steps.any(), old, 1)),
            Change("the index of inputs is ignored", "nest.x_step", index),
            Change("the index of outputs is ignored", "drain.step", only(Signal, lambda old: Const(0))),
            Change("lanes do not keep their weights", "group*.accept_copy", value(lambda old: ~(old ^ old))),
            Change("zero is positive", "group*.lane*.own", only(">", lambda old: old.operands[0] >= 0)),
            Change("no word is negative", "group*.lane*.own", only(Concat, lambda old: old[0])),
            Change("all rows count", "correlator.live", value(lambda old: Const(1))),
            Change("a lane is left out", "group*.sum*", only("+", lambda old: old.operands[0])),
            Change("a group is left out", "correlator.sum*", only("+", lambda old: old.operands[1])),
            Change(
                "old gradients are forgotten", "correlator.gradient_write__data", only("+", lambda old: old.operands[1])
            ),
            Change("the index of gradients is ignored", "correlator.g_step", index),
            Change("left words stand still", "correlator.addr", only("+", lambda old: old.operands[0])),
        ),
    ),
    "interpolator": Suite(
        lambda: Interpolator(index_bits=4, fraction_bits=6, value=Signal(8).shape(), slope_width=8, tables=2),
        "bench_interpolator",
        {
            "index_bits": 4,
            "fraction_bits": 6,
            "value_width": 8,
            "value_signed": False,
            "slope_width": 8,
            "tables": 2,
            "count": 600,
        },
        (
            Change("no rounding", "total", value(lambda old: old - 32)),
            Change("clips at the top alone", "under", value(lambda old: Const(0))),
            Change("one table for all", "read__addr", value(lambda old: old[:4])),
        ),
    ),
    "generator": Suite(
        lambda: Generator(4),
        "bench_generator",
        {"rounds_per_cycle": 4, "count": 20},
        (
            Change(
                "a wrong rotation",
                "high2",
                only("^", lambda old: Value.cast(old.operands[0]).rotate_left(1) ^ old.operands[1]),
            ),
            Change("a missed key injection", "high", only("+", lambda old: old.operands[0])),
            Change("a wrong constant in the key", "key2", only("^", lambda old: old ^ 1)),
        ),
    ),
    "parameters": Suite(
        lambda: ParameterUnit(SMALL),
        "bench_parameters",
        {"config": SMALL, "count": 80},
        (
            Change("no rounding", "half", value(lambda old: Const(0))),
            Change("no rounding of products", "rounding", value(lambda old: Const(0))),
            Change("signs the other way round", "signs", value(lambda old: ~old)),
            Change("the next coordinate", "spot", value(lambda old: ~old)),
            Change("one more among sixteen bits", "pair", value(lambda old: old | 1)),
            Change("bytes without their highest bit", "byte", value(lambda old: old & 0x7F)),
            Change("padding is used", "discards", value(lambda old: Const(0))),
            Change("gradients without their highest bit", "gradient_write__data", value(lambda old: old[:-1])),
            Change("saturation is not counted", "saturations", value(lambda old: Const(0))),
            Change("the probe is ignored", "generator.first_high", only("+", lambda old: old.operands[1])),
        ),
    ),
    "dither": Suite(
        lambda: DitherUnit(SMALL),
        "bench_dither",
        {"config": SMALL, "count": 40},
        (
            Change("the gate is ignored", "still*", value(lambda old: Const(0))),
            Change("signs the other way round", "minus*", value(lambda old: ~old)),
            Change("saturation is not counted", "saturations", value(lambda old: Const(0))),
            Change("every block is the first", "number", only("+", lambda old: old.operands[0])),
            Change("samples begin at blocks", "skip", only("+", lambda old: old.operands[0])),
            Change("signs stand still", "shift", lambda old, unit, m: old & ~unit.result.enable),
        ),
    ),
    "transpose": Suite(
        lambda: TransposeUnit(SMALL),
        "bench_transpose",
        {"config": SMALL, "count": 40},
        (
            Change("what is no input is not zero", "word*", only(SwitchValue, lambda old: old.cases[0][1])),
            Change("padding is written", "emits", only("&", lambda old: old.operands[0])),
            Change("blocks leave as they came", "across", value(lambda old: Const(0))),
            Change("the next inputs are the same", "next_column", only("+", lambda old: old.operands[0])),
        ),
    ),
    "loss": Suite(
        lambda: WithTables(LossUnit(SMALL), SMALL, "loss"),
        "bench_loss",
        {"config": SMALL, "count": 80},
        (
            Change("masks are ignored", "unit.live", value(lambda old: Const(1))),
            Change("the label's distance is left out", "unit.entropy.label_distance", value(lambda old: Const(0))),
            Change("the logarithm's exponent is one more", "unit.entropy.exponent", value(lambda old: old + 1)),
            Change("no rounding", "unit.results.rounded", only(">>", lambda old: (old << 1) - 1 >> 1)),
            Change("derivatives without a logarithm", "unit.entropy.common", value(lambda old: Const(0))),
            Change("logarithms in sums", "unit.entropy.common", only(Const, lambda old: Const(1 << 12))),
            Change("halves go up", "unit.entropy.up", value(lambda old: Const(1))),
            Change("labels' classes are like others", "unit.entropy.derivative", value(lambda old: old & 0xFFFF)),
            Change("losses are kept in every mode", "unit.results.write__en", only("&", lambda old: old.operands[0])),
            Change("a derivative for all lanes", "unit.result__enable", value(lambda old: old.any().replicate(2))),
            Change("derivatives of masked lanes", "unit.derivative_counts", value(lambda old: Const(1))),
            Change("results' clips are not counted", "unit.results.result_clip", value(lambda old: Const(0))),
        ),
    ),
    "update": Suite(
        lambda: WithTables(UpdateUnit(SMALL), SMALL, "update"),
        "bench_update",
        {"config": SMALL, "count": 40},
        (
            Change("Adam's exponent is one more", "unit.exponent", value(lambda old: old + 1)),
            Change("no rounding", "unit.shifter.result", value(lambda old: (old << 1) - 1 >> 1)),
            Change("first moments stand still", "unit.unit", value(lambda old: Const(0))),
            Change("second moments have one scale", "unit.wide", only(SwitchValue, lambda old: old.cases[0][1])),
            Change("zeros have a sign", "unit.drive", value(lambda old: old | 1)),
            Change("averages take the gradient", "unit.by_sign", value(lambda old: Const(0))),
            Change("gradients stay", "unit.gradient_write__enable", value(lambda old: Const(0))),
            Change("a clip is not counted", "unit.h_clips", value(lambda old: Const(0))),
            Change("gradients are cut", "unit.gradient", value(lambda old: old[:-1])),
        ),
    ),
}

WHOLE = Suite(
    lambda: Engine(ENGINE),
    "bench_engine",
    {"config": ENGINE, "count": 1, "patterns": [("always", "always"), ("bursts", "bursts")]},
    (
        Change("a loss is not written", "result", value(lambda old: Const(0))),
        Change("clips of updates are not counted", "saturations_update", value(lambda old: Const(0))),
        Change("gradients read as zero", "gradient__data", value(lambda old: Const(0))),
    ),
)


@pytest.mark.parametrize("name", SUITES)
def test_named_faults_are_found(name: str) -> None:
    suite = SUITES[name]
    alive = survivors(suite.component, suite.faults, suite.bench, name=f"broken_{name}", parameters=suite.parameters)
    assert not alive, "\n".join(alive)


@pytest.mark.slow
def test_named_faults_of_the_engine_are_found() -> None:
    alive = survivors(WHOLE.component, WHOLE.faults, WHOLE.bench, name="broken_engine", parameters=WHOLE.parameters)
    assert not alive, "\n".join(alive)


def test_a_fault_without_a_place_is_refused() -> None:
    broken = Mutable(BankedMemory(depth=16, banks=1, bits=8), [Change("nowhere", "nothing", value(lambda old: old))])
    with pytest.raises(ValueError, match="no place in BankedMemory for: nowhere"):
        Fragment.get(broken, None)

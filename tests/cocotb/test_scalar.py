"""The scalar unit's bench on Verilator, and whether it finds faults."""

from __future__ import annotations

import pytest
from amaranth.hdl import Const, Value

from dither.arch.compact.scalar.assembler import MicroProgram
from dither.arch.compact.scalar.machine import Operation, Source, Target, encode_operation
from dither.arch.config import EngineConfig
from dither_hw.compact.scalar import ScalarUnit
from tests.benches.mutation import Change, survivors
from tests.benches.runner import run_bench
from tests.benches.scalar_programs import random_program

from .faults import Suite

CONFIG = EngineConfig(
    rows=1,
    lanes=4,
    width=16,
    activation_depth=64,
    parameter_depth=128,
    program_depth=64,
    table_bits=6,
    activation_tables=0,
    wide_probes=0,
    local_learning=0,
    compact=1,
)
FAULTS = (
    Change("no carry in", "carry_in", lambda old, unit, m: Const(0)),
    Change("decrements leave C", "carries", lambda old, unit, m: old & (unit.word[1:5] != Operation.DEC)),
    Change("a shift a bit too far", "funnel0", lambda old, unit, m: Value.cast(old) << 1),
    Change("no bit of a product is new", "q", lambda old, unit, m: Value.cast(old)[:15]),
    Change("F as of a microinstruction ago", "by_zero", lambda old, unit, m: ~old),
    Change("C without a predicate", "acts", lambda old, unit, m: unit.moves_on),
    Change("beats are taken twice", "moves_on", lambda old, unit, m: unit.second),
    Change("valid waits for ready", "output_valid", lambda old, unit, m: old & unit.output_ready),
    Change("P wraps early", "p", lambda old, unit, m: Value.cast(old)[:13]),
    Change("STORE begins like LOAD", "entry", lambda old, unit, m: old & ~1),
    Change("calls return to themselves", "back", lambda old, unit, m: old - ~unit.start),
)


def random_unit(seed: int) -> ScalarUnit:
    return ScalarUnit(CONFIG, program=random_program(seed))


def parameters(seed: int) -> dict[str, object]:
    return {"config": CONFIG, "seed": seed, "count": 60}


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_random_microprograms(seed: int) -> None:
    run_bench(random_unit(seed), "bench_scalar", name=f"scalar_{seed}", parameters=parameters(seed))


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_own_microprogram_like_golden(count: int) -> None:
    names = ["PERTURB", "ACCUMULATE", "UPDATE", "LOSS", "LOAD", "STORE"]
    parameters = {"config": CONFIG, "names": names, "count": count}
    run_bench(ScalarUnit(CONFIG), "bench_scalar_golden", name="scalar", parameters=parameters)


SUITE = Suite(lambda: random_unit(1), "bench_scalar", parameters(1), FAULTS)


@pytest.mark.slow
def test_named_faults_are_found() -> None:
    alive = survivors(SUITE.component, FAULTS, SUITE.bench, name="broken_scalar", parameters=SUITE.parameters)
    assert not alive, "\n".join(alive)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "has up to 2048 words, not 0"),
        ((1,) * 2049, "has up to 2048 words, not 2049"),
        ((encode_operation(Operation.LOAD, Source.X, Target.P, move=True),), "word 0 sets P and moves it"),
        ((1, encode_operation(Operation.MULTIPLY, Source.X, Target.Q)), "word 1 .* Q twice"),
    ],
)
def test_a_microprogram_that_does_not_fit_is_refused(words: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScalarUnit(CONFIG, program=MicroProgram(words, (), {}))

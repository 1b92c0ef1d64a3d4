"""The machine that was written from docs alone gives the golden machine's bits."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.config import PRESETS, EngineConfig
from dither.arch.device import DeviceError, RunResult
from dither.arch.isa import STACK_DEPTH, Instruction, Memory, encode_program
from dither.arch.streams import Expect, Segment, pack, physical_beats, unpack
from dither.golden import GoldenMachine
from dither.recipe import Recipe
from dither.report.records import recorded_experiment
from dither.train.prepared import Prepared
from dither.train.session import Session
from dither.train.tasks import load_task
from tests import second_machine
from tests.programs import RandomProgram, differential, programs
from tests.second_machine.machine import Fault, Machine

I = Instruction.make  # noqa: E741
SMALL = {"activation_depth": 96, "parameter_depth": 32, "program_depth": 2048, "table_bits": 6, "lanes_per_table": 1}
ENGINES = {
    "1x3": EngineConfig(rows=1, lanes=3, width=18, **SMALL),
    "2x4": EngineConfig(rows=2, lanes=4, width=16, **SMALL),
    "4x2, in parts": EngineConfig(rows=4, lanes=2, word_parts=2, **SMALL),
    "compact": EngineConfig(
        rows=1, lanes=5, width=16, activation_tables=0, wide_probes=0, local_learning=0, compact=1, **SMALL
    ),
}


def numbers(beats: np.ndarray) -> list[int]:
    """Physical beats as integers."""
    return [int.from_bytes(beat.astype("<u4").tobytes(), "little") for beat in beats]


def words(beats: Sequence[int], width: int) -> np.ndarray:
    """The inverse of :func:`numbers`, for beats of so many bits."""
    size = -(-width // 32) * 4
    data = b"".join(beat.to_bytes(size, "little") for beat in beats)
    return np.frombuffer(data, "<u4").reshape(len(beats), -1)


RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
RECORDS = {path.parent.name: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/result.json"))}
QUICK = ("digits-random-1", "digits-hybrid-1", "burgers", "mnist-activity", "mnist-mirror")
"""Records that seconds suffice for; the others are slow."""


class Both:
    """A device that runs each program on the golden machine and on the second one, and compares
    streams, memories and saturations."""

    name = "both"

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.golden, self.second = GoldenMachine(config), Machine(config.to_dict())
        self.runs = 0

    def write_program(self, program: Sequence[int]) -> None:
        self.golden.write_program(program)
        self.second.program[: len(program)] = program

    def close(self) -> None:
        self.golden.close()

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        result = self.golden.run(entry, inputs, expects)
        config = self.config
        beats = self.second.run(entry, numbers(pack(config, inputs)))
        assert max(beats, default=0) >> self.second.beat_width == 0
        first = 0
        for expect, golden in zip(expects, result.outputs, strict=True):
            count = physical_beats(config, expect)
            sent = words(beats[first : first + count], config.beat_width)
            assert np.array_equal(unpack(config, expect.kind, sent), golden), expect
            first += count
        assert first == len(beats)
        self.compare_memories()
        for name, value in self.second.counters.items():
            if not name.startswith("cycles_"):
                assert value == result.counters[name], name
        self.runs += 1
        return result

    def compare_memories(self) -> None:
        memories, second = self.golden.memories, self.second.memory
        assert np.array_equal(memories.space.activation, second["ACTIVATION"])
        assert np.array_equal(memories.space.weight, second["WEIGHT"])
        for kind in (Memory.MASTER, Memory.GRADIENT, Memory.MOMENT1, Memory.MOMENT2):
            assert np.array_equal(memories.state[kind], second[kind.name]), kind


def test_the_second_machine_takes_nothing_from_the_project() -> None:
    folder = Path(second_machine.__file__).parent
    for module in folder.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            assert not [name for name in names if name.split(".")[0] in ("dither", "dither_hw", "numpy", "tests")]


@pytest.mark.parametrize("engine", ENGINES)
@differential
@given(data=st.data())
def test_random_programs(engine: str, data: st.DataObject) -> None:
    both = Both(ENGINES[engine])
    program: RandomProgram = data.draw(programs(both.config, single=data.draw(st.booleans())))
    both.write_program(program.words)
    both.run(0, program.inputs, program.expects)
    both.close()


@pytest.mark.parametrize(
    "program",
    [
        [I("LOOP", register=0, count=0), I("END"), I("HALT")],
        [I("SET", target=1, source=0, value=-3), I("LOOP", register=1, count=3), I("END"), I("HALT")],
        [I("LOOP", register=0, count=1)] * (STACK_DEPTH + 1),
        [I("CALL", target=0)],
        [I("END")],
        [I("RETURN")],
        [I("LOOP", register=0, count=2), I("RETURN")],
        [I("CALL", target=1), I("END")],
    ],
)
def test_the_same_programs_fault(program: list[Instruction]) -> None:
    both = Both(ENGINES["2x4"])
    both.write_program(encode_program(program))
    with pytest.raises(DeviceError):
        both.golden.run(0)
    with pytest.raises(Fault):
        both.second.run(0, [])


@pytest.mark.parametrize("engine", ["2x4", "4x2, in parts"])
def test_unknown_opcodes_fault(engine: str) -> None:
    both = Both(ENGINES[engine])
    for opcode in range(256):
        known = opcode in both.second.forms and (both.config.local_learning or opcode < 17)
        if not known:
            both.write_program([opcode])
            with pytest.raises(DeviceError):
                both.golden.run(0)
            with pytest.raises(Fault):
                both.second.run(0, [])


def test_halt_closes_what_is_open() -> None:
    both = Both(PRESETS["1x8"])
    both.write_program(encode_program([I("LOOP", register=0, count=9), I("HALT")]))
    for _ in range(STACK_DEPTH + 1):
        both.run(0)
    both.close()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name, record in RECORDS.items()
        if record["kind"] == "engine"
    ],
)
def test_recorded_recipes(name: str, request: pytest.FixtureRequest) -> None:
    """A training step and an evaluation with each record's network and recipes, but a few samples a
    step, on a narrow engine."""

    def few(recipe: Recipe) -> Recipe:
        return replace(recipe, batch=2, tile=2, probes=recipe.probes if isinstance(recipe.probes, tuple) else 1)

    experiment = recorded_experiment(RECORDS[name])
    data = request.getfixturevalue("mnist") if experiment.task == "mnist" else None
    engine = replace(experiment.engine, lanes=2, lanes_per_table=1)
    experiment = replace(
        experiment,
        recipe=few(experiment.recipe),
        phases=tuple(replace(phase, recipe=few(phase.recipe)) for phase in experiment.phases),
        engine=engine,
        data=data,
    )
    task = load_task(experiment.task, experiment.stencil, data)
    both = Both(engine)
    for number, phase in enumerate(experiment.course):
        session = Session(both, experiment.compile(task, engine, number))
        session.load(Prepared(experiment, task, session).initial)
        before = session.masters()
        session.train(0, *task.batches(phase.recipe).take(0, 1))
        assert not np.array_equal(session.masters(), before)
        session.evaluate(task.range_inputs[:5])
    assert both.runs == 6 * len(experiment.course)
    both.close()

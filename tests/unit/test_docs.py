"""What docs say is what the code has: pages made from data, package names, links, width."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dither.arch import timing
from dither.arch.config import PRESETS, EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import INSTRUCTIONS, Activation, Instruction, LossKind, LossMode, Memory, Operand, encode_program
from dither.arch.pages import PAGES
from dither.arch.pages.memories import READERS, SLOTS, WRITERS
from dither.arch.pages.timing import EXECUTION, term_path
from dither.arch.streams import Expect, Segment, memory_bits, slots
from dither.diagrams import DIAGRAMS
from dither.diagrams.example import example, trace
from dither.golden import GoldenMachine, predict
from tests.programs import programs

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = sorted({*ROOT.glob("*.md"), *(page for page in ROOT.glob("docs/**/*.md") if "results" not in page.parts)})
ENGINES = (
    PRESETS["4x32"],
    EngineConfig(rows=2, lanes=66, lanes_per_table=6, activation_tables=4, rounds_per_cycle=4),
    EngineConfig(rows=4, lanes=8, word_parts=2),
)


MADE = {**PAGES, **DIAGRAMS}


@pytest.mark.parametrize("page", MADE)
def test_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == MADE[page](), "run: dither docs"


def test_the_step_that_is_drawn_takes_the_cycles_of_the_cycle_model() -> None:
    compiled = example()
    scalars = [compiled.recipe.seed, 0, 1, 0]
    told = predict(compiled.engine, compiled.program, compiled.entries["train"], scalars)
    events = list(trace(compiled, scalars))
    assert events[-1].end == sum(value for name, value in told.items() if name.startswith("cycles_"))
    assert sum(event.instruction.name == "LOSS" for event in events) == 2


def test_the_memories_that_are_drawn_are_all_there_are() -> None:
    assert set(memory_bits(PRESETS["4x32"])) == {"PROGRAM", *Memory.__members__}


QUOTED = re.compile(r"\[([\d.]+)( %)?\]\([./]*results/README\.md#([\w-]+)\)")
"""A recorded result in a page: its number, and the record's name."""


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_quoted_results_are_the_records(page: Path) -> None:
    for number, percent, name in QUOTED.findall(page.read_text()):
        record = json.loads((ROOT / "docs" / "results" / name / "result.json").read_text())
        final = f"{record['test_accuracy']:.2%}" if percent else f"{record['relative_l2']:.3g}"
        assert number == final.rstrip("%"), name


def test_results_are_quoted() -> None:
    assert sum(len(QUOTED.findall(page.read_text())) for page in WRITTEN) >= 15


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_prose_wraps_at_100_columns(page: Path) -> None:
    code, wide = False, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        if not (code or line.startswith(("|", "    ", "#", "!", "<"))) and len(line) > 100 and " " in line.strip("-* "):
            wide.append(f"{page.name}:{number}")
    assert not wide


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_every_package_says_what_it_holds() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", PAGES["packages.md"](), re.MULTILINE)
    assert {"dither.arch", "dither_hw.contract", "dither_sim.board"} <= {name for name, _ in rows}
    assert not [name for name, text in rows if len(text) < 20]


def _letters(config: EngineConfig, instruction: Instruction) -> dict[str, object]:
    """What the letters of the timing page's formulas mean."""
    fields = dict(instruction.fields)
    table = fields.get("activation") == Activation.TABLE
    outputs, finish = fields.get("count", 0), 1 + timing.LOSS_FINISH_CYCLES
    if fields.get("mode") == LossMode.DIFFER:
        finish = timing.LOSS_FINISH_CYCLES + timing.LOSS_RESULT_CYCLES
    return {
        **vars(timing),
        **fields,
        "R": config.rows,
        "L": config.lanes,
        "P": config.word_parts,
        "c": 1 if fields.get("operand") == Operand.WEIGHT else 2,
        "d": config.lanes_per_table if table else 1,
        "t": timing.INTERPOLATOR_LATENCY + 1 if table else 0,
        "C": outputs,
        "s": max(outputs, timing.LOSS_SHORTEST_PASS),
        "f": finish,
        "a": math.ceil(math.log2(config.lanes_per_table))
        + math.ceil(math.log2(config.lanes // config.lanes_per_table)),
        "G": timing.generator_cycles(config.rounds_per_cycle),
        "SQUARED_ERROR": fields.get("kind") == LossKind.SQUARED_ERROR,
        "ERROR": fields.get("mode") == LossMode.ERROR,
        "ceil": math.ceil,
        "max": max,
    }


@pytest.mark.parametrize("config", ENGINES, ids=lambda config: config.geometry)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_formulas_of_the_timing_page(config: EngineConfig, data: st.DataObject) -> None:
    for instruction in data.draw(programs(config)).instructions:
        if instruction.name in EXECUTION:
            told = eval(EXECUTION[instruction.name], {"__builtins__": {}}, _letters(config, instruction))
            assert told == timing.execution_cycles(config, instruction), instruction
        elif instruction.format.phase == "control":
            assert timing.execution_cycles(config, instruction) == 1


def test_the_path_of_a_term_ends_with_the_shortest_contract() -> None:
    one = {f"n_{loop}": 1 for loop in ("k0", "k1", "k2", "o0", "o1", "o2", "o3")}
    form = next(form for form in INSTRUCTIONS if form.name == "CONTRACT")
    fields = dict.fromkeys([field.name for field in form.fields], 0) | one | {"last_rows": 1}
    shortest = timing.execution_cycles(PRESETS["4x32"], Instruction.make("CONTRACT", **fields))
    start, output, report = 1, 1, 1
    assert start + term_path()[-1][0] + output + report == shortest
    assert [cycle for cycle, _ in term_path()] == sorted(cycle for cycle, _ in term_path())


@pytest.mark.parametrize("config", ENGINES, ids=lambda config: config.geometry)
@pytest.mark.parametrize("kind", SLOTS, ids=str)
def test_slots_of_the_memory_page(config: EngineConfig, kind: Memory | None) -> None:
    letters = {"L": config.lanes, "R": config.rows, "W": config.width}
    assert slots(config, kind) == tuple(letters.get(text) or int(text) for text in SLOTS[kind])


@pytest.mark.parametrize("kind", Memory)
def test_who_loads_and_stores(kind: Memory) -> None:
    config = PRESETS["1x8"]
    machine = GoldenMachine(config)
    fields = {"memory": kind, "base": 0, "count": 1}
    values = np.ones((1, slots(config, kind)[0]), np.int64)
    instructions = [Instruction.make("LOAD", **fields), Instruction.make("STORE", **fields), Instruction.make("HALT")]
    machine.write_program(encode_program(instructions))
    assert "LOAD" in WRITERS[kind]
    if "STORE" in READERS[kind]:
        assert machine.run(0, [Segment(kind, values)], [Expect(kind, 1)]).outputs[0].tolist() == values.tolist()
    else:
        with pytest.raises(DeviceError, match="cannot be read back"):
            machine.run(0, [Segment(kind, values)], [Expect(kind, 1)])

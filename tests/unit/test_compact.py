"""What software knows of compact engines: configurations, beats, cycles of their sequencer's
program.
"""

import re

import numpy as np
import pytest

from dither.arch.compact import timing
from dither.arch.compact.sequencer.interpreter import Interpreter
from dither.arch.compact.sequencer.program import control_program
from dither.arch.compact.sequencer.words import DEPTH, Job, Next, Program, Source
from dither.arch.config import EngineConfig, preset
from dither.arch.isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS, LOOPS, Instruction, Memory
from dither.arch.streams import Expect, Segment, beat_words, beats_per_word, pack, physical_beats, slots, unpack
from dither.arch.timing import execution_cycles, fetch_cycles

COMPACT = preset("1x8-compact")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 2}, "rows of a compact engine must be 1"),
        ({"width": 18}, "width of a compact engine must be 16"),
        ({"local_learning": 1}, "local_learning of a compact engine must be 0"),
        ({"lanes": 16}, "lanes of a compact engine must be at most 8"),
        ({"parameter_depth": 2049}, "parameter_depth of a compact engine must be at most 2048"),
        ({"compact": 2}, "compact must be 0 or 1, not 2"),
    ],
)
def test_configurations_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        EngineConfig.from_dict(COMPACT.to_dict() | values)


def test_widths():
    assert COMPACT.accumulator_width == 40
    assert COMPACT.beat_width == 16
    assert beat_words(COMPACT) == 1


@pytest.mark.parametrize(
    ("kind", "beats"),
    [
        (None, 2),
        (Memory.ACTIVATION, 8),
        (Memory.MASTER, 2),
        (Memory.GRADIENT, 3),
        (Memory.WEIGHT, 2),
        (Memory.SCALAR_TABLE, 3),
    ],
)
def test_words_are_several_beats(kind, beats):
    assert beats_per_word(COMPACT, kind) == beats
    assert physical_beats(COMPACT, Expect(kind, 5)) == 5 * beats
    count, width, pitch = slots(COMPACT, kind)
    if kind is Memory.WEIGHT:
        width = COMPACT.width
    values = np.random.default_rng(1).integers(0, 1 << (width - 1), (4, count))
    values[1] = 0 if kind is Memory.SCALAR_TABLE else -1
    segment = Segment(kind, values)
    assert physical_beats(COMPACT, segment) == 4 * beats
    packed = pack(COMPACT, [segment, segment])
    assert packed.shape == (8 * beats, 1)
    assert packed.max() < 1 << 16
    np.testing.assert_array_equal(unpack(COMPACT, kind, packed[: 4 * beats]), values)
    first = sum((value % (1 << pitch)) << (slot * pitch) for slot, value in enumerate(values[0].tolist()))
    assert sum(word << (16 * i) for i, (word,) in enumerate(packed[:beats].tolist())) == first


def test_the_sequencers_program_fits_and_jumps_to_words_there_are():
    program = control_program()
    words = program.assemble()
    assert 1 << 8 < len(words) <= DEPTH
    for word in program.words:
        if isinstance(word.address, str):
            assert word.address in program.labels
        elif word.next not in (Next.FOLLOW, Next.REPEAT_CARRY, Next.REPEAT_COUNT, Next.REPEAT_WAIT, Next.DISPATCH):
            pytest.fail(f"a jump without a label: {word}")
        assert word.source is Source.NOTHING or not word.indexed or word.job is not Job.SCALAR


def test_programs_are_checked():
    program = Program()
    program.label("here")
    with pytest.raises(ValueError, match="label 'here' stands twice"):
        program.label("here")
    program("here", source=Source.LOW)
    with pytest.raises(ValueError, match="word 0 jumps and writes"):
        program.assemble()
    for _ in range(DEPTH):
        program()
    with pytest.raises(ValueError, match="513 words do not fit into 512"):
        program.assemble()


def test_every_instruction_has_its_cycles():
    for form in INSTRUCTIONS:
        cycles = fetch_cycles(form, COMPACT.family)
        assert (cycles > form.words) == (form.name not in LOCAL_INSTRUCTIONS), form.name


def test_a_term_takes_a_cycle_and_idle_ones_are_not_needed():
    (form,) = (form for form in INSTRUCTIONS if form.name == "CONTRACT")

    def cycles(**fields: int) -> int:
        values = {field.name: 0 for field in form.fields} | {f"n_{loop}": 1 for loop in LOOPS} | {"last_rows": 1}
        return execution_cycles(COMPACT, Instruction("CONTRACT", values | fields))

    assert cycles(n_k0=100) - cycles() == 99
    assert cycles(bias=1, idle=200) == cycles()
    # A tile of K terms: K cycles, and twelve for everything between two tiles.
    assert cycles(n_o0=11, n_k0=30) - cycles(n_k0=30) == 10 * (30 + 12)


def test_cycles_of_nests_are_those_that_the_program_takes():
    # What is told from a few short nests holds for any: executed whole, word by word.
    random = np.random.default_rng(5)
    for _ in range(60):
        counts = tuple(int(n) for n in random.integers(1, 4, len(LOOPS)))
        lanes = int(random.integers(1, 9))
        assert timing._contract(lanes, 7, counts) == timing._work(lanes, 7, list(counts)), (counts, lanes)


@pytest.mark.parametrize("name", ["LOAD", "STORE"])
@pytest.mark.parametrize("memory", [Memory.ACTIVATION, Memory.WEIGHT])
def test_cycles_of_transfers_are_those_that_the_program_takes(name, memory):
    for lanes, count in ((1, 1), (3, 5), (8, 17)):
        executed = timing._cost(timing._plain(name, memory=memory, count=count), lanes).work
        assert timing._transfer(name, memory, lanes, count) == executed


def test_loops_and_calls_cost_the_same_each_time():
    # Going on and coming to an end take as many cycles, and so do the first and the last frame.
    make = Instruction.make
    body = [make("LOOP", register=0, count=3), make("SET", target=1, source=0, value=0), make("END"), make("HALT")]
    costs = Interpreter(lanes=8).run([word for instruction in body for word in instruction.encode()])
    by_name = {form.opcode: form.name for form in INSTRUCTIONS}
    seen = {}
    for cost in costs:
        seen.setdefault(by_name[cost.opcode], set()).add((cost.fetch, cost.work))
    assert {name: len(each) for name, each in seen.items()} == {"LOOP": 1, "SET": 1, "END": 1, "HALT": 1}
    assert [by_name[cost.opcode] for cost in costs] == ["LOOP", *["SET", "END"] * 3, "HALT"]

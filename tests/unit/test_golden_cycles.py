"""The cycle model: control flow without data. (Random programs against the machine:
test_golden_machine.py.)
"""

import time

import pytest

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import STACK_DEPTH, Instruction, encode_program
from dither.arch.regmap import COUNTERS
from dither.arch.streams import Segment
from dither.golden import GoldenMachine, predict

CONFIG = EngineConfig(rows=2, lanes=3, activation_depth=64, parameter_depth=32, lanes_per_table=1)
I = Instruction.make  # noqa: E741
END, RETURN, HALT = I("END"), I("RETURN"), I("HALT")
PERTURB = I("PERTURB", base=0, inner=3, tiles=2, block=0, seed=0, step=0, probe=0, distribution=0, amplitude=0)
LOSS = I(
    "LOSS",
    kind=1,
    z_base=0,
    z_step=1,
    count=2,
    label=0,
    t_base=0,
    t_step=1,
    z_frac=8,
    loss_frac=8,
    mode=0,
    d_base=0,
    d_step=0,
    target=3,
)


def loop(count, register=0):
    return I("LOOP", register=register, count=count)


def pull(target):
    return I("PULL", target=target)


PROGRAMS = {
    "empty": ([HALT], []),
    "nested loops": ([loop(3), PERTURB, loop(4), PERTURB, END, loop(2), END, END, HALT], []),
    "length from a pull": ([pull(1), loop(2, 1), PERTURB, END, HALT], [5]),
    "length from a pull, by sums": (
        [
            pull(1),
            I("SET", target=2, source=1, value=-2),
            I("ADD", target=2, left=2, right=1),
            loop(0, 2),
            PERTURB,
            END,
            HALT,
        ],
        [4],
    ),
    "length that changes within the loop": (
        [loop(3), I("SET", target=1, source=1, value=1), loop(0, 1), PERTURB, END, END, HALT],
        [],
    ),
    "lengths pulled within the loop": ([loop(3), pull(1), loop(0, 1), PERTURB, END, END, HALT], [4, 1, 2]),
    "pulls that decide nothing": ([loop(3), pull(1), PERTURB, END, pull(2), loop(0, 2), END, HALT], [9, 9, 9, 2]),
    "losses that decide nothing": ([pull(1), loop(2, 1), LOSS, END, HALT], [1]),
    "subtractions": (
        [pull(1), pull(2), I("SUBTRACT", target=1, left=1, right=2), loop(0, 1), PERTURB, END, HALT],
        [9, 4],
    ),
    # 0: LOOP, 1: CALL 4, 2: END, 3: HALT, 4: PERTURB ... RETURN
    "calls": ([loop(3), I("CALL", target=4), END, HALT, PERTURB, loop(2), PERTURB, END, RETURN], []),
    "as deep as the stack": ([*[loop(2)] * STACK_DEPTH, PERTURB, *[END] * STACK_DEPTH, HALT], []),
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_prediction_equals_execution(name):
    program, scalars = PROGRAMS[name]
    words = encode_program(program)
    device = GoldenMachine(CONFIG)
    device.write_program(words)
    counters = device.run(0, [Segment.scalars(scalars)]).counters
    predicted = predict(CONFIG, words, 0, scalars)
    assert predicted == {name: counters[name] for name in predicted}
    assert set(predicted) == {
        c.name for c in COUNTERS if c.name != "cycles_wait" and not c.name.startswith("saturations")
    }


def test_loops_are_multiplied_not_walked():
    program = [*[loop(60_000)] * 4, PERTURB, *[END] * 4, HALT]
    start = time.perf_counter()
    cycles = predict(CONFIG, encode_program(program), 0)["cycles_perturb"]
    assert cycles == 60_000**4 * predict(CONFIG, encode_program([PERTURB, HALT]), 0)["cycles_perturb"]
    # One loop alone would take this long to walk, all four for ever.
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("program", "scalars", "message"),
    [
        ([LOSS, loop(0, 3), END, HALT], [], r"fault at word \d+ \(LOOP\): the loop's length depends on a loss"),
        ([loop(9), LOSS, loop(1, 3), END, END, HALT], [], "the loop's length depends on a loss"),
        ([pull(1), pull(1), HALT], [7], r"fault at word 1 \(PULL\): the program pulls more than the 1 scalars given"),
        ([loop(3), pull(1), END, HALT], [7, 7], "the program pulls more than the 2 scalars given"),
        ([loop(1, 1), END, loop(0, 1), END, HALT], [], "a loop must have at least 1 iteration, not 0"),
        ([*[loop(1)] * (STACK_DEPTH + 1), HALT], [], f"more than {STACK_DEPTH} loops and calls are open"),
        ([loop(2), RETURN, END, HALT], [], "RETURN within a loop that has not ended"),
        ([END], [], "END without LOOP"),
    ],
)
def test_faults_are_those_of_the_machine(program, scalars, message):
    with pytest.raises(DeviceError, match=message):
        predict(CONFIG, encode_program(program), 0, scalars)


def test_a_loop_that_halts_stops_there():
    words = encode_program([loop(5), PERTURB, HALT, END])
    alone = encode_program([PERTURB, HALT])
    assert predict(CONFIG, words, 0)["cycles_perturb"] == predict(CONFIG, alone, 0)["cycles_perturb"]


def test_loops_that_call_themselves_fault():
    # 0: LOOP, 1: CALL 0, 2: END
    with pytest.raises(DeviceError, match=f"more than {STACK_DEPTH} loops and calls are open"):
        predict(CONFIG, encode_program([loop(1), I("CALL", target=0), END, HALT]), 0)


def test_words_that_are_no_instructions_do_no_harm_where_nobody_comes():
    words = encode_program([loop(2), PERTURB, END, HALT])
    assert predict(CONFIG, [*words, 255], 0) == predict(CONFIG, words, 0)

"""TRANSPOSE: inputs and outputs of a matrix exchanged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import Instruction, Memory, encode_program
from dither.arch.streams import Expect, Segment
from dither.golden import GoldenMachine, predict
from dither.golden.transpose import transpose, transpose_words

CONFIG = EngineConfig(rows=4, lanes=3, activation_depth=64, parameter_depth=64, lanes_per_table=1)
I = Instruction.make  # noqa: E741


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 4, 8]))
def test_results_follow_the_definition(inner, columns, rows):
    words = np.random.default_rng(inner).integers(-(2**17), 2**17, (-(-columns // rows) * inner, rows))
    result = transpose(words, inner, columns)
    assert result.shape == (-(-inner // rows) * columns, rows)
    for u in range(-(-inner // rows)):
        for m in range(columns):
            for r in range(rows):
                k = u * rows + r
                expected = words[(m // rows) * inner + k, m % rows] if k < inner else 0
                assert result[u * columns + m, r] == expected


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 4, 8]))
def test_twice_is_the_same_but_for_padding(inner, columns, rows):
    words = np.random.default_rng(columns).integers(-(2**17), 2**17, (-(-columns // rows) * inner, rows))
    padding = np.arange(len(words) // inner * rows).reshape(-1, 1, rows) >= columns
    words = np.where(padding, 0, words.reshape(-1, inner, rows)).reshape(-1, rows)
    np.testing.assert_array_equal(transpose(transpose(words, inner, columns), columns, inner), words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner": 0}, "inner must be at least 1"),
        ({"columns": 0}, "columns must be at least 1"),
        ({"base": 1015}, "words 1015 to 1024 are beyond the 1024 of WEIGHT"),
        ({"target": 1011}, "words 1011 to 1024 are beyond the 1024 of WEIGHT"),
        ({"target": 9}, "source and result overlap"),
        ({"base": 33, "target": 20}, "source and result overlap"),
    ],
)
def test_faults(changes, message):
    instruction = I("TRANSPOSE", **({"base": 0, "inner": 5, "columns": 7, "target": 20} | changes))
    with pytest.raises(DeviceError, match=f"TRANSPOSE: {message}"):
        transpose_words(CONFIG, instruction)


def test_the_machine_executes_it():
    weights = np.random.default_rng(0).integers(-(2**17), 2**17, (64, 4))
    program = [
        I("LOAD", memory=Memory.WEIGHT, base=0, count=64),
        I("TRANSPOSE", base=3, inner=5, columns=7, target=20),
        I("STORE", memory=Memory.WEIGHT, base=0, count=64),
        I("HALT"),
    ]
    device = GoldenMachine(CONFIG)
    device.write_program(encode_program(program))
    version = device.memories.space.version
    result = device.run(0, [Segment(Memory.WEIGHT, weights)], [Expect(Memory.WEIGHT, 64)])
    weights[20:34] = transpose(weights[3:13], 5, 7)
    np.testing.assert_array_equal(result.outputs[0], weights)
    assert device.memories.space.version == version + 2  # copies of the weights are out of date
    assert result.counters["cycles_transpose"] == predict(CONFIG, encode_program(program), 0)["cycles_transpose"] > 0

"""The native machine leaves the golden machine's bits: in streams, memories, counters, ranges; and
it faults where that one does, with the same words.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS, LOOPS, OUTER_LOOPS, Instruction, Memory, encode_program
from dither.arch.streams import Expect, Segment
from dither.golden import GoldenMachine
from dither.native import NativeMachine, build
from tests.programs import STATE, differential, programs, steps_of_strides

SMALL = {"activation_depth": 128, "parameter_depth": 64, "program_depth": 2048, "table_bits": 6, "lanes_per_table": 1}
ENGINES = {
    "1x4 w16": EngineConfig(rows=1, lanes=4, width=16, activation_tables=0, local_learning=0, **SMALL),
    "2x11": EngineConfig(rows=2, lanes=11, width=18, **SMALL),
    "4x8 w16": EngineConfig(rows=4, lanes=8, width=16, activation_tables=4, **SMALL),
    "8x35": EngineConfig(rows=8, lanes=35, width=18, **SMALL),
    "8x16 parts": EngineConfig(rows=8, lanes=16, word_parts=4, wide_probes=0, local_learning=0, **SMALL),
    "compact": EngineConfig(
        rows=1, lanes=5, width=16, activation_tables=0, wide_probes=0, local_learning=0, compact=1, **SMALL
    ),
}


def assert_same(found, wanted, kind: Memory | None) -> None:
    if not np.array_equal(found, wanted):  # which takes a tenth of the time of what says where they differ
        np.testing.assert_array_equal(found, wanted, err_msg="registers" if kind is None else kind.name)


class Both:
    """Golden and native machine, which run the same programs and are compared."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.golden, self.native = GoldenMachine(config, monitor=True), NativeMachine(config, monitor=True)
        self.silent = NativeMachine(
            config, threads=3, shared_from=0
        )  # what is not watched takes other ways through the code

    def run(self, words: Sequence[int], inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> str | None:
        """Runs a program and returns how it faults, if it does."""
        found = [self._run(machine, words, inputs, expects) for machine in (self.golden, self.native, self.silent)]
        for result, message in found[1:]:
            assert message == found[0][1]
            if message is None:
                for expect, want, got in zip(expects, found[0][0].outputs, result.outputs, strict=True):
                    assert_same(got, want, expect.kind)
                assert dict(result.counters) == dict(found[0][0].counters)
        if found[0][1] is None:
            self.compare()
        return found[0][1]

    @staticmethod
    def _run(machine, words, inputs, expects):
        machine.write_program(words)
        try:
            return machine.run(0, inputs, expects), None
        except DeviceError as error:
            return None, str(error)

    def compare(self) -> None:
        memories = self.golden.memories
        for machine in (self.native, self.silent):
            assert_same(machine.memory(Memory.ACTIVATION), memories.space.activation, Memory.ACTIVATION)
            assert_same(machine.memory(Memory.WEIGHT), memories.space.weight, Memory.WEIGHT)
            for kind in STATE:
                assert_same(machine.memory(kind), memories.state[kind], kind)
        assert self.native.ranges == self.golden.ranges
        assert self.silent.ranges == {}


@pytest.fixture(scope="module", params=list(ENGINES))
def both(request) -> Both:
    return Both(ENGINES[request.param])


@differential
@given(st.data())
def test_random_descriptors(both, data):
    program = data.draw(programs(both.config, single=True, small=data.draw(st.booleans())))
    assert both.run(program.words, program.inputs, program.expects) is None


@differential
@given(st.data())
def test_random_programs(both, data):
    program = data.draw(programs(both.config, small=data.draw(st.booleans())))
    assert both.run(program.words, program.inputs, program.expects) is None


I = Instruction.make  # noqa: E741


def fields_of(name: str) -> list[str]:
    (form,) = (form for form in INSTRUCTIONS if form.name == name)
    return [field.name for field in form.fields]


def contraction(**changes: int) -> Instruction:
    """A CONTRACT of four terms from word 0 on to word 40, changed."""
    fields = dict.fromkeys(fields_of("CONTRACT"), 0) | {f"n_{loop}": 1 for loop in LOOPS}
    fields |= {"n_k0": 4, "w_k0": 1, "x_k0": 1, "y_base": 40, "y_row": 1, "last_rows": 2, "idle": 8}
    return I("CONTRACT", **fields | changes)


def correlation(**changes: int) -> Instruction:
    """A CORRELATE of one word on the left and four on the right, changed."""
    fields = dict.fromkeys(fields_of("CORRELATE"), 0) | {f"n_{loop}": 1 for loop in LOOPS}
    fields |= {"n_k0": 4, "x_k0": 1, "g_k0": 1, "d_base": 9, "d_row": 1, "last_rows": 2}
    return I("CORRELATE", **fields | changes)


REGISTER = {"seed": 0, "step": 0, "probe": 0}
OVERLAPS = [(0, 0, 1), (0, 3, 1), (1, -1, 1), (2, 0, -1)]
"""Strides of rows, tiles and others with which outputs fall on the same words."""
FAULTS = {
    "loop of none": [I("SET", target=1, source=0, value=-3), I("LOOP", register=1, count=3), I("END")],
    "too many loops": [I("LOOP", register=0, count=1)] * 17,
    "too many calls": [I("CALL", target=0)],
    "end of nothing": [I("END")],
    "return from nowhere": [I("RETURN")],
    "return from a loop": [I("LOOP", register=0, count=2), I("RETURN")],
    "end within a call": [I("CALL", target=1), I("END")],
    "input missing": [I("PULL", target=1), I("PULL", target=2), I("PULL", target=3)],
    "other input": [I("LOAD", memory=Memory.MASTER, base=0, count=1)],
    "input left": [I("PULL", target=1)],
    "output unwanted": [I("PULL", target=1), I("PULL", target=1), I("EMIT", source=1), I("EMIT", source=1)],
    "other output": [I("STORE", memory=Memory.MASTER, base=0, count=2)],
    "output missing": [I("PULL", target=1), I("PULL", target=1)],
    "load beyond": [I("PULL", target=1), I("LOAD", memory=Memory.MASTER, base=64, count=1)],
    "store beyond": [I("STORE", memory=Memory.ACTIVATION, base=120, count=9)],
    "store of tables": [I("STORE", memory=Memory.SCALAR_TABLE, base=0, count=1)],
    "no such rule": [I("UPDATE", base=0, count=1, rule=6, gradient_shift=0, decay1=0, decay2=0, rate=0, rate_shift=0)],
    "update beyond": [
        I("UPDATE", base=60, count=5, rule=0, gradient_shift=0, decay1=0, decay2=0, rate=0, rate_shift=0)
    ],
    "no such distribution": [I("PERTURB", base=0, inner=1, tiles=1, block=0, **REGISTER, distribution=5, amplitude=1)],
    "tensor beyond": [I("ACCUMULATE", base=0, inner=9, tiles=9, block=0, **REGISTER, distribution=1, difference=0)],
    "transpose onto itself": [I("TRANSPOSE", base=0, inner=4, columns=4, target=2)],
    "dither beyond": [
        I("DITHER", count=9, x_base=0, x_step=1, y_base=120, y_step=1, scale=0, gate=0, block=0, **REGISTER, offset=0)
    ],
    "loss beyond": [I("LOSS", **dict.fromkeys(fields_of("LOSS"), 0) | {"z_base": 127, "z_step": 1, "count": 2})],
    "loss too fine": [I("LOSS", **dict.fromkeys(fields_of("LOSS"), 0) | {"z_frac": 17, "count": 2})],
    "no tables": [I("LOSS", **dict.fromkeys(fields_of("LOSS"), 0) | {"count": 2, "z_base": 1})],
    "contract shift": [contraction(shift=48)],
    "contract onto its input": [contraction(y_base=3)],
    "contract beyond": [contraction(y_base=126)],
    "contract too short": [contraction(idle=0, n_k0=1)],
    "contract onto its input the second time": [
        I("LOOP", register=0, count=2),
        contraction(y_index=1),
        I("SET", target=1, source=1, value=-39),
        I("END"),
    ],
    "correlate too soon": [correlation(g_o0=0, n_o0=2)],
    "correlate beyond": [correlation(g_base=63)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_same_programs_fault_with_the_same_words(name):
    both = Both(ENGINES["2x11"])
    words = encode_program([*FAULTS[name], I("HALT")])
    message = both.run(words, [Segment.scalars([5, 6])], [Expect(None, 1)])
    assert message is not None


def test_a_sum_that_overflows():
    """A million products of the largest numbers; what was asked before is done before."""
    config = replace(ENGINES["2x11"], width=18)
    both = Both(config)
    largest = 1 << 17
    inputs = [
        Segment(Memory.ACTIVATION, np.full((1, 11), -largest)),
        Segment(Memory.WEIGHT, np.full((1, 2), -largest)),
    ]
    load = [I("LOAD", memory=kind, base=0, count=1) for kind in (Memory.ACTIVATION, Memory.WEIGHT)]
    still = {"w_k0": 0, "x_k0": 0, "y_base": 2, "last_rows": 1}
    for terms, fits in ((8191, True), (8192, False), (40000, False)):
        words = encode_program([*load, contraction(**still, n_k0=terms), I("HALT")])
        message = both.run(words, inputs)
        assert (message is None) == fits
        assert fits or "overflows its 48 bits" in message


@pytest.mark.parametrize("changes", [{}, {"bias": 1, "one": 1, "b_base": 1}, {"activation": 2}, {"operand": 1}])
def test_sums_that_double_does_not_hold(changes):
    """As many terms as that takes are summed in integers."""
    both = Both(ENGINES["2x11"])
    rng = np.random.default_rng(1)
    inputs = [
        Segment(Memory.ACTIVATION, rng.integers(-9000, 9000, (8, 11))),
        Segment(Memory.WEIGHT, rng.integers(-9000, 9000, (8, 2))),
        Segment(Memory.ACTIVATION_TABLE, rng.integers(-9000, 9000, (64, 2))),
    ]
    load = [I("LOAD", memory=segment.kind, base=0, count=len(segment.values)) for segment in inputs]
    once = {"n_o0": 1, "last_rows": 1 if "operand" in changes else 2}
    many = {"n_k0": 7, "n_k1": 40000, "n_k2": 3, "w_k1": -6, "x_k1": -6, "w_k2": -6, "x_k2": -6, "shift": 19}
    words = encode_program([*load, contraction(**many | once | changes), I("HALT")])
    assert both.run(words, inputs) is None


@pytest.mark.parametrize("weight", [32767, 32768, -32768])
@pytest.mark.parametrize("bias", [0, 1])
@pytest.mark.parametrize("terms", [1, 2, 3, 16])
def test_sums_on_either_side_of_what_small_integers_hold(weight, bias, terms):
    """Inputs of increasing magnitude, weights that just fit 16 bits or just do not."""
    both = Both(ENGINES["2x11"])
    magnitudes = [1 << bits for bits in range(8, 18)]
    values = [sign * size + more for size in magnitudes for sign in (1, -1) for more in (-1, 0, 1)]
    values = [value for value in values if -(1 << 17) <= value < 1 << 17]
    rows = np.array(values)[:, None] * np.array([[1] * 6 + [0] * 5]) + np.arange(11) % 2
    inputs = [
        Segment(Memory.ACTIVATION, np.clip(rows, -(1 << 17), (1 << 17) - 1)),
        Segment(Memory.WEIGHT, np.full((17, 2), weight)),
    ]
    load = [I("LOAD", memory=segment.kind, base=0, count=len(segment.values)) for segment in inputs]
    nests = [
        contraction(w_k0=1, x_k0=0, n_k0=terms, shift=shift, x_base=word, y_base=64, bias=bias, one=one, idle=9)
        for shift in (0, 1, 14, 16, 29, 30, 31)
        for word in range(0, len(values), 3)
        for one in (0, word)
    ]
    stores = [I("STORE", memory=Memory.ACTIVATION, base=64, count=2)]
    words = encode_program([*load, *(each for nest in nests for each in (nest, *stores)), I("HALT")])
    expects = [Expect(Memory.ACTIVATION, 2)] * len(nests)
    both.golden, both.native, both.silent = (
        kind(replace(both.config, program_depth=1 << 15), **options)
        for kind, options in (
            (GoldenMachine, {"monitor": True}),
            (NativeMachine, {"monitor": True}),
            (NativeMachine, {}),
        )
    )
    assert both.run(words, inputs, expects) is None


@pytest.mark.parametrize("strides", OVERLAPS)
def test_the_last_of_several_writes_counts(strides):
    """Outputs of rows, tiles and others that fall on the same words."""
    both = Both(ENGINES["2x11"])
    rng = np.random.default_rng(1)
    inputs = [
        Segment(Memory.ACTIVATION, rng.integers(-9000, 9000, (40, 11))),
        Segment(Memory.WEIGHT, rng.integers(-9000, 9000, (40, 2))),
    ]
    load = [I("LOAD", memory=segment.kind, base=0, count=len(segment.values)) for segment in inputs]
    row, tile, other = strides
    counts = [4, 1, 1, 9, 4]
    fields = {"n_o0": 9, "n_o1": 4, "shift": 12, "y_row": row, "y_base": 80, "last_rows": 1}
    for letter, pitches in (("w", [1, 0, 0, 1, 0]), ("x", [1, 0, 0, 0, 1]), ("y", [0, 0, 0, tile, other])):
        steps = zip(LOOPS, steps_of_strides(counts, pitches), strict=False)
        fields |= {f"{letter}_{loop}": step for loop, step in steps if letter != "y" or loop in OUTER_LOOPS}
    words = encode_program([*load, contraction(**fields), I("HALT")])
    assert both.run(words, inputs) is None


def test_weights_that_change_from_one_execution_to_the_next():
    """A contraction within a loop, whose weights are perturbed in every iteration."""
    both = Both(ENGINES["2x11"])
    rng = np.random.default_rng(1)
    inputs = [
        Segment(Memory.ACTIVATION, rng.integers(-9000, 9000, (8, 11))),
        Segment(Memory.MASTER, rng.integers(-(1 << 30), 1 << 30, (8, 2))),
    ]
    load = [I("LOAD", memory=segment.kind, base=0, count=len(segment.values)) for segment in inputs]
    probe = {"block": 0, "seed": 0, "step": 0, "probe": 1, "distribution": 1, "amplitude": 1 << 29}
    body = [
        contraction(y_index=1, shift=14),
        I("SET", target=1, source=1, value=2),
        I("PERTURB", base=0, inner=4, tiles=1, **probe),
    ]
    words = encode_program([*load, I("LOOP", register=0, count=5), *body, I("END"), I("HALT")])
    assert both.run(words, inputs) is None
    outputs = both.native.memory(Memory.ACTIVATION)[40:50]
    assert len(np.unique(outputs, axis=0)) > 5  # the weights are zero at first, and some signs repeat


@pytest.mark.parametrize("opcode", range(20, 256, 7))
def test_unknown_opcodes_fault(opcode):
    assert "unknown" in Both(ENGINES["2x11"]).run([opcode])


def test_an_engine_refuses_what_it_lacks():
    both = Both(ENGINES["8x16 parts"])
    for name in LOCAL_INSTRUCTIONS:
        (form,) = (form for form in INSTRUCTIONS if form.name == name)
        assert "needs local_learning" in both.run([form.opcode, *[0] * form.words])


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are options for x86-64")
@pytest.mark.parametrize("processor", ["x86-64-v3", "x86-64"])
def test_narrower_processors(processor, tmp_path, monkeypatch):
    """What is compiled for processors with AVX2, and without, leaves the same bits."""
    flags = [flag.replace("-march=native", f"-march={processor}").replace("-O3", "-O1") for flag in build._FLAGS]
    monkeypatch.setattr(build, "_FLAGS", flags)
    monkeypatch.setattr(build, "SOURCES", Path(shutil.copytree(build.SOURCES, tmp_path / "native")))
    monkeypatch.setenv("DITHER_CACHE", str(tmp_path / "cache"))
    machines = {engine: Both(ENGINES[engine]) for engine in ("2x11", "8x35")}

    @settings(differential, max_examples=60, phases=[Phase.generate])
    @given(data=st.data(), engine=st.sampled_from(sorted(machines)))
    def hold_against_golden(data, engine):
        program = data.draw(programs(machines[engine].config, small=data.draw(st.booleans())))
        assert machines[engine].run(program.words, program.inputs, program.expects) is None

    hold_against_golden()

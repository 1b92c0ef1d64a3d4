"""The native machine leaves the golden machine's bits: streams, memories, counters, ranges, faults."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.streams import Expect, Segment
from dither.golden import GoldenMachine
from dither.native import NativeMachine
from tests.programs import STATE, differential, programs

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


class Both:
    """Golden and native machine, which run the same programs and are compared."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.golden, self.native = GoldenMachine(config, monitor=True), NativeMachine(config, monitor=True)
        self.silent = NativeMachine(config)  # what is not watched takes other ways through the code

    def run(self, words: Sequence[int], inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> str | None:
        """Runs a program and returns how it faults, if it does."""
        found = [self._run(machine, words, inputs, expects) for machine in (self.golden, self.native, self.silent)]
        for result, message in found[1:]:
            assert message == found[0][1]
            if message is None:
                for expect, want, got in zip(expects, found[0][0].outputs, result.outputs, strict=True):
                    np.testing.assert_array_equal(got, want, err_msg=str(expect.kind))
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
            np.testing.assert_array_equal(machine.memory(Memory.ACTIVATION), memories.space.activation)
            np.testing.assert_array_equal(machine.memory(Memory.WEIGHT), memories.space.weight)
            for kind in STATE:
                np.testing.assert_array_equal(machine.memory(kind), memories.state[kind], err_msg=kind.name)
        assert self.native.ranges == self.golden.ranges
        assert self.silent.ranges == {}


@pytest.fixture(scope="module", params=list(ENGINES))
def both(request) -> Both:
    return Both(ENGINES[request.param])


@differential
@given(st.data())
def test_random_descriptors(both, data):
    program = data.draw(programs(both.config, single=True))
    assert both.run(program.words, program.inputs, program.expects) is None


@differential
@given(st.data())
def test_random_programs(both, data):
    program = data.draw(programs(both.config))
    assert both.run(program.words, program.inputs, program.expects) is None

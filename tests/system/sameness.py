"""Two machines, one program."""

from __future__ import annotations

import numpy as np

from dither.arch.isa import decode_program
from tests.benches import coverage

__all__ = ["assert_same"]


def assert_same(devices, program, waits=False):
    """Every output and every counter; ``waits``: but for what waits for streams."""
    results = []
    for device in devices:
        device.write_program(program.words)
        results.append(device.run(0, program.inputs, program.expects))
    actual, expected = results
    for expect, want, got in zip(program.expects, expected.outputs, actual.outputs, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=str(expect.kind))
    differing = {
        name: (value, actual.counters[name])
        for name, value in expected.counters.items()
        if value != actual.counters[name] and not (waits and name == "cycles_wait")
    }
    assert not differing, "counter: (golden, RTL)"
    for _, instruction in decode_program(program.words):
        coverage.meet(coverage.PROGRAMS, instruction)

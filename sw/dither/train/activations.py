"""Ranges of activations within their formats, from a golden machine that watches contractions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.fixedpoint import FixedPoint
from ..arch.isa import decode_program
from ..compiler import Compiled, State
from ..golden import GoldenMachine

__all__ = ["activation_ranges"]


def activation_ranges(compiled: Compiled, state: State, inputs: NDArray[np.floating[Any]]) -> list[dict[str, Any]]:
    """Returns the ranges of the input and of every contraction's outputs in a forward pass.

    :param compiled: the network, for any engine; ranges do not depend on it.
    :param state: the training state to look at.
    :param inputs: shape (samples, features).
    :returns: JSON data; for each: ``name``, ``width`` and ``frac`` of its format, the ``lowest``
        and ``highest`` integer before clipping and activation function, and ``clips``.
    """
    machine = GoldenMachine(compiled.engine, monitor=True)
    machine.write_program(compiled.program)
    for command in (compiled.setup(), compiled.load_state(state), compiled.contract(inputs)):
        machine.run(command.entry, command.inputs, command.expects)

    source = compiled.formats.input
    encoded = source.encode(inputs)
    # A value at the very end of the range loses one unit, by design. It does not count as clipped,
    # only what lies beyond does.
    beyond = int(np.count_nonzero(np.abs(inputs) > source.limit))
    found = [_entry("input", source, int(encoded.min()), int(encoded.max()), beyond)]
    # The forward pass stands at the program's start, layer by layer, in the order of
    # Compiled.forward.
    contractions = (address for address, each in decode_program(list(compiled.program)) if each.name == "CONTRACT")
    for plan, formats, code in zip(compiled.plans, compiled.formats.layers, compiled.forward, strict=True):
        addresses = [next(contractions) for part in code for each in part if each.name == "CONTRACT"]
        for number, (step, form) in enumerate(zip(plan.steps, formats.sums, strict=True)):
            seen = [machine.ranges[address] for address in addresses[number :: len(plan.steps)]]
            lowest, highest = min(each.lowest for each in seen), max(each.highest for each in seen)
            found.append(_entry(f"behind {step.tensor}", form, lowest, highest, sum(each.clips for each in seen)))
    return found


def _entry(name: str, form: FixedPoint, lowest: int, highest: int, clips: int) -> dict[str, Any]:
    return {"name": name, "width": form.width, "frac": form.frac, "lowest": lowest, "highest": highest, "clips": clips}

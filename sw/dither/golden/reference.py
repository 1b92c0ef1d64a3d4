"""CONTRACT as the instruction set words it: loop by loop in plain integers. Slow; the measure of the fast twin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine import EngineConfig
from ..isa import LOOPS, OUTER_LOOPS, Activation, Instruction
from ..tables import Table

__all__ = ["reference_contract"]


class _Odometer:
    """The seven loop counters and the address registers that follow them."""

    def __init__(self, instruction: Instruction) -> None:
        self.counts = [instruction[f"n_{loop}"] for loop in LOOPS]
        self.position = [0] * len(LOOPS)
        self.address = {name: instruction[f"{name}_base"] for name in "wxyb"}
        self.steps = {name: [instruction[f"{name}_{loop}"] for loop in LOOPS] for name in "wx"}
        inner = [0] * (len(LOOPS) - len(OUTER_LOOPS))
        self.steps |= {name: inner + [instruction[f"{name}_{loop}"] for loop in OUTER_LOOPS] for name in "yb"}

    def advance(self) -> bool:
        """To the next term; whether that is the first of a tile (or the end)."""
        for loop, count in enumerate(self.counts):
            if self.position[loop] + 1 < count:
                self.position[loop] += 1
                for name, steps in self.steps.items():
                    self.address[name] = (self.address[name] + steps[loop]) % (1 << 16)
                return LOOPS[loop] in OUTER_LOOPS
            self.position[loop] = 0
        return True


def reference_contract(
    config: EngineConfig,
    instruction: Instruction,
    activation: ArrayLike,
    weight: ArrayLike,
    tables: Sequence[Table] = (),
) -> tuple[NDArray[np.int64], int]:
    """Execute one valid CONTRACT.

    :param activation: the activation memory, integers of shape (depth, L).
    :param weight: the weight memory, integers of shape (depth, R).
    :param tables: values and slopes of each activation table.
    :returns: the activation memory afterwards, int64, and the number of clips.
    """
    x: list[list[int]] = np.asarray(activation, dtype=np.int64).tolist()
    w: list[list[int]] = np.asarray(weight, dtype=np.int64).tolist()
    y = [list(word) for word in x]
    lanes, clips = range(config.lanes), 0
    nest = _Odometer(instruction)
    tiles = instruction["n_o0"] * instruction["n_o1"] * instruction["n_o2"] * instruction["n_o3"]
    for _ in range(tiles):
        last = nest.position[LOOPS.index("o0")] == instruction["n_o0"] - 1
        rows = instruction["last_rows"] if last else config.rows
        base, bias = nest.address["y"], w[nest.address["b"]] if instruction["bias"] else [0] * config.rows
        one = x[instruction["one"]] if instruction["bias"] else [0] * config.lanes
        acc = [[bias[row] * one[lane] for lane in lanes] for row in range(config.rows)]
        done = False
        while not done:
            weights, inputs = w[nest.address["w"]], x[nest.address["x"]]
            for row in range(config.rows):
                for lane in lanes:
                    acc[row][lane] += weights[row] * inputs[lane]
            done = nest.advance()
        for row in range(rows):
            for lane in lanes:
                value, clipped = _requantise(acc[row][lane], instruction["shift"], config.width)
                address = (base + row * instruction["y_row"]) % (1 << 16)
                y[address][lane], beyond = _activate(config, instruction, value, tables)
                clips += clipped + beyond
    return np.array(y, dtype=np.int64), clips


def _requantise(value: int, shift: int, width: int) -> tuple[int, bool]:
    return _saturate((value + (1 << shift >> 1)) >> shift, width)


def _saturate(value: int, width: int) -> tuple[int, bool]:
    half = 1 << (width - 1)
    clipped = max(-half, min(half - 1, value))
    return clipped, clipped != value


def _activate(config: EngineConfig, instruction: Instruction, value: int, tables: Sequence[Table]) -> tuple[int, bool]:
    match Activation(instruction["activation"]):
        case Activation.NONE:
            return value, False
        case Activation.RELU:
            return max(value, 0), False
        case Activation.TABLE:
            values, slopes = tables[instruction["table"]]
            half, fraction_bits = 1 << (config.width - 1), config.width - config.table_bits
            index, fraction = divmod(value + half, 1 << fraction_bits)
            rise = (int(slopes[index]) * fraction + (1 << fraction_bits >> 1)) >> fraction_bits
            return _saturate(int(values[index]) + rise, config.width)

"""CONTRACT and CORRELATE exactly as the instruction set words them: loop by loop in plain integers.

They are slow, and serve tests as the measure of the fast versions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arch.config import EngineConfig
from ..arch.isa import GRADIENT_BITS, LOOPS, OUTER_LOOPS, Activation, Instruction, Operand
from ..arch.tables import Table

__all__ = ["literal_contract", "literal_correlate"]


class _Odometer:
    """The seven loop counters and the address registers that follow them.

    :param letters: the instruction's operands.
    :param outer: those of them that only move with the outer loops.
    :param indices: values of the operands' index registers.
    """

    def __init__(self, instruction: Instruction, letters: str, outer: str, indices: Sequence[int]) -> None:
        """Starts at the first term."""
        self.counts = [instruction[f"n_{loop}"] for loop in LOOPS]
        self.position = [0] * len(LOOPS)
        self.address = {
            name: (instruction[f"{name}_base"] + index) % (1 << 16)
            for name, index in zip(letters, indices, strict=True)
        }
        self.steps = {
            name: [instruction[f"{name}_{loop}"] if loop in OUTER_LOOPS or name not in outer else 0 for loop in LOOPS]
            for name in letters
        }

    @property
    def last(self) -> bool:
        """Whether o0 is in its last iteration."""
        place = LOOPS.index("o0")
        return self.position[place] == self.counts[place] - 1

    def advance(self) -> bool:
        """Goes on to the next term and returns whether that is the first of a tile, or the end."""
        for loop, count in enumerate(self.counts):
            if self.position[loop] + 1 < count:
                self.position[loop] += 1
                for name, steps in self.steps.items():
                    self.address[name] = (self.address[name] + steps[loop]) % (1 << 16)
                return LOOPS[loop] in OUTER_LOOPS
            self.position[loop] = 0
        return True


def literal_contract(
    config: EngineConfig,
    instruction: Instruction,
    activation: ArrayLike,
    weight: ArrayLike,
    tables: Sequence[Table] = (),
    indices: Sequence[int] = (0, 0, 0, 0),
) -> tuple[NDArray[np.int64], int]:
    """Executes one valid CONTRACT on given memories, term by term.

    :param activation: the activation memory, integers of shape (activation_depth, L).
    :param weight: the weight memory, integers of shape (weight_depth, R).
    :param tables: values and slopes of each activation table.
    :param indices: values of the index registers ``wxyb``.
    :returns: the activation memory afterwards, int64, and the number of clips.
    """
    x: list[list[int]] = np.asarray(activation, dtype=np.int64).tolist()
    w: list[list[int]] = np.asarray(weight, dtype=np.int64).tolist()
    y = [list(word) for word in x]
    lanes, clips = range(config.lanes), 0
    operand = Operand(instruction["operand"])

    def factor(address: int, row: int, lane: int) -> int:
        if operand is Operand.WEIGHT:
            return w[address][row]
        value = x[address][lane]
        return {Operand.LANE: value, Operand.POSITIVE: int(value > 0), Operand.SIGN: (value > 0) - (value < 0)}[operand]

    def bias(address: int, row: int, lane: int) -> int:
        return w[address][row] if operand is Operand.WEIGHT else x[address][lane]

    nest = _Odometer(instruction, "wxyb", "yb", indices)
    for _ in range(_tiles(instruction)):
        rows, base = instruction["last_rows"] if nest.last else config.rows, nest.address["y"]
        acc = [[0] * config.lanes for _ in range(rows)]
        if instruction["bias"]:
            one, address = x[instruction["one"]], nest.address["b"]
            acc = [[bias(address, row, lane) * one[lane] for lane in lanes] for row in range(rows)]
        done = False
        while not done:
            inputs, address = x[nest.address["x"]], nest.address["w"]
            for row in range(rows):
                for lane in lanes:
                    acc[row][lane] += factor(address, row, lane) * inputs[lane]
            done = nest.advance()
        for row in range(rows):
            for lane in lanes:
                value, clipped = _requantise(acc[row][lane], instruction["shift"], config.width)
                address = (base + row * instruction["y_row"]) % (1 << 16)
                y[address][lane], beyond = _activate(config, instruction, value, tables)
                clips += clipped + beyond
    return np.array(y, dtype=np.int64), clips


def literal_correlate(
    config: EngineConfig,
    instruction: Instruction,
    activation: ArrayLike,
    gradient: ArrayLike,
    indices: Sequence[int] = (0, 0, 0),
) -> NDArray[np.int64]:
    """Executes one valid CORRELATE on given memories, term by term.

    :param activation: the activation memory, integers of shape (activation_depth, L).
    :param gradient: the gradient memory, integers of shape (parameter_depth, R).
    :param indices: values of the index registers ``dxg``.
    :returns: the gradient memory afterwards, int64.
    """
    x: list[list[int]] = np.asarray(activation, dtype=np.int64).tolist()
    g: list[list[int]] = np.asarray(gradient, dtype=np.int64).tolist()
    half = 1 << (GRADIENT_BITS - 1)
    nest = _Odometer(instruction, "dxg", "d", indices)
    for _ in range(_tiles(instruction)):
        rows, base = instruction["last_rows"] if nest.last else config.rows, nest.address["d"]
        left = [x[(base + row * instruction["d_row"]) % (1 << 16)] for row in range(rows)]
        done = False
        while not done:
            right, word = x[nest.address["x"]], g[nest.address["g"]]
            for row in range(rows):
                total = word[row] + sum(a * b for a, b in zip(left[row], right, strict=True))
                word[row] = (total + half) % (2 * half) - half
            done = nest.advance()
    return np.array(g, dtype=np.int64)


def _tiles(instruction: Instruction) -> int:
    return instruction["n_o0"] * instruction["n_o1"] * instruction["n_o2"] * instruction["n_o3"]


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

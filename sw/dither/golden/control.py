"""The sequencer's part of golden machine and cycle model: fetching, open loops and calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS, OUTER_LOOPS, STACK_DEPTH, Instruction, decode_program
from ..arch.timing import execution_cycles, fetch_cycles
from .nest import terms

__all__ = ["Decoded", "Program", "Stack", "fault", "wrap"]

_WORDS = {form.opcode: form.words for form in INSTRUCTIONS}
_KEPT = 1 << 12
"""Instructions that are kept decoded: machines that run one program, and programs, share them."""
_NESTS = ("CONTRACT", "CORRELATE")


def fault(address: int, name: str, error: Exception) -> DeviceError:
    """Returns what went wrong in an instruction, told with where it stands.

    :param address: the instruction's word address.
    :param name: its name.
    """
    return DeviceError(f"fault at word {address} ({name}): {error}")


def wrap(value: int) -> int:
    """Returns an integer modulo 2**32, from -2**31 to 2**31 - 1."""
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One instruction of a program at its address, with its costs."""

    address: int
    """Word address of the instruction."""
    instruction: Instruction
    """The decoded instruction itself."""
    following: int
    """Word address of the instruction behind it."""
    fetch: int
    """Cycles charged to phase ``fetch``."""
    cycles: int
    """Cycles charged to the instruction's own phase."""
    row_steps: int
    """Number of rows that do a multiply-accumulate, summed over cycles."""


@lru_cache(_KEPT)
def _instruction(words: tuple[int, ...]) -> Instruction:
    _, instruction = next(decode_program(list(words)))
    return instruction


@lru_cache(_KEPT)
def _costs(config: EngineConfig, words: tuple[int, ...]) -> tuple[int, int]:
    """Returns cycles and row steps of an instruction.

    :raises ValueError: if it breaks a rule that its cycles depend on.
    """
    instruction = _instruction(words)
    row_steps = _row_steps(config, instruction) if instruction.name in _NESTS else 0
    return execution_cycles(config, instruction), row_steps


def _row_steps(config: EngineConfig, instruction: Instruction) -> int:
    """Returns the number of rows that count, summed over all terms; bias terms are left out."""
    tiles = math.prod(instruction[f"n_{loop}"] for loop in OUTER_LOOPS[1:])
    rows = (instruction["n_o0"] - 1) * config.rows + instruction["last_rows"]
    return tiles * rows * terms(instruction)


class Program:
    """A program memory, decoded as far as execution has come.

    Words that were never written are zero, which is HALT.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._words = [0] * config.program_depth
        self._decoded: dict[int, Decoded] = {}

    def write(self, words: Sequence[int]) -> None:
        """Replaces the words from word 0 on; the others stay.

        :raises DeviceError: if there are more than the memory has.
        """
        if len(words) > len(self._words):
            raise DeviceError(f"the program has {len(words)} words, the memory only {len(self._words)}")
        self._words[: len(words)] = [int(word) & 0xFFFFFFFF for word in words]
        self._decoded.clear()

    def at(self, address: int) -> Decoded:
        """Returns the instruction at a word address, decoded, with its costs.

        :raises DeviceError: if there is no valid instruction, or one that the engine lacks.
        """
        decoded = self._decoded.get(address)
        if decoded is None:
            decoded = self._decoded[address] = self._decode(address)
        return decoded

    def _decode(self, address: int) -> Decoded:
        if not 0 <= address < len(self._words):
            raise DeviceError(f"fault at word {address}: beyond the program memory's {len(self._words)} words")
        opcode = self._words[address] & 0xFF
        words = tuple(self._words[address : address + _WORDS.get(opcode, 1)])
        try:
            instruction = _instruction(words)
        except ValueError:
            raise DeviceError(f"fault at word {address}: opcode {opcode} is unknown or its words are missing") from None
        name = instruction.name
        if name in LOCAL_INSTRUCTIONS and not self.config.local_learning:
            raise DeviceError(f"fault at word {address}: opcode {opcode} is unknown, {name} needs local_learning")
        try:
            cycles, row_steps = _costs(self.config, words)
        except ValueError as error:
            raise fault(address, name, error) from None
        return Decoded(
            address=address,
            instruction=instruction,
            following=address + len(words),
            fetch=fetch_cycles(instruction.format, self.config.family),
            cycles=cycles,
            row_steps=row_steps,
        )


class Stack:
    """The sequencer's stack of open loops and calls."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int]] = []
        """What is open, the innermost last: a word address, and iterations left; 0 for a call."""

    @property
    def room(self) -> int:
        """Number of loops and calls that may still be opened."""
        return STACK_DEPTH - len(self.entries)

    def open_loop(self, body: int, count: int) -> None:
        """Enters a loop: notes its body and the number of its iterations.

        :param body: word address of the loop's first instruction.
        :param count: number of iterations.
        :raises DeviceError: if ``count`` is not positive or too many loops and calls are open.
        """
        if count < 1:
            raise DeviceError(f"a loop must have at least 1 iteration, not {count}")
        self._push(body, count)

    def call(self, back: int) -> None:
        """Enters a subroutine: notes where execution goes on behind it.

        :param back: word address at which RETURN goes on.
        :raises DeviceError: if too many loops and calls are open.
        """
        self._push(back, 0)

    def _push(self, address: int, count: int) -> None:
        if len(self.entries) == STACK_DEPTH:
            raise DeviceError(f"more than {STACK_DEPTH} loops and calls are open")
        self.entries.append((address, count))

    def end(self, following: int) -> int:
        """Returns the word address at which execution goes on behind an END.

        :param following: word address of the instruction behind the END.
        :raises DeviceError: if no loop is open, or a call within it.
        """
        body, left = self._pop("END", "LOOP")
        if left == 0:
            raise DeviceError("END within a subroutine that has not returned")
        if left == 1:
            return following
        self.entries.append((body, left - 1))
        return body

    def back(self) -> int:
        """Returns the word address at which execution goes on behind a RETURN.

        :raises DeviceError: if no call is open, or a loop within it.
        """
        address, left = self._pop("RETURN", "CALL")
        if left:
            raise DeviceError("RETURN within a loop that has not ended")
        return address

    def _pop(self, closing: str, opening: str) -> tuple[int, int]:
        if not self.entries:
            raise DeviceError(f"{closing} without {opening}")
        return self.entries.pop()

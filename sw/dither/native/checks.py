"""What the golden machine demands of instructions, asked once for each of them."""

from __future__ import annotations

from collections.abc import Callable

from ..arch.config import EngineConfig
from ..arch.isa import Instruction, Memory
from ..golden.dither import validate_dither
from ..golden.loss import LossPlan
from ..golden.memories import memory_words, stored_words
from ..golden.nest import Nest, analyse_contract, analyse_correlate
from ..golden.parameters import validate_probe, validate_update
from ..golden.rules import validate_contract, validate_correlate
from ..golden.transpose import transpose_words

__all__ = ["LETTERS", "NestCheck", "validate"]

LETTERS = {"CONTRACT": "wxyb", "CORRELATE": "dxg"}
"""Letters of the operands whose bases depend on index registers."""


def _load(config: EngineConfig, instruction: Instruction) -> None:
    memory_words(config, Memory(instruction["memory"]), instruction["base"], instruction["count"], "LOAD")


def _store(config: EngineConfig, instruction: Instruction) -> None:
    stored_words(config, Memory(instruction["memory"]), instruction["base"], instruction["count"])


_CHECKS: dict[str, Callable[[EngineConfig, Instruction], object]] = {
    "LOAD": _load,
    "STORE": _store,
    "LOSS": LossPlan,
    "PERTURB": validate_probe,
    "ACCUMULATE": validate_probe,
    "UPDATE": validate_update,
    "DITHER": validate_dither,
    "TRANSPOSE": transpose_words,
}


def validate(config: EngineConfig, instruction: Instruction) -> None:
    """Checks an instruction whose addresses do not depend on registers.

    :raises DeviceError: with one line that says what is wrong.
    """
    check = _CHECKS.get(instruction.name)
    if check is not None:
        check(config, instruction)


class NestCheck:
    """Checks one CONTRACT or CORRELATE, for one set of bases after the other."""

    def __init__(self, config: EngineConfig, instruction: Instruction) -> None:
        self._config = config
        self._instruction = instruction
        self._nest: Nest | None = None

    def require(self, bases: dict[str, int]) -> None:
        """Checks the instruction with some bases, by the letters of its operands.

        :raises DeviceError: if it breaks a rule of the instruction set or leaves a memory.
        """
        if self._nest is not None:
            self._nest.check(bases)
        elif self._instruction.name == "CONTRACT":
            validate_contract(self._config, self._instruction)
            self._nest = analyse_contract(self._config, self._instruction, bases)
        else:
            validate_correlate(self._config, self._instruction)
            self._nest = analyse_correlate(self._config, self._instruction, bases)

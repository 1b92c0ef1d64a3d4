"""What PERTURB, ACCUMULATE and UPDATE demand of their fields, and the words that they work on."""

from __future__ import annotations

from ..arch.config import EngineConfig
from ..arch.device import DeviceError
from ..arch.isa import Distribution, Instruction, Memory, Rule
from .memories import memory_words

__all__ = ["validate_probe", "validate_update"]


def validate_probe(config: EngineConfig, instruction: Instruction) -> tuple[slice, Distribution]:
    """Returns the words of the tensor that a PERTURB or ACCUMULATE works on, and its distribution.

    :raises DeviceError: if the memory has fewer words, or there is no such distribution.
    """
    count = instruction["inner"] * instruction["tiles"]
    words = memory_words(config, Memory.MASTER, instruction["base"], count, instruction.name)
    number = instruction["distribution"]
    if number not in tuple(Distribution):
        raise DeviceError(f"{instruction.name}: there is no distribution {number}")
    distribution = Distribution(number)
    if distribution in (Distribution.UNIFORM, Distribution.GAUSSIAN) and not config.wide_probes:
        raise DeviceError(f"{instruction.name}: an engine without wide_probes has no {distribution.name} probes")
    return words, distribution


def validate_update(config: EngineConfig, instruction: Instruction) -> tuple[slice, Rule]:
    """Returns the words that an UPDATE works on, and its rule.

    :raises DeviceError: if the memory has fewer words, or there is no such rule.
    """
    try:
        rule = Rule(instruction["rule"])
    except ValueError:
        raise DeviceError(f"UPDATE: there is no rule {instruction['rule']}") from None
    return memory_words(config, Memory.MASTER, instruction["base"], instruction["count"], "UPDATE"), rule

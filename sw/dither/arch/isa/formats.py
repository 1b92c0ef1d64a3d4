"""Rows of the instruction table: an instruction's fields and their places in its words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .vocabulary import OPCODE_BITS, WORD_BITS

__all__ = ["Field", "InstructionFormat"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an instruction: its name, width, meaning and kind."""

    name: str
    """Name of the field, such as ``base``."""
    width: int
    """Width of the field in bits."""
    doc: str
    """Meaning of the field, for the reference page."""
    signed: bool = False
    """Whether the value is in two's complement."""
    source: bool = False
    """Whether the value is the number of a register that the instruction reads."""
    target: bool = False
    """Whether the value is the number of the register that the instruction writes."""

    @property
    def lowest(self) -> int:
        """The smallest value that the field holds."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest value that the field holds."""
        return (1 << (self.width - 1)) - 1 if self.signed else (1 << self.width) - 1


@dataclass(frozen=True)
class InstructionFormat:
    """One row of the instruction table: how an instruction is encoded, counted and described."""

    name: str
    """Name of the instruction, such as ``CONTRACT``."""
    opcode: int
    """Number of the instruction in the lowest bits of its first word."""
    phase: str
    """Name of the phase, and so of the cycle counter, that execution is charged to."""
    fields: tuple[Field, ...]
    """Fields in the order of their bits, the lowest first, behind the opcode."""
    doc: str
    """Description of what the instruction does, for the reference page."""

    @cached_property
    def bits(self) -> int:
        """Length in bits, the opcode included."""
        return OPCODE_BITS + sum(field.width for field in self.fields)

    @cached_property
    def words(self) -> int:
        """Length in 32-bit words, the last one padded with zeros."""
        return -(-self.bits // WORD_BITS)

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the greatest value of each field, by its name."""
        return {field.name: (field.lowest, field.highest) for field in self.fields}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the fields that name registers to read, in the sequencer's order of reading."""
        return tuple(field.name for field in self.fields if field.source)

    @property
    def writes_register(self) -> bool:
        """Whether the instruction writes a register, named by its field ``target``."""
        return any(field.target for field in self.fields)

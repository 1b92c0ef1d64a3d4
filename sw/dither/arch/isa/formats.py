"""What a row of the instruction table says: fields, and their places in an instruction's words."""

from __future__ import annotations

from dataclasses import dataclass

from .vocabulary import OPCODE_BITS, WORD_BITS

__all__ = ["Field", "InstructionFormat"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an instruction: width in bits, meaning, whether it is signed, whether it names a
    register.
    """

    name: str
    width: int
    doc: str
    signed: bool = False
    source: bool = False
    target: bool = False

    @property
    def lowest(self) -> int:
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << (self.width - 1)) - 1 if self.signed else (1 << self.width) - 1


@dataclass(frozen=True, slots=True)
class InstructionFormat:
    """One row of the table."""

    name: str
    opcode: int
    phase: str
    """The cycle counter that its execution is charged to."""
    fields: tuple[Field, ...]
    doc: str

    @property
    def bits(self) -> int:
        return OPCODE_BITS + sum(field.width for field in self.fields)

    @property
    def words(self) -> int:
        """Length in 32-bit words."""
        return -(-self.bits // WORD_BITS)

    @property
    def sources(self) -> tuple[str, ...]:
        """Fields that name registers to read, in the order in which the sequencer reads them."""
        return tuple(field.name for field in self.fields if field.source)

    @property
    def writes_register(self) -> bool:
        """Whether it has a field ``target``, the register that it writes."""
        return any(field.target for field in self.fields)

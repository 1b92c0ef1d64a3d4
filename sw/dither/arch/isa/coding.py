"""Conversion of instructions to words and to text, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .formats import InstructionFormat
from .table import INSTRUCTIONS
from .vocabulary import OPCODE_BITS, WORD_BITS

__all__ = ["Instruction", "decode_program", "disassemble", "encode_program"]

_BY_NAME: dict[str, InstructionFormat] = {form.name: form for form in INSTRUCTIONS}
_BY_OPCODE: dict[int, InstructionFormat] = {form.opcode: form for form in INSTRUCTIONS}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: a name from the instruction table and a value for each of its fields.

    :raises ValueError: on an unknown name, missing or unknown fields, or values out of range.
    """

    name: str
    """Name of the instruction, as in the instruction table."""
    fields: Mapping[str, int]
    """Value of each field, by its name."""

    def __post_init__(self) -> None:
        if self.name not in _BY_NAME:
            raise ValueError(f"unknown instruction {self.name!r}")
        ranges = self.format.ranges
        if self.fields.keys() != ranges.keys():
            wrong = sorted(ranges.keys() ^ self.fields.keys())
            raise ValueError(f"{self.name}: missing or unknown fields: {', '.join(wrong)}")
        for name, (lowest, highest) in ranges.items():
            if not lowest <= self.fields[name] <= highest:
                raise ValueError(f"{self.name}.{name} must be from {lowest} to {highest}, not {self.fields[name]}")

    @classmethod
    def make(cls, name: str, **fields: int) -> Instruction:
        """Makes an instruction from its name and keyword arguments for its fields.

        An example: ``Instruction.make("SET", target=1, source=0, value=5)``.

        :raises ValueError: on unknown names and values out of range.
        """
        return cls(name, {key: int(value) for key, value in fields.items()})

    @property
    def format(self) -> InstructionFormat:
        """The row of the instruction table that describes this instruction."""
        return _BY_NAME[self.name]

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    def encode(self) -> list[int]:
        """Returns the instruction as 32-bit words, the opcode in the lowest bits of the first."""
        bits, position = self.format.opcode, OPCODE_BITS
        for field in self.format.fields:
            bits |= (self.fields[field.name] & ((1 << field.width) - 1)) << position
            position += field.width
        return [(bits >> (WORD_BITS * i)) & 0xFFFFFFFF for i in range(self.format.words)]

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.fields.items() if value)])


def encode_program(instructions: Iterable[Instruction]) -> list[int]:
    """Returns the words of a program: its instructions encoded, one behind the other."""
    return [word for instruction in instructions for word in instruction.encode()]


def decode_program(words: list[int]) -> Iterator[tuple[int, Instruction]]:
    """Yields the instructions of a program, each with its word address.

    :raises ValueError: on an unknown opcode or a program that ends within an instruction.
    """
    address = 0
    while address < len(words):
        form = _BY_OPCODE.get(words[address] & ((1 << OPCODE_BITS) - 1))
        if form is None:
            raise ValueError(f"unknown opcode {words[address] & 0xFF} at word {address}")
        chunk = words[address : address + form.words]
        if len(chunk) < form.words:
            raise ValueError(f"program ends within {form.name} at word {address}")
        bits = sum(word << (WORD_BITS * i) for i, word in enumerate(chunk)) >> OPCODE_BITS
        fields = {}
        for field in form.fields:
            value = bits & ((1 << field.width) - 1)
            if field.signed and value > field.highest:
                value -= 1 << field.width
            fields[field.name] = value
            bits >>= field.width
        yield address, Instruction(form.name, fields)
        address += form.words


def disassemble(words: list[int]) -> str:
    """Returns a program as text: one line for each instruction, with its word address.

    :raises ValueError: if the words are not a program, as :func:`decode_program` does.
    """
    return "\n".join(f"{address:5d}  {instruction}" for address, instruction in decode_program(words))

"""An assembler: puts instructions one behind the other and resolves calls of labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .coding import Instruction, encode_program
from .table import INSTRUCTIONS

__all__ = ["Assembler"]

_WORDS = {form.name: form.words for form in INSTRUCTIONS}


class Assembler:
    """A program under construction; labels may be called before they are placed."""

    def __init__(self) -> None:
        self._items: list[tuple[Instruction | None, str]] = []
        self._size = 0
        self.labels: dict[str, int] = {}

    @property
    def size(self) -> int:
        """Number of words of the program so far."""
        return self._size

    def label(self, name: str) -> None:
        """Gives a name to the address of the next instruction.

        :raises ValueError: if the name is taken.
        """
        if name in self.labels:
            raise ValueError(f"label {name!r} is placed twice")
        self.labels[name] = self._size

    def emit(self, name: str, **fields: int) -> None:
        """Appends one instruction, made from its name and its fields.

        An example: ``code.emit("SET", target=1, source=0, value=5)``.

        :raises ValueError: on unknown names and values out of range.
        """
        self.add(Instruction.make(name, **fields))

    def add(self, instruction: Instruction) -> None:
        """Appends an instruction that is already made."""
        self._items.append((instruction, ""))
        self._size += instruction.format.words

    def call(self, label: str) -> None:
        """Appends a CALL of a label, which may be placed later."""
        self._items.append((None, label))
        self._size += _WORDS["CALL"]

    @contextmanager
    def loop(self, count: int = 0, register: int = 0) -> Iterator[None]:
        """Puts a LOOP around what is emitted within the ``with`` block, unless it runs just once.

        :param count: number of iterations, added to the register's value.
        :param register: register with a number of iterations; 0 adds nothing.
        """
        counted = register != 0 or count != 1
        if counted:
            self.emit("LOOP", register=register, count=count)
        yield
        if counted:
            self.emit("END")

    def instructions(self) -> list[Instruction]:
        """Returns the program's instructions with all calls resolved.

        :raises ValueError: on a call of an unknown label.
        """
        resolved = []
        for instruction, label in self._items:
            if instruction is None:
                if label not in self.labels:
                    raise ValueError(f"unknown label {label!r}")
                instruction = Instruction.make("CALL", target=self.labels[label])
            resolved.append(instruction)
        return resolved

    def words(self) -> list[int]:
        """Returns the program's 32-bit words.

        :raises ValueError: on a call of an unknown label.
        """
        return encode_program(self.instructions())

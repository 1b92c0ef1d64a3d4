"""Puts instructions one behind the other and resolves calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .coding import Instruction, encode_program
from .table import INSTRUCTIONS

__all__ = ["Assembler"]

_WORDS = {form.name: form.words for form in INSTRUCTIONS}


class Assembler:
    """A program under construction. Labels may be called before they are placed."""

    def __init__(self) -> None:
        self._items: list[tuple[Instruction | None, str]] = []
        self._size = 0
        self.labels: dict[str, int] = {}

    @property
    def size(self) -> int:
        """Words so far."""
        return self._size

    def label(self, name: str) -> None:
        """Names the next instruction's address."""
        if name in self.labels:
            raise ValueError(f"label {name!r} is placed twice")
        self.labels[name] = self._size

    def emit(self, name: str, **fields: int) -> None:
        """Appends an instruction."""
        self.add(Instruction.make(name, **fields))

    def add(self, instruction: Instruction) -> None:
        """Appends a finished instruction."""
        self._items.append((instruction, ""))
        self._size += instruction.format.words

    def call(self, label: str) -> None:
        """Appends a CALL of a label."""
        self._items.append((None, label))
        self._size += _WORDS["CALL"]

    @contextmanager
    def loop(self, count: int = 0, register: int = 0) -> Iterator[None]:
        """A LOOP around what is emitted within; none if it is known to run once."""
        counted = register != 0 or count != 1
        if counted:
            self.emit("LOOP", register=register, count=count)
        yield
        if counted:
            self.emit("END")

    def instructions(self) -> list[Instruction]:
        """The program, calls resolved.

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
        """The program's words."""
        return encode_program(self.instructions())

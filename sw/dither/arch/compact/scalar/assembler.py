"""The assembler of microprograms: readable source, in Python, for the words of :mod:`.machine`.

Registers have names; a constant is made by being used and stands in a register of its own; the
engine's instructions share working registers, because only one of them is at work at a time
(:meth:`Assembler.scope`). ::

    code = Assembler()
    with code.scope():
        low, high = code.registers("low", "high")
        code.label("double")
        code.load(A, low)
        code.add(low.also_a, low, flag=Flag.CARRY)   # to R[low] and A
        code.load(P, 0x1234)                         # a constant
        code.add(STATE_NEXT, STATE, when=When.F)     # the word at P, which then moves on
        code.jump("double", Jump.NOT_F)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from .machine import (
    REGISTER_COUNT,
    TARGET_BITS,
    Flag,
    Jump,
    Operation,
    Source,
    Target,
    When,
    decode,
    encode_jump,
    encode_operation,
)

__all__ = [
    "ACTIVATION",
    "AP",
    "CLIP",
    "CONTROL",
    "CP",
    "INPUT",
    "LANE",
    "NONE",
    "OUTPUT",
    "SH",
    "STATE",
    "STATE_NEXT",
    "WEIGHT",
    "WP",
    "A",
    "Assembler",
    "MicroProgram",
    "Operand",
    "P",
    "Place",
    "Q",
    "Register",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operand comes from, where a result goes, or both."""

    source: Source | None = None
    target: Target | None = None
    x: int | None = None
    move: bool = False


@dataclass(frozen=True, slots=True)
class Register(Place):
    """A register of the scalar machine, R[x], as an operand or a target."""

    @property
    def number(self) -> int:
        """Number of the register, x."""
        assert self.x is not None
        return self.x

    @property
    def also_a(self) -> Place:
        """R[x] and A, as targets."""
        return Place(None, Target.AR, self.x)


NONE = Place(target=Target.NONE)
A = Place(target=Target.A)
Q = Place(Source.Q, Target.Q)
P = Place(target=Target.P)
AP = Place(target=Target.AP)
LANE = Place(target=Target.LANE)
CP = Place(target=Target.CP)
WP = Place(target=Target.WP)
SH = Place(target=Target.SH)
STATE = Place(Source.STATE, Target.STATE)
"""The state memory at P."""
STATE_NEXT = Place(Source.STATE, Target.STATE, move=True)
"""The same, and P moves on."""
ACTIVATION = Place(source=Source.ACTIVATION)
CONTROL = Place(Source.CONTROL, Target.CONTROL)
INPUT = Place(source=Source.INPUT)
WEIGHT = Place(target=Target.WEIGHT)
OUTPUT = Place(target=Target.OUTPUT)
CLIP = Place(target=Target.CLIP)

Operand = Place | int
"""A place, or a number: up to 127 as it is, else modulo 2**16 as a constant in a register."""


@dataclass(frozen=True, slots=True)
class MicroProgram:
    """What the assembler makes."""

    words: tuple[int, ...]
    """Microinstructions of 24 bits."""
    constants: tuple[int, ...]
    """First contents of the registers, all 128 of them, 16 bits unsigned."""
    labels: dict[str, int]
    """Words that labels stand for."""


class Assembler:
    """Words, labels and registers of a microprogram that is being written. Every call of an
    operation or a jump is one word."""

    def __init__(self) -> None:
        self._words: list[int | tuple[Jump, str]] = []
        self.labels: dict[str, int] = {}
        self._constants: dict[int, Register] = {}
        self._next_register = 0
        self._most_registers = 0
        self._anonymous = 0

    @property
    def address(self) -> int:
        """Address of the word that is appended next."""
        return len(self._words)

    def register(self, name: str) -> Register:
        """A register of its own, until the innermost scope ends.

        :raises ValueError: if there is none left, by ``name``.
        """
        number = self._next_register
        if number >= REGISTER_COUNT - len(self._constants):
            raise ValueError(f"no register is left for {name!r}")
        self._next_register += 1
        self._most_registers = max(self._most_registers, self._next_register)
        return _register(number)

    def registers(self, *names: str) -> tuple[Register, ...]:
        """Allocates several registers at once."""
        return tuple(self.register(name) for name in names)

    def pair(self, name: str) -> tuple[Register, Register]:
        """Two, for the lower and the upper half of a number."""
        return self.register(f"{name} low"), self.register(f"{name} high")

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, registers are allocated that others may use behind it."""
        first = self._next_register
        yield
        self._next_register = first

    def constant(self, value: int) -> Register:
        """The register that holds a number, modulo 2**16, and must not be written.

        :raises ValueError: if there is none left.
        """
        value &= 0xFFFF
        if value not in self._constants:
            number = REGISTER_COUNT - 1 - len(self._constants)
            if number < self._most_registers:
                raise ValueError(f"no register is left for the constant {value}")
            self._constants[value] = _register(number)
        return self._constants[value]

    def label(self, name: str) -> None:
        """Names the next word.

        :raises ValueError: if the name stands for another word already.
        """
        if name in self.labels:
            raise ValueError(f"label {name!r} stands twice")
        self.labels[name] = self.address

    def jump(self, destination: str, kind: Jump = Jump.ALWAYS) -> None:
        """To a label, which may come later; ``kind`` is ALWAYS, F or NOT_F."""
        self._words.append((kind, destination))

    def call(self, destination: str) -> None:
        """A subroutine; there is but one return address."""
        self._words.append((Jump.CALL, destination))

    def ret(self) -> None:
        """Back behind the last call."""
        self._words.append(encode_jump(Jump.RETURN))

    def done(self) -> None:
        """The end of an instruction."""
        self._words.append(encode_jump(Jump.DONE))

    @contextmanager
    def repeat(self, counter: Place) -> Iterator[None]:
        """The words within it, as often as ``counter`` (a register or Q) says, at least once; two
        words more each time, which use F and leave C undefined. The counter counts down to zero."""
        self._anonymous += 1
        name = f"repeat {self._anonymous}"
        self.label(name)
        yield
        self.dec(counter, counter, flag=Flag.ZERO)
        self.jump(name, Jump.NOT_F)

    def multiply_all(self, source: Operand) -> None:
        """Q times the source, both unsigned, plus A: the sixteen words that leave it in A:Q."""
        for _ in range(16):
            self.multiply(A, source)

    def operate(
        self, operation: Operation, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP
    ) -> None:
        """One operation; the methods named after operations are shorter.

        :raises ValueError: if it cannot be said in one word.
        """
        if isinstance(source, int):
            source = Place(Source.X, x=source) if 0 <= source < REGISTER_COUNT else self.constant(source)
        if source.source is None or target.target is None:
            raise ValueError(
                f"{operation.name} cannot have {'this source' if source.source is None else 'this target'}"
            )
        if source.x is not None and target.x is not None and source.x != target.x:
            raise ValueError(f"{operation.name} names two registers: {source.x} and {target.x}")
        move = source.move or target.move
        if move and target.target is Target.P:
            raise ValueError("P cannot be written and move on")
        x = next((x for x in (source.x, target.x) if x is not None), 0)
        word = encode_operation(operation, source.source, target.target, x=x, when=when, flag=flag, move=move)
        self._words.append(word)

    def load(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a word that copies a number: y = b."""
        self.operate(Operation.LOAD, target, source, when, flag)

    def add(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a sum: y = a + b."""
        self.operate(Operation.ADD, target, source, when, flag)

    def adc(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a sum with the carry: y = a + b + C."""
        self.operate(Operation.ADC, target, source, when, flag)

    def sub(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a difference: y = a - b."""
        self.operate(Operation.SUB, target, source, when, flag)

    def sbc(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a difference with the carry: y = a + ~b + C."""
        self.operate(Operation.SBC, target, source, when, flag)

    def and_(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a bitwise and: y = a & b."""
        self.operate(Operation.AND, target, source, when, flag)

    def or_(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a bitwise or: y = a | b."""
        self.operate(Operation.OR, target, source, when, flag)

    def xor(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a bitwise exclusive or: y = a ^ b."""
        self.operate(Operation.XOR, target, source, when, flag)

    def funnel(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a shift of two words: y is the upper half of a:b << SH."""
        self.operate(Operation.FUNNEL, target, source, when, flag)

    def multiply(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends one step of the product b * Q."""
        self.operate(Operation.MULTIPLY, target, source, when, flag)

    def ror(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a shift to the right with the carry on top: y = C:b >> 1."""
        self.operate(Operation.ROR, target, source, when, flag)

    def sex(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a sign's extension: y is b's sign, sixteen times."""
        self.operate(Operation.SEX, target, source, when, flag)

    def inc(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends an increment: y = b + 1."""
        self.operate(Operation.INC, target, source, when, flag)

    def dec(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a decrement: y = b - 1."""
        self.operate(Operation.DEC, target, source, when, flag)

    def neg(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a negation: y = -b."""
        self.operate(Operation.NEG, target, source, when, flag)

    def rol(self, target: Place, source: Operand, when: When = When.ALWAYS, flag: Flag = Flag.KEEP) -> None:
        """Appends a shift to the left with the carry below: y = b << 1 | C."""
        self.operate(Operation.ROL, target, source, when, flag)

    def finish(self, entries: Mapping[int, str]) -> MicroProgram:
        """Returns the finished program, labels resolved.

        Pieces behind which nothing falls through are moved to where entries leave room for them,
        the longest first.

        :param entries: labels that words of fixed addresses jump to.
        :raises ValueError: on an unknown label or too many words.
        """
        starts = self._place(entries)
        pieces = sorted(starts)
        labels = {}
        for name, index in self.labels.items():
            piece = pieces[bisect_right(pieces, index) - 1]
            labels[name] = starts[piece] + index - piece
        size = max(max(entries, default=-1) + 1, *(starts[a] + b - a for a, b in self._pieces()))
        if size > 1 << TARGET_BITS:
            raise ValueError(f"the microprogram has {size} words, more than {1 << TARGET_BITS}")
        words = [encode_jump(Jump.DONE)] * size
        for address, name in entries.items():
            words[address] = _resolve((Jump.ALWAYS, name), labels)
        for begin, end in self._pieces():
            for index in range(begin, end):
                words[starts[begin] + index - begin] = _resolve(self._words[index], labels)
        constants = [0] * REGISTER_COUNT
        for value, register in self._constants.items():
            constants[register.number] = value
        return MicroProgram(tuple(words), tuple(constants), labels)

    def _pieces(self) -> list[tuple[int, int]]:
        """First word of every piece, and the one behind its last."""
        ends = [i + 1 for i, word in enumerate(self._words) if _leaves(word)]
        if ends[-1:] != [len(self._words)]:
            ends.append(len(self._words))
        return list(pairwise([0, *ends]))

    def _place(self, entries: Mapping[int, str]) -> dict[int, int]:
        """Where every piece goes, by its first word."""
        table = max(entries, default=-1) + 1
        occupied = [-1, *sorted(entries)]
        gaps = {before + 1: after - before - 1 for before, after in pairwise(occupied)}
        starts: dict[int, int] = {}
        for begin, end in sorted(self._pieces(), key=lambda piece: piece[0] - piece[1]):
            gap = next((gap for gap, room in gaps.items() if room >= end - begin), None)
            if gap is not None:
                starts[begin] = gap
                gaps[gap + end - begin] = gaps.pop(gap) - (end - begin)
        for begin, end in self._pieces():
            if begin not in starts:
                starts[begin] = table
                table += end - begin
        return starts


def _leaves(word: int | tuple[Jump, str]) -> bool:
    """Whether nothing falls through a word."""
    if isinstance(word, tuple):
        return word[0] is Jump.ALWAYS
    decoded = decode(word)
    return decoded.jump and decoded.kind in (Jump.RETURN, Jump.DONE)


def _resolve(word: int | tuple[Jump, str], labels: Mapping[str, int]) -> int:
    if isinstance(word, int):
        return word
    kind, destination = word
    if destination not in labels:
        raise ValueError(f"unknown label {destination!r}")
    return encode_jump(kind, labels[destination])


def _register(number: int) -> Register:
    return Register(Source.R, Target.R, number)

"""The instruction set, as data.

:data:`INSTRUCTIONS` is the only place that says which instructions exist, which fields they
have and how wide those are. The encoder and decoder below, the gateware's layouts, the
disassembler and ``docs/isa.md`` all derive from it. What each instruction *does* is in its
description and, executable, in :mod:`dither.golden`.

An instruction is a bit string: the opcode in bits 0 to 7, then the fields in the order of the
table without gaps, cut into 32-bit words, the lowest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "INSTRUCTIONS",
    "LOOPS",
    "OPCODE_BITS",
    "OUTER_LOOPS",
    "REDUCTION_LOOPS",
    "REGISTERS",
    "STACK_DEPTH",
    "WORD_BITS",
    "Activation",
    "Field",
    "Instruction",
    "InstructionFormat",
    "LossKind",
    "Memory",
    "Rule",
    "decode_program",
    "disassemble",
    "encode_program",
    "render_markdown",
]  # fmt: skip

WORD_BITS = 32
OPCODE_BITS = 8
REGISTERS = 16
"""Scalar registers of 32 bits, two's complement; register 0 always reads zero."""
STACK_DEPTH = 8
"""Loops and calls that may be open at once, together."""

REDUCTION_LOOPS = ("k0", "k1", "k2")
"""Loops of CONTRACT that accumulate, innermost first."""
OUTER_LOOPS = ("o0", "o1", "o2", "o3")
"""Loops of CONTRACT over outputs, innermost first; o0 counts row tiles."""
LOOPS = REDUCTION_LOOPS + OUTER_LOOPS


class Memory(IntEnum):
    """Memories that LOAD and STORE reach; one stream beat is one word."""

    ACTIVATION = 0
    """L samples of W bits, lane 0 lowest."""
    MASTER = 1
    """R master parameters of 32 bits, row 0 lowest."""
    GRADIENT = 2
    """R gradient accumulators of 32 bits."""
    MOMENT1 = 3
    """R first moments of 32 bits."""
    MOMENT2 = 4
    """R second moments of 32 bits, unsigned."""
    WEIGHT = 5
    """R working weights of W bits, each in a 32-bit slot, sign-extended."""
    ACTIVATION_TABLE = 6
    """One entry of an activation table: value in W bits, slope in the W bits above (both signed)."""
    SCALAR_TABLE = 7
    """One entry of a scalar table: value in 18 bits unsigned, slope in the 18 bits above, signed."""


class Activation(IntEnum):
    """What CONTRACT does to an output after requantisation."""

    NONE = 0
    RELU = 1
    TABLE = 2


class LossKind(IntEnum):
    """Per-sample losses."""

    CROSS_ENTROPY = 0
    SQUARED_ERROR = 1


class Rule(IntEnum):
    """Optimisers of the update unit."""

    SGD = 0
    SIGN = 1
    MOMENTUM = 2
    ADAM = 3


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an instruction: width in bits, meaning, whether it is signed, whether it names a register."""

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


def _address(name: str, doc: str) -> Field:
    return Field(name, 16, doc)


def _step(name: str, doc: str) -> Field:
    return Field(name, 16, doc, signed=True)


def _source(name: str, doc: str) -> Field:
    return Field(name, 4, f"register read: {doc}", source=True)


def _target() -> Field:
    return Field("target", 4, "register written", target=True)


_MATRIX = (
    _address("base", "first word of the tensor"),
    Field("inner", 16, "K, input positions of the tensor: word (t, k) stands at base + t*K + k"),
    Field("tiles", 16, "T = ceil(M / R), row tiles of the tensor"),
)
_PROBE = (
    Field("block", 20, "first generator block of the tensor (64 parameter indices a block)"),
    _source("seed", "seed of the run, the generator's first key word"),
    _source("step", "step number, the generator's second key word"),
    _source("probe", "number of the probe within the step"),
)

INSTRUCTIONS: tuple[InstructionFormat, ...] = (
    InstructionFormat("HALT", 0, "control", (), "Ends the program; the engine becomes idle."),
    InstructionFormat(
        "LOOP",
        1,
        "control",
        (_source("register", "added to `count`"), Field("count", 16, "iterations, with the register's; at least 1")),
        "Repeats the instructions up to the matching END, `register + count` times.",
    ),
    InstructionFormat("END", 2, "control", (), "Ends the body of the innermost LOOP."),
    InstructionFormat("CALL", 3, "control", (_address("target", "word address"),), "Calls a subroutine."),
    InstructionFormat("RETURN", 4, "control", (), "Returns behind the matching CALL."),
    InstructionFormat(
        "SET",
        5,
        "control",
        (_target(), _source("source", "operand"), Field("value", 32, "constant", signed=True)),
        "`target = source + value`, modulo 2**32.",
    ),
    InstructionFormat(
        "ADD",
        6,
        "control",
        (_target(), _source("left", "first operand"), _source("right", "second operand")),
        "`target = left + right`, modulo 2**32.",
    ),
    InstructionFormat(
        "SUBTRACT",
        7,
        "control",
        (_target(), _source("left", "first operand"), _source("right", "second operand")),
        "`target = left - right`, modulo 2**32.",
    ),
    InstructionFormat(
        "PULL",
        8,
        "load",
        (_target(),),
        "Takes one beat of the input stream; its lowest 32 bits go to the register.",
    ),
    InstructionFormat(
        "EMIT",
        9,
        "store",
        (_source("source", "operand"),),
        "Sends the register as one beat of the output stream, sign-extended.",
    ),
    InstructionFormat(
        "LOAD",
        10,
        "load",
        (Field("memory", 3, "see Memory"), _address("base", "first word"), Field("count", 16, "words, at least 1")),
        "Copies `count` beats of the input stream into a memory.",
    ),
    InstructionFormat(
        "STORE",
        11,
        "store",
        (Field("memory", 3, "see Memory"), _address("base", "first word"), Field("count", 16, "words, at least 1")),
        "Copies `count` words of a memory to the output stream.",
    ),
    InstructionFormat(
        "CONTRACT",
        12,
        "contract",
        (
            *(Field(f"n_{loop}", 16, f"iterations of loop {loop}, at least 1") for loop in LOOPS),
            _address("w_base", "first weight word"),
            *(_step(f"w_{loop}", f"added to the weight address when loop {loop} advances") for loop in LOOPS),
            _address("x_base", "first input word"),
            *(_step(f"x_{loop}", f"added to the input address when loop {loop} advances") for loop in LOOPS),
            _address("y_base", "first output word"),
            *(_step(f"y_{loop}", f"added to the output address when loop {loop} advances") for loop in OUTER_LOOPS),
            _step("y_row", "added to the output address from row to row of one tile"),
            Field("last_rows", 4, "rows that count in the last iteration of o0, 1 to R"),
            Field("bias", 1, "1: every tile starts with one extra term, bias word times constant word"),
            _address("b_base", "first bias word, in the weight memory"),
            *(_step(f"b_{loop}", f"added to the bias address when loop {loop} advances") for loop in OUTER_LOOPS),
            _address("one", "activation word of the constant that the bias is multiplied by"),
            Field("idle", 8, "empty cycles at the end of every tile, so that it lasts as long as its drain"),
            Field("shift", 6, "right shift of requantisation, 0 to 47"),
            Field("activation", 2, "see Activation"),
            Field("table", 2, "activation table"),
        ),
        "A loop nest of multiply-accumulates. For every iteration of the outer loops (one *tile*): "
        "`acc[r][l] = bias + sum over k of weight[w][r] * activation[x][l]`, for all R rows and L lanes; "
        "then row r is requantised, `sat_W((acc + 2**(shift-1)) >> shift)`, passed through the activation and "
        "written to `y + r*y_row`. A step is added when its loop advances and every loop inside it has just wrapped; "
        "a loop's address does not return by itself: steps include the way back. All addresses are modulo 2**16. "
        "A tile must last at least as long as its drain: "
        "`n_k0*n_k1*n_k2 + bias + idle >= R * drain cycles per row`. Outputs must not be inputs of the "
        "same instruction.",
    ),
    InstructionFormat(
        "LOSS",
        13,
        "loss",
        (
            Field("kind", 1, "see LossKind"),
            _address("z_base", "first output word of the network"),
            _step("z_step", "from output to output"),
            Field("count", 16, "C, outputs of the network, at least 1"),
            _address("label", "word of labels: a negative label masks its lane; the class for CROSS_ENTROPY"),
            _address("t_base", "first target word (SQUARED_ERROR)"),
            _step("t_step", "from target to target"),
            Field("z_frac", 5, "fraction bits of outputs and targets, 0 to 16"),
            Field("loss_frac", 5, "fraction bits of a sample's loss, 0 to 16"),
            _target(),
        ),
        "Sums the losses of the lanes whose label is not negative into a register. Each lane's loss is rounded to "
        "`loss_frac` bits and clipped to 24 bits by itself, so the sum does not depend on the tiling of samples. "
        "CROSS_ENTROPY: `ln(sum exp(z_c - max z)) + max z - z_label`, through the scalar tables. "
        "SQUARED_ERROR: `sum (z_c - t_c)**2`.",
    ),
    InstructionFormat(
        "PERTURB",
        14,
        "perturb",
        (
            *_MATRIX,
            *_PROBE,
            Field("random", 1, "0: write the rounded masters, without perturbation and without the generator"),
            Field(
                "amplitude", 32, "probe step in units of a master parameter, negative for the other side", signed=True
            ),
        ),
        "Writes the working weights of one tensor: `sat_W((master + amplitude * xi + 2**(31-W)) >> (32-W))`, "
        "xi = +1 where the generator's bit is 1, else -1.",
    ),
    InstructionFormat(
        "ACCUMULATE",
        15,
        "accumulate",
        (*_MATRIX, *_PROBE, _source("difference", "loss difference, signed")),
        "Adds `difference * xi` to the gradient accumulators of one tensor, with the xi of PERTURB, modulo 2**32 "
        "(the compiler proves that no sum overflows).",
    ),
    InstructionFormat(
        "UPDATE",
        16,
        "update",
        (
            _address("base", "first word of the tensor"),
            Field("count", 16, "words, at least 1"),
            Field("rule", 2, "see Rule"),
            Field("gradient_shift", 5, "right shift that brings a gradient to 17 bits"),
            Field("decay1", 4, "beta1 = 1 - 2**-decay1"),
            Field("decay2", 4, "beta2 = 1 - 2**-decay2"),
            _source("rate", "learning rate mantissa, lowest 18 bits, unsigned"),
            Field("rate_shift", 5, "right shift of rate times direction"),
        ),
        "One optimiser step for every parameter of the words, from its gradient accumulator, which it clears.",
    ),
)

_BY_NAME: dict[str, InstructionFormat] = {form.name: form for form in INSTRUCTIONS}
_BY_OPCODE: dict[int, InstructionFormat] = {form.opcode: form for form in INSTRUCTIONS}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: a name of the table and a value for each of its fields."""

    name: str
    fields: Mapping[str, int]

    def __post_init__(self) -> None:
        if self.name not in _BY_NAME:
            raise ValueError(f"unknown instruction {self.name!r}")
        expected = {field.name: field for field in self.format.fields}
        if set(expected) != set(self.fields):
            wrong = sorted(set(expected) ^ set(self.fields))
            raise ValueError(f"{self.name}: missing or unknown fields: {', '.join(wrong)}")
        for name, value in self.fields.items():
            field = expected[name]
            if not field.lowest <= value <= field.highest:
                raise ValueError(f"{self.name}.{name} must be from {field.lowest} to {field.highest}, not {value}")

    @classmethod
    def make(cls, name: str, **fields: int) -> Instruction:
        """An instruction from keyword arguments.

        :raises ValueError: on unknown names and values out of range.
        """
        return cls(name, {key: int(value) for key, value in fields.items()})

    @property
    def format(self) -> InstructionFormat:
        return _BY_NAME[self.name]

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    def encode(self) -> list[int]:
        """The instruction's 32-bit words."""
        bits, position = self.format.opcode, OPCODE_BITS
        for field in self.format.fields:
            bits |= (self.fields[field.name] & ((1 << field.width) - 1)) << position
            position += field.width
        return [(bits >> (WORD_BITS * i)) & 0xFFFFFFFF for i in range(self.format.words)]

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.fields.items())])


def encode_program(instructions: Iterable[Instruction]) -> list[int]:
    """The words of a program, one instruction behind the other."""
    return [word for instruction in instructions for word in instruction.encode()]


def decode_program(words: list[int]) -> Iterator[tuple[int, Instruction]]:
    """The instructions of a program with their word addresses.

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
    """A program as text, one instruction a line."""
    return "\n".join(f"{address:5d}  {instruction}" for address, instruction in decode_program(words))


def render_markdown() -> str:
    """The reference page of the instruction set, ``docs/isa.md``."""
    lines = ["# Instruction set", "", "Made from `dither.isa` by `dither docs`; do not edit.", ""]
    for form in INSTRUCTIONS:
        lines += [f"## {form.name}", "", f"Opcode {form.opcode}, {form.words} words, counted as `{form.phase}`.", "",
                  form.doc, ""]  # fmt: skip
        if form.fields:
            lines += ["| field | bits | meaning |", "|---|---|---|"]
            lines += [f"| {f.name} | {f.width}{' signed' if f.signed else ''} | {f.doc} |" for f in form.fields]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"

"""The page of the instruction set."""

from __future__ import annotations

from enum import IntEnum

from ..isa import (
    INSTRUCTIONS,
    LOCAL_INSTRUCTIONS,
    LOOPS,
    OPCODE_BITS,
    REGISTERS,
    STACK_DEPTH,
    WORD_BITS,
    Activation,
    Distribution,
    Instruction,
    InstructionFormat,
    LossKind,
    LossMode,
    Memory,
    Operand,
    Rule,
    vocabulary,
)
from .markdown import attribute_docs, document, table

__all__ = ["instruction_page"]

_VOCABULARY: tuple[type[IntEnum], ...] = (Memory, Activation, Operand, Distribution, LossKind, LossMode, Rule)
_EXAMPLE = Instruction.make("SET", target=3, source=0, value=-7)


def _encoding() -> list[str]:
    words = ", ".join(f"`{word:08x}`" for word in _EXAMPLE.encode())
    return [
        "## Encoding",
        (
            f"A program is a sequence of words of {WORD_BITS} bits. An instruction is a string of bits: its opcode in "
            f"bits 0 to {OPCODE_BITS - 1}, then its fields in the order of its table, without gaps. Bit n of the "
            f"string is bit n mod {WORD_BITS} of the instruction's word n div {WORD_BITS}; a field may begin in one "
            "word and end in the next. Signed fields are in two's complement. Bits behind the last field are zero, "
            "and mean nothing."
        ),
        f"Example: `{_EXAMPLE}` is {words}.",
    ]


def _control() -> list[str]:
    local = ", ".join(LOCAL_INSTRUCTIONS)
    return [
        "## Registers, loops, calls and faults",
        (
            f"There are {REGISTERS} scalar registers of 32 bits, in two's complement. Register 0 reads zero, and "
            "writing to it has no effect. A field whose meaning begins with *register* holds a register's number."
        ),
        (
            "A program starts at the word that the host names, and executes one instruction after the other: each has "
            f"written everything before the next begins. Up to {STACK_DEPTH} loops and calls may be open at once, all "
            "of them together, on one stack, which is empty when a program starts."
        ),
        (
            "- LOOP adds its register, as a signed number, to `count`, without wrapping, and remembers the sum and "
            "the address of the instruction behind it.\n- END counts the innermost loop down; it goes back to that "
            "address, or, after the last iteration, closes the loop and goes on behind itself.\n- CALL remembers the "
            "address of the instruction behind it and goes on at `target`; RETURN goes back to it.\n- HALT ends the "
            "program wherever it stands, whatever is open: the stack is emptied."
        ),
        "A program ends with a *fault*, which the register `status` shows, at",
        (
            f"- an opcode that is not on this page; in an engine without `local_learning` those of {local} too,\n- a "
            f"LOOP whose sum is less than 1,\n- a LOOP or CALL while {STACK_DEPTH} are open,\n- an END while nothing "
            "is open, or while what was opened last is a call,\n- a RETURN while nothing is open, or while what was "
            "opened last is a loop."
        ),
        (
            "Whatever else breaks a demand of this page is not noticed by an engine, and what it does then is not "
            "defined: a count of 0, an address beyond a memory, a number without a meaning, an output that is an "
            "input. The golden machine refuses it and names the word."
        ),
    ]


def _choices() -> list[str]:
    local = ", ".join(LOCAL_INSTRUCTIONS)
    return [
        "## What an engine may lack",
        (
            f"- Without `local_learning`: {local}; CONTRACT's operands but WEIGHT; LOSS's modes but SUM.\n"
            "- Without `wide_probes`: the distributions UNIFORM and GAUSSIAN.\n"
            "- With N `activation_tables`: tables from number N on; with none, the activation TABLE."
        ),
        (
            "The parameters stand with the [registers](registers.md). A program must not use what its engine lacks; an "
            "engine notices only instructions, as unknown opcodes."
        ),
    ]


def _numbers() -> list[str]:
    docs = attribute_docs(vocabulary)
    parts = ["## Numbers in fields"]
    for kind in _VOCABULARY:
        rows = [(int(member), member.name, docs[f"{kind.__name__}.{member.name}"]) for member in kind]
        summary = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        parts += [f"### {kind.__name__}", summary, table(["number", "name", "meaning"], rows)]
    parts.append("Numbers that stand in no table are not used: Activation 3, Distributions from 5 on, Rules from 5 on.")
    return parts


def _notation() -> list[str]:
    inner, outer = LOOPS[0], LOOPS[-1]
    return [
        "## How instructions are described",
        (
            "R is the number of rows of an engine, L the number of its lanes, W the width of its activations and "
            "weights. `sat_n(a)` clips a to n signed bits, and each number that it changes is counted "
            "([counters](registers.md)). `a >> n` is floor(a / 2^n). Right shifts that round add half a unit first, "
            "`rnd(a, n) = (a + 2**(n-1)) >> n`; a shift of 0 leaves a number as it is."
        ),
        (
            f"Loops stand in this order, the innermost first: {', '.join(LOOPS)}. So {inner} advances in every term, "
            f"and {outer} most rarely. When a loop advances, all loops inside it begin anew."
        ),
        (
            "The arithmetic of LOSS, UPDATE, the tables and the generator has a [page of its own](arithmetic.md); "
            "memories and stream words have [another](memories.md), and so has [what instructions cost](timing.md)."
        ),
    ]


def _instruction(form: InstructionFormat) -> list[str]:
    bits = f"{form.bits} bits, {form.words} word{'s' if form.words > 1 else ''}"
    parts = [f"## {form.name}", f"Opcode {form.opcode}, {bits}, counted as `{form.phase}`.", form.doc]
    rows, position = [], OPCODE_BITS
    for field in form.fields:
        end = position + field.width - 1
        width = f"{field.width}{' signed' if field.signed else ''}"
        rows.append((f"`{field.name}`", f"{position}–{end}" if field.width > 1 else position, width, field.doc))
        position += field.width
    return [*parts, table(["field", "at bits", "width", "meaning"], rows)] if rows else parts


def instruction_page() -> str:
    """Returns the text of ``docs/isa.md``."""
    instructions = [part for form in INSTRUCTIONS for part in _instruction(form)]
    parts = [*_encoding(), *_control(), *_choices(), *_numbers(), *_notation(), *instructions]
    return document("Instruction set", "`dither.arch.isa`", *parts)

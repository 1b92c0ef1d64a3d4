"""How microprograms get at an instruction: the sequencer puts it into its control memory, from
behind the opcode on, in words of 16 bits."""

from __future__ import annotations

from ...isa import INSTRUCTIONS, OPCODE_BITS, WORD_BITS, Instruction
from .assembler import CONTROL, CP, SH, A, Assembler, Place, Q
from .machine import Operation

__all__ = ["REGISTER_HIGH", "REGISTER_LOW", "SLOT_BITS", "field", "instruction_slots", "place", "read_register", "slot"]

SLOT_BITS = 16
REGISTER_LOW = 0x60
"""Where the lower halves of scalar registers stand in the control memory."""
REGISTER_HIGH = 0x70
"""Where the upper halves stand."""

_FORMS = {form.name: form for form in INSTRUCTIONS}


def place(instruction: str, name: str) -> tuple[int, int]:
    """Lowest bit, counted from behind the opcode, and width of a field.

    :raises ValueError: if the instruction has no such field.
    """
    position = 0
    for candidate in _FORMS[instruction].fields:
        if candidate.name == name:
            return position, candidate.width
        position += candidate.width
    raise ValueError(f"{instruction} has no field {name!r}")


def slot(code: Assembler, target: Place, number: int) -> None:
    """A word of the instruction: two words."""
    code.load(CP, number)
    code.load(target, CONTROL)


def field(code: Assembler, target: Place, instruction: str, name: str, skip: int = 0) -> None:
    """The bits of a field from ``skip`` on, sixteen at the most, without sign; changes A, Q, SH,
    CP.
    """
    position, width = place(instruction, name)
    number, bit = divmod(position + skip, SLOT_BITS)
    width = min(width - skip, SLOT_BITS)
    mask = (1 << width) - 1
    if (bit, width) == (0, SLOT_BITS):
        slot(code, target, number)
    elif bit + width <= SLOT_BITS:
        code.load(CP, number)
        code.load(A, mask << bit)
        code.operate(Operation.AND, Q if bit else target, CONTROL)
        if bit:
            code.load(A, 0)
            code.load(SH, SLOT_BITS - bit)
            code.funnel(target, Q)
    else:
        slot(code, A, number + 1)
        code.load(CP, number)
        code.load(SH, SLOT_BITS - bit)
        code.funnel(target if width == SLOT_BITS else Q, CONTROL)
        if width < SLOT_BITS:
            code.load(A, mask)
            code.and_(target, Q)


def read_register(code: Assembler, low: Place, high: Place, instruction: str, name: str) -> None:
    """The halves of the scalar register that a field names; changes A, Q, SH, CP. ``low`` must not
    be A.
    """
    field(code, A, instruction, name)
    code.add(CP, REGISTER_LOW)
    code.load(low, CONTROL)
    code.add(CP, REGISTER_HIGH)
    code.load(high, CONTROL)


def instruction_slots(instruction: Instruction) -> list[int]:
    """What the sequencer puts into the slots before the scalar machine starts."""
    if instruction.name in ("LOAD", "STORE"):
        return [instruction["base"], instruction["count"]]
    words = instruction.encode()
    bits = sum(word << WORD_BITS * i for i, word in enumerate(words)) >> OPCODE_BITS
    return [bits >> SLOT_BITS * i & (1 << SLOT_BITS) - 1 for i in range(len(words) * WORD_BITS // SLOT_BITS)]

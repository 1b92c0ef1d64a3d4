"""CONTRACT in the program of a compact sequencer: first addresses, then the loop nest."""

from __future__ import annotations

from ...isa import INSTRUCTIONS, LOOPS
from .words import ADDRESS_BITS, Carry, Job, Next, Nibble, Program, Source, Sum

__all__ = ["REGISTER_HIGH", "REGISTER_LOW", "SLOTS", "write_contract"]

SLOTS = 0x00
"""Where in the sequencer's memory the instruction at work stands, in words of 16 bits from behind
its opcode on.
"""
_COUNTS = 0x28
"""Iterations that CONTRACT's loops have left."""
REGISTER_LOW = 0x60
REGISTER_HIGH = 0x70
"""Halves of the scalar registers."""

F, S, N, O, J, C = Next, Sum, Nibble, Source, Job, Carry  # noqa: E741
_CONTRACT = next(form for form in INSTRUCTIONS if form.name == "CONTRACT")


def _slot(field: str) -> tuple[int, int]:
    """In which slot one of CONTRACT's fields begins, and at which of its bits."""
    position = 0
    for candidate in _CONTRACT.fields:
        if candidate.name == field:
            return divmod(position, 16)
        position += candidate.width
    raise ValueError(f"CONTRACT has no field {field!r}")


def _at(field: str) -> int:
    """The slot of one of CONTRACT's 16-bit fields, or of their lower eleven bits."""
    return SLOTS + _slot(field)[0]


def write_contract(p: Program) -> None:
    """All behind the fetch of its slots."""
    _registers(p)
    _loops(p)


def _registers(p: Program) -> None:
    """Modes, and the first addresses: base and index."""
    (slot, bit), (bias_slot, bias_bit) = _slot("shift"), _slot("bias")
    assert (bit, bias_bit) == (13, 4)
    assert _slot("activation") == (slot + 1, 3)
    index, bit = _slot("w_index")
    assert bit == 9
    assert _slot("x_index") == (index, bit + 4)
    assert _slot("y_index") == (index + 1, 1)
    assert _slot("b_index") == (index + 1, 5)
    p(SLOTS + slot, job=J.PATH_CLEAR, work=True)
    p(SLOTS + slot + 1, job=J.SHIFT_LOW, work=True)
    p(SLOTS + bias_slot, job=J.SHIFT_HIGH, sum=S.LOAD, work=True)
    assert slot + 1 == index
    p(0xF & -bit, nibble=N.ADDRESS, job=J.HAS_BIAS, work=True)
    p(sum=S.SHIFT, nibble=N.NEXT, next=F.REPEAT_COUNT, work=True)
    p(_at("w_base"), nibble=N.ACCUMULATOR, work=True)
    p(REGISTER_LOW, indexed=True, job=J.WEIGHT, work=True)
    p(SLOTS + index + 1, job=J.WEIGHT, work=True)
    # The input's index has its last bit in the next slot.
    p(sum=S.LOAD, work=True)
    p(SLOTS + index, sum=S.SHIFT, work=True)
    p(0xF & -(bit + 4), sum=S.LOAD, nibble=N.ADDRESS, work=True)
    p(sum=S.SHIFT, nibble=N.NEXT, next=F.REPEAT_COUNT, work=True)
    p(_at("x_base"), nibble=N.ACCUMULATOR, work=True)
    p(REGISTER_LOW, indexed=True, job=J.INPUT, work=True)
    p(SLOTS + index + 1, job=J.INPUT, work=True)
    p(sum=S.LOAD, work=True)
    p(sum=S.SHIFT, work=True)
    p(_at("y_base"), nibble=N.ACCUMULATOR, work=True)
    p(REGISTER_LOW, indexed=True, job=J.OUTPUT, work=True)
    p(0xF & -4, nibble=N.ADDRESS, job=J.OUTPUT, work=True)
    p(sum=S.SHIFT, nibble=N.NEXT, next=F.REPEAT_COUNT, work=True)
    p(_at("b_base"), nibble=N.ACCUMULATOR, work=True)
    p(REGISTER_LOW, indexed=True, job=J.BIAS, work=True)
    p(job=J.BIAS_RAW, work=True)


def _loops(p: Program) -> None:
    """The nest. Counts stand less one in slots and in _COUNTS, where they go down to zero.

    Loops but the innermost take turns in the nibble: k1 and k2 as 2 and 3, o0 to o3 as 0 to 3.
    """
    loops = len(LOOPS)
    p(0xF & -loops, nibble=N.ADDRESS, job=J.FLUSH, work=True)
    p.label("count")
    first = 16 - loops
    p(_from(_at("n_k0"), first), indexed=True, work=True)
    p(sum=S.LOAD, work=True)
    p(sum=S.DECREMENT, work=True)
    p(_from(_at("n_k0"), first), indexed=True, source=O.ACCUMULATOR, work=True)
    p(_from(_COUNTS, first), indexed=True, source=O.ACCUMULATOR, work=True)
    p("count", nibble=N.NEXT, next=F.COUNT, work=True)
    p(_at("n_k1"), work=True)
    p(_at("n_k2"), sum=S.LOAD, work=True)
    p(sum=S.ADD, work=True)
    p(_at("w_k0"), sum=S.DECREMENT, job=J.NOT_SINGLE, work=True)
    p(_at("x_k0"), job=J.WEIGHT_STEP, work=True)
    p(_at("one"), job=J.INPUT_STEP, work=True)
    p(_at("n_k0"), job=J.BIAS_TERM, work=True)
    p("term", sum=S.LOAD, next=F.JUMP, work=True)

    # The next inner loop that has not come to its end.
    p.label("inner")
    p(2, nibble=N.ADDRESS, work=True)
    p.label("inner loop")
    p(_from(_COUNTS + 1, 2), indexed=True, work=True)
    p(sum=S.LOAD, work=True)
    p("inner end", sum=S.DECREMENT, next=F.NO_CARRY, work=True)
    p(_from(_COUNTS + 1, 2), indexed=True, source=O.ACCUMULATOR, work=True)
    p(_from(_at("w_k1"), 2), indexed=True, work=True)
    p(_from(_at("x_k1"), 2), indexed=True, job=J.WEIGHT, work=True)
    p(_at("n_k0"), job=J.INPUT, work=True)
    p("term", sum=S.LOAD, next=F.JUMP, work=True)
    p.label("inner end")
    p(_from(_at("n_k1"), 2), indexed=True, work=True)
    p(sum=S.LOAD, work=True)
    p(_from(_COUNTS + 1, 2), indexed=True, source=O.ACCUMULATOR, nibble=N.NEXT, work=True)
    p("inner loop", next=F.BELOW_FOUR, work=True)
    p("outer", nibble=N.ADDRESS, next=F.JUMP, work=True)

    p.label("outer end")
    p(_at("n_o0"), indexed=True, work=True)
    p(sum=S.LOAD, work=True)
    p(_COUNTS + 3, indexed=True, source=O.ACCUMULATOR, nibble=N.NEXT, work=True)
    p("outer", next=F.BELOW_FOUR, work=True)
    p(job=J.DRAIN, work=True)
    p(next=F.REPEAT_WAIT, job=J.DRAINED, work=True)
    p("fetch", next=F.JUMP)

    # The word that jumps here, or multiplies, has made the nibble zero.
    while len(p.words) % 16:
        p()
    p.label("outer")
    p(_COUNTS + 3, indexed=True, work=True)
    p(sum=S.LOAD, work=True)
    p("outer end", sum=S.DECREMENT, next=F.NO_CARRY, work=True)
    p(_COUNTS + 3, indexed=True, source=O.ACCUMULATOR, job=J.DRAIN, work=True)
    p(_at("w_o0"), indexed=True, work=True)
    p(_at("x_o0"), indexed=True, job=J.WEIGHT, work=True)
    p(_at("b_o0"), indexed=True, job=J.INPUT, work=True)
    p(_at("y_o0"), indexed=True, job=J.BIAS, work=True)
    p(_at("one"), job=J.OUTPUT, work=True)
    p(_at("n_k0"), job=J.BIAS_TERM, work=True)
    p(sum=S.LOAD, work=True)
    p.label("term")
    p(0, nibble=N.ADDRESS, sum=S.DECREMENT, next=F.REPEAT_CARRY, job=J.TERM, work=True)
    p("outer", next=F.SINGLE, work=True)
    p("inner", next=F.JUMP, work=True)


def _from(address: int, first: int) -> int:
    """An address whose nibble begins with ``first`` instead of 0."""
    return (address - first) % (1 << ADDRESS_BITS)

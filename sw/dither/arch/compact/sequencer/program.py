"""The program of a compact sequencer: how it fetches and executes the engine's instructions.

Two conventions hold throughout. Each word issues a read of the sequencer's memory at its address;
the next word sees the data. And every way through a routine takes the same number of cycles,
whatever the data, unless an instruction's loops say otherwise: :mod:`dither.arch.compact.timing`
counts on it.
"""

from __future__ import annotations

from ...isa import INSTRUCTIONS, LOCAL_INSTRUCTIONS, OPCODE_BITS
from .contract import REGISTER_HIGH, REGISTER_LOW, SLOTS, write_contract
from .words import Carry, Job, Next, Nibble, Program, Source, Sum

__all__ = ["CONSTANTS", "DISPATCH", "REGISTER_HIGH", "REGISTER_LOW", "SLOTS", "UNKNOWN", "control_program"]

_PC, _LEVEL, _FULL, _ONE, _LOW, _HIGH, _COUNT, _VALUE_LOW, _VALUE_HIGH = range(0x30, 0x39)
_STACK_ADDRESS, _STACK_LOW, _STACK_HIGH, _STACK_LOOP = 0x80, 0x90, 0xA0, 0xB0
"""Frames: where to go on, iterations left besides this one, whether it is a loop's (all ones) or a
call's (zero).
"""

CONSTANTS = {_FULL: 0x10000 - 16, _ONE: 1}
"""What the sequencer's memory holds besides zeros before anything is written."""

DISPATCH = 0x20
"""Where the table of opcodes stands, which has 32 entries."""
UNKNOWN = 31
"""What an opcode beyond the table counts as."""
assert OPCODE_BITS == 8
assert not any(form.opcode >= UNKNOWN for form in INSTRUCTIONS)

F, S, N, O, J, C = Next, Sum, Nibble, Source, Job, Carry  # noqa: E741


_FORMS = {form.name: form for form in INSTRUCTIONS}


def control_program() -> Program:
    """Returns the sequencer's whole program. Execution begins at word 0 or 1."""
    p = Program()
    p(job=J.IDLE)
    p.label("idle")
    p(_PC, source=O.OUTSIDE, next=F.REPEAT_WAIT, job=J.IDLE)
    p(sum=S.ZERO, job=J.CLEAR)
    p(_LEVEL, source=O.ACCUMULATOR, next=F.REPEAT_WAIT, job=J.CLEAR)
    p("fetch", next=F.JUMP, job=J.CLEAR)
    while len(p.words) < DISPATCH:
        p()
    routines = {form.opcode: form.name for form in INSTRUCTIONS if form.name not in LOCAL_INSTRUCTIONS}
    for opcode in range(UNKNOWN + 1):
        p(routines.get(opcode, "fault"), next=F.JUMP)
    _clear_register_zero(p)
    _fetch(p)
    _control(p)
    _streams(p)
    _scalar(p)
    p.label("CONTRACT")
    _copy_slots(p, _FORMS["CONTRACT"].words)
    write_contract(p)
    return p


def _clear_register_zero(p: Program) -> None:
    """What was written to register 0 is gone before it can be read; then the next instruction."""
    p.label("written")
    p(sum=S.ZERO)
    p(REGISTER_LOW, source=O.ACCUMULATOR)
    p(REGISTER_HIGH, source=O.ACCUMULATOR)


def _fetch(p: Program) -> None:
    """The first slots and the opcode. Routines begin with the second word at hand, its address in
    the accumulator and the following instruction's in _PC, as long as this one is of one word."""
    p.label("fetch")
    p(_PC)
    p(sum=S.LOAD)
    p()
    p(SLOTS, source=O.MIDDLE, job=J.OPCODE, carry=C.ONE)
    p(_PC, source=O.ACCUMULATOR)
    p(SLOTS + 1, source=O.STRADDLE, next=F.DISPATCH)


def _copy_slots(p: Program, words: int) -> None:
    """The slots of an instruction of so many words but the first two; _PC."""
    p(carry=C.ONE)
    for word in range(1, words):
        p(SLOTS + 2 * word, source=O.MIDDLE)
        p(SLOTS + 2 * word + 1, source=O.STRADDLE, carry=C.ONE if word + 1 < words else C.NONE)
    p(_PC, source=O.ACCUMULATOR)


def _control(p: Program) -> None:
    p.label("HALT")
    p("idle", next=F.JUMP, work=True)
    p.label("fault")
    p("idle", next=F.JUMP, job=J.FAULT)

    p.label("SET")
    p(SLOTS, sum=S.DECREMENT)
    p(nibble=N.READ_4)
    p(_VALUE_LOW, source=O.HIGH, carry=C.ONE)
    p()
    p(_VALUE_HIGH, source=O.LOW, carry=C.ONE)
    p(_PC, source=O.ACCUMULATOR)
    p(REGISTER_LOW, indexed=True)
    p(_VALUE_LOW, sum=S.LOAD)
    p(REGISTER_HIGH, indexed=True, sum=S.ADD)
    p(_LOW, source=O.ACCUMULATOR, sum=S.LOAD)
    p(_VALUE_HIGH)
    p("write", sum=S.ADD, carry=C.FLAG, next=F.JUMP)

    # One routine: the left operand comes to the right one, which SUBTRACT's odd opcode inverts.
    p.label("ADD")
    p.label("SUBTRACT")
    for half, carry in ((REGISTER_LOW, C.ODD), (REGISTER_HIGH, C.FLAG)):
        p(SLOTS)
        p(nibble=N.READ_8)
        p(half, indexed=True)
        p(SLOTS, sum=S.LOAD)
        p(nibble=N.READ_4)
        p(half, indexed=True)
        p(sum=S.CONDITIONAL, carry=carry)
        if half == REGISTER_LOW:
            p(_LOW, source=O.ACCUMULATOR)
    p.label("write")
    p(SLOTS)
    p(nibble=N.READ_0, work=True)
    p(REGISTER_HIGH, indexed=True, source=O.ACCUMULATOR)
    p(_LOW)
    p(sum=S.LOAD)
    p(REGISTER_LOW, indexed=True, source=O.ACCUMULATOR)
    p("written", next=F.JUMP)

    p.label("LOOP")
    p(SLOTS, sum=S.DECREMENT)
    p(nibble=N.READ_0)
    p(_COUNT, source=O.COUNT)
    p(REGISTER_LOW, indexed=True)
    p(_COUNT, sum=S.LOAD)
    p(REGISTER_HIGH, indexed=True, sum=S.ADD)
    p(_LOW, source=O.ACCUMULATOR, sum=S.LOAD)
    p("negative", next=F.NEGATIVE)
    p(carry=C.FLAG)
    p("counted", next=F.JUMP)
    # A negative register needs a count that brings it to zero at least: the sum carries.
    p.label("negative")
    p("fault", carry=C.FLAG, next=F.NO_CARRY)
    p()
    p.label("counted")
    p(_HIGH, source=O.ACCUMULATOR)
    p(_LOW)
    p(sum=S.LOAD)
    p(sum=S.DECREMENT)
    p(_LOW, source=O.ACCUMULATOR)
    p(_HIGH)
    p(sum=S.LOAD)
    p("fault", sum=S.DECREMENT, carry=C.FLAG, next=F.NO_CARRY)
    p(_HIGH, source=O.ACCUMULATOR)
    _push(p)
    p(sum=S.ONES)
    p(_STACK_LOOP, indexed=True, source=O.ACCUMULATOR)
    p(_LOW)
    p(_HIGH, sum=S.LOAD)
    p(_STACK_LOW, indexed=True, source=O.ACCUMULATOR, sum=S.LOAD)
    p(_STACK_HIGH, indexed=True, source=O.ACCUMULATOR, work=True)
    p("fetch", next=F.JUMP)

    p.label("CALL")
    _push(p)
    p(sum=S.ZERO)
    p(_STACK_LOOP, indexed=True, source=O.ACCUMULATOR)
    p(SLOTS)
    p(sum=S.LOAD, work=True)
    p(_PC, source=O.ACCUMULATOR)
    p("fetch", next=F.JUMP)

    p.label("END")
    _top(p)
    p(_STACK_LOOP, indexed=True)
    p(sum=S.LOAD)
    p("loop", next=F.NEGATIVE)
    p("fault", next=F.JUMP)
    p.label("loop")
    p(_STACK_LOW, indexed=True)
    p(sum=S.LOAD)
    p(sum=S.DECREMENT)
    p(_STACK_LOW, indexed=True, source=O.ACCUMULATOR)
    p(_STACK_HIGH, indexed=True)
    p(sum=S.LOAD)
    p("over", sum=S.DECREMENT, carry=C.FLAG, next=F.NO_CARRY)
    p(_STACK_HIGH, indexed=True, source=O.ACCUMULATOR, work=True)
    p(_STACK_ADDRESS, indexed=True)
    p(sum=S.LOAD)
    p(_PC, source=O.ACCUMULATOR)
    p("fetch", next=F.JUMP)
    p.label("over")
    p(_LEVEL, work=True)
    p(sum=S.LOAD)
    p(sum=S.DECREMENT)
    p(_LEVEL, source=O.ACCUMULATOR)
    p("fetch", next=F.JUMP)

    p.label("RETURN")
    _top(p)
    p(_LEVEL, source=O.ACCUMULATOR)
    p(_STACK_LOOP, indexed=True)
    p(_STACK_ADDRESS, indexed=True, sum=S.LOAD)
    p("fault", next=F.NEGATIVE, sum=S.LOAD, work=True)
    p(_PC, source=O.ACCUMULATOR)
    p("fetch", next=F.JUMP)


def _push(p: Program) -> None:
    """A new frame, its number in the nibble, with _PC as its address."""
    p(_LEVEL)
    p(_FULL, sum=S.LOAD)
    p("fault", nibble=N.ACCUMULATOR, sum=S.ADD, next=F.CARRY)
    p(_LEVEL)
    p(sum=S.LOAD)
    p(carry=C.ONE)
    p(_LEVEL, source=O.ACCUMULATOR)
    p(_PC)
    p(sum=S.LOAD)
    p(_STACK_ADDRESS, indexed=True, source=O.ACCUMULATOR)


def _top(p: Program) -> None:
    """The number of the last frame to accumulator and nibble."""
    p(_LEVEL)
    p(sum=S.LOAD)
    p("fault", sum=S.DECREMENT, next=F.NO_CARRY)
    p(nibble=N.ACCUMULATOR)


def _streams(p: Program) -> None:
    p.label("PULL")
    p(SLOTS)
    p(nibble=N.READ_0)
    p(REGISTER_LOW, indexed=True, source=O.OUTSIDE, next=F.REPEAT_WAIT, job=J.TAKE, work=True)
    p(REGISTER_HIGH, indexed=True, source=O.OUTSIDE, next=F.REPEAT_WAIT, job=J.TAKE, work=True)
    p("written", next=F.JUMP)

    p.label("EMIT")
    p(SLOTS)
    p(nibble=N.READ_0)
    p(REGISTER_LOW, indexed=True)
    p(sum=S.LOAD)
    p(REGISTER_HIGH, indexed=True, next=F.REPEAT_WAIT, job=J.SEND, work=True)
    p(sum=S.LOAD)
    p(next=F.REPEAT_WAIT, job=J.SEND, work=True)
    p("fetch", next=F.JUMP)

    # LOAD and STORE are one routine until they part by their opcodes, STORE's being odd.
    p.label("LOAD")
    p.label("STORE")
    assert _FORMS["LOAD"].words == _FORMS["STORE"].words == 2
    assert _FORMS["STORE"].opcode & ~_FORMS["LOAD"].opcode & 1
    _copy_slots(p, 2)
    p(0xF & -3, nibble=N.ADDRESS)
    # Base and count stand three bits behind the beginnings of slots.
    p.label("align")
    for slot in reversed(range(3)):
        p(SLOTS + slot)
        p(sum=S.LOAD)
        p(sum=S.SHIFT)
        p(SLOTS + slot, source=O.ACCUMULATOR)
    p("align", nibble=N.NEXT, next=F.COUNT)
    p("weights", next=F.WEIGHT, job=J.PATH_CLEAR, work=True)
    p("lanes", next=F.ACTIVATION, work=True)
    p("scalar", next=F.JUMP, work=True)
    p.label("lanes")
    p("send lanes", next=F.ODD, work=True)
    _take_lanes(p)
    p.label("weights")
    p("send weights", next=F.ODD, work=True)
    _move(p, "take weights", J.WEIGHT, J.TAKE_WEIGHT, J.TAKE)
    _move(p, "send lanes", J.INPUT, J.NONE, J.SEND_LANES)
    _move(p, "send weights", J.WEIGHT, J.NONE, J.SEND_WEIGHT, J.SEND_SIGN)


def _take_lanes(p: Program) -> None:
    """Beats to the activation memory; the output address counts words, the accumulator what is left
    less one.
    """
    p(SLOTS, work=True)
    p(SLOTS + 1, job=J.OUTPUT, work=True)
    p(sum=S.LOAD, work=True)
    p(sum=S.DECREMENT, work=True)
    p.label("take lanes")
    p(_ONE, next=F.REPEAT_WAIT, job=J.TAKE_LANES, work=True)
    p("take lanes", sum=S.DECREMENT, next=F.CARRY, job=J.OUTPUT, work=True)
    p("written", next=F.JUMP)


def _move(p: Program, label: str, address: Job, *beats: Job) -> None:
    """Beats from or to a memory whose address advances. A word that is sent must be addressed a
    cycle before: a pause is a beat without a job."""
    p.label(label)
    p(SLOTS, work=True)
    p(SLOTS + 1, job=address, work=True)
    p(sum=S.LOAD, work=True)
    p(sum=S.DECREMENT, work=True)
    p.label(f"{label}: word")
    for beat in beats:
        p(_ONE, next=F.FOLLOW if beat is J.NONE else F.REPEAT_WAIT, job=beat, work=True)
    p(f"{label}: word", sum=S.DECREMENT, next=F.CARRY, job=address, work=True)
    p("written", next=F.JUMP)


def _scalar(p: Program) -> None:
    """What the scalar unit executes: it finds instruction and registers in the sequencer's
    memory.
    """
    for name in ("LOSS", "PERTURB", "ACCUMULATE", "UPDATE"):
        p.label(name)
        _copy_slots(p, _FORMS[name].words)
        if name != "UPDATE":
            p("scalar", next=F.JUMP)
    p.label("scalar")
    p(job=J.SCALAR, work=True)
    p(next=F.REPEAT_WAIT, job=J.SCALAR_WORK, work=True)
    p("written", next=F.JUMP)

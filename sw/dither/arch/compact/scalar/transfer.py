"""LOAD and STORE of the memories that are areas of the state memory: items of two or three beats of
16 bits.
"""

from __future__ import annotations

from .assembler import CONTROL, CP, INPUT, OUTPUT, STATE_NEXT, A, Assembler, P, Q
from .layout import MASTER_OFFSET, STATE_MEMORIES, Layout
from .machine import Flag, When

__all__ = ["write_transfer"]


def write_transfer(code: Assembler, layout: Layout) -> None:
    """The routines ``LOAD MASTER``, ``STORE MASTER`` and so on. The sequencer puts the first word
    into slot 0, the count into slot 1."""
    sizes = sorted(set(STATE_MEMORIES.values()))
    for name, source, target in (("LOAD", INPUT, STATE_NEXT), ("STORE", STATE_NEXT, OUTPUT)):
        for size in sizes:
            *others, last = (memory for memory, words in STATE_MEMORIES.items() if words == size)
            for memory in (*others, last):
                code.label(f"{name} {memory.name}")
                # MASTER is the only area that begins at 0.
                code.load(A, layout.base(memory), flag=Flag.ZERO)
                if memory is not last:
                    code.jump(f"{name} {size}")
            code.label(f"{name} {size}")
            code.call(f"place of {size}")
            with code.repeat(Q):
                for _ in range(size - 1):
                    code.load(target, source)
                code.xor(target, source)
            code.done()
    _write_places(code, sizes)


def _write_places(code: Assembler, sizes: list[int]) -> None:
    """Subroutines that set P to the item of slot 0 in the area at A, Q to the count, and A to what
    inverts a master's highest bit, if F says that it is one."""
    for size in reversed(sizes):
        code.label(f"place of {size}")
        code.load(CP, 0)
        if size > min(sizes):
            code.add(A, CONTROL)
    for _ in range(min(sizes) - 1):
        code.add(A, CONTROL)
    code.add(P, CONTROL)
    code.load(CP, 1)
    code.load(Q, CONTROL)
    code.load(A, 0)
    code.load(A, MASTER_OFFSET >> 16, when=When.F)
    code.ret()

"""The instruction set, as data.

:data:`INSTRUCTIONS` is the only place that says which instructions exist, which fields they
have and how wide those are. Encoder, decoder and disassembler (:mod:`~dither.arch.isa.coding`), the
gateware's layouts and ``docs/isa.md`` (:mod:`dither.arch.pages`) all derive from it. What each
instruction *does* is in its description and, executable, in :mod:`dither.golden`.

An instruction is a bit string: the opcode in bits 0 to 7, then the fields in the order of the
table without gaps, cut into 32-bit words, the lowest first.
"""

from __future__ import annotations

from .coding import Instruction, decode_program, disassemble, encode_program
from .formats import Field, InstructionFormat
from .table import INSTRUCTIONS, LOCAL_INSTRUCTIONS
from .vocabulary import (
    GRADIENT_BITS,
    LOOPS,
    MASTER_BITS,
    OPCODE_BITS,
    OUTER_LOOPS,
    REDUCTION_LOOPS,
    REGISTERS,
    STACK_DEPTH,
    WORD_BITS,
    Activation,
    Distribution,
    LossKind,
    LossMode,
    Memory,
    Operand,
    Rule,
)

__all__ = [
    "GRADIENT_BITS",
    "INSTRUCTIONS",
    "LOCAL_INSTRUCTIONS",
    "LOOPS",
    "MASTER_BITS",
    "OPCODE_BITS",
    "OUTER_LOOPS",
    "REDUCTION_LOOPS",
    "REGISTERS",
    "STACK_DEPTH",
    "WORD_BITS",
    "Activation",
    "Distribution",
    "Field",
    "Instruction",
    "InstructionFormat",
    "LossKind",
    "LossMode",
    "Memory",
    "Operand",
    "Rule",
    "decode_program",
    "disassemble",
    "encode_program",
]

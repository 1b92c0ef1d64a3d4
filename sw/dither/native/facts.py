"""What the C++ of the native machine takes from :mod:`dither.arch`, as the text of a header.

Instructions are structures with the fields of their rows in the table, in the same order; numbers
in fields are enumerations; the arithmetic's constants are constants of the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from ..arch import generator, isa, moments
from ..arch.regmap import COUNTERS
from ..arch.tables import SCALAR_INPUT_BITS, SCALAR_VALUE_BITS, ScalarTable
from ..golden import loss, update

__all__ = ["CONFIGURATION", "header"]

CONFIGURATION = (
    "rows",
    "lanes",
    "width",
    "accumulator_width",
    "activation_depth",
    "parameter_depth",
    "weight_depth",
    "program_depth",
    "table_bits",
    "activation_tables",
)
"""What the machine has to know of its engine: attributes of
:class:`~dither.arch.config.EngineConfig`, in the order in which they are handed over."""

_VOCABULARY: tuple[type[IntEnum], ...] = (
    isa.Memory,
    isa.Activation,
    isa.Operand,
    isa.Distribution,
    isa.LossKind,
    isa.LossMode,
    isa.Rule,
    ScalarTable,
)
_CONSTANTS = {
    **{name: getattr(isa, name) for name in ("REGISTERS", "STACK_DEPTH", "MASTER_BITS", "GRADIENT_BITS")},
    **{name: getattr(generator, name) for name in ("ROUNDS", "ROUNDS_PER_INJECTION", "KEY_PARITY", "BLOCK_BITS")},
    "INDEX_ALIGNMENT": generator.INDEX_ALIGNMENT,
    **{name: getattr(loss, name) for name in ("LN2", "LOSS_BITS", "MAX_FRAC", "EXP_FRAC", "EXP_ONE")},
    **{name: getattr(update, name) for name in ("SHIFTED_BITS", "DIRECTION_BITS", "RATE_BITS", "SIGN_UNIT")},
    "RECIPROCAL_BITS": update.RECIPROCAL_BITS,
    **{name: getattr(moments, name) for name in ("MOMENT_FRAC", "ADAM_FRAC", "SQUARE_FRAC", "COARSE_SHIFT")},
    **{name: getattr(moments, name) for name in ("LARGEST_SQUARE", "EPSILON", "ROOT_SHIFT")},
    "SCALAR_INPUT_BITS": SCALAR_INPUT_BITS,
    "SCALAR_VALUE_BITS": SCALAR_VALUE_BITS,
}
_KEYWORDS = {"register": "register_"}
"""Names of fields that C++ has for itself."""


def header() -> str:
    """Returns the text of the header ``facts.h``."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "#pragma once"
    yield "#include <cstdint>"
    yield "namespace facts {"
    for name, value in _CONSTANTS.items():
        yield f"constexpr int64_t {name} = {value};"
    yield f"constexpr int ROTATIONS[] = {{{', '.join(map(str, generator.ROTATIONS))}}};"
    for kind in _VOCABULARY:
        yield _enumeration(kind.__name__, {each.name: int(each) for each in kind})
    yield _enumeration("Opcode", {form.name: form.opcode for form in isa.INSTRUCTIONS})
    yield _enumeration("Counter", {counter.name: number for number, counter in enumerate(COUNTERS)})
    yield f"constexpr int COUNTERS = {len(COUNTERS)};"
    for form in isa.INSTRUCTIONS:
        fields = "".join(f" int32_t {_KEYWORDS.get(field.name, field.name)};" for field in form.fields)
        yield f"struct {form.name.capitalize()} {{{fields} }};"
    yield f"struct Config {{{''.join(f' int32_t {name};' for name in CONFIGURATION)} }};"
    yield "}"


def _enumeration(name: str, members: dict[str, int]) -> str:
    inside = ", ".join(f"{key} = {value}" for key, value in members.items())
    return f"namespace {name.lower()} {{ enum {{ {inside} }}; }}"

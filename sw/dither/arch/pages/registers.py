"""The page of the host's registers and counters."""

from __future__ import annotations

from .. import config as config_module
from ..config import ARITHMETIC, PRESETS, EngineConfig
from ..regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW, REGISTERS
from .markdown import attribute_docs, document, table

__all__ = ["register_page"]

_EXAMPLE = "1x8"


def register_page() -> str:
    """Returns the text of ``docs/registers.md``."""
    example = PRESETS[_EXAMPLE]
    meanings = attribute_docs(config_module)
    parameters = [
        (name, default, meanings[f"EngineConfig.{name}"]) for name, default in EngineConfig().to_dict().items()
    ]
    return document(
        "Registers and counters",
        "`dither.arch.regmap` and `dither.arch.config`",
        "A host sees an engine as registers of 32 bits, each with an address of 16 bits, and two streams ([memories "
        "and streams](memories.md)). What an address gives that cannot be read, or stands in no table here, is not "
        "defined.",
        "## Registers",
        table(["address", "name", "access", "meaning"], [(r.address, r.name, r.access, r.doc) for r in REGISTERS]),
        f"The value of `magic` is {MAGIC:#x}. What a fault is, the [instruction set](isa.md) says.",
        "## Counters",
        "All counters have 32 bits, may only be read, are set to zero when a program starts, and keep their values "
        "behind its end until the next one starts. The sum of all `cycles_` counters is the time from start to end.",
        table(
            ["address", "name", "counts"],
            [(COUNTER_BASE + i, f"`{counter.name}`", counter.doc) for i, counter in enumerate(COUNTERS)],
        ),
        "The places where values are clipped, more exactly:",
        "- `saturations_requantise`: outputs of CONTRACT that its requantiser clips, outputs of activation tables "
        "that are clipped, and outputs of DITHER.\n- `saturations_weight`: working weights that PERTURB clips, those "
        "of padding rows included.\n- `saturations_loss`: losses, differences and derivatives that LOSS clips, in "
        "lanes that are not masked.\n- `saturations_update`: everything that UPDATE clips: shifted gradients, "
        "moments, directions and masters, those of padding rows included. The bound on h² is not counted.",
        "`row_steps` counts the rows that take part in a term of CONTRACT or CORRELATE: all R of them, but only "
        "`last_rows` while o0 is in its last iteration. Terms of a bias are left out.",
        "## Program memory",
        f"Word n of the program memory is written at address {PROGRAM_WINDOW:#x} + n, and cannot be read. Words that "
        "were never written are zero, which is HALT (but see [power-up](memories.md)). Do not write while a program "
        "runs.",
        "## The digest of a configuration",
        "The register `configuration` tells a driver for which engine its program must be made. Its value is made like "
        f"this: write all parameters of the engine, and `arithmetic`, the version of the arithmetic ({ARITHMETIC}), "
        "and, where the weight memory has more words than `parameter_depth`, their number as `weight_depth`, as a JSON "
        "object of integers, names in alphabetical order, one space behind each colon and each comma and no other; "
        "take the SHA-256 of these ASCII characters; its first eight "
        f"hexadecimal digits are the number. For the engine `{_EXAMPLE}` the text is, on one line,",
        f"```\n{example.canonical}\n```",
        f"and the digest `{example.digest()}`. The parameters, in the order of a board's identity "
        "([link](protocol.md)):",
        table(["parameter", "default", "meaning"], parameters),
    )

"""The microprogram of a configuration."""

from __future__ import annotations

from functools import lru_cache

from ...config import EngineConfig
from ...isa import INSTRUCTIONS
from .arithmetic import arithmetic, subroutines
from .assembler import Assembler, MicroProgram
from .layout import STATE_MEMORIES, layout
from .loss import loss
from .machine import START_LOAD
from .probes import write_parameters
from .transfer import write_transfer
from .update import update

__all__ = ["program"]


@lru_cache(maxsize=16)
def program(config: EngineConfig) -> MicroProgram:
    """Words, constants and labels for a compact configuration. Instructions begin as
    :mod:`.machine` says.

    :raises ValueError: if the engine is not compact or its memories are too large.
    """
    areas = layout(config)
    code = Assembler()
    entries = {
        form.opcode: form.name for form in INSTRUCTIONS if form.name in ("LOSS", "PERTURB", "ACCUMULATE", "UPDATE")
    }
    for memory in STATE_MEMORIES:
        for number, name in enumerate(("LOAD", "STORE")):
            entries[START_LOAD + 2 * memory + number] = f"{name} {memory.name}"
    write_transfer(code, areas)
    with code.scope():
        shared = arithmetic(code)
        write_parameters(code, areas, shared)
        subroutines(code, config, shared)
        update(code, config, shared)
        loss(code, config, shared)
    return code.finish(entries)

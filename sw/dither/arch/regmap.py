"""The host's view of an engine, as data: registers, counters, program window.

A register is 32 bits at a 16-bit word address. Addresses from :data:`PROGRAM_WINDOW` on are the
program memory, write only.
"""

from __future__ import annotations

from dataclasses import dataclass

from .isa import INSTRUCTIONS

__all__ = [
    "COUNTERS",
    "COUNTER_BASE",
    "MAGIC",
    "PHASES",
    "PROGRAM_WINDOW",
    "REGISTERS",
    "SATURATIONS",
    "Counter",
    "Register",
]

MAGIC = 0x64746872
"""Register ``magic``: "dthr"."""
PROGRAM_WINDOW = 0x8000


@dataclass(frozen=True, slots=True)
class Register:
    """One host register."""

    name: str
    address: int
    access: str
    doc: str


@dataclass(frozen=True, slots=True)
class Counter:
    """One 32-bit counter, cleared when a program starts."""

    name: str
    doc: str


PHASES: tuple[str, ...] = ("fetch", *dict.fromkeys(form.phase for form in INSTRUCTIONS), "wait")
"""What a cycle is charged to: fetching, the phase of the instruction at work, or waiting for a
stream.
"""

SATURATIONS: tuple[str, ...] = ("requantise", "weight", "loss", "update")
"""Where values are clipped, and clips counted."""

COUNTERS: tuple[Counter, ...] = (
    *(Counter(f"cycles_{phase}", f"cycles of phase {phase}") for phase in PHASES),
    Counter("row_steps", "rows that did a multiply-accumulate, summed over cycles (times L: multiply-accumulates)"),
    *(Counter(f"saturations_{place}", f"values clipped by {place}") for place in SATURATIONS),
)

REGISTERS: tuple[Register, ...] = (
    Register("magic", 0, "read", "a constant that tells an engine from noise"),
    Register("configuration", 1, "read", "digest of the engine's configuration"),
    Register("start", 2, "write", "starts the program at the word address written; ignored while busy"),
    Register("status", 3, "read", "bit 0: busy; bit 1: the last program ended with a fault"),
)
COUNTER_BASE = 16
"""Address of the first counter; the others follow in order."""

"""The host's view of an engine, as data: registers, counters and the program window.

A register is 32 bits at a 16-bit word address. Addresses from :data:`PROGRAM_WINDOW` on are the
program memory, write only.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    "all_cycles",
    "phase_cycles",
    "utilisation",
]

MAGIC = 0x64746872
"""Contents of the register ``magic``: the letters "dthr" in ASCII."""
PROGRAM_WINDOW = 0x8000
"""Host address of the first word of the program memory."""


@dataclass(frozen=True, slots=True)
class Register:
    """One host register of 32 bits."""

    name: str
    """Name by which software knows the register."""
    address: int
    """Word address of the register, 16 bits."""
    access: str
    """What the host may do: ``read`` or ``write``."""
    doc: str
    """Meaning of the register, for people."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of 32 bits, cleared when a program starts."""

    name: str
    """Name by which software knows the counter."""
    doc: str
    """Meaning of the counter, for people."""


PHASES: tuple[str, ...] = ("fetch", *dict.fromkeys(form.phase for form in INSTRUCTIONS), "wait")
"""Names of what a cycle can be charged to.

``fetch``, the phase of the instruction at work, or ``wait`` where it waits for a stream.
"""

SATURATIONS: tuple[str, ...] = ("requantise", "weight", "loss", "update")
"""Names of the places where values are clipped and clips are counted."""

COUNTERS: tuple[Counter, ...] = (
    *(Counter(f"cycles_{phase}", f"cycles charged to {phase}") for phase in PHASES),
    Counter("row_steps", "rows that did a multiply-accumulate, summed over cycles (times L: multiply-accumulates)"),
    *(Counter(f"saturations_{place}", f"values clipped by {place}") for place in SATURATIONS),
)
"""All counters, in the order of their addresses: cycles by phase, work done, clips."""


def all_cycles(counters: Mapping[str, int]) -> int:
    """Returns the cycles of all phases together, those of waiting included where they are
    counted.
    """
    return sum(count for name, count in counters.items() if name.startswith("cycles_"))


def phase_cycles(counters: Mapping[str, int]) -> dict[str, int]:
    """Returns the cycles of each phase but waiting, the host's doing; the longest first."""
    cycles = {phase: counters[f"cycles_{phase}"] for phase in PHASES if phase != "wait"}
    return dict(sorted(cycles.items(), key=lambda item: -item[1]))


def utilisation(counters: Mapping[str, int], rows: int) -> float | None:
    """Returns the share of the cycles, those of waiting left out, in which the multipliers work.

    :param rows: the engine's.
    :returns: None if there are no cycles.
    """
    cycles = sum(phase_cycles(counters).values())
    return counters["row_steps"] / (cycles * rows) if cycles else None


REGISTERS: tuple[Register, ...] = (
    Register("magic", 0, "read", "a constant that tells an engine from noise"),
    Register("configuration", 1, "read", "digest of the engine's configuration"),
    Register("start", 2, "write", "starts the program at the word address written; ignored while busy"),
    Register("status", 3, "read", "bit 0: busy; bit 1: the last program ended with a fault"),
)
"""All host registers but the counters."""
COUNTER_BASE = 16
"""Address of the first counter; the others follow in the order of :data:`COUNTERS`."""

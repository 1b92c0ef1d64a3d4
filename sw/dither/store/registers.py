"""The sample store's registers, as data: addresses on the engine's host port, from 0x4000 on."""

from __future__ import annotations

from enum import IntFlag

from ..arch.regmap import Register
from .layout import MAX_FIELDS, PAGE_ENTRIES, PAGES

__all__ = ["DATA_WINDOW", "DATA_WORDS", "NUMBER_BIT", "REGISTERS", "STORE_BASE", "TABLE_WINDOW", "Status", "address"]

STORE_BASE = 0x4000
"""Host address from which on registers are the store's, up to the program window."""
DATA_WINDOW = 0x4100
"""First address of the data window: a word written anywhere in it goes to the next place."""
DATA_WORDS = 256
"""Number of addresses of the data window, the most words of one WRITE."""
TABLE_WINDOW = 0x4400
"""Address of the first value of the table."""
NUMBER_BIT = 35
"""Bit of a beat that says that its lowest 32 bits are the number of a sample."""


class Status(IntFlag):
    """Bits of the register ``store_status``."""

    READY = 1
    """The memory chip is initialised."""
    WORKING = 2
    """Words are still on their way into the memory, or are being read for ``store_verify``."""
    DAMAGED = 4
    """A sample was damaged or not there, since the session began or ``store_place`` was written."""


REGISTERS: tuple[Register, ...] = (
    Register("store_control", 0x4000, "write", "bit 0: beats with bit 35 are numbers of samples; 0 in a new session"),
    Register("store_place", 0x4001, "write", "number of the 32-bit word that goes to memory next; clears the check"),
    Register("store_verify", 0x4002, "write", "reads so many blocks from block 0 on into the check"),
    Register("store_samples", 0x4003, "write", "number of samples of the data set"),
    *(
        Register(f"store_field{number}", 0x4004 + number, "write", "bits 0-15: words of the field; 16-18: its kind")
        for number in range(MAX_FIELDS)
    ),
    *(
        Register(f"store_background{number}", 0x4010 + number, "write", "value of the field's words that are left out")
        for number in range(MAX_FIELDS)
    ),
    Register("store_status", 0x4008, "read", "bit 0: memory ready; bit 1: working; bit 2: a sample was damaged"),
    Register("store_check", 0x4009, "read", "CRC-32 of the words stored, or read, since the check was cleared"),
    Register("store_damaged", 0x400A, "read", "number of the first sample that was damaged"),
    Register("store_blocks", 0x400B, "read", "number of blocks of 32 bytes that the memory has"),
)
"""All registers of a store but its windows."""
_ADDRESSES = {register.name: register.address for register in REGISTERS}
assert TABLE_WINDOW + PAGES * PAGE_ENTRIES <= 0x8000


def address(name: str) -> int:
    """Returns the address of the register of a name.

    :raises KeyError: if there is none.
    """
    return _ADDRESSES[name]

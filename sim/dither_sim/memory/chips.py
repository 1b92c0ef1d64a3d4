"""Parameters by which the simulated chip of ``chip.sv`` becomes a certain one."""

from __future__ import annotations

from pathlib import Path

from dither.store.chip import INIT_REFRESHES, Chip

__all__ = ["CHIP_MODEL", "chip_parameters"]

CHIP_MODEL = Path(__file__).with_name("chip.sv")
"""SystemVerilog file with the module ``sdram_chip``."""
_TIMES = {
    "ROW_CYCLE": "row_cycle",
    "ROW_ACTIVE": "row_active",
    "ROW_ACTIVE_MOST": "row_active_most",
    "PRECHARGE": "precharge",
    "ACCESS": "activate_to_access",
    "OTHER_BANK": "activate_to_activate",
    "WRITE_RECOVERY": "write_recovery",
    "REFRESH_CYCLE": "refresh_cycle",
    "REFRESH_INTERVAL": "refresh_interval",
    "MODE": "mode",
    "POWER_UP": "power_up",
    "CLOCK_CAS2": "clock_cas2",
    "CLOCK_CAS3": "clock_cas3",
}
_ADDRESS_PINS = 11


def chip_parameters(chip: Chip, clock_hz: int) -> dict[str, int]:
    """Returns the parameters of the module ``sdram_chip`` for a chip and its clock.

    The clock's period is rounded down to a picosecond, so that the check is never too kind.
    """
    times = {parameter: round(getattr(chip, name) * 1000) for parameter, name in _TIMES.items()}
    return {
        "WIDTH": chip.width,
        "BANKS": chip.banks,
        "ROWS": chip.rows,
        "COLUMNS": chip.columns,
        "PINS": max((chip.rows - 1).bit_length(), _ADDRESS_PINS),
        "PERIOD": 10**12 // clock_hz,
        "MOST_OWED": chip.most_owed,
        "FIRST_REFRESHES": INIT_REFRESHES,
        **times,
    }

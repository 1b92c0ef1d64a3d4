"""Primitives of FPGA families, behind components that can be simulated without them.

A component asks :func:`family` in its ``elaborate`` and takes a primitive where there is one.
Simulations see the component's behavioural twin, which has the same latency.
"""

from __future__ import annotations

__all__ = ["ECP5", "ICE40UP", "family"]

ECP5 = "ecp5"
"""Name of the family Lattice ECP5."""
ICE40UP = "ice40up"
"""Name of the family Lattice iCE40 UltraPlus."""

_PREFIXES = {"LFE5U": ECP5, "iCE40UP": ICE40UP}


def family(platform: object) -> str | None:
    """Returns the family of a platform's device, or None if it has no primitives here.

    :param platform: what Amaranth elaborates for; None in simulation.
    """
    device = str(getattr(platform, "device", ""))
    return next((name for prefix, name in _PREFIXES.items() if device.startswith(prefix)), None)

"""Primitives of FPGA families, behind components that simulate without them.

A component asks :func:`family` in its ``elaborate`` and takes a primitive where one exists; its
behavioural twin, with the same latency, is what simulations see.
"""

from __future__ import annotations

__all__ = ["ECP5", "ICE40UP", "family"]

ECP5 = "ecp5"
ICE40UP = "ice40up"

_PREFIXES = {"LFE5U": ECP5, "iCE40UP": ICE40UP}


def family(platform: object) -> str | None:
    """The family that a platform's device belongs to, of those that have primitives here."""
    device = str(getattr(platform, "device", ""))
    return next((name for prefix, name in _PREFIXES.items() if device.startswith(prefix)), None)

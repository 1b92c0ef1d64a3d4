"""FPGA families: their primitives, clock multipliers, and the way to their bitstreams.

A component asks :func:`family` in its ``elaborate`` and takes a primitive where there is one.
Simulations see the component's behavioural twin, which has the same latency. A build asks
:func:`flow`. All that is special to a family is in its module here.
"""

from __future__ import annotations

from . import ecp5, gowin, ice40
from .flow import Flow, device_of

__all__ = ["ECP5", "FLOWS", "GOWIN", "ICE40UP", "Flow", "device_of", "family", "flow"]

ECP5 = "ecp5"
"""Name of the family Lattice ECP5."""
GOWIN = "gowin"
"""Name of the families Gowin GW1N and GW2A, with their relatives that hold a memory chip."""
ICE40UP = "ice40up"
"""Name of the family Lattice iCE40 UltraPlus."""

_PREFIXES = {"LFE5U": ECP5, "GW1N": GOWIN, "GW2A": GOWIN, "iCE40UP": ICE40UP}
FLOWS = (ecp5.FLOW, gowin.FLOW, ice40.FLOW)
"""Ways to bitstreams, one for each family."""


def family(platform: object) -> str | None:
    """Returns the family of a platform's device, or None if it has no primitives here.

    :param platform: what Amaranth elaborates for; None in simulation.
    """
    device = device_of(platform)
    return next((name for prefix, name in _PREFIXES.items() if device.startswith(prefix)), None)


def flow(platform: object) -> Flow | None:
    """Returns the way to a bitstream for a platform, or None if there is none."""
    return next((found for found in FLOWS if isinstance(platform, found.platform)), None)

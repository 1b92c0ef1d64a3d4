"""Train neural networks without back-propagation, on an open FPGA engine, with open tools."""

from __future__ import annotations

from typing import Any

__all__ = ["Network", "from_torch"]


def __getattr__(name: str) -> Any:
    # Names are imported when they are first used: ``import dither`` alone loads nothing heavy.
    if name == "from_torch":
        from .pytorch import from_torch

        return from_torch
    if name == "Network":
        from .nn.network import Network

        return Network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

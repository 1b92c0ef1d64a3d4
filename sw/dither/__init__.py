"""dither: train neural networks without back-propagation, on an open FPGA, with open tools."""

from __future__ import annotations

from typing import Any

__all__ = ["Network", "from_torch"]


def __getattr__(name: str) -> Any:
    # What most users of the package never touch costs nothing until somebody does.
    if name == "from_torch":
        from .pytorch import from_torch

        return from_torch
    if name == "Network":
        from .nn.network import Network

        return Network
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""PyTorch, if it is there."""

from __future__ import annotations

from typing import Any

__all__ = ["require_torch"]


def require_torch() -> Any:
    """The module ``torch``.

    :raises ImportError: saying how to install it.
    """
    try:
        import torch
    except ImportError:
        raise ImportError("PyTorch is not installed; install it with: pip install 'dither[baselines]'") from None
    return torch

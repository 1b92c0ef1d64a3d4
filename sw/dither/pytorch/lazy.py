"""Import of PyTorch, if it is installed."""

from __future__ import annotations

from typing import Any

__all__ = ["require_torch"]


def require_torch() -> Any:
    """Imports and returns the module ``torch``.

    :raises ImportError: if it is not installed; the message says how to install it.
    """
    try:
        import torch
    except ImportError:
        raise ImportError("PyTorch is not installed; install it with: pip install torch") from None
    return torch

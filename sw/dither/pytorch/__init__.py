"""Networks from PyTorch and back.

PyTorch itself is optional, and imported only when something needs it.
"""

from ..nn.trains import Factors, automatic_factors, tensor_train
from .convert import from_torch, to_torch
from .lazy import require_torch

__all__ = ["Factors", "automatic_factors", "from_torch", "require_torch", "tensor_train", "to_torch"]

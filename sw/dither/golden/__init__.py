"""The golden model: the engine's bits and cycles in vectorised NumPy."""

from .cycles import predict
from .machine import GoldenMachine, Range

__all__ = ["GoldenMachine", "Range", "predict"]

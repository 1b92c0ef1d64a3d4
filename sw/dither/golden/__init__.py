"""The golden machine: the engine's bits and cycles, computed by vectorised NumPy."""

from .cycles import predict
from .machine import GoldenMachine, Range

__all__ = ["GoldenMachine", "Range", "predict"]

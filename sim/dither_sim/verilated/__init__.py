"""The engine's RTL as a device: compiled by Verilator, run in process."""

from .device import Pauses, TraceWindow, VerilatedDevice
from .tuned import TunedDevice

__all__ = ["Pauses", "TraceWindow", "TunedDevice", "VerilatedDevice"]

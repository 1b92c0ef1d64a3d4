"""The native machine: the golden machine's bits and counters, computed by compiled C++."""

from .machine import NativeMachine

__all__ = ["NativeMachine"]

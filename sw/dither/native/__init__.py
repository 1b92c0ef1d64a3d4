"""The native machine: the golden machine's bits and counters from compiled C++, several times as fast."""

from .machine import NativeMachine

__all__ = ["NativeMachine"]

"""A whole board, simulated from its UART's pins on, in process or behind a pseudo-terminal."""

from .measure import measure_steps
from .simulation import BoardSimulation, Line, Standing
from .transport import SimulatedTransport
from .virtual import VirtualBoard

__all__ = ["BoardSimulation", "Line", "SimulatedTransport", "Standing", "VirtualBoard", "measure_steps"]

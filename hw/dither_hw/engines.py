"""Engines of both families: makes the gateware that a configuration describes."""

from __future__ import annotations

from amaranth.lib import wiring

from dither.arch.config import EngineConfig
from dither.arch.family import COMPACT, FULL

from .compact.engine import CompactEngine
from .engine import Engine

__all__ = ["make_engine"]

_FAMILIES = {FULL: Engine, COMPACT: CompactEngine}


def make_engine(config: EngineConfig) -> wiring.Component:
    """Makes the engine that a configuration describes; all engines have the same ports.

    Ports: :class:`~dither_hw.base.interfaces.EnginePorts`.

    :raises ValueError: if the configuration is beyond what gateware can be.
    """
    engine: wiring.Component = _FAMILIES[config.family](config)
    return engine

"""All measurements, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from ..arch.device import DeviceError
from .contractions import golden, rtl, torch
from .training import steps

__all__ = ["MEASUREMENTS", "measure"]

MEASUREMENTS: dict[str, Callable[[], dict[str, Any]]] = {"rtl": rtl, "golden": golden, "steps": steps, "torch": torch}
"""Functions that measure, by name, in the order in which they run."""


def measure(on_start: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """Runs all measurements, each in a process of its own, and returns them with their ratios.

    :param on_start: called with the name of every measurement when it begins.
    :returns: the measurements' values and ``golden_vs_torch`` (None without PyTorch),
        ``golden_vs_torch_best``, ``cores``, and ``memory_mib``, the peak memory by measurement.
    :raises DeviceError: if one of them cannot run here.
    """
    values: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    memory: dict[str, float] = {}
    for name in MEASUREMENTS:
        on_start(name)
        done = subprocess.run([sys.executable, "-m", "dither.bench", name], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise DeviceError(f"measurement {name!r} failed: {lines[-1] if lines else done.returncode}")
        found = json.loads(done.stdout)
        memory[name] = found.pop("memory_mib")
        values |= found
    for key, speed in (("golden_vs_torch", "torch_mac_per_s"), ("golden_vs_torch_best", "torch_best_mac_per_s")):
        values[key] = values["golden_mac_per_s"] / values[speed] if values[speed] else None
    return values | {"memory_mib": memory}

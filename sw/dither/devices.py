"""Devices by name or by line, built when asked for.

Below the command line this is the only module that reaches the simulator, and it imports the
simulator only when a device needs it: the golden machine works without.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arch.config import EngineConfig
from .arch.device import Device, DeviceError
from .link.ports import AUTO, is_line, open_board
from .tools import toolchain
from .tools.files import AnyPath

__all__ = [
    "DEVICES",
    "PORTS",
    "SOFTWARE",
    "Status",
    "Waves",
    "board_engine",
    "build_device",
    "is_line",
    "require_device",
    "tools",
]

PORTS = f"a serial port such as /dev/ttyUSB0 (or {AUTO})"
"""What else than a name is a device, for people."""


@dataclass(frozen=True, slots=True)
class Waves:
    """Waveforms to write: the file, and the commands of the device that they show."""

    path: AnyPath
    """File to write; its suffix decides the format."""
    first: int
    """First command of the device to show, counted from 0."""
    last: int
    """Last command of the device to show, counted from 0."""


Status = Callable[[str], None]
"""Function that is told what is going on before it takes long."""


def _golden(config: EngineConfig, waves: Waves | None, status: Status) -> Device:
    _refuse_waves(waves)
    try:
        return _native(config, waves, status)
    except DeviceError as error:  # no compiler, or one that this code is too much for
        status(f"{error}: going on in NumPy")
        return _numpy(config, waves, status)


def _numpy(config: EngineConfig, waves: Waves | None, status: Status) -> Device:
    from .golden import GoldenMachine

    _refuse_waves(waves)
    machine: Device = GoldenMachine(config)
    return machine


def _native(config: EngineConfig, waves: Waves | None, status: Status) -> Device:
    from .native import NativeMachine

    _refuse_waves(waves)
    try:
        machine: Device = NativeMachine(config, threads=_threads(), on_status=status)
    except DeviceError as error:
        raise DeviceError(f"{error}; --device numpy needs no compiler") from None
    return machine


def _refuse_waves(waves: Waves | None, name: str = "the golden machine") -> None:
    if waves is not None:
        raise DeviceError(f"{name} has no waveforms; use --device rtl with --waves")


def _threads() -> int:
    """How many threads a machine may use: what OMP_NUM_THREADS says, or one for each core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rtl(config: EngineConfig, waves: Waves | None, status: Status) -> Device:
    module = _simulator("verilated")
    try:
        trace = module.TraceWindow(path=waves.path, first=waves.first, last=waves.last) if waves else None
    except ValueError as error:
        raise DeviceError(str(error)) from None
    device: Device = module.VerilatedDevice(config, trace=trace, on_status=status)
    return device


def _tuned(config: EngineConfig, waves: Waves | None, status: Status) -> Device:
    _refuse_waves(waves, "rtl-tuned")
    device: Device = _simulator("verilated").TunedDevice(config, on_status=status)
    return device


DEVICES: dict[str, Callable[[EngineConfig, Waves | None, Status], Device]] = {
    "golden": _golden,
    "native": _native,
    "numpy": _numpy,
    "rtl": _rtl,
    "rtl-tuned": _tuned,
}
"""Functions that make the devices on offer, by name; lines to boards come besides.

``golden`` is the golden machine as this computer can have it: ``native``, compiled, where there is
a C++ compiler, otherwise ``numpy``. ``rtl-tuned`` is ``rtl`` compiled a second time by what its
first steps showed: for runs of hours.
"""
SOFTWARE = ("golden", "native", "numpy")
"""Devices whose lanes and memories cost nothing: they may have more than the engine at hand."""


def board_engine(name: str, wanted: EngineConfig | None = None) -> EngineConfig:
    """Asks the board behind a line for its engine and returns the configuration.

    :param wanted: the engine that the board must have; any if None.
    :raises DeviceError: if there is no board, none that this version of dither understands, or one
        with another engine than wanted.
    """
    device = open_board(name, wanted)
    device.close()
    return device.config


def require_device(name: str, waves: Waves | None = None) -> None:
    """Checks that a machine can be built, before any work is done for it.

    :raises DeviceError: if its name is unknown, its compilers are missing, or it has no waveforms
        or nowhere to write them.
    """
    if not is_line(name) and name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}; known: {', '.join(DEVICES)}, or {PORTS}")
    if waves is not None:
        if name != "rtl":
            _refuse_waves(waves, name)
        if not (folder := Path(waves.path).parent).is_dir():
            raise DeviceError(f"cannot write waveforms to {waves.path}: there is no folder {folder}")
    if name in ("rtl", "rtl-tuned", "native"):
        toolchain.compiler()
    if name in ("rtl", "rtl-tuned"):
        toolchain.make()
        toolchain.simulator_version()


def build_device(
    name: str, config: EngineConfig, *, waves: Waves | None = None, status: Status = lambda text: None
) -> Device:
    """Returns the named machine with this configuration, ready to run programs.

    :param waves: waveforms to write, if the machine has any.
    :param status: called with what is going on before it takes long.
    :raises DeviceError: if the name is unknown, the machine's tools are missing, it has no
        waveforms to write, or it is a board with another engine.
    """
    if is_line(name):
        _refuse_waves(waves, "a board")
        return open_board(name, config)
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}; known: {', '.join(DEVICES)}, or {PORTS}")
    return DEVICES[name](config, waves, status)


def tools() -> list[tuple[str, str, bool]]:
    """Returns the tools of the simulated gateware.

    :returns: for each: its name, what was found or what to do, and whether it is usable.
    """
    finders: dict[str, Callable[[], str]] = {
        "Yosys": toolchain.yosys_version,
        "simulator": toolchain.simulator_version,
        "C++ compiler": lambda: f"{toolchain.compiler()} ({toolchain.compiler_version()})",
        "make": toolchain.make,
    }
    found = []
    for name, find in finders.items():
        try:
            found.append((name, str(find()), True))
        except DeviceError as error:
            found.append((name, str(error), False))
    return found


def _simulator(name: str) -> Any:
    try:
        return importlib.import_module(f"dither_sim.{name}")
    except ImportError as error:
        raise DeviceError(f"the simulated gateware is not installed ({error}); use --device golden") from None

"""Simulated RTL that is compiled a second time, by what it was seen to do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError, RunResult
from dither.arch.streams import Expect, Segment
from dither.tools import toolchain

from .build import Stage
from .device import VerilatedDevice

__all__ = ["TunedDevice"]

OBSERVED = 200_000
"""Number of clock cycles that are observed before the model is compiled again."""


class TunedDevice:
    """Simulated RTL for long runs: the same bits, somewhat faster, after minutes of compilation.

    The first programs run in a model that counts which ways its code takes, at a fraction of the
    usual speed. Then the model is compiled by these counts, once for an engine, and the programs
    are run again in it, so that its memories hold what they must; from then on nothing is different
    from :class:`~dither_sim.verilated.device.VerilatedDevice`.

    :param config: configuration of the engine.
    :param on_status: called with what is going on before it takes long.
    :raises DeviceError: if the engine cannot be compiled, or not by Verilator and GCC.
    """

    name = "rtl-tuned"

    def __init__(self, config: EngineConfig, *, on_status: Callable[[str], None] = lambda text: None) -> None:
        if toolchain.simulator() != toolchain.VERILATOR or "clang" in toolchain.compiler_version().lower():
            raise DeviceError("rtl-tuned needs Verilator and GCC; use --device rtl")
        self.config, self._on_status = config, on_status
        self._ran: list[tuple[str, tuple[Any, ...]]] | None = None
        try:
            self._device = VerilatedDevice(config, on_status=on_status, stage=Stage.TUNED)
        except LookupError:
            self._device = VerilatedDevice(config, on_status=on_status, stage=Stage.OBSERVING)
            self._ran = []

    @property
    def cycles(self) -> int:
        """Number of clock cycles simulated since the device was opened."""
        return self._device.cycles

    def write_program(self, words: Sequence[int]) -> None:
        """Writes instruction words, see :meth:`dither.arch.device.Device.write_program`."""
        self._device.write_program(words)
        self._remember("write_program", list(words))

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program, see :meth:`dither.arch.device.Device.run`."""
        result = self._device.run(entry, inputs, expects)
        self._remember("run", entry, inputs, expects)
        if self._ran is not None and self.cycles >= OBSERVED:
            self._tune(self._ran)
            self._ran = None
        return result

    def _remember(self, method: str, *arguments: Any) -> None:
        if self._ran is not None:
            self._ran.append((method, arguments))

    def _tune(self, ran: list[tuple[str, tuple[Any, ...]]]) -> None:
        with tempfile.TemporaryDirectory(prefix="dither-") as folder:
            self._device.write_counts(Path(folder))
            self._device.close()
            self._device = VerilatedDevice(
                self.config, on_status=self._on_status, stage=Stage.TUNED, counts=Path(folder)
            )
        for method, arguments in ran:
            getattr(self._device, method)(*arguments)

    def close(self) -> None:
        """Ends the simulation; further calls do nothing."""
        if self._ran is not None:  # what was counted is of no use; left alone it would be written at the end
            with tempfile.TemporaryDirectory(prefix="dither-") as folder:
                self._device.write_counts(Path(folder))
            self._ran = None
        self._device.close()

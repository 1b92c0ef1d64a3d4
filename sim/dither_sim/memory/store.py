"""A sample store with its chip, verilated: from registers and beats to beats."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.store.chip import Chip, Rule
from dither.store.image import StoreWrites, number_beats, store_writes
from dither.store.layout import StoreImage
from dither.store.registers import DATA_WINDOW, DATA_WORDS, Status, address
from dither.tools.compiled import Signature, load_library
from dither_hw.store.store import SampleStore
from dither_hw.store.unpacker import units_of

from ..verilated.build import Harness, build_library
from ..verilog import emit
from .chips import CHIP_MODEL, chip_parameters

__all__ = ["StoreSimulation", "StoreStanding"]

_HERE = Path(__file__)
_PAUSE = 70
"""Cycles between two words that the link writes, as it needs four slots of 17 cycles for each."""
_PATIENCE = 1 << 22


class StoreStanding(NamedTuple):
    """What a simulated store has done, and its present state."""

    cycles: int
    """Number of clock cycles since it was switched on."""
    holds: bool
    """Whether a group of samples is under way."""
    damaged: bool
    """Whether a sample was damaged, or not there."""
    broken: frozenset[Rule]
    """Rules of the chip that were broken."""


class StoreSimulation:
    """A sample store with its memory chip, simulated exactly to the clock cycle; a context manager.

    :param config: the engine that it is for.
    :param chip: the chip.
    :param clock_hz: frequency of the clock in Hz.
    :param on_status: called with what is going on before it takes long.
    :raises DeviceError: if it cannot be compiled.
    """

    def __init__(
        self,
        config: EngineConfig,
        chip: Chip,
        clock_hz: int,
        *,
        component: Any = None,
        on_status: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.config, self.chip, self.units = config, chip, units_of(config)
        made = SampleStore(config, chip, clock_hz) if component is None else component
        verilog = CHIP_MODEL.read_text() + emit(made, "store")
        harness = Harness(
            design="store",
            bench=_HERE.with_name("store_bench.sv"),
            code=_HERE.with_name("store_harness.cpp"),
            parameters={**chip_parameters(chip, clock_hz), "BEAT": config.beat_width},
        )
        self._library = _load(build_library(verilog, harness, None, on_status))
        self._handle = self._library.dither_store_create()
        while not self.read("store_status") & Status.READY:
            self.idle(1000)

    def idle(self, cycles: int) -> None:
        """Lets so many cycles pass."""
        self._library.dither_store_idle(self._handle, cycles)

    def reset(self) -> None:
        """Gives the store a reset, as a new session does."""
        self._library.dither_store_reset(self._handle)

    def read(self, name: str) -> int:
        """Returns what a register holds."""
        return int(self._library.dither_store_read(self._handle, address(name)))

    def write(self, place: int, values: Sequence[int], pause: int = 0) -> None:
        """Writes values to registers from an address on, as WRITE does: 256 at most at a time."""
        words = np.array(values, np.uint32)
        self._library.dither_store_write(self._handle, place, words, len(words), DATA_WORDS, pause)

    def load(self, image: StoreImage, pause: int = _PAUSE) -> int:
        """Writes a data set and its layout as a driver does.

        :param pause: cycles between two words.
        :returns: the check that the store computed of what came.
        """
        writes: StoreWrites = store_writes(image)
        for place, values in writes:
            for start in range(0, len(values), DATA_WORDS):
                at = place if place == DATA_WINDOW else place + start
                self.write(at, values[start : start + DATA_WORDS], pause)
        self.wait()
        return self.read("store_check")

    def verify(self, blocks: int) -> int:
        """Lets the store read its memory from block 0 on, and returns the check of that."""
        self.write(address("store_verify"), [blocks])
        self.wait()
        return self.read("store_check")

    def wait(self) -> None:
        """Waits until the store has put away, or read, all it was given to."""
        self.idle(4)
        while self.read("store_status") & Status.WORKING:
            self.idle(64)

    def upset(self, byte: int, bits: int) -> None:
        """Changes bits of a byte in the chip, as nature might."""
        size = self.chip.width // 8
        self._library.dither_store_upset(self._handle, byte // size, bits << 8 * (byte % size))

    def run(
        self, beats: NDArray[np.uint32], expected: int, pattern: int = 0, limit: int = _PATIENCE
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """Gives beats and takes those that come.

        :param beats: shape (beats, 32-bit words).
        :param expected: number of beats to take.
        :param pattern: 0: one is taken in every cycle; 1: in every other one; 2: at random.
        :param limit: cycles after which it comes back with fewer.
        :returns: beats, and the cycles in which they were taken.
        """
        beats = np.ascontiguousarray(beats, np.uint32)
        found, at = np.zeros((expected, beats.shape[1]), np.uint32), np.zeros(expected, np.uint64)
        count = self._library.dither_store_run(
            self._handle, beats, len(beats), beats.shape[1], found, at, expected, limit, pattern
        )
        return found[:count], at[:count]

    def numbers(self, samples: Sequence[int]) -> NDArray[np.uint32]:
        """Returns the beats that name samples, shape (beats, 32-bit words)."""
        return number_beats(self.config, samples)

    @property
    def standing(self) -> StoreStanding:
        """What the store has done, and its present state."""
        numbers = np.zeros(4, np.uint64)
        self._library.dither_store_progress(self._handle, numbers)
        cycles, holds, damaged, broken = numbers.tolist()
        return StoreStanding(cycles, bool(holds), bool(damaged), frozenset(rule for rule in Rule if broken >> rule & 1))

    def close(self) -> None:
        """Ends the simulation; further calls do nothing."""
        if self._handle is not None:
            self._library.dither_store_destroy(self._handle)
            self._handle = None

    def __enter__(self) -> StoreSimulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _load(path: Path) -> ctypes.CDLL:
    handle, number, word, flag = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int
    words, numbers = (np.ctypeslib.ndpointer(kind, flags="C_CONTIGUOUS") for kind in (np.uint32, np.uint64))
    signatures: dict[str, Signature] = {
        "create": (handle, []),
        "destroy": (None, [handle]),
        "idle": (None, [handle, number]),
        "reset": (None, [handle]),
        "write": (None, [handle, word, words, number, word, word]),
        "read": (word, [handle, word]),
        "upset": (None, [handle, word, word]),
        "run": (number, [handle, words, number, word, words, numbers, number, number, flag]),
        "progress": (None, [handle, numbers]),
    }
    return load_library(path, "dither_store", signatures, "simulator")

"""A controller with its chip, verilated: asks for many bursts and compares what comes back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dither.store.chip import Chip, Rule
from dither.tools.compiled import Signature, load_library
from dither_hw.sdram.controller import SdramController, address_bits

from ..verilated.build import Harness, build_library
from ..verilog import emit
from .chips import CHIP_MODEL, chip_parameters

__all__ = ["Account", "MemorySimulation"]

_HERE = Path(__file__)


class Account(NamedTuple):
    """What a simulated memory has done since it was switched on."""

    cycles: int
    """Number of clock cycles."""
    words: int
    """Number of words read and written."""
    wrong: int
    """Number of words read that were not what had been written there, or that nobody asked for."""
    broken: frozenset[Rule]
    """Rules of the chip that were broken."""


class MemorySimulation:
    """A chip and its controller, simulated exactly to the clock cycle; a context manager.

    :param chip: the chip.
    :param clock_hz: frequency of the clock in Hz.
    :param controller: the controller, with the ports of :class:`SdramController` and perhaps an
        input ``mutation``; the usual one if None.
    :param mutation: value of that input.
    :param on_status: called with what is going on before it takes long.
    :raises DeviceError: if it cannot be compiled.
    """

    def __init__(
        self,
        chip: Chip,
        clock_hz: int,
        *,
        controller: Any = None,
        mutation: int = 0,
        on_status: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.chip, self.clock_hz, self._mutation = chip, clock_hz, mutation
        made = SdramController(chip, clock_hz) if controller is None else controller
        verilog = CHIP_MODEL.read_text() + emit(made, "controller")
        parameters = {**chip_parameters(chip, clock_hz), "ADDRESS": address_bits(chip)}
        harness = Harness(
            design="controller",
            bench=_HERE.with_name("bench.sv"),
            code=_HERE.with_name("harness.cpp"),
            parameters=parameters,
        )
        self._library = _load(build_library(verilog, harness, None, on_status))
        self._handle: int | None = None
        self.restart(mutation)

    def restart(self, mutation: int | None = None) -> None:
        """Switches the memory off and on.

        :param mutation: another value of the controller's input ``mutation``.
        """
        self.close()
        self._mutation = self._mutation if mutation is None else mutation
        self._handle = self._library.dither_memory_create((1 << self.chip.width) - 1, self._mutation)

    def random(
        self, count: int, *, most: int = 1, seed: int = 1, hesitant: bool = False, within: int | None = None
    ) -> bool:
        """Reads and writes bursts at random places, and compares what is read.

        :param count: number of bursts; a quarter are writes.
        :param most: words of the longest burst, a power of two.
        :param seed: of the places, lengths and words.
        :param within: number of words from address 0 on that the places are among; all if None.
        :param hesitant: whether pauses come between bursts, and between words to be written.
        :returns: whether the controller did all of it, instead of hanging.
        """
        blocks = (within or self.chip.words) // most
        return bool(self._library.dither_memory_random(self._handle, count, seed, blocks, most, hesitant))

    def sequence(self, count: int, *, most: int, write: bool) -> bool:
        """Reads or writes ``count`` bursts of ``most`` words one behind the other.

        :returns: whether the controller did all of it, instead of hanging.
        """
        return bool(self._library.dither_memory_sequence(self._handle, count, most, write))

    def idle(self, cycles: int) -> None:
        """Asks for nothing during so many cycles."""
        self._library.dither_memory_idle(self._handle, cycles)

    def upset(self, address: int, bits: int) -> None:
        """Changes bits of a word in the chip, as nature might."""
        self._library.dither_memory_upset(self._handle, address, bits)

    @property
    def account(self) -> Account:
        """What the memory has done so far."""
        numbers = np.zeros(4, np.uint64)
        self._library.dither_memory_progress(self._handle, numbers)
        cycles, words, wrong, broken = numbers.tolist()
        return Account(cycles, words, wrong, frozenset(rule for rule in Rule if broken >> rule & 1))

    def close(self) -> None:
        """Ends the simulation; further calls do nothing."""
        if self._handle is not None:
            self._library.dither_memory_destroy(self._handle)
            self._handle = None

    def __enter__(self) -> MemorySimulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _load(path: Path) -> ctypes.CDLL:
    handle, number, word, flag = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int
    numbers = np.ctypeslib.ndpointer(np.uint64, flags="C_CONTIGUOUS")
    signatures: dict[str, Signature] = {
        "create": (handle, [word, word]),
        "destroy": (None, [handle]),
        "random": (flag, [handle, number, word, word, word, flag]),
        "sequence": (flag, [handle, number, word, flag]),
        "idle": (None, [handle, number]),
        "upset": (None, [handle, word, word]),
        "progress": (None, [handle, numbers]),
    }
    return load_library(path, "dither_memory", signatures, "simulator")

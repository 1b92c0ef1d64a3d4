"""A board's core, verilated: bytes in, bytes out, and as many clock cycles in between as that
takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.tools.files import AnyPath

from ..netlist import emit_netlist
from ..verilated.build import TRACE_FORMATS, Harness, build_library
from ..verilog import emit, emit_part

__all__ = ["BoardSimulation", "Line", "Standing"]

_HARNESS = Harness(
    design="board", bench=Path(__file__).with_name("bench.sv"), code=Path(__file__).with_name("harness.cpp")
)
_MODULE, _CLASS = "dither_hw.board.core", "BoardCore"
_MIN_CYCLES_PER_BIT = 4
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the bridge at the host's end of the line is like."""

    ppm: int = 0
    """By how many millionths its clock is fast."""
    gaps: int = 0
    """Of 256 bytes, behind how many it pauses, for up to four bits."""
    seed: int = 1
    """Of the pauses, and of where its edges fall between the board's clock edges."""

    def __post_init__(self) -> None:
        if not abs(self.ppm) <= 100_000:
            raise ValueError(f"a bridge's clock is within 100000 ppm, not {self.ppm}")
        if not 0 <= self.gaps <= 256:
            raise ValueError(f"gaps must be from 0 to 256 of 256, not {self.gaps}")


class Standing(NamedTuple):
    """What a simulated board has done so far, and what it does."""

    cycles: int
    bytes_in: int
    """Bytes that went to the board, or are on their way."""
    bytes_out: int
    broken: int
    """Bytes from the board that were none: without start or stop bit."""
    waiting: int
    """Bytes that the line has not taken yet."""
    arrived: int
    """Bytes from the board that nobody has taken yet."""
    busy: bool
    error: bool
    session: bool
    """Whether a driver has opened one."""


class BoardSimulation:
    """A board from the UART's pins on, exact to the clock cycle.

    :param config: the engine.
    :param clock_hz: the engine's clock.
    :param baud: of the line.
    :param board: the name that the board tells.
    :param build_id: the number that the board tells.
    :param input_bytes: of the input buffer.
    :param output_bytes: of the output buffer.
    :param core: the component to simulate; ``dither_hw.board.core.BoardCore`` with all of these if
        not given.
    :param netlist: simulate what synthesis makes of it, see :mod:`dither_sim.netlist`, not its
        description.
    :param synthesis: the board's own options of the synthesis.
    :param line: the host's end of the line.
    :param waves: a file for waveforms, ``.vcd`` or ``.fst``, from switching on to :meth:`close`.
    :param on_status: told what is going on before it takes long.
    :raises DeviceError: if the board cannot be compiled.
    :raises ValueError: if the baud rate is too high for the clock, or the waveforms' format is
        unknown.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        clock_hz: int,
        baud: int,
        board: str = "virtual",
        build_id: int = 0,
        input_bytes: int = 8192,
        output_bytes: int = 1024,
        core: Any = None,
        netlist: bool = False,
        synthesis: Sequence[str] = (),
        line: Line | None = None,
        waves: AnyPath | None = None,
        on_status: Callable[[str], None] = lambda text: None,
    ) -> None:
        if not _MIN_CYCLES_PER_BIT * baud <= clock_hz:
            raise ValueError(f"{baud} baud needs a clock of {_MIN_CYCLES_PER_BIT * baud} Hz or more, not {clock_hz}")
        waves = None if waves is None else Path(waves)
        if waves is not None and waves.suffix not in TRACE_FORMATS:
            raise ValueError(f"waveforms are written as {' or '.join(TRACE_FORMATS)}, not {waves.name!r}")
        self.config, self.clock_hz, self.baud = config, clock_hz, baud
        self._line, self._waves = line or Line(), waves
        self._handle: int | None = None
        arguments: dict[str, Any] = {
            "clock_hz": clock_hz,
            "baud": baud,
            "board": board,
            "build_id": build_id,
            "input_bytes": input_bytes,
            "output_bytes": output_bytes,
        }
        on_status("elaborating the board")
        if netlist:
            made = _core(config, arguments) if core is None else core
            verilog = emit_netlist(made, "board", options=synthesis)
        elif core is not None:
            verilog = emit(core, "board")
        else:
            key = {"config": config.to_dict(), **arguments}
            verilog = emit_part(_MODULE, _CLASS, "board", key, config=config, **arguments)
        library = build_library(verilog, _HARNESS, None if waves is None else waves.suffix, on_status)
        self._library = _load(library)
        self._create()

    def _create(self) -> None:
        bit = (self.clock_hz << 32) * 1_000_000 // (self.baud * (1_000_000 + self._line.ppm))
        waves = b"" if self._waves is None else str(self._waves).encode()
        self._handle = self._library.dither_board_create(bit, self._line.gaps, self._line.seed, waves)

    def restart(self) -> None:
        """Switches the board off and on: all its memories lose what they hold."""
        self.close()
        self._create()

    def _open_handle(self) -> int:
        if self._handle is None:
            raise DeviceError("the virtual board is switched off")
        return self._handle

    def send(self, data: bytes) -> None:
        """Puts bytes on the line to the board, behind those that wait there."""
        self._library.dither_board_send(self._open_handle(), data, len(data))

    def run(self, cycles: int, *, until_silent: bool = False) -> bool:
        """Goes on for so many clock cycles, or until nothing moves: nothing is on the line, the
        engine is idle, and has been for a while.

        :param until_silent: come back as soon as the board has said something and is silent again.
        :returns: whether anything moves.
        """
        return bool(self._library.dither_board_run(self._open_handle(), cycles, until_silent))

    def receive(self) -> bytes:
        """Takes what the board has sent."""
        taken = b""
        buffer = ctypes.create_string_buffer(_CHUNK)
        while count := self._library.dither_board_receive(self._open_handle(), buffer, _CHUNK):
            taken += buffer.raw[:count]
        return taken

    @property
    def standing(self) -> Standing:
        """What has happened so far."""
        numbers = np.zeros(len(Standing._fields), np.uint64)
        self._library.dither_board_progress(self._open_handle(), numbers)
        *counts, busy, error, session = numbers.tolist()
        return Standing._make([*counts, bool(busy), bool(error), bool(session)])

    @property
    def cycles(self) -> int:
        """Clock cycles since the board was switched on."""
        return self.standing.cycles

    @property
    def seconds(self) -> float:
        """Simulated time since the board was switched on."""
        return self.cycles / self.clock_hz

    def close(self) -> None:
        """Ends the simulation; further calls do nothing."""
        if self._handle is not None:
            self._library.dither_board_destroy(self._handle)
            self._handle = None

    def __enter__(self) -> BoardSimulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _core(config: EngineConfig, arguments: dict[str, Any]) -> Any:
    from dither_hw.board.core import BoardCore

    return BoardCore(config, **arguments)


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, number, word = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32
    text, buffer = ctypes.c_char_p, ctypes.c_char_p
    numbers = np.ctypeslib.ndpointer(np.uint64, flags="C_CONTIGUOUS")
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "create": (handle, [number, word, word, text]),
        "destroy": (None, [handle]),
        "send": (None, [handle, text, number]),
        "run": (ctypes.c_int, [handle, number, ctypes.c_int]),
        "receive": (number, [handle, buffer, number]),
        "progress": (None, [handle, numbers]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"dither_board_{name}")
        function.restype, function.argtypes = result, arguments
    return library

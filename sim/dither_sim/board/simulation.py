"""A board's core, verilated: takes bytes, clocks as many cycles as they need, and gives bytes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.store.chip import Chip, Rule
from dither.tools.cache import digest
from dither.tools.compiled import Signature, load_library
from dither.tools.files import AnyPath

from ..fabrics import ICE40UP5K, Fabric
from ..memory.chips import CHIP_MODEL, chip_parameters
from ..netlist import emit_netlist
from ..verilated.build import TRACE_FORMATS, Harness, Stage, build_library, write_counts
from ..verilog import emit, emit_part

__all__ = ["BoardSimulation", "Line", "Standing"]

_HARNESS = Harness(
    design="board", bench=Path(__file__).with_name("bench.sv"), code=Path(__file__).with_name("harness.cpp")
)
_MEMORY_HARNESS = Harness(
    design="board",
    bench=Path(__file__).with_name("bench_memory.sv"),
    code=Path(__file__).with_name("harness.cpp"),
    macros={"DITHER_MEMORY": 1},
)
_MODULE, _CLASS = "dither_hw.board.core", "BoardCore"
_MIN_CYCLES_PER_BIT = 4
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Properties of the bridge at the host's end of the line."""

    ppm: int = 0
    """Millionths by which the bridge's clock is fast."""
    gaps: int = 0
    """Number of bytes out of 256 behind which the bridge pauses, for up to four bits."""
    seed: int = 1
    """Seed of the pauses, and of where edges fall between the board's clock edges."""

    def __post_init__(self) -> None:
        if not abs(self.ppm) <= 100_000:
            raise ValueError(f"a bridge's clock is within 100000 ppm, not {self.ppm}")
        if not 0 <= self.gaps <= 256:
            raise ValueError(f"gaps must be from 0 to 256 of 256, not {self.gaps}")


class Standing(NamedTuple):
    """What a simulated board has done so far, and its present state."""

    cycles: int
    """Number of clock cycles since the board was switched on."""
    bytes_in: int
    """Number of bytes that went to the board, or are on their way."""
    bytes_out: int
    """Number of bytes that came from the board."""
    broken: int
    """Number of bytes from the board without a proper start or stop bit."""
    waiting: int
    """Number of bytes that the line has not taken yet."""
    arrived: int
    """Number of bytes from the board that have not been taken yet."""
    busy: bool
    error: bool
    session: bool
    """Whether a driver has opened a session."""


class BoardSimulation:
    """A board from the UART's pins on, simulated exactly to the clock cycle.

    :param config: configuration of the engine.
    :param clock_hz: frequency of the engine's clock in Hz.
    :param baud: baud rate of the line in bits a second.
    :param board: the name that the board tells.
    :param build_id: the number that the board tells.
    :param input_bytes: size of the input buffer.
    :param output_bytes: size of the output buffer.
    :param memory: the memory chip beside the board, for a sample store; None without.
    :param core: the component to simulate; ``dither_hw.board.core.BoardCore`` with all of these if
        not given.
    :param verilog: text of a module ``board`` with the core's ports, in place of the core; see
        :mod:`dither_sim.placed`.
    :param netlist: whether to simulate what synthesis makes of it, see :mod:`dither_sim.netlist`,
        not its description.
    :param fabric: the FPGA of the netlist.
    :param synthesis: the board's own options of the synthesis.
    :param line: the host's end of the line.
    :param waves: a file for waveforms, ``.vcd`` or ``.fst``, from switching on to :meth:`close`.
    :param on_status: called with what is going on before it takes long.
    :param stage: how the model is compiled, see :func:`dither_sim.verilated.build.build_library`.
    :param counts: what a tuned model is compiled by.
    :raises DeviceError: if the board cannot be compiled.
    :raises LookupError: if there are no counts for a tuned model, and no such model from before.
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
        memory: Chip | None = None,
        core: Any = None,
        verilog: str | None = None,
        netlist: bool = False,
        fabric: Fabric = ICE40UP5K,
        synthesis: Sequence[str] = (),
        line: Line | None = None,
        waves: AnyPath | None = None,
        on_status: Callable[[str], None] = lambda text: None,
        stage: Stage = Stage.PLAIN,
        counts: Path | None = None,
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
        harness, self.memory = _HARNESS, memory
        if memory is not None:
            arguments["memory"] = memory
            harness = replace(_MEMORY_HARNESS, parameters=chip_parameters(memory, clock_hz))
        on_status("elaborating the board")
        if verilog is not None:
            pass
        elif netlist:
            made = _core(config, arguments) if core is None else core
            verilog = emit_netlist(made, "board", fabric, options=synthesis)
        elif core is not None:
            verilog = emit(core, "board")
        else:
            key = {"config": config.to_dict(), **arguments, **({} if memory is None else {"memory": asdict(memory)})}
            verilog = emit_part(_MODULE, _CLASS, "board", key, on_status, config=config, **arguments)
        if memory is not None:
            verilog = CHIP_MODEL.read_text() + verilog
        self.gateware = digest(verilog)
        """Names what is simulated: the digest of the Verilog text of board and memory chip."""
        trace = None if waves is None else waves.suffix
        library = build_library(verilog, harness, trace, on_status, stage, counts)
        self._library = _load(library, memory is not None)
        self._create()

    def _create(self) -> None:
        bit = (self.clock_hz << 32) * 1_000_000 // (self.baud * (1_000_000 + self._line.ppm))
        waves = b"" if self._waves is None else str(self._waves).encode()
        self._handle = self._library.dither_board_create(bit, self._line.gaps, self._line.seed, waves)

    def restart(self) -> None:
        """Switches the board off and on, so that all its memories lose what they hold."""
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
        """Clocks the board for so many cycles, or until nothing moves any more.

        Nothing moves when nothing is on the line and the engine has been idle for a while.

        :param until_silent: come back as soon as the board has said something and is silent again.
        :returns: whether anything moves.
        """
        return bool(self._library.dither_board_run(self._open_handle(), cycles, until_silent))

    def receive(self) -> bytes:
        """Takes and returns the bytes that the board has sent."""
        taken = b""
        buffer = ctypes.create_string_buffer(_CHUNK)
        while count := self._library.dither_board_receive(self._open_handle(), buffer, _CHUNK):
            taken += buffer.raw[:count]
        return taken

    @property
    def standing(self) -> Standing:
        """What the board has done so far, and its present state."""
        numbers = np.zeros(len(Standing._fields), np.uint64)
        self._library.dither_board_progress(self._open_handle(), numbers)
        *counts, busy, error, session = numbers.tolist()
        return Standing._make([*counts, bool(busy), bool(error), bool(session)])

    def upset(self, byte: int, bits: int) -> None:
        """Changes bits of a byte in the memory chip, as nature might.

        :raises DeviceError: if the board has no memory chip.
        """
        if self.memory is None:
            raise DeviceError("this board has no memory chip")
        size = self.memory.width // 8
        self._library.dither_board_upset(self._open_handle(), byte // size, bits << 8 * (byte % size))

    @property
    def broken(self) -> frozenset[Rule]:
        """The rules of the memory chip that were broken; none without a chip."""
        if self.memory is None:
            return frozenset()
        found = self._library.dither_board_broken(self._open_handle())
        return frozenset(rule for rule in Rule if found >> rule & 1)

    def write_counts(self, folder: Path) -> None:
        """Writes what a model that observes has counted into a folder, as files; once only."""
        write_counts(self._library, folder)

    @property
    def cycles(self) -> int:
        """Number of clock cycles since the board was switched on."""
        return self.standing.cycles

    @property
    def seconds(self) -> float:
        """Simulated time in seconds since the board was switched on."""
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


def _load(path: Path, memory: bool) -> ctypes.CDLL:
    handle, number, word = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32
    text, buffer = ctypes.c_char_p, ctypes.c_char_p
    numbers = np.ctypeslib.ndpointer(np.uint64, flags="C_CONTIGUOUS")
    signatures: dict[str, Signature] = {
        "create": (handle, [number, word, word, text]),
        "destroy": (None, [handle]),
        "send": (None, [handle, text, number]),
        "run": (ctypes.c_int, [handle, number, ctypes.c_int]),
        "receive": (number, [handle, buffer, number]),
        "progress": (None, [handle, numbers]),
    }
    if memory:
        signatures |= {"upset": (None, [handle, word, word]), "broken": (word, [handle])}
    return load_library(path, "dither_board", signatures, "simulator")

"""The engine's RTL as a :class:`dither.arch.device.Device`, simulated in process.

The library is driven a whole transaction at a time; Python is not asked every clock cycle.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError, RunResult
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW, REGISTERS
from dither.arch.streams import Expect, Segment, beat_words, pack, physical_beats, unpack
from dither.tools.compiled import Signature, load_library
from dither.tools.files import AnyPath

from ..fabrics import ICE40UP5K, Fabric
from ..netlist import emit_netlist
from ..verilog import emit, emit_engine
from .build import TRACE_FORMATS, Harness, Stage, build_library, write_counts

__all__ = ["Pauses", "TraceWindow", "VerilatedDevice"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
_WAIT = COUNTER_BASE + next(i for i, counter in enumerate(COUNTERS) if counter.name == "cycles_wait")
_FAULT = 2
_SLICE = 1 << 18
"""Number of cycles between two looks at signals (Ctrl-C) and at whether the program gets on."""
_RUNNING, _DONE, _OVERRUN = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceWindow:
    """Runs that are written to a waveform file."""

    path: AnyPath
    """File to write; it ends in ``.fst`` or ``.vcd``."""
    first: int = 0
    """Number of the first run, from 0."""
    last: int = 0
    """Number of the last run, from 0."""

    def __post_init__(self) -> None:
        path = Path(self.path)
        if path.suffix not in TRACE_FORMATS:
            raise ValueError(f"waveforms are written as {' or '.join(TRACE_FORMATS)}, not {path.name!r}")
        if not 0 <= self.first <= self.last:
            raise ValueError(f"no window of runs: {self.first} to {self.last}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Random pauses of the streams' outer ends, for tests."""

    idle: int = 0
    """Chance, of 256, that the input stream offers nothing in a cycle."""
    back_pressure: int = 0
    """Chance, of 256, that the output stream takes nothing in a cycle."""
    seed: int = 1
    """Seed of the pauses; each run adds its number."""

    def __post_init__(self) -> None:
        if not (0 <= self.idle < 256 and 0 <= self.back_pressure < 256):
            raise ValueError("pauses must be from 0 to 255 of 256")


class _Progress(NamedTuple):
    consumed: int
    produced: int
    cycles: int
    waited: int


class VerilatedDevice:
    """Runs programs on the verilated engine, exact to the clock cycle.

    :param config: configuration of the engine.
    :param engine: the component to simulate; ``dither_hw.engines.make_engine(config)`` if
        not given.
    :param netlist: whether to simulate what synthesis makes of the engine, see
        :mod:`dither_sim.netlist`, not its description.
    :param fabric: the FPGA of the netlist.
    :param trace: runs to write waveforms of (in a model that is compiled for it, and slower).
    :param pauses: idle and back-pressure patterns of the streams.
    :param cycle_limit: number of cycles after which a run counts as stuck.
    :param on_status: called with what is going on before it takes long.
    :param stage: how the model is compiled.
    :param counts: what a tuned model is compiled by, see
        :func:`dither_sim.verilated.build.build_library`.
    :raises DeviceError: if the engine cannot be compiled, or is another one than ``config`` says.
    :raises LookupError: if there are no counts for a tuned model, and no such model from before.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        engine: Any = None,
        netlist: bool = False,
        fabric: Fabric = ICE40UP5K,
        trace: TraceWindow | None = None,
        pauses: Pauses | None = None,
        cycle_limit: int = 10**11,
        on_status: Callable[[str], None] = lambda text: None,
        stage: Stage = Stage.PLAIN,
        counts: Path | None = None,
    ) -> None:
        self.config = config
        self.name = "netlist" if netlist else "rtl"
        self._trace, self._pauses, self._cycle_limit = trace, pauses or Pauses(), cycle_limit
        self._words = beat_words(config)
        self._runs = 0
        self._handle: int | None = None
        on_status("elaborating the engine")
        verilog = _verilog(config, engine, netlist, fabric, on_status)
        self._library = _load(
            build_library(
                verilog, _harness(config), Path(trace.path).suffix if trace else None, on_status, stage, counts
            )
        )
        self._handle = self._library.dither_create()
        self._library.dither_reset(self._handle)
        self._check("magic", MAGIC)
        self._check("configuration", int(config.digest(), 16))

    def _check(self, register: str, expected: int) -> None:
        if (found := self._read(_ADDRESS[register])) != expected:
            self.close()
            raise DeviceError(f"the engine's register {register!r} is {found:#010x} instead of {expected:#010x}")

    def _read(self, address: int) -> int:
        return int(self._library.dither_read(self._open_handle(), address))

    def _write(self, address: int, words: Sequence[int]) -> None:
        values = np.array(words, dtype=np.uint32)
        self._library.dither_write(self._open_handle(), address, values, len(values))

    def _open_handle(self) -> int:
        if self._handle is None:
            raise DeviceError("the device is closed")
        return self._handle

    @property
    def cycles(self) -> int:
        """Number of clock cycles simulated since the device was opened."""
        return self._progress().cycles

    def _progress(self) -> _Progress:
        numbers = np.zeros(4, np.uint64)
        self._library.dither_progress(self._open_handle(), numbers)
        return _Progress(*numbers.tolist())

    def write_program(self, words: Sequence[int]) -> None:
        """Writes 32-bit instruction words into the program memory, from word 0 on.

        :raises DeviceError: if they do not fit.
        """
        if len(words) > self.config.program_depth:
            raise DeviceError(f"a program of {len(words)} words does not fit into {self.config.program_depth}")
        self._write(PROGRAM_WINDOW, words)

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program from word ``entry`` until it reaches HALT; Ctrl-C may interrupt it.

        :param inputs: segments for the program's LOADs and PULLs, in order.
        :param expects: segments that the program sends by STORE and EMIT, in order.
        :raises DeviceError: if the program faults, leaves some of ``inputs``, sends anything but
            what is expected, or gets stuck. The engine is reset then; its memories keep what they
            hold.
        """
        given = np.ascontiguousarray(pack(self.config, inputs), np.uint32)
        taken = np.zeros((sum(physical_beats(self.config, expect) for expect in expects), self._words), np.uint32)
        handle, pauses = self._open_handle(), self._pauses
        self._trace_open()
        try:
            self._library.dither_begin(
                handle,
                given,
                len(given),
                taken,
                len(taken),
                pauses.idle,
                pauses.back_pressure,
                pauses.seed + self._runs,
            )
            self._write(_ADDRESS["start"], [entry])
            self._finish(len(given), len(taken))
        except BaseException:
            self._library.dither_reset(handle)
            raise
        finally:
            self._trace_close()
            self._runs += 1
        counters = {counter.name: self._read(COUNTER_BASE + i) for i, counter in enumerate(COUNTERS)}
        return RunResult(self._split(taken, expects), counters)

    def _finish(self, given: int, expected: int) -> None:
        """Runs slice by slice until the program is over."""
        begin = before = self._progress()
        handle, status_address = self._open_handle(), _ADDRESS["status"]
        while (status := self._library.dither_run(handle, status_address, _WAIT, _SLICE)) == _RUNNING:
            now = self._progress()
            if now.consumed == given and (now.waited - before.waited) % (1 << 32) >= _SLICE:
                raise DeviceError(f"the program waits for more than the {given} beats it was given")
            if now.cycles - begin.cycles > self._cycle_limit:
                raise DeviceError(f"the program did not end within {self._cycle_limit} cycles")
            before = now
        end = self._progress()
        if self._read(_ADDRESS["status"]) & _FAULT:
            raise DeviceError("the program faulted: unknown opcode, or stack overflow or underflow")
        if status == _OVERRUN:
            raise DeviceError(f"the program sent more than the {expected} beats expected")
        if end.produced < expected:
            raise DeviceError(f"the program sent {end.produced} of the {expected} beats expected")
        if end.consumed < given:
            raise DeviceError(f"the program consumed {end.consumed} of {given} beats")

    def _split(self, beats: NDArray[np.uint32], expects: Sequence[Expect]) -> list[NDArray[np.int64]]:
        ends = np.cumsum([physical_beats(self.config, expect) for expect in expects])
        parts = np.split(beats, ends[:-1]) if len(ends) else []
        return [unpack(self.config, expect.kind, part) for expect, part in zip(expects, parts, strict=True)]

    def spin(self, entry: int, cycles: int) -> float:
        """Clocks a program in the smallest loop there is, and returns the seconds that it took.

        It starts the program at ``entry`` and clocks ``cycles`` times. The input stream offers the
        same beat over and over, the output is thrown away. It is what any testbench of this model
        could reach at best, for comparison with :meth:`run`. The engine is reset afterwards.
        """
        handle = self._open_handle()
        self._write(_ADDRESS["start"], [entry])
        begin = time.perf_counter()
        self._library.dither_spin(handle, cycles)
        seconds = time.perf_counter() - begin
        self._library.dither_reset(handle)
        return seconds

    def write_counts(self, folder: Path) -> None:
        """Writes what a model that observes has counted into a folder, as files; once only."""
        write_counts(self._library, folder)

    def _trace_open(self) -> None:
        if self._trace and self._runs == self._trace.first:
            self._library.dither_trace_open(self._open_handle(), str(self._trace.path).encode())

    def _trace_close(self) -> None:
        if self._trace and self._runs == self._trace.last:
            self._library.dither_trace_close(self._open_handle())

    def close(self) -> None:
        """Ends the simulation; further calls do nothing."""
        if self._handle is not None:
            if self._trace:
                self._library.dither_trace_close(self._handle)
            self._library.dither_destroy(self._handle)
            self._handle = None

    def __enter__(self) -> VerilatedDevice:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _verilog(config: EngineConfig, engine: Any, netlist: bool, fabric: Fabric, on_status: Callable[[str], None]) -> str:
    if not netlist:
        return emit_engine(config, on_status) if engine is None else emit(engine, "engine")
    if engine is None:
        from dither_hw.engines import make_engine

        engine = make_engine(config)
    return emit_netlist(engine, "engine", fabric)


def _harness(config: EngineConfig) -> Harness:
    """The harness that drives an engine's streams and registers."""
    here = Path(__file__)
    return Harness(
        design="engine",
        bench=here.with_name("bench.sv"),
        code=here.with_name("harness.cpp"),
        parameters={"BEAT_WIDTH": config.beat_width},
        macros={"DITHER_BEAT_WORDS": beat_words(config)},
    )


def _load(path: Path) -> ctypes.CDLL:
    handle, number = ctypes.c_void_p, ctypes.c_uint64
    words = np.ctypeslib.ndpointer(np.uint32, flags="C_CONTIGUOUS")
    numbers = np.ctypeslib.ndpointer(np.uint64, flags="C_CONTIGUOUS")
    word = ctypes.c_uint32
    signatures: dict[str, Signature] = {
        "create": (handle, []),
        "destroy": (None, [handle]),
        "reset": (None, [handle]),
        "read": (word, [handle, word]),
        "write": (None, [handle, word, words, number]),
        "begin": (None, [handle, words, number, words, number, word, word, word]),
        "run": (ctypes.c_int, [handle, word, word, number]),
        "progress": (None, [handle, numbers]),
        "spin": (None, [handle, number]),
    }
    library = load_library(path, "dither", signatures, "simulator")
    optional = {"trace_open": [handle, ctypes.c_char_p], "trace_close": [handle]}
    for name, arguments in optional.items():
        if function := getattr(library, f"dither_{name}", None):
            function.restype, function.argtypes = None, arguments
    return library

"""The native machine: executes the engine's programs in C++, with the golden machine's bits.

Python decodes an instruction when a program reaches it for the first time, checks it as the golden
machine does and says what it costs. Everything else happens in C++, whole commands at a time. What
went wrong, if anything did, is told by the golden machine's own words.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError, RunResult
from ..arch.isa import Instruction, Memory
from ..arch.regmap import COUNTERS
from ..arch.streams import Expect, Segment, memory_depth, slots
from ..golden import Range
from ..golden.control import Program, Stack, fault
from ..golden.drain import overflow
from ..golden.loss import no_tables
from ..golden.ports import InputPort, OutputPort
from . import build
from .checks import LETTERS, NestCheck, validate
from .facts import CONFIGURATION

__all__ = ["NativeMachine"]

_COUNTERS = {counter.name: number for number, counter in enumerate(COUNTERS)}
_SHARED_FROM = 200_000
"""Multiply-accumulates that take about as long as ten times what it takes to share them."""
_SCALARS = -1
"""The kind of scalars in streams, among the numbers of memories."""


class _Fault(IntEnum):
    """Why a run ended; the same numbers as in ``sequencer.h``."""

    NONE = 0
    RAISED = 1
    REFUSED = 2
    STACK = 3
    INPUT = 4
    OUTPUT = 5
    OVERFLOWED = 6
    EMPTY = 7


class NativeMachine:
    """A :class:`dither.arch.device.Device` in C++, bit-exact with the golden machine.

    Memories and registers are zero at first and keep their contents from run to run.

    :param config: any engine configuration.
    :param threads: how many threads share the work; the results do not depend on it.
    :param shared_from: least number of multiply-accumulates that threads share.
    :param monitor: whether to record the range of every CONTRACT's outputs in :attr:`ranges`.
    :param on_status: called with what is going on before it takes long.
    :raises DeviceError: if there is no C++ compiler.
    """

    name = "native"

    def __init__(
        self,
        config: EngineConfig,
        *,
        threads: int = 1,
        shared_from: int = _SHARED_FROM,
        monitor: bool = False,
        on_status: Callable[[str], None] = lambda text: None,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.config = config
        self._program = Program(config)
        self._nests: dict[int, NestCheck] = {}
        self._raised: BaseException | None = None
        self._library = build.library(on_status)
        # Hooks know the machine by a weak reference: it is to go when nobody else has it.
        myself = weakref.ref(self)
        self._hooks = build.Hooks(
            build.Hooks.PREPARE(lambda address: _alive(myself)._hooked(NativeMachine._prepare, address)),
            build.Hooks.CHECK(lambda address, bases: _alive(myself)._hooked(NativeMachine._check, address, bases)),
            build.Hooks.LOOK(lambda: _alive(myself)._hooked(lambda self: None)),
        )
        values = (ctypes.c_int32 * len(CONFIGURATION))(*(getattr(config, name) for name in CONFIGURATION))
        self._machine = self._library.dither_native_new(values, int(monitor), threads, shared_from, self._hooks)
        self._end = weakref.finalize(self, self._library.dither_native_delete, self._machine)

    def write_program(self, words: Sequence[int]) -> None:
        """Writes 32-bit instruction words into the program memory, from word 0 on.

        :raises DeviceError: if they do not fit.
        """
        self._program.write(words)
        self._nests.clear()
        self._library.dither_native_forget(self._machine)

    def close(self) -> None:
        """Gives the machine's memories back."""
        self._end()

    @property
    def ranges(self) -> dict[int, Range]:
        """Range of the outputs of each CONTRACT, by its word address.

        Filled if ``monitor`` is set; :meth:`write_program` clears it.
        """
        found = (build.Range * self._library.dither_native_ranges(self._machine, None))()
        self._library.dither_native_ranges(self._machine, found)
        return {each.address: Range(each.lowest, each.highest, each.clips, each.executions) for each in found}

    def memory(self, kind: Memory) -> NDArray[np.int64]:
        """Returns a copy of a memory, int64 of shape (words, slots); not of tables."""
        values = np.zeros((memory_depth(self.config, kind), slots(self.config, kind)[0]), np.int64)
        self._library.dither_native_read(self._machine, int(kind), _pointer(values))
        return values

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program from word ``entry`` until it reaches HALT.

        :param inputs: segments for the program's LOADs and PULLs, in order.
        :param expects: segments that the program sends by STORE and EMIT, in order.
        :raises DeviceError: if the program faults (the message names word address and instruction),
            leaves some of ``inputs`` or sends anything but what is expected.
        """
        source, sink = InputPort(self.config, inputs), OutputPort(expects)
        taken = [np.ascontiguousarray(segment.values, np.int64) for segment in source.segments]
        sent = [np.zeros((expect.beats, slots(self.config, expect.kind)[0]), np.int64) for expect in expects]
        counters, outcome = np.zeros(len(COUNTERS), np.int64), build.Outcome()
        self._raised = None
        self._library.dither_native_run(
            self._machine,
            entry,
            *_segments([segment.kind for segment in source.segments], taken),
            *_segments([expect.kind for expect in expects], sent),
            _pointer(counters),
            ctypes.byref(outcome),
        )
        source.current, source.taken = outcome.input, outcome.taken
        sink.current, sink.filled = outcome.output, outcome.filled
        if outcome.fault != _Fault.NONE:
            self._explain(outcome, source, sink)
        source.finish()
        sink.finish(self.config)
        return RunResult(sent, {name: int(counters[number]) for name, number in _COUNTERS.items()})

    def _hooked(self, hook: Callable[..., None], *arguments: Any) -> int:
        """Calls a hook and returns 0; 1 if it raises something, which :meth:`run` raises again."""
        try:
            hook(self, *arguments)
        except BaseException as error:
            self._raised = error
            return 1
        return 0

    def _prepare(self, address: int) -> None:
        """Tells the machine what instruction stands at an address."""
        decoded = self._program.at(address)
        instruction, refused = decoded.instruction, False
        if instruction.name in LETTERS:
            self._nests[address] = NestCheck(self.config, instruction)
        try:
            validate(self.config, instruction)
        except DeviceError:
            refused = True
        fields = list(instruction.fields.values())
        self._library.dither_native_define(
            self._machine,
            address,
            instruction.format.opcode,
            decoded.following,
            _COUNTERS[f"cycles_{instruction.format.phase}"],
            (ctypes.c_int64 * 3)(decoded.fetch, decoded.cycles, decoded.row_steps),
            int(refused),
            (ctypes.c_int32 * len(fields))(*fields),
            len(fields),
        )

    def _check(self, address: int, bases: Any) -> None:
        instruction = self._program.at(address).instruction
        letters = LETTERS[instruction.name]
        with _naming(address, instruction):
            self._nests[address].require({letter: bases[number] for number, letter in enumerate(letters)})

    def _explain(self, outcome: build.Outcome, source: InputPort, sink: OutputPort) -> None:
        """Raises what the golden machine would have raised."""
        if outcome.fault == _Fault.RAISED:
            assert self._raised is not None
            raise self._raised
        instruction = self._program.at(outcome.address).instruction
        kind = None if outcome.kind == _SCALARS else Memory(outcome.kind)
        with _naming(outcome.address, instruction):
            match outcome.fault:
                case _Fault.REFUSED:
                    validate(self.config, instruction)
                case _Fault.STACK:
                    self._explain_stack(outcome, instruction)
                case _Fault.INPUT:
                    source.take(kind, outcome.words)
                case _Fault.OUTPUT:
                    sink.send(kind, np.zeros((outcome.words, 1), np.int64))
                case _Fault.OVERFLOWED:
                    raise overflow(self.config)
                case _Fault.EMPTY:
                    raise no_tables()
        raise AssertionError(f"fault {outcome.fault} at word {outcome.address} has no explanation")

    def _explain_stack(self, outcome: build.Outcome, instruction: Instruction) -> None:
        stack = Stack()
        stack.entries = [(outcome.entries[2 * i], outcome.entries[2 * i + 1]) for i in range(outcome.open)]
        match instruction.name:
            case "LOOP":
                stack.open_loop(0, outcome.words)
            case "CALL":
                stack.call(0)
            case "END":
                stack.end(0)
            case _:
                stack.back()


def _alive(machine: weakref.ref[NativeMachine]) -> NativeMachine:
    found = machine()
    assert found is not None, "a machine that runs is alive"
    return found


@contextmanager
def _naming(address: int, instruction: Instruction) -> Iterator[None]:
    """Says in what is raised within a ``with`` block which instruction it was."""
    try:
        yield
    except DeviceError as error:
        raise fault(address, instruction.name, error) from error


def _pointer(values: NDArray[np.int64]) -> int:
    return values.ctypes.data


def _segments(kinds: Sequence[Memory | None], values: Sequence[NDArray[np.int64]]) -> tuple[Any, int]:
    found = (build.Segment * len(kinds))()
    for segment, kind, words in zip(found, kinds, values, strict=True):
        segment.kind = _SCALARS if kind is None else int(kind)
        segment.words, segment.values = len(words), _pointer(words)
    return found, len(kinds)

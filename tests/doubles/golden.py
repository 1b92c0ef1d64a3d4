"""The golden machine as the engine behind a :class:`~tests.doubles.model.LinkModel`: it runs while
the link goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW, REGISTERS
from dither.arch.streams import Expect, Segment, beat_words, beats_per_word, pack, unpack
from dither.golden import GoldenMachine
from dither.golden.control import Decoded, Program
from dither.golden.ports import InputPort, OutputPort

__all__ = ["GoldenEngine"]

_ADDRESS = {register.name: register.address for register in REGISTERS}
_COUNTERS = {COUNTER_BASE + number: counter.name for number, counter in enumerate(COUNTERS)}


class _AbandonedError(Exception):
    """The engine was reset in the middle of a program."""


class _Streams:
    """Beats on their way between the program's thread and the link."""

    def __init__(self, config: EngineConfig) -> None:
        self.changed = threading.Condition()
        self.words = beat_words(config)
        self.running = False
        self.abandoned = False
        self.wanted = 0
        self.blocked = False
        """Whether the program waits for the link."""
        self.given: list[NDArray[np.uint32]] = []
        self.offered: NDArray[np.uint32] = np.zeros((0, self.words), np.uint32)

    def wait(self, done: Callable[[], bool]) -> None:
        """Lets the program wait for the link; the lock is held."""
        self.check()
        while not done():
            self.blocked = True
            self.changed.notify_all()
            self.changed.wait()
            self.check()
        self.blocked = False

    def check(self) -> None:
        if self.abandoned:
            raise _AbandonedError


class _Input(InputPort):
    def __init__(self, config: EngineConfig, streams: _Streams) -> None:
        super().__init__(config, ())
        self._streams = streams

    def take(self, kind: Memory | None, beats: int) -> NDArray[np.int64]:
        streams = self._streams
        with streams.changed:
            streams.wanted, streams.given = beats * beats_per_word(self._config, kind), []
            streams.wait(lambda: streams.wanted == 0)
            given = [np.zeros((0, streams.words), np.uint32), *streams.given]
        return unpack(self._config, kind, np.concatenate(given))


class _Output(OutputPort):
    def __init__(self, config: EngineConfig, streams: _Streams) -> None:
        super().__init__(())
        self._config = config
        self._streams = streams

    def send(self, kind: Memory | None, values: NDArray[np.int64]) -> None:
        streams = self._streams
        with streams.changed:
            streams.offered = pack(self._config, [Segment(kind, values)])
            streams.wait(lambda: not len(streams.offered))


class _Program(Program):
    """A program that can be abandoned at every instruction, those that only control others
    included.
    """

    def __init__(self, config: EngineConfig, streams: _Streams) -> None:
        super().__init__(config)
        self._streams = streams

    def at(self, address: int) -> Decoded:
        self._streams.check()
        return super().at(address)


class _Machine(GoldenMachine):
    """A golden machine whose streams are the link's, and whose programs can be abandoned."""

    def __init__(self, config: EngineConfig) -> None:
        self.streams = _Streams(config)
        super().__init__(config)
        self._program = _Program(config, self.streams)

    def _begin(self, inputs: Sequence[Segment], expects: Sequence[Expect]) -> None:
        super()._begin(inputs, expects)
        self._inputs = _Input(self.config, self.streams)
        self._outputs = _Output(self.config, self.streams)

    def counter(self, name: str) -> int:
        """The counter's low 32 bits; a look at a program that waits is a cycle of waiting."""
        if name == "cycles_wait" and self.streams.blocked:
            self._counters[name] += 1
        return self._counters[name] & 0xFFFFFFFF


class GoldenEngine:
    """An :class:`~tests.doubles.model.EngineSide` in software; its programs run in a thread of
    their own.

    Cycles of phase ``wait`` are hardly counted, and some programs end with a fault that gateware
    would go on with: the golden machine checks more.

    :param config: any configuration.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.error: str | None = None
        """What the last program's fault was."""
        self._machine = _Machine(config)
        self._streams = self._machine.streams
        self._program = [0] * config.program_depth
        self._written = False
        self._thread: threading.Thread | None = None

    @property
    def memories(self) -> Any:
        """The golden machine's memories, for tests."""
        return self._machine.memories

    @property
    def busy(self) -> bool:
        with self._streams.changed:
            return self._streams.running

    @property
    def fault(self) -> bool:
        return self.error is not None

    def reset(self) -> None:
        """Abandons the program, at the latest when the instruction at work is done."""
        streams = self._streams
        if self._thread is not None:
            with streams.changed:
                streams.abandoned = True
                streams.changed.notify_all()
            self._thread.join()
            self._thread = None
        streams.abandoned = False
        streams.wanted, streams.offered = 0, streams.offered[:0]
        self.error = None

    def close(self) -> None:
        """Ends the thread and gives back what the machine holds."""
        self.reset()
        self._machine.close()

    def read(self, address: int) -> int:
        if (name := _COUNTERS.get(address)) is not None:
            return self._machine.counter(name)
        if address == _ADDRESS["magic"]:
            return MAGIC
        if address == _ADDRESS["configuration"]:
            return int(self.config.digest(), 16)
        return int(self.busy) | int(self.fault) << 1 if address == _ADDRESS["status"] else 0

    def write(self, address: int, word: int) -> None:
        if PROGRAM_WINDOW <= address < PROGRAM_WINDOW + len(self._program):
            self._program[address - PROGRAM_WINDOW] = word
            self._written = True
        elif address == _ADDRESS["start"]:
            self.start(word)

    def start(self, entry: int) -> None:
        if self.busy:
            return
        if self._thread is not None:
            self._thread.join()
        if self._written:
            self._machine.write_program(self._program)
            self._written = False
        self.error = None
        self._streams.running = True
        self._thread = threading.Thread(target=self._run, args=(entry,), name="golden engine", daemon=True)
        self._thread.start()

    def _run(self, entry: int) -> None:
        try:
            self._machine.run(entry)
        except DeviceError as error:
            self.error = str(error)
        except _AbandonedError:
            pass
        finally:
            with self._streams.changed:
                self._streams.running = self._streams.blocked = False
                self._streams.wanted = 0
                self._streams.changed.notify_all()

    def wanted(self) -> int:
        with self._streams.changed:
            return self._streams.wanted

    def give(self, beats: NDArray[np.uint32]) -> None:
        streams = self._streams
        with streams.changed:
            streams.given.append(beats)
            streams.wanted -= len(beats)
            streams.blocked = streams.wanted > 0
            streams.changed.notify_all()

    def offered(self, limit: int) -> NDArray[np.uint32]:
        streams = self._streams
        with streams.changed:
            taken, streams.offered = streams.offered[:limit], streams.offered[limit:]
            streams.blocked = streams.blocked and (streams.wanted > 0 or len(streams.offered) > 0)
            streams.changed.notify_all()
        return taken

    def settle(self, seconds: float) -> bool:
        """Waits until the program waits for the link, or is over; False if it still computes after
        that time.
        """
        streams = self._streams
        with streams.changed:
            return streams.changed.wait_for(lambda: streams.blocked or not streams.running, seconds)

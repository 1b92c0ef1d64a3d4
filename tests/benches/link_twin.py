"""The link beside its model, with the same scripted engine behind both and the same bytes sent.

Benches' parameters: ``config``, ``identity`` (hexadecimal, buffers' sizes included),
``bit_cycles``.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Event, First, RisingEdge
from cocotb.utils import get_sim_time
from numpy.typing import NDArray

from dither.arch.config import EngineConfig
from dither.arch.regmap import MAGIC, REGISTERS
from dither.arch.streams import beat_words
from dither.link.frames import FrameDecoder, encode_frame
from dither.link.packing import longest_beat, pack_input, unpack_input
from dither.link.protocol import REQUEST, RESPONSE, RESPONSE_BIT, Identity, RequestType
from dither_hw.link.serial import SLOT_CYCLES
from tests.doubles.model import LinkModel

from .beats import Sink, Source
from .cycles import begin, next_cycle, settled
from .link_line import CYCLE_NS, Line
from .runner import bench_config, bench_parameters
from .with_registers import register

__all__ = ["Script", "Twins", "beat_array", "beat_values", "random_beats"]

_START = next(register.address for register in REGISTERS if register.name == "start")
_SETTLED = 180
"""Cycles without a beat or a write after which nothing more happens, but for the line, and for a
slot for each byte of the longest word."""
_SILENCE = 15
"""Bytes' times in which an answer without a long body begins."""
_LONG_SILENCE = 300
"""Bytes' times in which any answer begins."""


def beat_values(beats: NDArray[np.uint32]) -> list[int]:
    return [int.from_bytes(np.ascontiguousarray(beat, "<u4").tobytes(), "little") for beat in beats]


def beat_array(config: EngineConfig, values: list[int]) -> NDArray[np.uint32]:
    words = beat_words(config)
    data = b"".join(value.to_bytes(4 * words, "little") for value in values)
    return np.frombuffer(data, "<u4").reshape(-1, words).copy()


def random_beats(config: EngineConfig, random: Random, count: int) -> list[int]:
    """Beats of which some chunks are zero, some as in the same part of the word before."""
    width, beats = config.width, list[int]()
    for number in range(count):
        beat = beats[-config.word_parts] if number >= config.word_parts else 0
        for start in range(0, config.beat_width, width):
            chance = random.random()
            if chance < 0.6:
                beat &= ~(((1 << width) - 1) << start)
                beat |= (random.getrandbits(width) if chance < 0.4 else 0) << start
        beats.append(beat & ((1 << config.beat_width) - 1))
    return beats


class Script:
    """An engine for the model: does what the bench says, and keeps what reaches it."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.busy = self.fault = False
        self.takes = True
        self.beats: list[int] = []
        self.writes: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.output: deque[int] = deque()
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1
        self.output.clear()

    def read(self, address: int) -> int:
        return register(address)

    def write(self, address: int, word: int) -> None:
        if address == _START:
            self.start(word)
        else:
            self.writes.append((address, word))

    def start(self, entry: int) -> None:
        self.starts.append(entry)

    def wanted(self) -> int:
        return 1 << 30 if self.takes else 0

    def give(self, beats: NDArray[np.uint32]) -> None:
        # Padding is no part of a beat.
        self.beats += [value & ((1 << self.config.beat_width) - 1) for value in beat_values(beats)]

    def offered(self, limit: int) -> NDArray[np.uint32]:
        taken = [self.output.popleft() for _ in range(min(limit, len(self.output)))]
        return beat_array(self.config, taken)


class _Model(LinkModel):
    """As the component is, which takes the bytes of the word that the engine is to take next out of
    its buffer.
    """

    @property
    def free(self) -> int:
        waiting = bytes(self._input)
        if not waiting:
            return self.identity.input
        used = unpack_input(self.config, waiting, self._last, self.config.word_parts)[1] or len(waiting)
        return self.identity.input - (len(waiting) - used)


class Twins:
    """The component, the model, and the same engine behind both."""

    def __init__(self, dut: Any) -> None:
        parameters = bench_parameters()
        self.dut = dut
        self.config = bench_config()
        self.random = Random(cocotb.RANDOM_SEED)
        self.bit_cycles: float = parameters["bit_cycles"]
        self.identity = Identity.decode(bytes.fromhex(parameters["identity"]))
        self.script = Script(self.config)
        self.model = _Model(self.config, self.identity, self.script)
        self.decoder = FrameDecoder(RESPONSE.size)
        self.tag = 0
        self.session = 0
        # What the component's engine has seen.
        self.writes: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.resets = 0

    @classmethod
    async def begun(cls, dut: Any) -> Twins:
        """Both just switched on."""
        twins = cls(dut)
        await twins._begin()
        return twins

    async def _begin(self) -> None:
        await begin(self.dut, rx=1, busy=0, fault=0, willing=1, input__ready=0, output__valid=0)
        self.line = Line(self.dut, self.bit_cycles)
        self.sink = Sink(self.dut, "input", "often", self.random)
        self.source = Source(self.dut, "output", "always", self.random)
        self._last = get_sim_time("ns")
        self._changed = Event()
        cocotb.start_soon(self._engine())

    async def _engine(self) -> None:
        """The engine's ports, in cycles in which anything happens there."""
        dut = self.dut
        while True:
            if not int(dut.attention.value):
                dut.input__ready.value = 0
                await First(RisingEdge(dut.attention), self._changed.wait())
                if self._changed.is_set():
                    self._changed.clear()
                    await next_cycle(dut)
            dut.willing.value, dut.busy.value, dut.fault.value = self.script.takes, self.script.busy, self.script.fault
            if self.script.takes:
                self.sink.drive()
            else:
                dut.input__ready.value = 0
            self.source.drive()
            await settled(dut)
            if self.script.takes:
                self.sink.settle()
            self.source.settle()
            if int(dut.attention.value):
                self._last = get_sim_time("ns")
            if int(dut.host_write.value):
                address, data = int(dut.host_addr.value), int(dut.host_wdata.value)
                if address == _START:
                    self.starts.append(data)
                else:
                    self.writes.append((address, data))
            if int(dut.reset.value):
                self.resets += 1
                self.source.beats.clear()
            await next_cycle(dut)

    async def settle(self) -> None:
        """Until the engine's ports are quiet; then both engines must have seen the same."""
        self._changed.set()
        enough = _SETTLED + SLOT_CYCLES * self.config.word_parts * longest_beat(self.config)
        await self.line.wait(enough)
        while get_sim_time("ns") - self._last < enough * CYCLE_NS:
            await self.line.wait(enough / 4)
        self.model.pump()
        script = self.script
        assert self.sink.beats == script.beats, f"{len(self.sink.beats)} beats, not {len(script.beats)}, or other ones"
        assert self.writes == script.writes, f"writes: {self.writes[-4:]}, not {script.writes[-4:]}"
        assert self.starts == script.starts, f"starts: {self.starts}, not {script.starts}"
        assert self.resets == script.resets, f"{self.resets} resets, not {script.resets}"

    def frame(
        self, kind: int, number: int = 0, argument: int = 0, body: bytes = b"", session: int | None = None
    ) -> bytes:
        self.tag = (self.tag + 1) % 256
        header = REQUEST.pack(
            type=kind,
            tag=self.tag,
            session=self.session if session is None else session,
            number=number % (1 << 16),
            argument=argument,
        )
        return encode_frame(header + body)

    async def response(self, due: bool = True) -> tuple[dict[str, int], bytes] | None:
        """The next one, or None if none begins in time.

        :param due: there should be one.
        """
        silent = 0
        while silent < (_LONG_SILENCE if due else _SILENCE):
            await self.line.wait(10 * self.bit_cycles)
            silent = silent + 1 if not self.line.received else 0
            if 0 in self.line.received:
                end = self.line.received.index(0) + 1
                frame, self.line.received = self.line.received[:end], self.line.received[end:]
                payloads = self.decoder.feed(bytes(frame))
                assert len(payloads) == 1, f"a response that is no frame: {frame.hex()}"
                return RESPONSE.unpack(payloads[0]), payloads[0][RESPONSE.size :]
        assert not self.line.received, "a response without an end"
        return None

    async def exchange(self, kind: int, number: int = 0, argument: int = 0, body: bytes = b"", **more: Any) -> bytes:
        """One request to both; checks the answer and gives its body. All must be quiet before."""
        return await self.exchange_frame(self.frame(kind, number, argument, body, **more))

    async def exchange_frame(self, frame: bytes) -> bytes:
        self._changed.set()
        stored = self.stored_output()
        taken = len(self.script.beats)
        self.model.feed(frame)
        expected = self.model.answer()
        await self.line.send(frame)
        got = await self.response(due=expected is not None)
        if expected is None:
            assert got is None, f"an answer to {frame.hex()}: {got}"
            return b""
        assert got is not None, f"no answer to {frame.hex()}"
        payload = FrameDecoder(RESPONSE.size).feed(expected)[0]
        header, body = RESPONSE.unpack(payload), payload[RESPONSE.size :]
        # Behind a DATA, the component takes some time over the beat that the engine is to take
        # next.
        data = header["type"] == RequestType.DATA | RESPONSE_BIT
        steady = not data and len(self.script.beats) == taken and self.stored_output() == stored
        self.compare(got, (header, body), steady)
        await self.settle()
        return got[1]

    def stored_output(self) -> int:
        return len(self.model._output) + len(self.model._unsent)

    def compare(self, got: tuple[dict[str, int], bytes], expected: tuple[dict[str, int], bytes], steady: bool) -> None:
        """All fields are the model's, but for those that tell how far beats got, if some are
        moving.
        """
        header, body = dict(got[0]), got[1]
        model, model_body = dict(expected[0]), expected[1]
        model["free"] = self.free()
        if not steady:
            assert header["free"] <= model["free"]
            for fields in (header, model):
                del fields["free"], fields["produced"], fields["flags"]
        assert header == model, f"{header}, not {model}"
        kind = header["type"] & ~RESPONSE_BIT
        if kind == RequestType.FETCH and not steady:
            assert model_body.startswith(body), f"{body.hex()}, not the beginning of {model_body.hex()}"
        elif kind == RequestType.PING:
            assert len(body) == len(model_body)
        else:
            assert body == model_body, f"{body.hex()}, not {model_body.hex()}"

    def free(self) -> int:
        """As a response has it: a word that waits for the engine never leaves the buffer quite
        empty.
        """
        return min(self.model.free, self.identity.input - bool(self.model._input))

    def random_beats(self, count: int) -> list[int]:
        """See the function of this name."""
        return random_beats(self.config, self.random, count)

    def packed(self, beats: list[int]) -> bytes:
        """As DATA's body, if the model has taken all before."""
        return pack_input(self.config, beat_array(self.config, beats), self.model._last)[0]

    def emit(self, beats: list[int]) -> None:
        """Both engines send them."""
        self.script.output += beats
        self.source.send(beats)
        self._changed.set()

    async def open(self) -> None:
        self.session = self.random.randrange(1, 1 << 16)
        await self.exchange(RequestType.HELLO, MAGIC & 0xFFFF)

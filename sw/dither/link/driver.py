"""The driver: a board at the other end of a line, as a :class:`dither.arch.device.Device`."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..arch.config import EngineConfig
from ..arch.device import DeviceError, RunResult
from ..arch.isa import WORD_BITS
from ..arch.regmap import COUNTER_BASE, COUNTERS, MAGIC, PROGRAM_WINDOW, REGISTERS
from ..arch.streams import Expect, Segment, physical_beats, unpack
from ..golden.cycles import predict
from ..store import registers as store
from ..store.image import store_writes
from ..store.layout import BLOCK_BYTES, choose_layout, pack_samples
from .exchange import RELOAD, Exchange, LinkError, Response, Statistics
from .packing import longest_beat, unpack_output
from .protocol import (
    MAX_READ_WORDS,
    MAX_REQUEST_BODY,
    MAX_RESPONSE_BODY,
    POSITION_BITS,
    VERSION,
    Flag,
    Identity,
    RequestType,
    config_fields,
)
from .shelf import Named, Shelf
from .transport import Transport
from .upload import Upload
from .watch import UNPREDICTED, Watch, working_cycles

__all__ = ["POLLS", "LinkDevice", "board_config"]

_MODULUS = 1 << POSITION_BITS
_ADDRESS = {register.name: register.address for register in REGISTERS}
_WORD_BYTES = WORD_BITS // 8
_WORTHWHILE = 256
"""Least number of bytes of a DATA request sent while others are on their way.

Smaller pieces wait until there is more room.
"""
POLLS = (0.0002, 0.01)
"""Seconds between two questions to a computing engine: at first and at last."""
_OPEN_SECONDS = 6.0


def board_config(identity: Identity, name: str = "the board") -> EngineConfig:
    """Returns the configuration of the engine that a board says it has.

    :param name: name of the line, for messages.
    :raises DeviceError: if this version of dither does not know such engines.
    """
    known = config_fields()
    if identity.version != VERSION:
        raise DeviceError(
            f"{name} speaks version {identity.version} of the link, this driver version {VERSION}; "
            "load a bitstream of this version of dither"
        )
    if set(identity.config) != set(known):
        missing = ", ".join(sorted(set(known) - set(identity.config)))
        raise DeviceError(
            f"{name} has an engine of another version of dither: it does not tell {missing}; "
            "load a bitstream of this version"
        )
    try:
        config = EngineConfig.from_dict(identity.config)
    except ValueError as error:
        raise DeviceError(f"{name} has an engine that this version of dither does not know: {error}") from None
    if int(config.digest(), 16) != identity.configuration:
        raise DeviceError(
            f"{name} has an engine of another version of dither: parameters as known here would have "
            f"digest {config.digest()}, not {identity.configuration:08x}; load a bitstream of this "
            "version"
        )
    return config


def _check_config(wanted: EngineConfig, found: EngineConfig, name: str) -> None:
    if wanted == found:
        return
    theirs = found.to_dict()
    differences = [
        f"{key} {value} on the board {theirs[key]}" for key, value in wanted.to_dict().items() if value != theirs[key]
    ]
    raise DeviceError(
        f"asked for a {wanted.geometry} engine ({wanted.digest()}), {name} has a {found.geometry} one "
        f"({found.digest()}): {'; '.join(differences)}; leave out --engine"
    )


class LinkDevice:
    """A board that runs programs, reached over a line.

    :param transport: the line; the device closes it.
    :param config: what the engine must be; whatever the board has if None.
    :param patience: seconds without progress after which the board counts as lost: without an
        answer, an effect, a byte of input taken or of output sent, or cycles counted of those that
        the program can take.
    :param shortest_timeout: least time in seconds to wait for an answer.
    :param now: returns the seconds that have passed, by any clock that never goes back.
    :raises DeviceError: if nobody answers, or the board has another engine; the transport is closed
        then.
    """

    def __init__(
        self,
        transport: Transport,
        config: EngineConfig | None = None,
        *,
        patience: float = 20.0,
        shortest_timeout: float = 0.03,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = transport.name
        self._now = now
        self._exchange = Exchange(transport, patience=patience, shortest_timeout=shortest_timeout, now=now)
        self._program: Sequence[int] | None = None
        self._ready = False
        self._lost: LinkError | None = None
        try:
            self.identity: Identity = self._exchange.open(min(_OPEN_SECONDS, patience))
            self.config = board_config(self.identity, self.name)
            if config is not None:
                _check_config(config, self.config, self.name)
            self._check_buffers()
            self._check_registers()
        except BaseException:
            transport.close()
            raise
        self._shelf: Shelf | None = None
        self._naming = False
        """Whether the store takes beats for numbers of samples; not so in a new session."""
        self._last: NDArray[np.uint32] | None = None
        self._position = 0
        self._ready = True
        self.payload_sent = 0
        """Number of bytes of packed input streams sent so far, repetitions left out."""
        self.payload_fetched = 0
        """Number of bytes of packed output streams fetched so far."""

    @property
    def statistics(self) -> Statistics:
        """Counts and times of what went over the line so far."""
        return self._exchange.statistics

    def ping(self, size: int = 0, answer: int = 0) -> float:
        """Sends a request without effect and returns the seconds of the round trip.

        :param size: bytes of the request's body.
        :param answer: bytes of the response's body.
        :raises LinkError: if the board is lost.
        """
        self._prepare()
        begun = time.perf_counter()
        self._exchange.query(RequestType.PING, 0, answer, bytes(size))
        return time.perf_counter() - begun

    def read(self, address: int, count: int = 1) -> list[int]:
        """Returns ``count`` host registers from ``address`` on.

        :raises LinkError: if the board is lost.
        """
        self._prepare()
        return self._registers(address, count)

    def write_program(self, words: Sequence[int]) -> None:
        """Writes 32-bit instruction words into the board's program memory, from word 0 on.

        :raises DeviceError: if they do not fit.
        :raises LinkError: if the board is lost.
        """
        if len(words) > self.config.program_depth:
            raise DeviceError(f"a program of {len(words)} words does not fit into {self.config.program_depth}")
        self._prepare()
        self._program, self._ready = None, False
        self._write(PROGRAM_WINDOW, words)
        self._program, self._ready = list(words), True

    def _write(self, address: int, values: Sequence[int], window: bool = False) -> None:
        """Writes values to registers from an address on, or all of them into a window there."""
        try:
            # A WRITE's words wait in the input buffer.
            size = min(MAX_REQUEST_BODY, self.identity.input) // _WORD_BYTES
            for start in range(0, len(values), size):
                part = [int(value) & 0xFFFFFFFF for value in values[start : start + size]]
                at = address if window else address + start
                self._exchange.submit(RequestType.WRITE, at, struct.pack(f"<{len(part)}I", *part))
                self._exchange.flush()
        except LinkError as error:
            self._lost = error
            raise

    @property
    def store_bytes(self) -> int:
        """Number of bytes of the board's sample store; 0 if it has none.

        :raises LinkError: if the board is lost.
        """
        return self.read(store.address("store_blocks"))[0] * BLOCK_BYTES

    def keep(
        self, samples: NDArray[np.int64], on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> bool:
        """Puts samples into the board's store, so that programs that take them need only name them.

        Samples that were kept before are forgotten.

        :param samples: the words that lanes are loaded with, shape (samples, words).
        :param on_progress: called with the bytes that are there, and all there will be.
        :returns: whether the board has a store, and room for them.
        :raises DeviceError: if the memory does not hold what was written into it.
        :raises LinkError: if the board is lost.
        """
        room = self.store_bytes
        if not room or not len(samples):
            return False
        try:
            image = pack_samples(samples, choose_layout(samples, self.config.width))
        except ValueError:
            return False
        if len(image.data) > room:
            return False
        self._shelf = None
        self._settle_store(store.Status.READY)
        for address, values in store_writes(image):
            if address != store.DATA_WINDOW:
                self._write(address, values)
                continue
            for start in range(0, len(values), store.DATA_WORDS):
                self._write(address, values[start : start + store.DATA_WORDS], window=True)
                on_progress(min(len(image.data), (start + store.DATA_WORDS) * _WORD_BYTES), len(image.data))
        self._check_store(image.check, "was sent")
        self._write(store.address("store_verify"), [len(image.data) // BLOCK_BYTES])
        self._check_store(image.check, "was stored")
        self._shelf = Shelf(image, samples)
        return True

    def _settle_store(self, wanted: store.Status) -> None:
        """Waits until the store is ready and has nothing to do."""
        begun = self._now()
        mask = store.Status.READY | store.Status.WORKING
        while store.Status(self.read(store.address("store_status"))[0]) & mask != wanted:
            if self._now() - begun > self._exchange.patience:
                raise DeviceError(f"{self.name}: the memory chip does not get ready; check its pins and clock")

    def _check_store(self, check: int, what: str) -> None:
        self._settle_store(store.Status.READY)
        found = self.read(store.address("store_check"))[0]
        if found != check:
            raise DeviceError(
                f"{self.name}: the memory does not hold what {what} (CRC {found:08x} instead of {check:08x}); try again"
            )

    def _name(self, inputs: Sequence[Segment]) -> Sequence[Segment | Named]:
        """Returns the segments to be sent, with names for those that the store holds."""
        named = None if self._shelf is None else self._shelf.named(inputs)
        if self._naming != (named is not None):
            self._write(store.address("store_control"), [named is not None])
            self._naming = named is not None
        return inputs if named is None else named

    def _damage(self) -> str | None:
        """Says which sample was damaged, if one was."""
        if self._shelf is None:
            return None
        # Not by ``read``: within a run that would begin a new session, and that forgets the damage.
        if not self._registers(store.address("store_status"), 1)[0] & store.Status.DAMAGED:
            return None
        number = self._registers(store.address("store_damaged"), 1)[0]
        self._shelf = None
        return f"sample {number} is damaged in the board's memory; start again from the last checkpoint"

    def run(self, entry: int, inputs: Sequence[Segment] = (), expects: Sequence[Expect] = ()) -> RunResult:
        """Runs the program from word ``entry`` until it reaches HALT; Ctrl-C may interrupt it.

        :param inputs: segments for the program's LOADs and PULLs, in order.
        :param expects: segments that the program sends by STORE and EMIT, in order.
        :raises DeviceError: if the program faults, leaves some of ``inputs`` or sends anything but
            what is expected.
        :raises LinkError: if the board is lost; the device is of no use then.
        """
        self._prepare()
        given = Upload(self.config, self._name(inputs), self._last)
        watch = Watch(
            self.name, self._counters, lambda: self._cycles(entry, inputs), self._exchange.patience, self._now
        )
        self._ready = False
        try:
            output = self._stream(entry, given, watch, sum(physical_beats(self.config, expect) for expect in expects))
            counters = self._counters()
        except LinkError as error:
            self._lost = error
            raise
        outputs = self._split(output, expects)
        self._last = given.last
        self._ready = True
        return RunResult(outputs, counters)

    def close(self) -> None:
        """Closes the line; the device is of no use then."""
        self._exchange.transport.close()
        self._lost = self._lost or LinkError("the device is closed")

    def __enter__(self) -> LinkDevice:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _prepare(self) -> None:
        """Brings the link in order after a run that was interrupted or failed.

        The board's memories keep their contents.
        """
        if self._lost is not None:
            raise self._lost
        if self._ready:
            return
        try:
            # A board that was switched off meanwhile has lost its memories: it answers the query
            # with another session, which raises, and so is not taken for the same board.
            self._exchange.abandon()
            self._exchange.query(RequestType.PING)
            self._exchange.open(_OPEN_SECONDS)
        except LinkError as error:
            self._lost = error
            raise
        self._last, self._position, self._ready, self._naming = None, 0, True, False

    def _check_buffers(self) -> None:
        for name, needed in (("input", max(_WORD_BYTES, longest_beat(self.config))), ("output", 1)):
            if (size := getattr(self.identity, name)) < needed:
                raise DeviceError(
                    f"{self.name} says that its {name} buffer has {size} bytes, but nothing works with fewer than "
                    f"{needed}; load a bitstream of this version of dither"
                )

    def _check_registers(self) -> None:
        found = dict(zip(("magic", "configuration"), self._registers(_ADDRESS["magic"], 2), strict=True))
        for name, expected in (("magic", MAGIC), ("configuration", int(self.config.digest(), 16))):
            if found[name] != expected:
                raise DeviceError(f"the engine's register {name!r} is {found[name]:#010x} instead of {expected:#010x}")

    def _registers(self, address: int, count: int) -> list[int]:
        values: list[int] = []
        while len(values) < count:
            size = min(MAX_READ_WORDS, count - len(values))
            body = self._exchange.query(RequestType.READ, address + len(values), size).body
            if len(body) != size * _WORD_BYTES:
                raise LinkError(f"{self.name}: {len(body)} bytes for {size} registers; {RELOAD}")
            values += struct.unpack(f"<{size}I", body)
        return values

    def _counters(self) -> Mapping[str, int]:
        values = self._registers(COUNTER_BASE, len(COUNTERS))
        return {counter.name: value for counter, value in zip(COUNTERS, values, strict=True)}

    def _cycles(self, entry: int, inputs: Sequence[Segment]) -> int:
        """Returns the most cycles that the program may work for."""
        if self._program is None:
            return UNPREDICTED
        scalars = [int(value) for segment in inputs if segment.kind is None for value in np.ravel(segment.values)]
        try:
            return working_cycles(predict(self.config, self._program, entry, scalars))
        except DeviceError:
            return UNPREDICTED

    def _stream(self, entry: int, given: Upload, watch: Watch, expected: int) -> bytearray:
        """Starts a program, sends its input and fetches its output, until it ends."""
        exchange, output = self._exchange, bytearray()
        longest, poll = expected * longest_beat(self.config), POLLS[0]
        start = exchange.submit(RequestType.START, entry)
        while True:
            self._send(given)
            exchange.ask(RequestType.FETCH, self._position, MAX_RESPONSE_BODY)
            while (response := exchange.receive(POLLS[1])) is None:
                self._send(given)
            if len(response.body) > MAX_RESPONSE_BODY:
                raise LinkError(
                    f"{self.name}: the board sends {len(response.body)} bytes where it was asked for "
                    f"{MAX_RESPONSE_BODY}; {RELOAD}"
                )
            output += response.body
            self.payload_fetched += len(response.body)
            self._position = (self._position + len(response.body)) % _MODULUS
            if len(output) > longest:
                raise DeviceError(f"the program sent more than the {expected} beats expected")
            # The board is also idle before START takes effect, so "not busy" counts only in a
            # response that acknowledges START.
            if exchange.taken > start and not response.busy and self._position == response.produced:
                self._finish(given, response)
                return output
            if response.body or watch.moved(exchange.taken):
                poll = POLLS[0]
                watch.renew()
                continue
            look = exchange.taken > start and watch.waits(response.busy, self._position, response.produced)
            if look and self._all_taken(given, response):
                raise DeviceError(f"the program waits for more than the {given.beats} beats it was given")
            exchange.receive(poll)
            poll = min(2 * poll, POLLS[1])

    def _send(self, given: Upload) -> None:
        """Sends as much of the input as there is room for."""
        exchange = self._exchange
        while room := min(exchange.room, MAX_REQUEST_BODY):
            if room < _WORTHWHILE and exchange.pending and given.left(room + 1) > room:
                return
            body = given.take(room)
            if not body:
                return
            self.payload_sent += len(body)
            exchange.submit(RequestType.DATA, 0, body)

    def _finish(self, given: Upload, last: Response) -> None:
        """Checks that a program ended well: without a fault, and with all of its input consumed."""
        if last.flags & Flag.FAULT:
            if (damage := self._damage()) is not None:
                raise DeviceError(damage)
            raise DeviceError("the program faulted: unknown opcode, or stack overflow or underflow")
        if not self._all_taken(given, last):
            raise DeviceError(f"the program consumed fewer than the {given.beats} beats it was given")

    def _all_taken(self, given: Upload, last: Response) -> bool:
        """Whether the program has taken all of its input."""
        return not (given.left(1) or self._exchange.pending or last.free < self.identity.input)

    def _split(self, output: bytearray, expects: Sequence[Expect]) -> list[NDArray[np.int64]]:
        beats, used = unpack_output(self.config, bytes(output))
        ends = np.cumsum([physical_beats(self.config, expect) for expect in expects])
        expected = int(ends[-1]) if len(ends) else 0
        if used < len(output) or len(beats) != expected:
            raise DeviceError(f"the program sent {len(beats)} of the {expected} beats expected")
        parts = np.split(beats, ends[:-1]) if len(ends) else []
        return [unpack(self.config, expect.kind, part) for expect, part in zip(expects, parts, strict=True)]

"""Link: one request after the other; responses and the engine's ports are those of the model.

Parameters: those of :mod:`.link_twin`, ``count`` of random requests, ``netlist`` (optional) where
no signal within has a name.
"""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import FallingEdge

from dither.arch.regmap import MAGIC, PROGRAM_WINDOW
from dither.link.protocol import MAX_READ_WORDS, MAX_RESPONSE_BODY, POSITION_BITS, REQUEST, RequestType

from .link_twin import Twins
from .runner import bench_parameters

_MODULUS = 1 << POSITION_BITS


class _Client:
    """Makes requests, most of them good ones."""

    def __init__(self, twins: Twins) -> None:
        self.twins = twins
        self.random = twins.random
        self.stream = b""
        """Packed beats of which the beginning is to be sent next."""

    def more(self, size: int) -> bytes:
        """So many bytes of the input stream."""
        while len(self.stream) < size:
            self.stream += self.twins.packed(self.twins.random_beats(8))
        return self.stream[:size]

    async def any(self) -> None:
        random, twins, model = self.random, self.twins, self.twins.model
        kind = random.choice((*RequestType, RequestType.DATA, RequestType.FETCH, RequestType.FETCH, RequestType.DATA))
        number, argument, body, session = model.next, 0, b"", None
        match kind:
            case RequestType.HELLO:
                number, session = MAGIC, random.choice((twins.session, twins.session, random.randrange(1, _MODULUS)))
            case RequestType.READ:
                number = random.choice((0, _MODULUS - 1, random.randrange(_MODULUS)))
                argument = random.choice((1, 2, random.randrange(1, 9), MAX_READ_WORDS))
            case RequestType.WRITE:
                argument = random.choice((PROGRAM_WINDOW, _MODULUS - 2, random.randrange(16, _MODULUS)))
                body = random.randbytes(4 * random.choice((1, 2, 5, 20)))
            case RequestType.DATA:
                body = self.more(random.choice((1, 2, random.randrange(3, 60), random.randrange(3, 60), 200)))
            case RequestType.START:
                argument = random.randrange(_MODULUS)
            case RequestType.FETCH:
                stored = len(model._output)
                number = model._acknowledged + random.choice((0, stored, random.randrange(stored + 1)))
                argument = random.choice((0, 1, random.randrange(MAX_RESPONSE_BODY), MAX_RESPONSE_BODY))
            case RequestType.PING:
                number, argument = random.randrange(_MODULUS), random.choice((0, 5, MAX_RESPONSE_BODY))
                body = random.randbytes(random.randrange(20))
        match random.randrange(16):
            case 0:
                session = random.choice((0, twins.session ^ 1, twins.session ^ 0x8000))
            case 1:
                number = random.choice(
                    (number + 1, number - 1, number ^ 0x100, number ^ 0x8000, random.randrange(_MODULUS))
                )
            case 2:
                argument = random.choice((0, 64, 65, 255, 256, 257, 0x8000, random.randrange(_MODULUS)))
            case 3:
                body += random.randbytes(random.choice((1, 2, 4)))
            case 4:
                body = b""
            case 5:
                kind = random.choice((0, 8, 0x11, 0x81, random.randrange(256)))
        before = model.next
        await twins.exchange(kind, number, argument, body, session=session)
        if kind == RequestType.HELLO and model.session != twins.session:
            twins.session = model.session
            self.stream = b""
        if kind == RequestType.DATA and model.next != before:
            assert body == self.stream[: len(body)] or body != b""
            self.stream = self.stream[len(body) :]


@cocotb.test()
async def each_request_once(dut: Any) -> None:
    twins = await Twins.begun(dut)
    await twins.exchange(RequestType.PING, 0, 3, b"before a session")
    await twins.exchange(RequestType.READ, 0, 2, session=5)
    assert not int(dut.session.value)
    await twins.open()
    assert int(dut.session.value)
    await twins.exchange(RequestType.READ, PROGRAM_WINDOW - 3, 5)
    await twins.exchange(RequestType.WRITE, 0, PROGRAM_WINDOW, twins.random.randbytes(64))
    await twins.exchange(RequestType.DATA, 1, 0, twins.packed(twins.random_beats(12)))
    await twins.exchange(RequestType.START, 2, 0x8421)
    twins.emit(twins.random_beats(9))
    await twins.settle()
    body = await twins.exchange(RequestType.FETCH, 0, MAX_RESPONSE_BODY)
    await twins.exchange(RequestType.FETCH, len(body), 0)
    for flag in ("busy", "fault"):
        setattr(twins.script, flag, True)
        await twins.settle()
        await twins.exchange(RequestType.PING)


@cocotb.test()
async def a_new_session_forgets_what_waits(dut: Any) -> None:
    """Its first answer already says that all of the input buffer is free."""
    twins = await Twins.begun(dut)
    await twins.open()
    twins.script.takes = False
    await twins.settle()
    for beats in (twins.config.word_parts, 2 * twins.config.word_parts):
        await twins.exchange(RequestType.DATA, 0, 0, twins.packed(twins.random_beats(beats)))
        await twins.settle()
        await twins.exchange(RequestType.HELLO, MAGIC, session=twins.session ^ 1)
        twins.session = twins.model.session


@cocotb.test()
async def each_refusal(dut: Any) -> None:
    """Every bound by one, every state in which something is refused."""
    twins = await Twins.begun(dut)
    script, model, word = twins.script, twins.model, b"\1\2\3\4"
    await twins.exchange(RequestType.HELLO, MAGIC ^ 1, session=7)
    await twins.exchange(RequestType.HELLO, MAGIC, session=0)
    await twins.exchange(RequestType.HELLO, MAGIC, 0, b"\0", session=7)
    await twins.open()
    for kind, argument, body in (
        (RequestType.READ, 0, b""),
        (RequestType.READ, MAX_READ_WORDS, b""),
        (RequestType.READ, 1, word),
        (RequestType.READ, MAX_READ_WORDS + 1, b""),
        (RequestType.READ, 0x8001, b""),
        (RequestType.FETCH, MAX_RESPONSE_BODY, b""),
        (RequestType.FETCH, MAX_RESPONSE_BODY + 1, b""),
        (RequestType.FETCH, 1, word),
        (RequestType.PING, MAX_RESPONSE_BODY, b""),
        (RequestType.PING, MAX_RESPONSE_BODY + 1, b""),
        (RequestType.WRITE, 100, b""),
        (RequestType.WRITE, 100, word[:1]),
        (RequestType.WRITE, 100, word[:2]),
        (RequestType.WRITE, 100, word + word[:3]),
        (RequestType.DATA, 0, b""),
        (RequestType.START, 1, word),
        (0, 0, b""),
        (RequestType.PING | 0x08, 0, b""),
        (RequestType.PING | 0x80, 0, b""),
    ):
        await twins.exchange(kind, model._acknowledged if kind == RequestType.FETCH else model.next, argument, body)
    script.takes = False
    await twins.settle()
    await twins.exchange(RequestType.DATA, 0, 0, twins.packed(twins.random_beats(twins.config.word_parts)))
    await twins.settle()
    for kind in (RequestType.WRITE, RequestType.START):
        await twins.exchange(kind, 1, 100, word if kind == RequestType.WRITE else b"")
    script.takes = True
    await twins.settle()
    for busy in (True, False):
        script.busy = busy
        await twins.settle()
        await twins.exchange(RequestType.WRITE, model.next, 100, word)
        await twins.exchange(RequestType.START, model.next, 100)
        await twins.exchange(RequestType.START, model.next + 1, 100)
        await twins.exchange(RequestType.START, model.next, 100, session=twins.session ^ 4)


@cocotb.test()
async def random_requests(dut: Any) -> None:
    twins = await Twins.begun(dut)
    random, script = twins.random, twins.script
    await twins.open()
    client = _Client(twins)
    for _ in range(bench_parameters()["count"]):
        if random.random() < 0.2:
            script.takes = not script.takes
            await twins.settle()
        if random.random() < 0.2:
            script.busy = not script.busy
        if random.random() < 0.2 and len(script.output) < 20:
            twins.emit(twins.random_beats(random.randrange(1, 12)))
            await twins.settle()
        await client.any()


@cocotb.test(skip=bench_parameters().get("netlist", False))
async def buffers_full(dut: Any) -> None:
    """Both buffers are filled to the last byte; positions and sequence numbers go over 2**16
    meanwhile.
    """
    twins = await Twins.begun(dut)
    random, script, model = twins.random, twins.script, twins.model
    await twins.open()
    await _jump(twins, _MODULUS - random.randrange(1, 200))
    client = _Client(twins)
    script.takes = False
    while twins.free() > 60:
        await _data(client, min(random.randrange(1, 150), model.free))
    for busy in (False, True, False):
        script.busy = busy
        await twins.settle()
        await _data(client, model.free + 1)
        await _data(client, model.free)
    await twins.exchange(RequestType.PING, 0, 0, random.randbytes(40))
    script.takes = True
    await twins.settle()
    await _data(client, 50)

    while len(model._output) < twins.identity.output:
        twins.emit(twins.random_beats(20))
        await twins.settle()
    fetched = b""
    while model._output or model._unsent:
        start = model._acknowledged
        body = await twins.exchange(RequestType.FETCH, start, random.randrange(1, MAX_RESPONSE_BODY + 1))
        fetched += body
        await twins.exchange(RequestType.FETCH, start + len(body), 0)
        await twins.exchange(RequestType.FETCH, start + len(body) - random.randrange(1, 9), 4)
        await twins.exchange(RequestType.FETCH, model._produced + 1, 4)


async def _data(client: _Client, size: int) -> None:
    before, body = client.twins.model.next, client.more(size)
    await client.twins.exchange(RequestType.DATA, before, 0, body)
    if client.twins.model.next != before:
        client.stream = client.stream[size:]


async def _jump(twins: Twins, position: int) -> None:
    """Empty buffers elsewhere: all positions, and the sequence number, are set in a gap, where
    numbers stand whole.
    """
    root = getattr(twins.dut, "component", twins.dut).link
    while True:
        await FallingEdge(twins.dut.clk)
        if int(root.counter.slot.value) & 1:
            break
    for part, name in (
        ("input_buffer", "written"),
        ("input_buffer", "taken"),
        ("output_buffer", "produced"),
        ("output_buffer", "fetched"),
    ):
        getattr(getattr(root, part), name).value = position
    words = root.columns.memory.memory
    for bit in range(POSITION_BITS):
        # Columns 1 to 3: next, kept, acknowledged.
        words[bit].value = int(words[bit].value) & ~0b1110 | (0b1110 if position >> bit & 1 else 0)
    model = twins.model
    model.next = model._acknowledged = model._produced = position


@cocotb.test()
async def broken_frames(dut: Any) -> None:
    """Nothing happens, and the frame behind is whole again."""
    twins = await Twins.begun(dut)
    random = twins.random
    await twins.open()
    good = twins.frame(RequestType.DATA, 0, 0, b"\x01\x02\x03")
    for kind in ("flip", "cut", "doubled", "zero", "short", "empty", "no stop", "noise", "code") * 2:
        frame = bytearray(good)
        place = random.randrange(len(frame) - 1)
        stop = 1
        match kind:
            case "flip":
                frame[place] ^= 1 << random.randrange(8)
            case "cut":
                del frame[place]
            case "doubled":
                frame.insert(place, random.randrange(1, 256))
            case "zero":
                frame[place] = 0
            case "short":
                frame = bytearray(b"\x03\x07\x01\x00")
            case "empty":
                frame = bytearray(3)
            case "code":
                frame = frame[:-1] + b"\x05\x01\x02\x00"
            case "no stop":
                stop = 0
            case "noise":
                frame = bytearray(random.randbytes(60)) + b"\0"
        effects = len(twins.model.feed(b"")) if not stop else len(twins.model.feed(bytes(frame)))
        assert effects == 0
        await twins.line.send(frame, stop=stop)
        assert await twins.response(due=False) is None, f"an answer to {kind}: {frame.hex()}"
        assert int(dut.error.value) or kind in ("empty", "no stop")
        await twins.exchange(RequestType.PING, random.randrange(_MODULUS), 2)
    # One byte without a stop bit in a frame that is right otherwise.
    await twins.line.send(good[:4])
    await twins.line.send(good[4:5], stop=0)
    await twins.line.send(good[5:])
    assert await twins.response(due=False) is None, "an answer to a frame with a byte that was none"
    await twins.exchange(RequestType.PING)
    await twins.open()
    assert not int(dut.error.value), "an error outlives its session"


@cocotb.test()
async def other_clocks(dut: Any) -> None:
    """The host's clock may be off by two per cent."""
    twins = await Twins.begun(dut)
    await twins.open()
    for skew in (-0.02, 0.02):
        frame = twins.frame(RequestType.PING, 0, 5, bytes(range(REQUEST.size * 8)))
        twins.model.feed(frame)
        assert twins.model.answer() is not None
        await twins.line.send(frame, skew=skew)
        assert await twins.response() is not None, f"a host {skew:+.0%} is not understood"

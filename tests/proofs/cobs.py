"""The decoder of byte stuffing does what the definition says, byte by byte."""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Signal, Value

from dither_hw.link.cobs import CobsDecoder, FrameMemory
from tests.benches.mutation import Change

from .harness import Bench, Proof

_FULL = 255


def decoder(bench: Bench) -> None:
    """A code stands at the frame's first place, and every so many places behind a code as it says.

    The specification keeps the place of the current byte, of the last code, and that code; the
    component counts down instead.
    """
    m, dut = bench.m, bench.dut
    place, at, code = Signal(16), Signal(16), Signal(8)
    doubt = Signal()
    is_code = Signal()
    zero = dut.data == 0
    m.d.comb += is_code.eq(place == (at + code)[:16])
    with m.If(dut.valid):
        m.d.sync += [place.eq(place + 1), doubt.eq(doubt | dut.error)]
        with m.If(zero):
            m.d.sync += [place.eq(0), at.eq(0), code.eq(0), doubt.eq(0)]
        with m.Elif(is_code):
            m.d.sync += [at.eq(place), code.eq(dut.data)]
    # A frame of 2**16 bytes is none that anybody sends.
    bench.assume(place != 0xFFFF)

    first = place == 0
    bench.check(dut.end == (dut.valid & zero), "a zero ends a frame and nothing else does")
    bench.check(
        dut.emit == (dut.valid & ~zero & (~is_code | (~first & (code != _FULL)))),
        "data and the zeros between blocks come out",
    )
    with m.If(dut.emit):
        bench.check(dut.payload == Mux(is_code, 0, dut.data), "they come out unchanged")
    with m.If(dut.end):
        # What is read from the line stands in doubt if the line says so, and if a block was cut.
        bench.check(dut.good == (is_code & ~doubt & ~dut.error), "a frame is good if it ends with a block")

    # How the component counts.
    left, due, broken = (bench.register(name) for name in ("left", "zero_due", "broken"))
    bench.invariant(left == (at + code - place)[:16], "bytes left in the block")
    bench.invariant((place >= at) & (first | (place > at)) & (first == (code == 0)) & (~first | (at == 0)), "places")
    bench.invariant(due == (~first & (code != _FULL)), "whether a zero is due")
    bench.invariant(broken == doubt, "doubts")


def frames(bench: Bench) -> None:
    """A payload of any bytes goes through the encoder and the decoder."""
    m, dut = bench.m, bench.dut
    m.submodules.decoder = decoder = CobsDecoder()
    length = bench.constant(2, "length")
    payload = [bench.constant(8, f"byte{i}") for i in range(3)]
    bench.assume(length <= len(payload))
    time, sent = Signal(8), Signal(4)
    m.d.sync += time.eq(time + 1)

    def chosen(number: Value) -> Value:
        result: Value = Const(0, 8)
        for i, byte in enumerate(payload):
            result = Mux(number == i, byte, result)
        return result

    # A frame begins; then a byte in every fourth cycle; then the order to send.
    turn = time[:2] == 3
    m.d.comb += [
        dut.start.eq(time == 1),
        dut.valid.eq(turn & (sent < length)),
        dut.data.eq(chosen(sent)),
        dut.finish.eq(turn & (sent == length)),
        decoder.data.eq(dut.output.payload),
        decoder.valid.eq(dut.output.valid & dut.output.ready),
    ]
    with m.If(turn & (sent <= length)):
        m.d.sync += sent.eq(sent + 1)
    got, over = Signal(4), Signal()
    with m.If(decoder.emit):
        m.d.sync += got.eq(got + 1)
        bench.check((got < length) & (decoder.payload == chosen(got)), "the bytes come out in order")
    with m.If(decoder.end):
        m.d.sync += over.eq(1)
        bench.check(decoder.good & (got == length) & ~over, "the frame ends once and whole")
    # Whoever takes the bytes does so within two cycles.
    late = bench.past(dut.output.valid & ~dut.output.ready, name="late")
    bench.assume(~(late & dut.output.valid & ~dut.output.ready))
    with m.If(time == 4 * 5 + 6 * 6):
        bench.check(over & ~dut.sending, "the frame comes")


PROOFS = (
    Proof(
        "COBS decoder",
        "Every byte of a frame comes out as the definition of byte stuffing says, whatever the line brings; a frame is "
        "good if and only if it ends with a whole block and the line raised no doubt.",
        "",
        CobsDecoder,
        decoder,
        faults=(
            Change("a full block has a zero behind it", "zero_due", lambda old, c, m: Const(1)),
            Change("a doubtful byte is forgotten", "broken", lambda old, c, m: Const(0)),
        ),
        depth=2,
        fault_depth=258,
    ),
    Proof(
        "COBS there and back",
        "A payload that was written to the frame's memory comes out of a decoder behind it, once and whole.",
        "payloads of 0 to 3 bytes",
        FrameMemory,
        frames,
        faults=(
            Change("the code counts from zero", "code", lambda old, c, m: Const(0) if isinstance(old, Const) else None),
        ),
        depth=58,
        bounded=True,
        slow=True,
    ),
)

"""CobsDecoder and FrameMemory against the codec in software.

Payloads are random; there are long blocks and broken frames. Parameters: ``part`` (decoder or
memory), ``count`` of frames, ``constants`` of the memory (hexadecimal).
"""

from __future__ import annotations

from random import Random
from typing import Any

import cocotb

from dither.link.frames import cobs_decode, cobs_encode
from dither.link.protocol import CRC_BYTES, MAX_RESPONSE_BODY, RESPONSE

from .beats import Sink
from .cycles import begin, next_cycle, settled
from .runner import bench_parameters

_APART = 4


def _payload(random: Random, most: int) -> bytes:
    size = random.choice((1, 2, 253, 254, 255, 256, random.randrange(1, most + 1)))
    match random.randrange(4):
        case 0:
            return bytes(min(size, most))
        case 1:
            return bytes(random.randrange(1, 256) for _ in range(min(size, most)))
        case _:
            return bytes(random.choice((0, 1, 255, random.randrange(256))) for _ in range(min(size, most)))


@cocotb.test(skip=bench_parameters()["part"] != "decoder")
async def decoder(dut: Any) -> None:
    random = Random(cocotb.RANDOM_SEED)
    await begin(dut, valid=0, data=0, error=0)
    for _ in range(bench_parameters()["count"]):
        block = bytearray(cobs_encode(_payload(random, 600)))
        failing = random.random() < 0.2
        match random.randrange(5):
            case 0:
                del block[random.randrange(len(block)) :]
            case 1:
                block[random.randrange(len(block))] = random.randrange(1, 256)
        bad = random.randrange(len(block) + 1) if failing else None
        payload = bytearray()
        for place, byte in enumerate((*block, 0)):
            for valid in (*([0] * random.randrange(3)), 1):
                dut.valid.value = valid
                dut.data.value = byte if valid else random.randrange(256)
                dut.error.value = place == bad if valid else random.randrange(2)
                await settled(dut)
                emit, end, good = (int(getattr(dut, name).value) for name in ("emit", "end", "good"))
                assert end == (valid and byte == 0)
                assert not emit or valid, "a byte of nothing"
                if emit:
                    payload.append(int(dut.payload.value))
                await next_cycle(dut)
        try:
            expected = cobs_decode(bytes(block)) if block else b""
        except ValueError:
            assert not good, f"{block.hex()} is good"
            continue
        assert payload == expected, f"{block.hex()}: {payload.hex()}, not {expected.hex()}"
        assert good == (bad is None), f"{block.hex()}, with byte {bad} in error: {'' if good else 'not '}good"


@cocotb.test(skip=bench_parameters()["part"] != "memory")
async def memory(dut: Any) -> None:
    random, parameters = Random(cocotb.RANDOM_SEED), bench_parameters()
    constants = bytes.fromhex(parameters["constants"])
    await begin(dut, start=0, valid=0, data=0, finish=0, output__ready=0)
    for number in range(parameters["count"]):
        # Some frames are given up.
        for _ in range(random.randrange(1, 3)):
            payload = _payload(random, RESPONSE.size + MAX_RESPONSE_BODY + CRC_BYTES)
            if number % 3 == 0:
                payload = constants[1:]
            await _cycles(dut, start=1)
            await _cycles(dut, random.randrange(_APART - 1, 6))
            for place, byte in enumerate(payload):
                await _cycles(dut, valid=1, data=byte)
                constant = await _cycles(dut, random.choice((_APART - 1, 8)))
                if payload == constants[1:] and place + 1 < len(payload):
                    assert constant == payload[place + 1], f"constant {place + 2}"
        await _cycles(dut, finish=1)
        sink = Sink(dut, "output", random.choice(("always", "rarely", "bursts")), random)
        await _cycles(dut)
        sending = True
        while sending:
            sink.drive()
            await settled(dut)
            sink.settle()
            sending = bool(int(dut.sending.value))
            await next_cycle(dut)
        sent = bytes(sink.beats)
        assert sent.find(0) == len(sent) - 1, f"zeros in {sent.hex()}"
        assert cobs_decode(sent[:-1]) == payload, f"{sent.hex()} is not {payload.hex()}"
        assert len(sent) - 1 - len(cobs_encode(payload)) in (0, 1)
        await _cycles(dut, 3)


async def _cycles(dut: Any, count: int = 1, **inputs: int) -> int:
    """So many cycles; the constant in the last."""
    for name in ("start", "valid", "data", "finish"):
        getattr(dut, name).value = inputs.get(name, 0)
    for _ in range(count):
        await settled(dut)
        constant = int(dut.constant.value)
        await next_cycle(dut)
    return constant

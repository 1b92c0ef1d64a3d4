"""Boards that are alive but broken: whatever they say, the driver ends in time, in one line, and a
right board goes on exactly from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest

from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.isa.assembler import Assembler
from dither.arch.streams import Expect, Segment
from dither.golden import GoldenMachine
from dither.link.driver import LinkDevice
from dither.link.exchange import LinkError, Response
from dither.train.experiment import Experiment
from dither.train.session import Session
from dither.train.tasks import load_task
from tests.doubles.board import BoardModel, ModelTransport
from tests.doubles.broken import BEGINNINGS, GREETINGS, MISBEHAVIOURS, BrokenLine, Place, Spoil, VirtualTime

CONFIG = preset("1x8")
FAST = {"patience": 0.4, "shortest_timeout": 0.002}
LONGEST = 10.0
"""Virtual seconds that a conversation with a broken board may take: it has a few dozen steps, each
of which may use up some patience."""
HARMLESS = ("room without end", "tags are one too few")
"""Right results all the same: the input is smaller than the board's buffer, and the tag before is
that of the same question, asked again.
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardModel]:
    board = BoardModel(CONFIG)
    yield board
    board.close()


def echo(device: LinkDevice, groups: int = 15) -> None:
    """Writes a program, has it send back what it is given, and compares."""
    code = Assembler()
    code.emit("PULL", target=1)
    with code.loop(register=1):
        code.emit("LOAD", memory=Memory.ACTIVATION, base=0, count=3)
        code.emit("STORE", memory=Memory.ACTIVATION, base=0, count=3)
    code.emit("HALT")
    device.write_program(code.words())
    values = np.random.default_rng(groups).integers(-9000, 9000, (3 * groups, CONFIG.lanes))
    inputs = [Segment.scalars([groups]), Segment(Memory.ACTIVATION, values)]
    outputs = device.run(0, inputs, [Expect(Memory.ACTIVATION, 3 * groups)]).outputs
    assert np.array_equal(outputs[0], values)


def spoilt_echo(board: BoardModel, spoil: Spoil, begins: Callable[[Response], bool], harmless: bool = False) -> str:
    """What the driver says in the end of a board that breaks; nothing if the echo was right, which
    it must not be unless the fault is harmless.
    """
    time, said = VirtualTime(), ""
    line = BrokenLine(board, spoil, begins, time)
    try:
        with LinkDevice(line, **FAST, now=time) as device:
            echo(device)
    except DeviceError as error:
        said = str(error)
    assert time.seconds < LONGEST
    assert said or harmless or not line.spoilt
    assert "\n" not in said
    with LinkDevice(ModelTransport(board), **FAST) as device:
        echo(device)
    return said


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
def test_no_broken_board_hangs_the_driver(board: BoardModel, misbehaviour: str, beginning: str) -> None:
    spoilt_echo(board, MISBEHAVIOURS[misbehaviour], BEGINNINGS[beginning], misbehaviour in HARMLESS)


@pytest.mark.parametrize("greeting", GREETINGS)
def test_no_greeting_is_taken_for_a_board(board: BoardModel, greeting: str) -> None:
    assert spoilt_echo(board, GREETINGS[greeting], BEGINNINGS["from the first"])


@pytest.mark.parametrize(
    ("misbehaviour", "beginning", "message"),
    [
        (
            "next is far off",
            "once it is open",
            r"READ has had no answer of use for 0.4 s \(it expects request \d+ where",
        ),
        ("tags are opposite", "once a program runs", r"FETCH .* \(it answers with type 0x86 and tag \d+, which is no"),
        ("busy, counters are 0", "once a program runs", r"for 0.4 s the board is busy, but neither takes input"),
        (
            "busy, counters run on",
            "once a program runs",
            r"the engine has counted [\d,]+ cycles in a program of [\d,]+",
        ),
        ("produced is far off", "once a program runs", r"its output ends at byte \d+, sends nothing from byte \d+ on"),
        ("refused for a reason that nobody knows", "once a program runs", r"refuses FETCH \(reason 77, which nobody"),
        ("busy for ever", "from the first", "the board answers, but does not begin a new session"),
    ],
)
def test_the_driver_says_what_a_board_did_wrong(
    board: BoardModel, misbehaviour: str, beginning: str, message: str
) -> None:
    said = spoilt_echo(board, MISBEHAVIOURS[misbehaviour], BEGINNINGS[beginning])
    assert re.search(message, said), said
    assert re.search(r"switch (the board|it) off and on|dither train --resume RUN", said)


def test_a_slow_board_is_no_broken_one(board: BoardModel) -> None:
    """Busy ten times as long as patience lasts, at 2,000 cycles a second, and then done."""
    time = VirtualTime()
    slow = MISBEHAVIOURS["busy, counters run slowly"]

    def spoil(answer: Response, place: Place) -> Response | bytes | None:
        if place.seconds > 4.0:
            return answer
        held = slow(answer, place)
        assert isinstance(held, Response)
        return replace(held, body=b"", next=place.first.next) if answer.type == 0x86 else held

    with LinkDevice(BrokenLine(board, spoil, BEGINNINGS["once a program runs"], time), **FAST, now=time) as device:
        device.write_program(spinning(100).words())
        device.run(0)
    assert time.seconds > 4.0


def spinning(rounds: int) -> Assembler:
    """A program that does nothing so often, twice nested."""
    code = Assembler()
    with code.loop(rounds), code.loop(rounds):
        pass
    code.emit("HALT")
    return code


def test_a_greeting_ends_a_program_that_only_loops(board: BoardModel) -> None:
    """The board in software: 65,535 times 65,535 empty loops would take it hours."""
    with LinkDevice(ModelTransport(board), **FAST) as device:
        device.write_program(spinning(65535).words())
        board.engine.start(0)
    begun = monotonic()
    with LinkDevice(ModelTransport(board), **FAST) as device:
        echo(device)
    assert monotonic() - begun < 20


def test_a_resumed_run_is_exact(board: BoardModel) -> None:
    """A board breaks in the middle of a step; another session goes on from the state before."""
    recipe = {"batch": 32, "tile": 16, "probes": 1, "seed": 1}
    experiment = Experiment.of_task("digits", device="golden", engine=CONFIG, recipe=recipe)
    task = load_task("digits")
    compiled = experiment.compile(task, CONFIG)
    batches, start = task.batches(experiment.recipe), compiled.commands.initial_state(experiment.initial_parameters)
    whole = Session(GoldenMachine(CONFIG), compiled)
    whole.load(start)
    losses = whole.train(0, *batches.take(0, 3))

    time, broken = VirtualTime(), False
    line = BrokenLine(board, MISBEHAVIOURS["busy, counters are 0"], lambda answer: broken, time)
    first = Session(LinkDevice(line, **FAST, now=time), compiled)
    first.load(start)
    begun = first.train(0, *batches.take(0, 1))
    state, broken = first.state(), True
    with pytest.raises(LinkError, match="is busy, but neither takes input"):
        first.train(1, *batches.take(1, 1))
    second = Session(LinkDevice(ModelTransport(board), **FAST), compiled)
    second.load(state)
    assert begun + second.train(1, *batches.take(1, 2)) == losses
    assert np.array_equal(second.masters(), whole.masters())

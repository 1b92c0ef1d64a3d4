"""The driver on a board in software: same bits, and a clear message for whatever goes wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dither.arch.config import EngineConfig, preset
from dither.arch.device import DeviceError
from dither.arch.isa import Memory
from dither.arch.isa.assembler import Assembler
from dither.arch.regmap import MAGIC
from dither.arch.streams import Expect, Segment
from dither.golden import GoldenMachine
from dither.link.driver import LinkDevice, board_config
from dither.link.exchange import LinkError
from dither.link.frames import encode_frame
from dither.link.protocol import REQUEST, Identity, RequestType
from dither.link.transport import SerialTransport
from dither.train.experiment import Experiment
from dither.train.session import Session
from dither.train.tasks import load_task
from tests.doubles.board import BoardModel, ModelTransport, PseudoTerminal

CONFIG = preset("1x8")
FAST = {"patience": 1.0, "shortest_timeout": 0.002}


@pytest.fixture
def board() -> Iterator[BoardModel]:
    board = BoardModel(CONFIG)
    yield board
    board.close()


@pytest.fixture
def device(board: BoardModel) -> Iterator[LinkDevice]:
    with LinkDevice(ModelTransport(board), **FAST) as device:
        device.write_program(program().words())
        yield device


def program() -> Assembler:
    """``echo`` takes a count and so many groups of three activation words, and sends them back;
    some that go wrong.
    """
    code = Assembler()
    code.label("echo")
    code.emit("PULL", target=1)
    with code.loop(register=1):
        code.emit("LOAD", memory=Memory.ACTIVATION, base=0, count=3)
        code.emit("STORE", memory=Memory.ACTIVATION, base=0, count=3)
    code.emit("HALT")
    code.label("quiet")
    code.emit("HALT")
    code.label("fault")
    code.emit("RETURN")
    return code


def echo(device: Any, groups: int, **other: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What went to the device, and what came back."""
    values = np.random.default_rng(groups).integers(-9000, 9000, (3 * groups, device.config.lanes))
    inputs = [Segment.scalars([other.get("count", groups)]), Segment(Memory.ACTIVATION, values)]
    expects = [Expect(Memory.ACTIVATION, 3 * other.get("expected", groups))]
    return values, device.run(program().labels["echo"], inputs, expects).outputs[0]


def entry(name: str) -> int:
    return program().labels[name]


def hello(board: BoardModel, session: int) -> None:
    """Another driver opens the board."""
    board.exchange(b"\0" + encode_frame(REQUEST.pack(type=RequestType.HELLO, session=session, number=MAGIC & 0xFFFF)))


def test_training_gives_the_same_bits_and_counters(board: BoardModel) -> None:
    experiment = Experiment.of_task(
        "digits", device="golden", engine=CONFIG, recipe={"batch": 32, "tile": 16, "probes": 1, "seed": 1}
    )
    task = load_task("digits")
    compiled = experiment.compile(task, CONFIG)
    results = []
    for machine in (GoldenMachine(CONFIG), LinkDevice(ModelTransport(board), CONFIG, **FAST)):
        session = Session(machine, compiled)
        session.load(compiled.commands.initial_state(experiment.initial_parameters))
        batches = task.batches(experiment.recipe)
        losses = session.train(0, *batches.take(0, 3)) + session.train(3, *batches.take(3, 2))
        counters = {name: value for name, value in session.counters.items() if name != "cycles_wait"}
        results.append((losses, session.masters().tolist(), task.score(session), counters))
        machine.close()
    assert results[0] == results[1]


def test_streams_of_any_length(device: LinkDevice) -> None:
    for groups in (1, 2, 100, 1, 700):
        sent, received = echo(device, groups)
        assert np.array_equal(sent, received)
    device.run(entry("quiet"))
    assert device.statistics.resent == 0
    assert device.statistics.bytes_sent > 30_000
    assert len(device.statistics.round_trips) > 10


def test_sequence_numbers_and_positions_wrap(board: BoardModel, device: LinkDevice) -> None:
    board.link.next = device._exchange._number = 0xFFFE
    sent, received = echo(device, 1300)
    assert np.array_equal(sent, received)
    assert board.link.next < 0x8000
    assert device.payload_fetched > 1 << 16


@pytest.mark.parametrize("size", [40, 300])
def test_small_buffers(size: int) -> None:
    board = BoardModel(CONFIG, input=size, output=size)
    with LinkDevice(ModelTransport(board), **FAST) as device:
        device.write_program(program().words())
        sent, received = echo(device, 30)
        assert np.array_equal(sent, received)
    board.close()


def test_identity_and_pings(device: LinkDevice) -> None:
    assert device.identity.board == "model"
    assert device.config == CONFIG
    assert device.read(0) == [MAGIC]
    assert len(device.read(16, 70)) == 70
    assert device.ping(1024, 256) > 0


def test_another_engine_is_refused_naming_both(board: BoardModel) -> None:
    wanted = replace(CONFIG, lanes=16, program_depth=2048)
    with pytest.raises(DeviceError) as caught:
        LinkDevice(ModelTransport(board), wanted, **FAST)
    message = str(caught.value)
    for part in ("1×16", "1×8", wanted.digest(), CONFIG.digest(), "lanes 16 on the board 8", "program_depth 2048"):
        assert part in message


def identity(**changes: Any) -> Identity:
    values: dict[str, Any] = {"clock": 1, "baud": 1, "input": 99, "output": 99, "build": 0, "board": "x"}
    return replace(Identity.of(CONFIG, **values), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 9}, "version 9 of the link, this driver version 3"),
        ({"config": {key: value for key, value in CONFIG.to_dict().items() if key != "width"}}, "does not tell width"),
        ({"config": {**CONFIG.to_dict(), "rows": 3}}, "rows must be one of"),
        ({"configuration": 1}, "not 00000001; load a bitstream of this version"),
    ],
)
def test_boards_of_other_versions(changes: dict[str, Any], message: str) -> None:
    assert board_config(identity()) == CONFIG
    with pytest.raises(DeviceError, match=message):
        board_config(identity(**changes))


def test_registers_must_agree(board: BoardModel) -> None:
    board.engine.read = lambda address: 7  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="register 'magic' is 0x00000007"):
        LinkDevice(ModelTransport(board), **FAST)


class Silence:
    """A line without a board, or with something else."""

    name, bauds, baud = "silence", (9600, 115200), 9600

    def __init__(self, sends: bytes = b"") -> None:
        self.sends = sends
        self.tried: list[int] = []
        self.closed = False

    def set_baud(self, baud: int) -> None:
        self.tried.append(baud)
        self.baud = baud

    def write(self, data: bytes) -> None:
        pass

    def read(self, timeout: float) -> bytes:
        threading.Event().wait(min(timeout, 0.01))
        return self.sends

    def reset_input(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_nobody_answers() -> None:
    line = Silence(b"\0AT OK\r\n\0")
    with pytest.raises(DeviceError, match=r"no board answers on silence at 9600 or 115200 baud; is it on"):
        LinkDevice(line, patience=0.4, shortest_timeout=0.01)
    assert line.closed
    assert {9600, 115200} <= set(line.tried)


def test_a_session_number_that_the_board_had_before(board: BoardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    hello(board, 5)
    board.link.feed(encode_frame(REQUEST.pack(type=RequestType.START, session=5, number=0, argument=0)))
    board.link.answer()
    numbers = iter([4, 9])
    monkeypatch.setattr("dither.link.exchange.secrets.randbelow", lambda bound: next(numbers))
    with LinkDevice(ModelTransport(board), **FAST):
        assert board.link.session == 10


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda device: device.run(entry("fault")), "faulted"),
        (lambda device: echo(device, 3, count=2, expected=2), "consumed fewer than the 10 beats"),
        (lambda device: echo(device, 900, count=2, expected=2), "consumed fewer than the 2701 beats"),
        (lambda device: echo(device, 2, expected=1), "more than the 3 beats expected|6 of the 3 beats"),
        (lambda device: echo(device, 2, expected=3), "6 of the 9 beats expected"),
        (lambda device: echo(device, 2, count=3, expected=3), "waits for more than the 7 beats"),
        (lambda device: device.write_program([0] * 5000), "5000 words does not fit into 4096"),
        (lambda device: device.run(0, [Segment(None, np.zeros((2, 2), np.int64))]), "scalars needs 1 slots a beat"),
    ],
)
def test_programs_that_go_wrong(
    device: LinkDevice, work: Callable[[LinkDevice], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dither.link.watch._LOOK_SECONDS", 0.05)
    with pytest.raises(DeviceError, match=message):
        work(device)
    sent, received = echo(device, 4)
    assert np.array_equal(sent, received)


def test_an_interrupted_run_leaves_the_link_in_order(board: BoardModel) -> None:
    line = ModelTransport(board)
    with LinkDevice(line, **FAST) as device:
        device.write_program(program().words())
        write, count = line.write, 0

        def interrupted(data: bytes) -> None:
            nonlocal count
            count += 1
            if count == 8:
                raise KeyboardInterrupt
            write(data)

        line.write = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            echo(device, 300)
        sent, received = echo(device, 5)
        assert np.array_equal(sent, received)


def test_another_driver_takes_the_board(board: BoardModel, device: LinkDevice) -> None:
    hello(board, device._exchange.session ^ 1)
    for _ in range(2):
        with pytest.raises(LinkError, match=r"another driver has opened the board.*--resume RUN"):
            echo(device, 2)


@pytest.mark.parametrize("before", ["idle", "after a program that went wrong"])
def test_a_board_that_was_switched_off_is_not_used_again(board: BoardModel, device: LinkDevice, before: str) -> None:
    if before != "idle":
        with pytest.raises(DeviceError):
            device.run(entry("fault"))
    board.restart()
    for _ in range(2):
        with pytest.raises(LinkError, match=r"forgotten the session.*--resume RUN"):
            echo(device, 2)


def test_silence_in_the_middle(board: BoardModel, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ModelTransport(board)
    with LinkDevice(line, patience=0.8, shortest_timeout=0.002) as device:
        monkeypatch.setattr(line, "write", lambda data: None)
        with pytest.raises(LinkError, match=r"has not answered for 0.8 s; is it still on\? the run goes on"):
            echo(device, 2)
        assert device.statistics.timeouts > 2


def test_requests_without_effect_end_in_the_end(board: BoardModel) -> None:
    with LinkDevice(ModelTransport(board), patience=0.8, shortest_timeout=0.002) as device:
        # A beat that never finds room: the board stays busy.
        board.link._unsent = b"1"
        board.link.identity = replace(board.link.identity, output=0)
        with pytest.raises(LinkError, match="START has had no effect"):
            echo(device, 2)
        assert device.statistics.refusals["BUSY"] > 2


def test_a_closed_device(device: LinkDevice) -> None:
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.run(0)


# Behind a pseudo-terminal


def test_pseudo_terminal_is_held_exclusively(board: BoardModel) -> None:
    with PseudoTerminal(board) as terminal, LinkDevice(SerialTransport(terminal.path), CONFIG) as device:
        device.write_program(program().words())
        with pytest.raises(DeviceError, match=f"{terminal.path} is in use: another driver holds it"):
            SerialTransport(terminal.path)
        sent, received = echo(device, 50)
        assert np.array_equal(sent, received)


def test_paced_line_is_nearly_full() -> None:
    board = BoardModel(CONFIG, baud=1_000_000)
    with PseudoTerminal(board, paced=True) as terminal, LinkDevice(SerialTransport(terminal.path)) as device:
        device.write_program(program().words())
        sent, received = echo(device, 200)
        assert np.array_equal(sent, received)
        assert device.statistics.timeouts == 0
    board.close()


def test_unplugged_in_the_middle(board: BoardModel) -> None:
    terminal = PseudoTerminal(board, paced=True)
    with terminal, LinkDevice(SerialTransport(terminal.path)) as device:
        device.write_program(program().words())
        timer = threading.Timer(0.05, terminal.unplug)
        timer.start()
        with pytest.raises(LinkError, match=r"is gone .*plug the board in again.*--resume RUN"):
            echo(device, 10_000)
        timer.join()


def test_ports_that_are_none(tmp_path: Any) -> None:
    with pytest.raises(DeviceError, match=r"there is no .*nowhere; serial ports here"):
        SerialTransport(str(tmp_path / "nowhere"))
    plain = tmp_path / "plain"
    plain.write_text("")
    with pytest.raises(DeviceError, match="cannot be opened as a serial port"):
        SerialTransport(str(plain))
    if os.getuid():
        plain.chmod(0)
        with pytest.raises(DeviceError, match="may not be opened by this user"):
            SerialTransport(str(plain))


@pytest.mark.parametrize("config", [EngineConfig(rows=2, lanes=4, width=16), preset("1x8-compact")])
def test_other_engines(config: EngineConfig) -> None:
    board = BoardModel(config, name="other")
    with LinkDevice(ModelTransport(board), **FAST) as device:
        assert device.config.width == 16
        device.write_program(program().words())
        sent, received = echo(device, 3)
        assert np.array_equal(sent, received)
    board.close()

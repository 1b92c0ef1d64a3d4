"""``dither train`` on a board behind a pseudo-terminal: the golden curve, whatever happens on the
way.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dither.arch.config import EngineConfig, preset
from dither.arch.device import DeviceError
from dither.cli import main
from dither.link.ports import AUTO, is_line, open_board
from dither.link.transport import Port
from dither.runs import RunFolder
from tests.doubles.board import BoardModel, PseudoTerminal

RECIPE = ["--batch", "32", "--tile", "16", "--probes", "1", "--log-every", "2", "--schedule", "constant"]
# No preset: only the board can tell what it has.
BOARD = replace(preset("1x8"), program_depth=3000)


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    board = BoardModel(BOARD, name="virtual")
    with PseudoTerminal(board) as terminal:
        yield terminal
    board.close()


def train(*arguments: str) -> int:
    return main(["train", "digits", *RECIPE, *arguments])


def same(left: str, right: str) -> bool:
    return main(["compare", left, right, "--no-plot"]) == 0


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("dither: ")
    assert error.count("\n") == 1
    return error


def test_board_trains_to_the_golden_curve(terminal: PseudoTerminal) -> None:
    assert train("--device", terminal.path, "--steps", "4") == 0
    folder = f"runs/digits-{Path(terminal.path).name}-1"
    description = RunFolder.open(Path(folder)).description
    assert EngineConfig.from_dict(description["engine"]) == BOARD
    board = description["board"]
    assert (board["name"], board["build"], board["clock"]) == ("virtual", "0" * 16, 25_000_000)
    assert "--engine" not in description["command"]
    assert train("--steps", "4", "--out", "golden") == 0
    assert same(folder, "golden")
    assert main([*description["command"].split()[1:], "--out", "again"]) == 0
    assert same(folder, "again")


def test_runs_go_from_machine_to_machine(terminal: PseudoTerminal) -> None:
    assert train("--steps", "3", "--out", "run") == 0
    assert main(["train", "--resume", "run", "--steps", "6", "--device", terminal.path]) == 0
    description = RunFolder.open(Path("run")).description
    assert (description["device"], description["board"]["name"]) == (terminal.path, "virtual")
    assert main(["train", "--resume", "run", "--steps", "9", "--device", "golden"]) == 0
    assert RunFolder.open(Path("run")).description["board"] is None
    assert train("--steps", "9", "--out", "whole") == 0
    assert same("run", "whole")
    counters = [RunFolder.open(Path(run)).description["progress"]["counters"] for run in ("run", "whole")]
    for counter in counters:
        counter.pop("cycles_wait")
    assert counters[0] == counters[1]


def test_another_engine_is_refused(terminal: PseudoTerminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--device", terminal.path, "--engine", "2x16") == 2
    message = complaint(capsys)
    for part in ("2×16", "1×8", preset("2x16").digest(), BOARD.digest(), "lanes 16 on the board 8"):
        assert part in message
    assert not list(Path().iterdir())


def test_other_number_formats_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--steps", "1", "--out", "run") == 0
    board = BoardModel(replace(BOARD, width=16))
    capsys.readouterr()
    with PseudoTerminal(board) as terminal:
        assert main(["train", "--resume", "run", "--steps", "2", "--device", terminal.path]) == 2
    assert "the run has width 18" in complaint(capsys)
    board.close()


def test_mistakes(terminal: PseudoTerminal, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--device", "/dev/nowhere"], "there is no /dev/nowhere; serial ports here"),
        (["--device", f"{terminal.path}@fast"], "there is no"),
        (["--device", terminal.path, "--waves", "file.fst:1-2"], "has no waveforms"),
    ):
        assert train(*arguments) == 2
        assert message in complaint(capsys)
    assert main(["link-bench", "board"]) == 2
    assert "is no serial port" in complaint(capsys)
    holder = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    assert train("--device", terminal.path) == 2
    assert f"{terminal.path} is in use: another driver holds it" in complaint(capsys)
    os.close(holder)


def test_link_bench(terminal: PseudoTerminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link-bench", terminal.path, "--pings", "20", "--seconds", "0.1", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert EngineConfig.from_dict(values["engine"]) == BOARD
    trips = values["round_trip_seconds"]
    assert 0 < trips["least"] <= trips["median"] <= trips["p99"]
    assert values["limit_bytes_per_s"] == values["baud"] / 10
    assert values["upload_of_limit"] == values["upload_bytes_per_s"] / values["limit_bytes_per_s"] > 0
    assert values["download_bytes_per_s"] > 0
    assert main(["link-bench", terminal.path, "--pings", "5", "--seconds", "0.1"]) == 0
    said = capsys.readouterr().out
    for word in ("virtual on", "25 MHz", "of the line", BOARD.digest()):
        assert word in said


def test_link_soak(terminal: PseudoTerminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link-soak", terminal.path, "--faults", "5"]) == 0
    assert "every curve golden" in capsys.readouterr().out


def begin(path: str) -> subprocess.Popen[str]:
    """A driver in a process of its own, in the middle of training."""
    arguments = [sys.executable, "-c", "from dither.cli import main; raise SystemExit(main())", "train", "digits"]
    process = subprocess.Popen(
        [*arguments, *RECIPE, "--device", path, "--steps", "1000000", "--checkpoint-every", "5", "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    curve, deadline = Path("run/curve.csv"), time.monotonic() + 60
    while not (curve.exists() and curve.read_text().count("\n") > 6):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def finish(device: str) -> None:
    """Goes on with the run, and compares it with one that nothing happened to."""
    steps = str(RunFolder.open(Path("run")).load_checkpoint().step + 3)
    assert main(["train", "--resume", "run", "--steps", steps, "--device", device]) == 0
    assert train("--steps", steps, "--out", "whole") == 0
    assert same("run", "whole")


def test_killed_driver(terminal: PseudoTerminal) -> None:
    process = begin(terminal.path)
    process.kill()
    process.communicate(timeout=60)
    finish(terminal.path)


@pytest.mark.slow
def test_interrupted_driver(terminal: PseudoTerminal) -> None:
    process = begin(terminal.path)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: dither train --resume run" in error
    finish(terminal.path)


def test_unplugged_board(terminal: PseudoTerminal) -> None:
    process = begin(terminal.path)
    terminal.unplug()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"{terminal.path} is gone" in error
    assert "the run goes on with dither train --resume run" in error
    assert "Traceback" not in error
    # It was powered by the line, too.
    terminal.board.restart()
    with PseudoTerminal(terminal.board) as again:
        finish(again.path)


@pytest.mark.slow
def test_board_reset_in_the_middle(terminal: PseudoTerminal) -> None:
    process = begin(terminal.path)
    terminal.board.link.session = 0
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the board has forgotten the session" in error
    assert "dither train --resume run" in error
    finish(terminal.path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("/dev/ttyUSB0", True),
        ("./board", True),
        ("/dev/ttyUSB0@115200", True),
        ("COM12", True),
        ("com3@9600", True),
        ("serial:auto", True),
        ("golden", False),
        ("rtl", False),
        ("COM", False),
        ("ttyUSB0", False),
    ],
)
def test_names_of_lines(name: str, line: bool) -> None:
    assert is_line(name) == line


def test_a_board_is_found(terminal: PseudoTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [Port("/dev/nowhere", "the bridge's other port", True), Port("/dev/null", "no bridge", False)]
    monkeypatch.setattr("dither.link.ports.serial_ports", lambda: ports)
    with pytest.raises(DeviceError, match="no board found: there is no /dev/nowhere"):
        open_board(AUTO)
    ports.append(Port(terminal.path, "a board", True))
    with open_board(AUTO) as device:
        assert (device.name, device.config) == (terminal.path, BOARD)
    with open_board(f"{terminal.path}@115200") as device:
        assert device.identity.board == "virtual"
    del ports[0], ports[1]
    with pytest.raises(DeviceError, match="is the board plugged in"):
        open_board(AUTO)
    with pytest.raises(DeviceError, match="'ttyUSB0' is no serial port"):
        open_board("ttyUSB0")

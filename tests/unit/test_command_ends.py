"""How commands end: faults, Ctrl-C at any time, terminals and pipes that do not take everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from dither.arch.config import PRESETS
from dither.arch.device import DeviceError
from dither.cli import main
from dither.cli.commands import BROKEN, COMMANDS
from dither.cli.progress import LONG, Display
from dither.devices import Waves, require_device
from dither.recipe import Recipe
from dither.runs import CurveRow, RunError, RunFolder
from dither.tools import toolchain
from dither.train.loop import Progress

PROGRAM = [sys.executable, "-c", "import sys; from dither.cli import main; sys.exit(main())"]


pytestmark = pytest.mark.usefixtures("own_folder")


def said(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a command says in a process of its own."""
    return subprocess.run(
        [*PROGRAM, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )


def line(capsys) -> str:
    error = capsys.readouterr().err
    assert error.startswith("dither: ")
    assert error.count("\n") == 1
    return error


def test_a_fault_of_the_software_is_no_difference(monkeypatch, capsys):
    def fault(*arguments):
        raise RuntimeError("planted")

    monkeypatch.setattr("dither.cli.results.compare_runs", fault)
    for name in ("a", "b"):
        RunFolder.create(name, {"tensors": [], "steps": 1}).close()
    assert main(["compare", "a", "b"]) == BROKEN == 70
    error = capsys.readouterr().err
    assert "RuntimeError: planted" in error
    assert "a fault of dither" in error.splitlines()[-1]


def test_a_disk_that_is_full_is_no_fault(monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device", "runs/x")

    monkeypatch.setattr("dither.cli.results.compare_runs", full)
    for name in ("a", "b"):
        RunFolder.create(name, {"tensors": [], "steps": 1}).close()
    assert main(["compare", "a", "b"]) == 2
    assert "cannot use runs/x: No space left on device" in line(capsys)


def test_a_reader_that_goes_away_is_no_fault():
    command = " ".join([f"'{word}'" for word in PROGRAM])
    done = subprocess.run(
        ["bash", "-c", f'{command} disassemble digits | head -1; exit "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 141)
    assert done.stderr == ""


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.3, 0.6])
def test_ctrl_c_is_clean_from_the_first_import_on(seconds):
    # Until the package itself is there, in some milliseconds, Ctrl-C is Python's own affair.
    program = f"import sys, dither; print('up', flush=True); {PROGRAM[2].removeprefix('import sys; ')}"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "train", "digits", "--steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who starts tests in the background may have left them deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "interrupted" in error


@pytest.mark.parametrize("arguments", [["boards"], ["info"], ["train", "digits", "--steps", "1"], ["tarin"]])
def test_terminals_of_ascii_are_enough(arguments):
    done = said(*arguments, PYTHONIOENCODING="ascii")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert done.stdout.isascii()
    if arguments == ["boards"]:
        assert "8x16" in done.stdout


def test_files_are_read_alike_everywhere():
    done = said("fit", "digits", "--engine", "2x16", PYTHONUTF8="0", LC_ALL="C", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_a_board_s_link_is_looked_at_before_anything_is_compiled(tmp_path, capsys):
    for link in (tmp_path, tmp_path / "no" / "board"):
        assert main(["virtual-board", "--engine", "1x8", "--link", str(link)]) == 2
        assert "give a new name in a folder" in line(capsys)


def test_narrow_terminals_cut_no_digest(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["info"]) == 0
    assert PRESETS["1x8"].digest() in capsys.readouterr().out


def test_help_has_sections(capsys):
    assert main(["--help"]) == 0
    help = capsys.readouterr().out
    sections = [entry.section for entry in COMMANDS.values()]
    assert [help.index(f"\n{section}:\n") for section in dict.fromkeys(sections)] == sorted(
        help.index(f"\n{section}:\n") for section in set(sections)
    )
    assert help.index("  train ") < help.index("  build ") < help.index("  docs ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "digits", "--out", ""], "--out is empty"),
        (["train", "digits", "--out="], "--out is empty"),
        (["train", ""], "is empty"),
        (["train", "digits", "--device", "foo"], "or a serial port such as /dev/ttyUSB0"),
        (["train", "digits", "--probes", "999999999"], "probes must be integers from 1 to 65535"),
        (["train", "digits", "--mu", "1e300"], "from 1e-9 to 1e9"),
        (["train", "digits", "--out", "/proc/none/here"], "cannot write to /proc/none/here"),
        (["train", "hjb", "--stencil", "stein:0.5:1000000000"], "too many"),
        (["train", "hjb", "--stencil", "sparse:0.5:6"], "too many nodes"),
        (["train", "x" * 5000], "File name too long"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys):
    begun = time.process_time()
    assert main(arguments) == 2
    assert message in line(capsys)
    assert time.process_time() - begun < 10


def test_advice_suits_the_folder_that_is_in_the_way(capsys):
    Path("taken").mkdir()
    Path("taken/file").touch()
    assert main(["train", "digits", "--out", "taken"]) == 2
    assert "--resume" not in line(capsys)
    RunFolder.create("run", {"tensors": [], "steps": 1}).close()
    with pytest.raises(RunError, match="dither train --resume run"):
        RunFolder.refuse_used("run")


def test_what_is_missing_is_found_before_the_work(monkeypatch):
    for find in (toolchain.compiler, toolchain.make):
        find.cache_clear()
    monkeypatch.setenv("CXX", "/nowhere/c++")
    for device in ("rtl", "native"):
        with pytest.raises(DeviceError, match=r"no C\+\+ compiler"):
            require_device(device)
    require_device("golden")
    toolchain.compiler.cache_clear()
    monkeypatch.delenv("CXX")
    with pytest.raises(DeviceError, match="no folder nowhere"):
        require_device("rtl", Waves("nowhere/x.vcd", 1, 1))
    with pytest.raises(DeviceError, match="golden has no waveforms"):
        require_device("golden", Waves("x.vcd", 1, 1))


def test_trying_a_folder_leaves_nothing():
    RunFolder.refuse_used("new/deep/run")
    assert not list(Path().iterdir())


@pytest.mark.parametrize("value", [0, -1, 65536, 1.5, True])
def test_probes_have_bounds(value):
    with pytest.raises(ValueError, match="probes must be integers from 1 to 65535"):
        Recipe(probes=value)


def test_long_work_says_so_and_how_to_make_it_short(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("dither.cli.progress.time.monotonic", lambda: now[0])
    row = CurveRow(0, 0, 0, 1.0, 0.5, 0.75, "")
    with Display(Console(width=200)) as display:
        for step in (10, 20, 30):
            now[0] += 20.0
            display.show(Progress(step, 1000, step * 64, 0.625, row, 1.0))
    said = capsys.readouterr().out
    assert said.count("this takes about 33 min") == 1
    assert f"--steps {round(10 * LONG / 20)} takes two minutes" in said
    lines = [text for text in said.splitlines() if text.startswith("step")]
    assert len(lines) == 3
    assert "step 30/1000  loss 0.6250  accuracy 75.00% at step 0" in lines[2]
    assert lines[2].endswith("32 min 20 s left")

"""Files that nobody of good will wrote, or that a disk has damaged: one line says what is wrong."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dither.arch.config import preset
from dither.arch.device import DeviceError
from dither.cli import main
from dither.cli.commands import complain
from dither.cli.link import _table
from dither.data import DataError, RemoteFile, read_file
from dither.data import files as data_files
from dither.link.exchange import Reason
from dither.link.ports import open_port
from dither.link.protocol import IDENTITY, Identity
from dither.nn.network import Network
from dither.report import render_report
from dither.report.records import check_record, load_record, recorded_experiment, write_record
from dither.report.results import render_results
from dither.runs import RunError, RunFolder
from dither.runs.checkpoint import Checkpoint, CheckpointError
from dither.tools import archives
from dither.tools.archives import read_archive
from dither.tools.files import write_atomically
from dither.train.experiment import Experiment

TINY = ["--engine", "1x8", "--batch", "32", "--tile", "16", "--probes", "1", "--log-every", "2", "--steps", "4"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two phases."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", "digits", *TINY, "--then", "after=3,rate=0.001", "--out", str(path)]) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, for tests that do harm."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def recorded(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its record."""
    folder = tmp_path_factory.mktemp("recorded") / "tiny"
    write_record(RunFolder.open(finished), folder, "tiny", "hybrid")
    return folder


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    text = capsys.readouterr().err
    assert text.startswith("dither: ")
    assert text.count("\n") == 1
    assert text.strip().isprintable()
    return text


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))


# Checkpoints


def stamped(run: Path, meta: dict[str, Any], **arrays: Any) -> Path:
    """A checkpoint that is whole, whatever it says."""
    opened = RunFolder.open(run)
    path = sorted(opened.checkpoints.iterdir())[-1]
    good = Checkpoint.load(path, opened.identity)
    Checkpoint(good.identity, good.step, {**good.arrays, **arrays}, {**good.meta, **meta}).save(path)
    return path


@pytest.mark.parametrize(
    "meta",
    [
        {"rows": "3"},
        {"rows": 0},
        {"rows": None},
        {"seconds": "long"},
        {"pending_loss": 1.5},
        {"pending_steps": -1},
        {"counters": []},
        {"counters": {"cycles": 1}},
        {"phase": 1},
        {"phase": {"number": 7, "begun": [0, 0, 0], "plateau": [1.0, 0]}},
        {"phase": {"number": 0, "begun": [0, 0], "plateau": [1.0, 0]}},
        {"phase": {"number": 0, "begun": [0, 0, 0], "plateau": []}},
        {"step": 3.5},
        {"step": True},
        {"identity": 5},
    ],
    ids=str,
)
def test_odd_words_in_a_checkpoint(meta: dict[str, Any], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamped(run, meta)
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 2
    assert "delete it to resume from the checkpoint before" in complaint(capsys)


@pytest.mark.parametrize("arrays", [{"master.none": np.zeros(3, "<i4")}, {"other": np.zeros(3, "<i4")}], ids=str)
def test_odd_arrays_in_a_checkpoint(arrays: dict[str, Any], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamped(run, {}, **arrays)
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 2
    assert "its arrays are not those of this network" in complaint(capsys)


def archive(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("meta.npy", content)


def header(shape: str, kind: str = "<i4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


def flag(path: Path, position: int, value: int) -> None:
    """Sets a byte of the zip's local header and of its directory: flags at 6, the method at 8."""
    content = bytearray(path.read_bytes())
    for start, mark in ((position, b"PK\3\4"), (position + 2, b"PK\1\2")):
        content[content.index(mark) + start] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: flag(path, 6, 1), "encrypted"),
        (lambda path: flag(path, 8, 77), "damaged"),
        (lambda path: archive(path, header(f"({1 << 40},)")), "bytes"),
        (lambda path: archive(path, header("(-1,)")), "shape"),
        (lambda path: archive(path, header("(1,)", "|O") + bytes(8)), "type"),
        (lambda path: archive(path, header("(")), "damaged|header"),
        (lambda path: archive(path, b"\x93NUMPY\7\0" + bytes(20)), "version"),
        (lambda path: archive(path, b"no array"), "magic"),
        (lambda path: archive(path, bytes((1 << 20) + 1), zipfile.ZIP_DEFLATED), "more than 1 MiB"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), r"no \.npz file"),
        (lambda path: path.write_bytes(b""), r"no \.npz file"),
    ],
    ids=["encrypted", "method", "huge", "negative", "object", "header", "version", "magic", "bomb", "npy", "empty"],
)
def test_odd_archives(
    spoil: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 1 << 20)
    path = tmp_path / "archive.npz"
    np.savez(path, meta=np.zeros(3))
    spoil(path)
    with pytest.raises(ValueError, match=said):
        read_archive(path)
    with pytest.raises(CheckpointError, match="truncated or not a dither checkpoint"):
        Checkpoint.load(path, "")
    with pytest.raises(ValueError, match=rf"cannot read the network .*({said})"):
        Network.load(path)


def test_a_network_that_is_one_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    assert main(["train", "digits", "--model", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run")]) == 2
    assert "it is no .npz file" in complaint(capsys)


# Runs and records


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without their picture, which takes longest."""
    monkeypatch.setattr("dither.report.inline_svg", lambda figure, label: "")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "edit",
    [
        lambda values: values["engine"].update(lanes=17),
        lambda values: values["engine"].update(lanes="eight"),
        lambda values: values.update(steps="four"),
        lambda values: values.update(steps=0),
        lambda values: values.update(steps=True),
        lambda values: values.update(recipe=[]),
        lambda values: values.update(model={"layers": {}, "loss": 1}),
        lambda values: values.update(model={"layers": [{}], "loss": "cross_entropy"}),
        lambda values: values["model"]["layers"][0].update(outputs=[]),
        lambda values: values.update(phases=[1]),
        lambda values: values.update(phases=[{"recipe": {"probes": {}}}]),
        lambda values: values["tensors"][0].update(shape=[1 << 40, 1 << 40]),
        lambda values: values["tensors"][0].update(shape=[-1]),
        lambda values: values.update(tensors={}),
        lambda values: values["progress"].update(counters=[]),
        lambda values: values.update(memories=[{"name": "x", "depth": 0, "used": 0, "regions": []}]),
        lambda values: values.update(title="\ud800"),
        lambda values: values.update(plan=None),
    ],
)
def test_wrong_types_in_run_json(
    edit: Callable[[dict[str, Any]], object], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run / "run.json", edit)
    codes = []
    for command in (["train", "--resume", str(run), "--steps", "6"], ["report", str(run)]):
        codes.append(main(command))
        if codes[-1] == 2:
            complaint(capsys)
        capsys.readouterr()
    assert 2 in codes
    assert set(codes) <= {0, 2}


def test_an_edited_phase_is_another_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = RunFolder.open(run).identity
    change(run / "run.json", lambda values: values["phases"][1]["recipe"].update(rate=0.5))
    assert RunFolder.open(run).identity != before
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 2
    assert "belongs to another run" in complaint(capsys)


def test_runs_of_one_phase_keep_their_identity(run: Path) -> None:
    for edit in (lambda values: values.update(phases=[]), lambda values: values.pop("phases")):
        change(run / "run.json", edit)
        identity = RunFolder.open(run).identity
        change(run / "run.json", lambda values: values.update(log_every=7))
        assert RunFolder.open(run).identity == identity
    description = json.loads((run / "run.json").read_text())
    description.update(task="toy", seed=1, model={"layers": [], "loss": ""}, recipe={}, numerics={}, tensors=[])
    assert RunFolder(run, description).identity == "cca84684602dbd0b"


def test_what_a_plateau_depends_on_is_in_the_identity(run: Path) -> None:
    change(run / "run.json", lambda values: values["phases"][0].update(steps=None, plateau=2))
    before = RunFolder.open(run).identity
    change(run / "run.json", lambda values: values.update(log_every=7))
    assert RunFolder.open(run).identity != before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["result.json", "run.json"])
def test_random_changes_of_json(name: str, run: Path, recorded: Path, tmp_path: Path) -> None:
    """A value anywhere is replaced by a strange one: a complaint in one line, or all is well."""
    chance = random.Random(5)
    results = Path(shutil.copytree(recorded, tmp_path / "results" / "tiny")).parent
    file = run / name if name == "run.json" else results / "tiny" / name
    good = json.loads(file.read_text())
    strange = [None, True, -1, 17, 1 << 70, 0.5, float("nan"), "", "text", "\ud800", [], [[]], {}, {"a": 1}]
    refused = 0
    for _ in range(200):
        values = json.loads(json.dumps(good))
        place: Any = values
        while True:
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], (dict, list)) or not place[key] or chance.random() < 0.2:
                break
            place = place[key]
        place[key] = chance.choice(strange)
        file.write_text(json.dumps(values))
        try:
            if name == "run.json":
                opened = RunFolder.open(run)
                Experiment.of_run(opened)
                render_report(opened)
            else:
                recorded_experiment(load_record(file.parent))
                render_results(results)
        except RunError:
            refused += 1
    assert 50 < refused < 200


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["run.json", "curve.csv", "history", "checkpoint", "result.json"])
def test_random_changes_of_bytes(name: str, run: Path, recorded: Path, tmp_path: Path) -> None:
    chance = random.Random(6)
    record = Path(shutil.copytree(recorded, tmp_path / "results" / "tiny"))
    checkpoint = sorted((run / "checkpoints").iterdir())[-1]
    file = {"checkpoint": checkpoint, "result.json": record / name}.get(name, run / name)
    good = file.read_bytes()
    refused = 0
    for _ in range(60):
        content = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(content))
            content[start : start + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        file.write_bytes(content[: chance.randrange(len(content))] if chance.random() < 0.1 else content)
        try:
            opened = RunFolder.open(run)
            opened.load_checkpoint()
            Experiment.of_run(opened)
            render_report(opened)
            recorded_experiment(load_record(record))
            render_results(record.parent)
        except (RunError, CheckpointError):
            refused += 1
    assert refused > 5


# The page of results


def test_a_title_is_no_markup(recorded: Path, tmp_path: Path) -> None:
    record = Path(shutil.copytree(recorded, tmp_path / "tiny"))
    title = "<script>alert(1)</script> [x](http://e) `c` *b* | \n# more"
    change(record / "result.json", lambda values: values.update(title=title, command="```\n<b>"))
    page = render_results(tmp_path)
    assert "<script>" not in page.replace("\\<script\\>", "")
    assert "### \\<script\\>alert(1)\\</script\\> \\[x\\](http://e) \\`c\\` \\*b\\* \\| # more\n" in page
    assert "\n'''" in page


@pytest.mark.parametrize("name", ["result.json", "curve.csv", "note.md", "folder"])
def test_no_link_out_of_the_results_is_followed(name: str, recorded: Path, tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    shutil.copytree(recorded, elsewhere)
    (elsewhere / "note.md").write_text("secret")
    if name == "folder":
        results.mkdir()
        (results / "tiny").symlink_to(elsewhere)
    else:
        shutil.copytree(recorded, results / "tiny")
        (results / "tiny" / name).unlink(missing_ok=True)
        (results / "tiny" / name).symlink_to(elsewhere / name)
    with pytest.raises(RunError, match="leads out of"):
        render_results(results)


def test_a_record_without_digests_is_no_success(recorded: Path, tmp_path: Path) -> None:
    record = Path(shutil.copytree(recorded, tmp_path / "tiny"))
    change(record / "result.json", lambda values: values.update(first_digests=[]))
    with pytest.raises(RunError, match="holds no digests"):
        check_record(record)


# Data


def test_gzip_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "LARGEST", 1 << 20)
    (tmp_path / "file.gz").write_bytes(gzip.compress(bytes(1 << 26)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="would be larger than any data file"):
            read_file(RemoteFile("file", "0" * 64), tmp_path, (), download=False)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
    (tmp_path / "file").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(DataError, match="larger than any data file"):
        read_file(RemoteFile("file", "0" * 64), tmp_path, (), download=False)


# Temporary files


def test_temporary_files_cannot_be_guessed_and_follow_no_link(tmp_path: Path) -> None:
    precious, seen = tmp_path / "precious", []
    precious.write_text("kept")
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to(precious)

    def watch(file: Any) -> None:
        file.write(b"new")

    real = os.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", lambda source, target: (seen.append(source), real(source, target)))
        for _ in range(2):
            write_atomically(tmp_path / "file", watch)
    assert len(set(seen)) == 2
    assert all(path.parent == tmp_path for path in seen)
    assert precious.read_text() == "kept"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_hex", lambda count: "guessed")
        (tmp_path / ".file.guessed.tmp").symlink_to(precious)
        with pytest.raises(FileExistsError):
            write_atomically(tmp_path / "file", watch)
    assert precious.read_text() == "kept"
    assert (tmp_path / "file").read_text() == "new"


# Boards


@pytest.mark.parametrize("baud", ["99999999999999999999", "9" * 5000, "0", "100000001"])
def test_impossible_bauds(baud: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match="is no baud rate"):
        open_port(f"/dev/ttyUSB0@{baud}")
    assert main(["link-bench", f"/dev/ttyUSB0@{baud}"]) == 2
    assert "is no baud rate" in complaint(capsys)


def identity(**values: int) -> bytes:
    good = Identity.of(preset("1x8"), clock=1, baud=1, input=1020, output=1024, build=1, board="board")
    body = bytearray(good.encode())
    for name, value in values.items():
        size = next(field.bytes for field in IDENTITY.fields if field.name == name)
        body[IDENTITY.offset(name) :][:size] = b""
        body[IDENTITY.offset(name) : IDENTITY.offset(name) + size] = value.to_bytes(size, "little")
    return bytes(body)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"input": 0}, "input buffer has 0 bytes"),
        ({"input": 3}, "input buffer has 3 bytes"),
        ({"output": 1}, "output buffer has 1 bytes"),
        ({"clock": 0}, "its clock is 0"),
        ({"baud": 0}, "its baud is 0"),
    ],
)
def test_boards_that_cannot_be(values: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Identity.decode(identity(**values))


def test_a_board_s_name_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    body = identity().replace(b"board", b"\x1b]0m\xff")
    assert Identity.decode(body).board == "\\x1b]0m\\xff"
    complain("no \x1b[31mred\x07 here\nor there")
    assert capsys.readouterr().err == "dither: no \\x1b[31mred\\x07 here or there\n"


def test_a_board_s_name_is_no_markup() -> None:
    values = dict.fromkeys(("clock", "baud", "input_buffer", "output_buffer", "requests", "resent"), 1)
    values |= dict.fromkeys(("timeouts", "damaged", "upload_bytes_per_s", "upload_of_limit"), 1)
    values |= dict.fromkeys(("download_bytes_per_s", "download_of_limit"), 1)
    engine = {"engine": preset("1x8").to_dict(), "round_trip_seconds": dict.fromkeys(("least", "median", "p99"), 0.1)}
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_table({**values, **engine, "build": "1", "board": "[red]x[/]", "port": "[b]"}))
    assert "[red]x[/] on [b]" in capture.get()


def test_unknown_reasons_have_names() -> None:
    assert Reason(99).name == "UNKNOWN_99"
    assert Reason(99) == 99
    assert 99 not in list(Reason)

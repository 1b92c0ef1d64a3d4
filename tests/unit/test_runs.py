"""Run folders and checkpoints: atomic, checked, refused when foreign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dither.runs import CurveRow, RunError, RunFolder, default_folder, parameter_digest
from dither.runs.checkpoint import Checkpoint, CheckpointError
from dither.runs.folder import KEPT_CHECKPOINTS
from dither.tools.files import write_atomically

DESCRIPTION: dict[str, Any] = {
    "task": "toy",
    "seed": 1,
    "tensors": [{"name": "w", "shape": [2, 3], "frac": 28}, {"name": "b", "shape": [3], "frac": 20}],
}


def fill(run: RunFolder, steps: int, every: int = 10) -> None:
    for step in range(0, steps + 1, every):
        record = np.arange(9, dtype=np.int32) * (step + 1) - 40
        run.append(
            CurveRow(
                step, step * 64, step * 640, float("nan") if step == 0 else 1 / step, 0.1, 0.5, parameter_digest(record)
            ),
            record,
        )


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    created = RunFolder.create(tmp_path / "run", DESCRIPTION)
    fill(created, 40)
    return created


def test_round_trip(run: RunFolder) -> None:
    opened = RunFolder.open(run.path)
    rows = opened.curve()
    assert [row.step for row in rows] == [0, 10, 20, 30, 40]
    assert rows[3].train_loss == 1 / 30
    assert np.isnan(rows[0].train_loss)
    history = opened.history(rows)
    assert history.shape == (5, 9)
    assert history[4].tolist() == (np.arange(9) * 41 - 40).tolist()
    assert opened.identity == run.identity


def test_network_needs_a_model_and_a_logged_step(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json does not describe the network: 'model'"):
        run.network()
    with pytest.raises(RunError, match="has logged no step yet"):
        RunFolder.create(tmp_path / "other", DESCRIPTION).network()


def test_digest_is_of_little_endian_int32() -> None:
    same = [np.array([1, -2, 3], kind) for kind in ("<i4", ">i4", "<i8")]
    assert len({parameter_digest(values) for values in same}) == 1
    assert len(parameter_digest(same[0])) == 16
    assert parameter_digest([1, 2]) != parameter_digest([2, 1])


def test_existing_folder_is_refused_and_untouched(run: RunFolder) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="exists already"):
        RunFolder.create(run.path, DESCRIPTION)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty", DESCRIPTION).curve() == []


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="choose another --out"):
        RunFolder.create(tmp_path / "file" / "run", DESCRIPTION)


def test_default_folder_counts_up(tmp_path: Path) -> None:
    assert default_folder("digits", "rtl", tmp_path).name == "digits-rtl-1"
    (tmp_path / "digits-rtl-1").mkdir()
    assert default_folder("digits", "rtl", tmp_path).name == "digits-rtl-2"


def test_truncate(run: RunFolder) -> None:
    run.truncate(2)
    rows = run.curve()
    assert [row.step for row in rows] == [0, 10]
    assert (run.path / "history").stat().st_size == 2 * 9 * 4
    assert len(run.history(rows)) == 2
    with pytest.raises(RunError, match="has 2 lines"):
        run.truncate(3)


def test_record_without_line_and_half_a_line_are_ignored(run: RunFolder) -> None:
    """What a crash between or within the two writes leaves behind."""
    with (run.path / "history").open("ab") as file:
        file.write(b"\1\2\3")
    with (run.path / "curve.csv").open("a") as file:
        file.write("50,32")
    rows = run.curve()
    assert len(run.history(rows)) == len(rows) == 5


def test_wrong_record_shape(run: RunFolder) -> None:
    with pytest.raises(ValueError, match="9 parameters"):
        run.append(CurveRow(50, 0, 0, 0.0, 0.0, 0.0, ""), np.zeros(8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "run.json").unlink(), "no run.json"),
        (lambda path: (path / "run.json").write_text("{"), "cannot be read"),
        (lambda path: (path / "run.json").write_text('{"format": 99}'), "not of format"),
        (lambda path: (path / "run.json").write_text('{"format": 1}'), "does not list its tensors"),
        (lambda path: (path / "curve.csv").unlink(), "cannot be read"),
        (lambda path: (path / "curve.csv").write_text("a,b\n1,2\n"), "first line"),
        (lambda path: _rewrite(path / "curve.csv", b"\n10,", b"\nten,"), "damaged"),
        (lambda path: _rewrite(path / "curve.csv", b"\n20,", b"\n5,"), "do not ascend"),
        (lambda path: (path / "history").unlink(), "cannot be read"),
        (lambda path: (path / "history").write_bytes(bytes(9 * 4 * 2 + 5)), "holds 2 of 5 steps"),
        (lambda path: _flip(path / "history", 9 * 4 * 3), "parameters of step 30"),
    ],
)
def test_damaged_folder(run: RunFolder, damage: Any, message: str) -> None:
    damage(run.path)
    with pytest.raises(RunError, match=message) as caught:
        _read(run.path)
    assert "\n" not in str(caught.value)


def _read(path: Path) -> None:
    opened = RunFolder.open(path)
    opened.history(opened.curve())


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def arrays() -> dict[str, Any]:
    return {"masters": np.arange(9, dtype=np.int32), "moment2": np.arange(9, dtype=np.uint32) << 28}


def test_checkpoint_round_trip(run: RunFolder) -> None:
    run.save_checkpoint(30, arrays(), {"rows": 4, "counters": {"cycles": 1 << 40}})
    loaded = RunFolder.open(run.path).load_checkpoint()
    assert loaded.step == 30
    assert loaded.meta == {"rows": 4, "counters": {"cycles": 1 << 40}}
    for name, values in arrays().items():
        assert loaded.arrays[name].dtype == values.dtype
        assert (loaded.arrays[name] == values).all()


def test_last_checkpoints_are_kept(run: RunFolder) -> None:
    for step in range(0, 70, 10):
        run.save_checkpoint(step, arrays(), {})
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert len(names) == KEPT_CHECKPOINTS
    assert names[-1] == "step-000000060.npz"
    assert run.load_checkpoint().step == 60


def test_same_state_same_bytes(run: RunFolder) -> None:
    first = run.save_checkpoint(10, arrays(), {"rows": 1}).read_bytes()
    assert run.save_checkpoint(10, arrays(), {"rows": 1}).read_bytes() == first


def test_no_checkpoint(run: RunFolder) -> None:
    with pytest.raises(RunError, match="no checkpoint"):
        run.load_checkpoint()
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        Checkpoint.load(run.checkpoints / "step-000000001.npz", run.identity)


def test_truncated_checkpoint_at_every_length(run: RunFolder) -> None:
    path = run.save_checkpoint(10, arrays(), {})
    content = path.read_bytes()
    for length in [0, 1, 10, *range(50, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="truncated or not a dither checkpoint") as caught:
            run.load_checkpoint()
        assert "\n" not in str(caught.value)


def test_damaged_and_foreign_checkpoints(run: RunFolder, tmp_path: Path) -> None:
    path = run.save_checkpoint(10, arrays(), {})
    with np.load(path) as file:
        content = dict(file)
    content["array.masters"] = content["array.masters"] + 1
    np.savez(path, **content)
    with pytest.raises(CheckpointError, match="does not match its digest"):
        run.load_checkpoint()
    np.savez(path, something=np.zeros(3))
    with pytest.raises(CheckpointError, match="not a dither checkpoint"):
        run.load_checkpoint()
    other = RunFolder.create(tmp_path / "other", DESCRIPTION | {"seed": 2})
    path.write_bytes(other.save_checkpoint(10, arrays(), {}).read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another run"):
        run.load_checkpoint()
    path.write_bytes(run.save_checkpoint(9, arrays(), {}).read_bytes())
    with pytest.raises(CheckpointError, match="holds step 9"):
        run.load_checkpoint()


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(file: Any) -> None:
        file.write(b"half of the new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_update_keeps_the_identity(run: RunFolder) -> None:
    before = run.identity
    run.update(progress={"step": 40})
    opened = RunFolder.open(run.path)
    assert opened.description["progress"] == {"step": 40}
    assert opened.identity == before
    assert json.loads((run.path / "run.json").read_text())["format"] == 1

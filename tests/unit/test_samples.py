"""Samples of one's own: read from files and folders, and refused in one line where they are odd."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dither.data import DataError, Samples, Scaling, as_inputs, as_labels, read_samples, write_samples
from dither.tools import archives

X = np.arange(12).reshape(4, 3) / 4
Y = np.array([0, 1, 0, 1])


def idx(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("inputs", "labels"), ("x_train", "y_train"), ("data", "target")])
def test_names_in_archives(x: str, y: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{x: X, y: Y}, x_test=X[:2], y_test=Y[:2])
    found = read_samples(tmp_path / "a.npz")
    assert (found.inputs == X).all()
    assert found.labels is not None
    assert found.test is not None
    assert (found.labels == Y).all()
    assert (found.test.inputs == X[:2]).all()


def test_images_become_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2, 3), np.uint8), y=Y[:, None])
    found = read_samples(tmp_path / "a.npz")
    assert found.inputs.shape == (4, 6)
    assert found.labels is not None
    assert found.labels.shape == (4,)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0,0.25,0.5,0\n0.75,1,1.25,1\n1.5,1.75,2,0\n2.25,2.5,2.75,1\n", [0, 1, 0, 1]),
        ("a,b,c,class\n0,0.25,0.5,0.0\n0.75,1,1.25,1.0\n1.5,1.75,2,0\n2.25,2.5,2.75,1\n", [0, 1, 0, 1]),
        ('label,a,b,c\nred,0,0.25,0.5\n"blue",0.75,1,1.25\nred,1.5,1.75,2\nblue ,2.25,2.5,2.75', ["red", "blue"] * 2),
    ],
    ids=["bare", "named", "texts"],
)
def test_tables(text: str, labels: list[Any], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    found = read_samples(tmp_path / "a.csv")
    assert (found.inputs == X).all()
    assert found.labels is not None
    assert found.labels.tolist() == labels


def test_a_table_as_pandas_writes_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeff,a,b,species\n0,1,2,red\n1,3,4,blue\n", encoding="utf-8")
    found = read_samples(tmp_path / "a.csv")
    assert found.inputs.tolist() == [[1, 2], [3, 4]]
    assert read_samples(tmp_path / "a.csv", 2).labels is not None
    with pytest.raises(DataError, match="has 3 columns, but the network takes 4 features"):
        read_samples(tmp_path / "a.csv", 4)


@pytest.mark.parametrize("labels", [np.array(["red", "blue"] * 2), Y > 0], ids=["texts", "truth values"])
def test_labels_in_archives(labels: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X > 1, y=labels)
    found = read_samples(tmp_path / "a.npz")
    assert found.labels is not None
    assert found.labels.dtype.kind in "iU"
    assert found.labels.tolist() == labels.tolist()
    assert found.inputs.tolist() == (X > 1).tolist()


def test_a_table_without_labels_where_the_number_of_features_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    assert read_samples(tmp_path / "a.csv", 3).labels is None
    assert read_samples(tmp_path / "a.csv", 2).labels is not None
    with pytest.raises(DataError, match="has 3 columns, but the network takes 4 features"):
        read_samples(tmp_path / "a.csv", 4)


@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_idx_files(packed: bool, tmp_path: Path) -> None:
    images, labels = np.arange(24).reshape(4, 2, 3), np.array([3, 1, 3, 1])
    for name, content in (
        ("train-images-idx3-ubyte", idx(images)),
        ("train-labels-idx1-ubyte", idx(labels)),
        ("t10k-images-idx3-ubyte", idx(images[:1])),
        ("t10k-labels-idx1-ubyte", idx(labels[:1])),
    ):
        (tmp_path / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    found = read_samples(tmp_path)
    assert (found.inputs == images.reshape(4, 6)).all()
    assert found.test is not None
    assert len(found.test.inputs) == 1


def test_folders_of_tables(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("1,2,0\n3,4,1\n")
    assert read_samples(tmp_path).test is None
    (tmp_path / "test.csv").write_text("5,6,0\n")
    found = read_samples(tmp_path)
    assert found.test is not None
    assert found.test.inputs.tolist() == [[5, 6]]
    (tmp_path / "train.csv").unlink()
    (tmp_path / "more.csv").write_text("")
    with pytest.raises(DataError, match="holds 2 files of samples"):
        read_samples(tmp_path)


def test_written_samples_come_back(tmp_path: Path) -> None:
    scaling = Scaling((0.1, 0.2, 0.3), (1 / 3, 2.0, 3.0))
    write_samples(tmp_path / "a.npz", Samples(X, Y, Samples(X[:1], Y[:1]), ("no", "yes"), scaling, "mine"))
    found = read_samples(tmp_path / "a.npz")
    assert found.classes == ("no", "yes")
    assert found.scaling == scaling
    assert found.name == "mine"
    assert (found.inputs == X).all()


def archive(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("x.npy", content)


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: np.savez(path, x=np.array([{}, []], object), y=Y[:2]), r"type object|type \|O"),
        (lambda path: np.savez(path, x=X.astype("U8"), y=Y), r"values of type <U8; give plain numbers"),
        (lambda path: archive(path, header("(1,)", "<U1") + b"\xff" * 4), "x holds what is no text"),
        (lambda path: np.savez(path, x=X + 1j, y=Y), "type complex128"),
        (lambda path: archive(path, header(f"({1 << 40}, 2)")), "bytes"),
        (lambda path: archive(path, header("(2, -1)")), "shape"),
        (lambda path: archive(path, bytes((1 << 20) + 1), zipfile.ZIP_DEFLATED), "more than 1 MiB"),
        (lambda path: np.savez(path, x=X, y=Y[:3]), r"must have the shape \(4,\), one label a sample, not \(3,\)"),
        (lambda path: np.savez(path, x=X, y=np.array([0, 1, np.nan, 1])), "y holds NaN"),
        (lambda path: np.savez(path, x=X, y=Y / 2), r"numbers of type float64; classes are whole numbers"),
        (lambda path: np.savez(path, x=X, y=np.eye(4)), r"y\.argmax"),
        (lambda path: np.savez(path, x=np.where(X > 2, np.inf, X), y=Y), "NaN or infinite values, the first in sample"),
        (lambda path: np.savez(path, x=X.ravel(), y=np.zeros(12, int)), r"shape \(samples, features\)"),
        (lambda path: np.savez(path, x=X[:0], y=Y[:0]), "neither 0"),
        (lambda path: np.savez(path, x=X), "no array y"),
        (lambda path: np.savez(path, z=X), "no array x.*it holds z"),
        (lambda path: np.savez(path, x=X, y=Y, dither=np.frombuffer(b"[]", np.uint8)), "nothing usable"),
        (lambda path: write_samples(path, Samples(X, Y, None, (0, 1), None, "../up")), "its name is"),
        (lambda path: np.savez(path, x=X, y=Y, dither=np.frombuffer(b"[" * 9999, np.uint8)), "nothing usable"),
        (lambda path: path.write_bytes(b"no archive"), r"no \.npz file"),
        (lambda path: path.mkdir(), "holds no files of samples"),
        (lambda path: None, "there is no"),
    ],
)
def test_odd_archives(spoil: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(archives, "LARGEST", 1 << 20)
    spoil(tmp_path / "a.npz")
    with pytest.raises(DataError, match=said) as caught:
        read_samples(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "needs columns"),
        (b"1,2\n3,4,5\n", "column"),
        (b"a,b\nc,0\n", "line 2, column a, holds 'c', which is no number"),
        (b"1,2,0\n\n3,,1\n", "line 3, column 2, holds '', which is no number"),
        (b"1,2,0\n3,nan,1\n", "1 NaN or infinite values, the first in sample 1"),
        (b"1,2,0.5\n3,4,1\n", "whole numbers"),
        (b"1,2,nan\n3,4,1\n", "NaN"),
        (b"1,2,1e300\n3,4,1\n", "whole numbers"),
        (b"1,2,\n3,4,a\n", "empty label"),
        (b"1,2," + b"a" * 99 + b"\n", "more than 63 characters"),
        (b"a,b,c\n", "holds no samples"),
        (b"\xff\xfe\x00,\x00", "no text"),
        (b'1,"' + b"2" * 200_000 + b'",0\n', "no text|larger"),
        (b"1,2,0\n" * (1 << 15), "larger than"),
    ],
)
def test_odd_tables(content: bytes, said: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("dither.data.samples.LARGEST", 1 << 16)
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_samples(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"train-images-idx3-ubyte": idx(X.reshape(4, 3, 1))}, "no labels that go with it"),
        ({"train-images-idx3-ubyte": b"\0\0\x0d\3" + bytes(12)}, "no IDX file of unsigned bytes"),
        ({"train-images-idx3-ubyte": b"\0\0\x08\3" + b"\xff" * 12}, "header asks for"),
        ({"train-images-idx3-ubyte": b""}, "no IDX file"),
        ({"train-images-idx3-ubyte.gz": b"junk"}, "no whole gzip file"),
        ({"train-images-idx3-ubyte": idx(X.reshape(4, 3, 1)), "train-labels-idx1-ubyte": idx(Y[:2])}, "one label a"),
    ],
)
def test_odd_folders(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_samples(tmp_path)


def test_arrays_of_programs() -> None:
    with pytest.raises(DataError, match="type object"):
        as_inputs(np.array([[None]], object), "x")
    with pytest.raises(DataError, match="type complex128"):
        as_labels(np.array([1j]), "y", 1)
    with pytest.raises(DataError, match="type object"):
        as_labels(np.array(["a", None], object), "y", 2)
    assert as_labels(np.array(["a", "b"], object), "y", 2).dtype.kind == "U"


def test_one_scaling_for_features_alike() -> None:
    pixels = np.array([[0, 16, 8], [4, 0, 16]], np.uint8)
    scaling = Scaling.fit(pixels)
    assert (scaling.centre, scaling.reach) == ((8.0,), (8.0,))
    assert (scaling(pixels) == pixels.astype(float) / 8 - 1).all()
    assert str(scaling) == "inputs scaled to -1 … 1 by (x - 8) / 8"


def test_features_unlike_have_their_own() -> None:
    table = np.array([[0.1, 1000.0, 5.0], [0.2, 3000.0, 5.0]])
    scaling = Scaling.fit(table)
    assert scaling(table).tolist() == [[-1, -1, 0], [1, 1, 0]]
    assert scaling.clipped(np.array([[0.15, 2000, 5], [0.3, 2000, 5], [0.1, 3000, 7]])) == 2
    assert Scaling.from_dict(scaling.to_dict()) == scaling
    with pytest.raises(ValueError, match="2 features, but the scaling is for 3"):
        scaling(table[:, :2])


@pytest.mark.parametrize("values", [{}, {"centre": [0], "reach": [0]}, {"centre": [0], "reach": []}, {"centre": 1}])
def test_odd_scalings(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="scaling"):
        Scaling.from_dict(values)

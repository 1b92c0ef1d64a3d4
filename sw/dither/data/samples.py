"""Samples of one's own: from an archive of NumPy, a table in a text file, or a folder of either."""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..tools.archives import read_archive
from ..tools.files import AnyPath, write_atomically
from .files import LARGEST, DataError, content_of, unpacked
from .idx import read_idx
from .scaling import Scaling

__all__ = ["LABEL_COLUMNS", "Samples", "as_inputs", "as_labels", "read_samples", "write_samples"]

INPUTS = ("x", "x_train", "inputs", "data", "images")
"""Names, in an archive, of the inputs."""
LABELS = ("y", "y_train", "labels", "targets", "target")
"""Names, in an archive, of the labels."""
TESTS = {"x": ("x_test", "inputs_test", "test_inputs"), "y": ("y_test", "labels_test", "test_labels")}
"""Names, in an archive, of held-out inputs and labels."""
LABEL_COLUMNS = ("label", "labels", "class", "target", "y", "species")
"""Names of a table's column of labels; without one of them, it is the last column."""
_META = "dither"
_CHARACTERS = 64
_ENCODING = "utf-8-sig"
"""Encoding of a table: UTF-8, with a byte order mark or without."""
_IDX = re.compile(r"(?P<set>.*?)[-_.]?(?P<kind>images|labels)[-_.]idx\d-ubyte(\.gz)?")


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs with or without labels, and held-out ones if there are any."""

    inputs: NDArray[Any]
    """Inputs as they are, shape (samples, features)."""
    labels: NDArray[Any] | None = None
    """Label of each sample, numbers or texts, shape (samples,)."""
    test: Samples | None = None
    """Held-out samples, if they come apart."""
    classes: tuple[Any, ...] | None = None
    """Names of the classes if labels are numbers from 0; None if labels are the names."""
    scaling: Scaling | None = None
    """How inputs are scaled; None if that is not said."""
    name: str | None = None
    """Name for people, where a file says one."""

    @property
    def named(self) -> NDArray[Any] | None:
        """Labels by the names of their classes, shape (samples,); None if there are none."""
        return self.labels if self.labels is None or self.classes is None else np.array(self.classes)[self.labels]


def as_inputs(values: ArrayLike, where: str, features: int | None = None) -> NDArray[Any]:
    """Returns inputs as a matrix of numbers, shape (samples, features).

    :param values: shape (samples, …); the axes behind the first become one.
    :param where: name for messages.
    :param features: number of features that there must be.
    :raises DataError: if they are no numbers, or of another shape.
    """
    found = np.asarray(values)
    if found.dtype.kind not in "iufb":
        raise DataError(f"{where} holds values of type {found.dtype}; give plain numbers: x.astype(float)")
    if found.ndim < 2 or not found.size:
        raise DataError(f"{where} must have the shape (samples, features), neither 0, not {found.shape}")
    found = found.reshape(len(found), -1)
    if features not in (None, found.shape[1]):
        raise DataError(f"{where} has {found.shape[1]} features, the network takes {features}")
    good = np.isfinite(found) if found.dtype.kind == "f" else None
    if good is not None and not good.all():
        bad = np.argwhere(~good)
        raise DataError(f"{where} holds {len(bad)} NaN or infinite values, the first in sample {bad[0][0]}; clean them")
    return found


def as_labels(values: ArrayLike, where: str, samples: int) -> NDArray[Any]:
    """Returns labels as a vector of whole numbers or texts, shape (samples,).

    :param values: shape (samples,) or (samples, 1); truth values become 0 and 1.
    :param where: name for messages.
    :raises DataError: if they are neither, or not one a sample.
    """
    found = np.asarray(values)
    if found.dtype.kind == "O" and all(isinstance(value, str) for value in found.flat):
        found = found.astype(str)  # So pandas has texts.
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim == 2:
        raise DataError(f"{where} has the shape {found.shape}; give one class a sample, such as y.argmax(axis=1)")
    if found.shape != (samples,):
        raise DataError(f"{where} must have the shape ({samples},), one label a sample, not {found.shape}")
    if found.dtype.kind == "f":
        what = "NaN" if np.isnan(found).any() else f"numbers of type {found.dtype}"
        raise DataError(f"{where} holds {what}; classes are whole numbers or texts: y.astype(int)")
    if found.dtype.kind not in "iubU":
        raise DataError(f"{where} holds values of type {found.dtype}; classes are whole numbers or texts")
    return found.astype(np.int64) if found.dtype.kind == "b" else found


def read_samples(path: AnyPath, features: int | None = None) -> Samples:
    """Reads samples from a file ``NAME.npz`` or ``NAME.csv``, or from a folder.

    A folder holds IDX files (``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and ``t10k``
    or ``test`` instead of ``train`` for held-out ones; packed by gzip or not), or ``train.csv`` and
    perhaps ``test.csv``, or one file of either kind.

    :param features: number of features that samples must have; a table may then be without labels.
    :raises DataError: if they cannot be read; sizes are checked first, and nothing is run.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _folder(path, features)
        reader = {".npz": _archive, ".csv": _table}.get(path.suffix.lower())
        if not path.is_file():  # Nor a pipe, which might never end.
            raise DataError(f"{path} is no file" if path.exists() else f"there is no {path}")
        if reader is None:
            raise DataError(f"{path} is neither .npz nor .csv nor a folder; those hold samples")
        return reader(path, features)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def write_samples(path: AnyPath, samples: Samples) -> None:
    """Writes samples to an archive that :func:`read_samples` reads as they are.

    :raises OSError: if it cannot be written.
    """
    arrays: dict[str, Any] = {"x": samples.inputs, "y": samples.labels}
    if samples.test is not None:
        arrays |= {"x_test": samples.test.inputs, "y_test": samples.test.labels}
    meta = {
        "name": samples.name,
        "classes": samples.classes and list(samples.classes),
        "scaling": samples.scaling and samples.scaling.to_dict(),
    }
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    write_atomically(path, lambda file: np.savez(file, **arrays))


def _folder(path: Path, features: int | None) -> Samples:
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
    matches = [match for name in names if (match := _IDX.fullmatch(name))]
    if matches:
        found: dict[tuple[bool, str], str] = {}
        for match in matches:
            held_out = any(word in match["set"].lower() for word in ("t10k", "test", "valid"))
            found.setdefault((held_out, match["kind"]), match[0])
        parts = [_idx(path, found, held_out, features) for held_out in (False, True) if (held_out, "images") in found]
    else:
        tables = [name for name in names if name.lower().endswith((".csv", ".npz"))]
        if "train.csv" in tables:
            tables = ["train.csv", *(["test.csv"] if "test.csv" in tables else [])]
        elif len(tables) != 1:
            raise DataError(
                f"{path} holds {'no' if not tables else len(tables)} files of samples; it needs IDX files, "
                "train.csv and perhaps test.csv, or one .npz or .csv file"
            )
        parts = [read_samples(path / name, features) for name in tables]
    return parts[0] if len(parts) == 1 else replace(parts[0], test=parts[1])


def _idx(path: Path, found: Mapping[tuple[bool, str], str], held_out: bool, features: int | None) -> Samples:
    def array(kind: str) -> NDArray[np.uint8]:
        name = found[held_out, kind]
        content = content_of(path / name)
        content = unpacked(content, path / name) if name.endswith(".gz") else content
        return read_idx(content, content[3] if len(content) > 3 else 1, str(path / name))

    inputs = as_inputs(array("images"), str(path / found[held_out, "images"]), features)
    if (held_out, "labels") not in found:
        if features is None:
            raise DataError(f"{path} holds {found[held_out, 'images']}, but no labels that go with it")
        return Samples(inputs)
    return Samples(inputs, as_labels(array("labels"), str(path / found[held_out, "labels"]), len(inputs)))


def _archive(path: Path, features: int | None) -> Samples:
    try:
        arrays = read_archive(path, "iufbU")
    except ValueError as error:
        advice = "np.savez(path, x=x.astype(float), y=y.astype(str)) writes what fits"
        raise DataError(f"cannot read {path}: {error}; {advice}") from None

    def first(names: tuple[str, ...]) -> tuple[str, NDArray[Any]] | None:
        lower = {name.lower(): name for name in arrays}
        return next(((lower[name], arrays[lower[name]]) for name in names if name in lower), None)

    def part(inputs: tuple[str, ...], labels: tuple[str, ...]) -> Samples | None:
        if (x := first(inputs)) is None:
            return None
        values = as_inputs(x[1], f"{path}: {x[0]}", features)
        if (y := first(labels)) is None:
            return Samples(values)
        return Samples(values, as_labels(y[1], f"{path}: {y[0]}", len(values)))

    found = part(INPUTS, LABELS)
    if found is None or (found.labels is None and features is None):
        missing = "x" if found is None else "y"
        holds = f"; it holds {', '.join(arrays)}" if arrays else ""
        raise DataError(f"{path} has no array {missing}; np.savez(path, x=…, y=…) writes one that fits{holds}")
    found = replace(found, test=part(TESTS["x"], TESTS["y"]))
    if (meta := arrays.get(_META)) is None:
        return found
    try:
        said = json.loads(meta.tobytes())
        scaling = said["scaling"] and Scaling.from_dict(said["scaling"])
        if said["name"] is not None and not re.fullmatch(r"[\w.-]{1,80}", said["name"]):
            raise ValueError(f"its name is {said['name']!r}")
        return replace(found, classes=said["classes"] and tuple(said["classes"]), scaling=scaling, name=said["name"])
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} says nothing usable of its classes and scaling: {error}") from None


def _table(path: Path, features: int | None) -> Samples:
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path} is larger than {LARGEST >> 20} MiB; put its numbers into an .npz file")
    try:
        with _opened(path) as file:
            rows = csv.reader(file)
            first = next(rows, [])
            odd = next((rows.line_num for row in rows if row and len(row) != len(first)), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no text with commas ({error})") from None
    if odd is not None:
        raise DataError(f"{path} has {len(first)} columns in its first line, but not in line {odd}")
    cells = [cell.strip() for cell in first]
    named = not all(_number(cell) for cell in cells[:-1] or cells)
    names = [cell.lower() for cell in cells] if named else []
    # What pandas calls an index: a first column without a name that numbers the samples.
    columns = list(range(1 if names[:1] == [""] else 0, len(cells)))
    labelled = features is None or len(columns) != features
    column = next((names.index(name) for name in LABEL_COLUMNS if name in names), len(cells) - 1)
    if features is not None and len(columns) not in (features, features + 1):
        raise DataError(
            f"{path} has {len(columns)} columns, but the network takes {features} features, with labels or without"
        )
    if len(columns) < 1 + labelled:
        raise DataError(f"{path} needs columns of numbers and a last one of labels, separated by commas")
    inputs = [number for number in columns if not labelled or number != column]
    values = as_inputs(_columns(path, named, inputs, np.dtype(np.float64)), str(path), features)
    if not labelled:
        return Samples(values)
    texts = np.char.strip(_columns(path, named, [column], np.dtype(f"U{_CHARACTERS}"))[:, 0])
    if not all(texts) or max(map(len, texts)) >= _CHARACTERS:
        raise DataError(f"{path} has an empty label, or one of more than {_CHARACTERS - 1} characters")
    where = f"{path}: the column of labels"
    if not all(_number(text) for text in np.unique(texts)):
        return Samples(values, texts)
    numbers = texts.astype(np.float64)
    whole = bool(np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all() and np.abs(numbers).max() < 1e15)
    return Samples(values, as_labels(numbers.astype(np.int64) if whole else numbers, where, len(values)))


def _columns(path: Path, named: bool, columns: list[int], kind: np.dtype[Any]) -> NDArray[Any]:
    """Some columns of a table, shape (rows, columns)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "input contained no data"
            return np.loadtxt(
                path, kind, comments=None, delimiter=",", skiprows=int(named), usecols=columns, ndmin=2,
                encoding=_ENCODING, quotechar='"',
            )  # fmt: skip
    except UserWarning:
        raise DataError(f"{path} holds no samples") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: {_odd_cell(path, named, columns) or str(error).split(';')[0].rstrip('.')}") from None


def _odd_cell(path: Path, named: bool, columns: list[int]) -> str | None:
    """What is wrong with the first cell that should be a number and is none; None without such."""
    with _opened(path) as file:
        rows = csv.reader(file)
        names = next(rows) if named else []
        for row in filter(None, rows):
            for column in columns:
                if not _number(row[column]):
                    where = f"line {rows.line_num}, column {names[column].strip() if named else column + 1}"
                    return f"{where}, holds {row[column]!r}, which is no number; mend it, or leave the column out"
    return None


def _opened(path: Path) -> TextIO:
    return path.open(newline="", encoding=_ENCODING)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

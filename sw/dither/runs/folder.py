"""Run folders: what a training run leaves behind, and how it is picked up again.

A folder holds ``run.json`` (configuration, seeds, versions, engine, device, progress),
``curve.csv`` (one line a logged step), ``history`` (the raw masters of every logged step, int32
little-endian, in logical order, one record behind the other), ``checkpoints/`` and, at the end,
``report.html``.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nn.models import Model
from ..nn.network import Network
from ..tools.files import AnyPath, write_atomically
from .checkpoint import Checkpoint, CheckpointError
from .metrics import ACCURACY, METRICS, Metric

__all__ = ["CurveRow", "RunError", "RunFolder", "TensorRecord", "default_folder", "load_run", "parameter_digest"]

FORMAT = 1
"""Version of the folder's layout, kept in ``run.json``."""
KEPT_CHECKPOINTS = 3
"""Number of newest checkpoints that are kept."""


class RunError(RuntimeError):
    """A run folder cannot be used; the message is one line and says what to do."""


def parameter_digest(parameters: ArrayLike) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of all masters.

    :param parameters: masters in logical order; hashed as int32, little-endian.
    """
    return hashlib.sha256(np.ascontiguousarray(parameters, "<i4").tobytes()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor in the history: its name, its shape and its number format."""

    name: str
    """Name of the tensor, such as ``0.core1``."""
    shape: tuple[int, ...]
    """Shape of the tensor as the model has it."""
    frac: int
    """Number of fraction bits of its master parameters."""

    @property
    def size(self) -> int:
        """Number of parameters in the tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class CurveRow:
    """One line of ``curve.csv``: how a run does at one logged step."""

    step: int
    """Number of optimiser steps done."""
    forwards: int
    """Number of samples that went through the network so far, in training."""
    macs: int
    """Number of multiply-accumulates of training so far, local gradients included."""
    train_loss: float
    """Mean unperturbed training loss of the steps since the last line; NaN where there was none."""
    loss: float
    """Mean loss on held-out data."""
    metric: float
    """Figure of merit on held-out data, by the run's :class:`~dither.runs.metrics.Metric`.

    The metric's name is the name of the column.
    """
    digest: str
    """Digest of the masters, as from :func:`parameter_digest`."""

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> CurveRow:
        """Makes a row from the cells of a line, by column name.

        :raises ValueError: if a cell is not a number where one is needed.
        """
        return cls(
            int(values["step"]),
            int(values["forwards"]),
            int(values["macs"]),
            float(values["train_loss"]),
            float(values["loss"]),
            float(values["metric"]),
            values["digest"],
        )

    def cells(self) -> list[str]:
        """Returns the cells of the line as text, in the order of the columns."""
        return [str(getattr(self, field.name)) for field in fields(self)]


_COLUMNS = [field.name for field in fields(CurveRow)]


def default_folder(task: str, device: str, root: AnyPath = "runs") -> Path:
    """Returns the first of ``runs/TASK-DEVICE-1``, ``-2`` … that does not exist yet.

    Of a device that is a path, the last part is taken.
    """
    label = re.sub(r"[^\w.]+", "-", device.rsplit("/", 1)[-1])
    number = 1
    while (path := Path(root, f"{task}-{label}-{number}")).exists():
        number += 1
    return path


def load_run(path: AnyPath) -> RunFolder:
    """Opens the folder that a training run left behind.

    ``load_run("runs/digits-golden-1").network()`` is the network that it trained, ``.curve()`` its
    learning curve, ``.description`` everything else that is known of it.

    :raises RunError: if there is no run, or none that this version of dither reads.
    """
    return RunFolder.open(path)


class RunFolder:
    """One run folder, open for reading or for going on with the run.

    :ivar path: the folder.
    :ivar description: the content of ``run.json``.
    :raises RunError: if the description does not list the run's tensors.
    """

    def __init__(self, path: AnyPath, description: dict[str, Any]) -> None:
        self.path = Path(path)
        self.description = description
        try:
            self.tensors = [TensorRecord(t["name"], tuple(t["shape"]), t["frac"]) for t in description["tensors"]]
        except (KeyError, TypeError):
            raise RunError(f"{self.path / 'run.json'} does not list its tensors; is it a dither run?") from None

    @classmethod
    def create(cls, path: AnyPath, description: Mapping[str, Any]) -> RunFolder:
        """Makes a new folder with ``run.json``, an empty curve and an empty history.

        :param description: JSON data; must hold ``tensors``, a list of objects with ``name``,
            ``shape`` and ``frac``.
        :raises RunError: if the folder exists and is not empty (it is left as it is), or cannot be
            written.
        """
        cls.refuse_used(path)
        run = cls(path, {"format": FORMAT, **description})
        try:
            run.checkpoints.mkdir(parents=True)
            run._write_description()
            (run.path / "history").touch()
            run._write_rows([])
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror}; choose another --out") from None
        return run

    @staticmethod
    def refuse_used(path: AnyPath) -> None:
        """Checks that :meth:`create` would accept a path, before any work is done for it.

        :raises RunError: if there is anything but an empty folder.
        """
        path = Path(path)
        try:
            used = path.exists() and (not path.is_dir() or any(path.iterdir()))
        except OSError as error:
            raise RunError(f"cannot use {path}: {error.strerror}; choose another --out") from None
        if used:
            raise RunError(f"{path} exists already; choose another --out, or go on with it by --resume {path}")

    @classmethod
    def open(cls, path: AnyPath) -> RunFolder:
        """Opens an existing run folder.

        :raises RunError: if it is missing or not a run of this program's format.
        """
        file = Path(path) / "run.json"
        try:
            description = json.loads(file.read_text())
        except FileNotFoundError:
            raise RunError(f"{path} is not a run folder: it has no run.json") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{file} cannot be read: {error}") from None
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise RunError(f"{file} is not of format {FORMAT}, which this version of dither reads")
        return cls(path, description)

    @property
    def checkpoints(self) -> Path:
        """Path of the folder that holds the checkpoints."""
        return self.path / "checkpoints"

    @property
    def parameters(self) -> int:
        """Number of parameters in one record of the history."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def metric(self) -> Metric:
        """Figure of merit that ``curve.csv`` has of the network on held-out data.

        :raises RunError: if this version does not know it.
        """
        name = self.description.get("metric", ACCURACY.name)
        self.require(name in METRICS, f"measures {name!r}, which this version of dither does not know")
        return METRICS[name]

    @property
    def _header(self) -> list[str]:
        return [self.metric.name if name == "metric" else name for name in _COLUMNS]

    @property
    def identity(self) -> str:
        """Digest of everything in ``run.json`` that the run's bits depend on."""
        relevant = {
            key: self.description.get(key) for key in ("task", "seed", "model", "recipe", "numerics", "tensors")
        }
        for key in ("stencil", "initial"):
            if (value := self.description.get(key)) is not None:
                relevant[key] = value
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]

    def require(self, good: bool, complaint: str) -> None:
        """Checks a condition on this folder.

        :raises RunError: with the folder's path and ``complaint``, unless ``good``.
        """
        if not good:
            raise RunError(f"{self.path} {complaint}")

    def update(self, **values: Any) -> None:
        """Sets keys of ``run.json`` and writes it, atomically.

        :raises RunError: if it cannot be written.
        """
        self.description |= values
        try:
            self._write_description()
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None

    def append(self, row: CurveRow, parameters: ArrayLike) -> None:
        """Adds one logged step to the curve and to the history.

        :param parameters: all masters, in logical order, shape (parameters,).
        :raises RunError: if the files cannot be written.
        :raises ValueError: if the number of parameters is wrong.
        """
        record = np.ascontiguousarray(parameters, "<i4")
        if record.shape != (self.parameters,):
            raise ValueError(f"a record has {self.parameters} parameters, not shape {record.shape}")
        try:
            # The history first: a curve never has a line without its record, whatever happens in
            # between.
            with (self.path / "history").open("ab") as history:
                history.write(record.tobytes())
            with (self.path / "curve.csv").open("a", newline="") as curve:
                curve.write(",".join(row.cells()) + "\n")
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None

    def curve(self) -> list[CurveRow]:
        """Returns all lines of the curve.

        :raises RunError: if the file is missing or damaged.
        """
        file = self.path / "curve.csv"
        try:
            text = file.read_text()
        except (OSError, ValueError) as error:
            raise RunError(f"{file} cannot be read: {error}") from None
        lines = text[: text.rfind("\n") + 1].splitlines()
        if not lines or lines[0].split(",") != self._header:
            raise RunError(f"{file} is damaged: its first line should be {','.join(self._header)}")
        try:
            rows = [CurveRow.parse(dict(zip(_COLUMNS, cells, strict=True))) for cells in csv.reader(lines[1:])]
        except ValueError as error:
            raise RunError(f"{file} is damaged: {error}") from None
        if any(after.step <= before.step for before, after in itertools.pairwise(rows)):
            raise RunError(f"{file} is damaged: its steps do not ascend")
        return rows

    def history(self, rows: list[CurveRow]) -> NDArray[np.int32]:
        """Returns the masters of every logged step, shape (len(rows), parameters).

        :param rows: the curve; every record is checked against its digest.
        :raises RunError: if the file is missing, too short or does not match the curve.
        """
        file = self.path / "history"
        try:
            content = np.fromfile(file, "<i4", count=len(rows) * self.parameters)
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror}") from None
        if content.size < len(rows) * self.parameters:
            raise RunError(
                f"{file} is truncated: it holds {content.size // max(self.parameters, 1)} of {len(rows)} steps"
            )
        records = content.reshape(len(rows), self.parameters).astype(np.int32, copy=False)
        for row, record in zip(rows, records, strict=True):
            if parameter_digest(record) != row.digest:
                raise RunError(f"{file} is damaged: the parameters of step {row.step} do not match curve.csv's digest")
        return records

    def network(self) -> Network:
        """Returns the network of the run as of its last logged step.

        :raises RunError: if nothing has been logged yet, or the folder's files are damaged.
        """
        rows = self.curve()
        self.require(bool(rows), "has logged no step yet")
        record = self.history(rows)[-1]
        values, start = {}, 0
        for tensor in self.tensors:
            words = record[start : start + tensor.size]
            values[tensor.name] = np.ldexp(words.astype(np.float64), -tensor.frac).reshape(tensor.shape)
            start += tensor.size
        try:
            model = Model.from_dict(self.description["model"])
            # Besides the model's tensors, a run may hold feedback matrices that it learned.
            return Network(model, {name: values[name] for name in model.parameter_shapes()})
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.path / 'run.json'} does not describe the network: {error}") from None

    def truncate(self, rows: int) -> None:
        """Drops all but the first ``rows`` logged steps from curve and history.

        :raises RunError: if there are fewer, or the files cannot be written.
        """
        curve = self.curve()
        if len(curve) < rows:
            raise RunError(f"{self.path / 'curve.csv'} has {len(curve)} lines, the checkpoint was made after {rows}")
        self.history(curve[:rows])
        try:
            self._write_rows(curve[:rows])
            os.truncate(self.path / "history", rows * self.parameters * 4)
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None

    def save_checkpoint(self, step: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Path:
        """Writes a checkpoint, removes all but the last few, and returns the new one's path.

        :raises RunError: if it cannot be written.
        """
        path = self.checkpoints / f"step-{step:09d}.npz"
        try:
            Checkpoint(self.identity, step, arrays, meta).save(path)
            for old in self._checkpoint_files()[:-KEPT_CHECKPOINTS]:
                old.unlink()
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from None
        return path

    def load_checkpoint(self) -> Checkpoint:
        """Reads the newest checkpoint.

        :raises RunError: if there is none.
        :raises CheckpointError: if it is truncated, damaged or of another run.
        """
        files = self._checkpoint_files()
        if not files:
            raise RunError(f"{self.path} holds no checkpoint; start the run again in another folder")
        checkpoint = Checkpoint.load(files[-1], self.identity)
        if files[-1].name != f"step-{checkpoint.step:09d}.npz":
            raise CheckpointError(f"{files[-1]} holds step {checkpoint.step}; give it back its own name")
        return checkpoint

    def _checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("step-*.npz"))

    def _write_description(self) -> None:
        text = json.dumps(self.description, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.path / "run.json", lambda file: file.write(text.encode()))

    def _write_rows(self, rows: Iterable[CurveRow]) -> None:
        lines = [",".join(self._header), *(",".join(row.cells()) for row in rows)]
        text = "\n".join(lines) + "\n"
        write_atomically(self.path / "curve.csv", lambda file: file.write(text.encode()))

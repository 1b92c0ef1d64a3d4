"""Run folders: what a training run leaves behind, and how it is picked up again.

A folder holds ``run.json`` (configuration, seeds, versions, engine, device, progress),
``curve.csv`` (one line a logged step), ``history`` (the raw masters of every logged step, int32
little-endian, in logical order, one record behind the other), ``checkpoints/``, ``run.toml`` (all
choices, for people and for another run), ``lock`` (who writes the folder) and, at the end,
``report.html``; ``data.npz`` and ``initial.npz`` where samples or parameters have no other file.

A checkpoint counts on the lines of the curve and the records of the history before it; these are on
the disk before the checkpoint is. So a crash, even one of the whole computer, loses what was done
since the last checkpoint and nothing else.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nn.models import Model
from ..nn.network import Network
from ..tools import files
from ..tools.files import AnyPath
from ..tools.forms import POSITIVE, misfit
from .checkpoint import Checkpoint, CheckpointError
from .curve import COLUMNS, CurveRow, TensorRecord, parameter_digest
from .description import DESCRIPTION, identity_of
from .lock import LOCK, FolderLock
from .metrics import ACCURACY, METRICS, Metric

__all__ = ["RunError", "RunFolder", "default_folder"]

FORMAT = 1
"""Version of the folder's layout, kept in ``run.json``."""
KEPT_CHECKPOINTS = 3
"""Number of newest checkpoints that are kept."""
_WAITS = (0.05, 0.2, 1.0)
"""Seconds that readers wait for somebody who cuts the folder back, before they complain."""


class RunError(RuntimeError):
    """A run folder cannot be used; the message is one line and says what to do."""


def default_folder(task: str, device: str, root: AnyPath = "runs") -> Path:
    """Returns the first of ``runs/TASK-DEVICE-1``, ``-2`` … that does not exist yet.

    Of a device that is a path, the last part is taken.
    """
    label = re.sub(r"[^\w.]+", "-", device.rsplit("/", 1)[-1])
    number = 1
    while (path := Path(root, f"{task}-{label}-{number}")).exists():
        number += 1
    return path


class RunFolder:
    """One run folder, open for reading or for going on with the run.

    :ivar path: the folder.
    :ivar description: the content of ``run.json``.
    :raises RunError: if the description does not list the run's tensors.
    """

    def __init__(self, path: AnyPath, description: dict[str, Any]) -> None:
        self.path = Path(path)
        self.description = description
        self._lock = FolderLock(self.path)
        if trouble := misfit(description, DESCRIPTION):
            raise RunError(f"{self.path / 'run.json'} is not a dither run's: {trouble}")
        self.tensors = [TensorRecord(t["name"], tuple(t["shape"]), t["frac"]) for t in description["tensors"]]

    @classmethod
    def create(cls, path: AnyPath, description: Mapping[str, Any]) -> Self:
        """Makes a new folder with ``run.json``, an empty curve and an empty history, and locks it.

        :param description: JSON data; must hold ``tensors``, a list of objects with ``name``,
            ``shape`` and ``frac``.
        :raises RunError: if the folder exists and is not empty (it is left as it is), somebody else
            is making it, or it cannot be written.
        """
        cls.refuse_used(path)
        run = cls(path, {"format": FORMAT, **description})
        try:
            files.make_folders(run.path)
            run.lock()
            cls.refuse_used(path)
            files.make_folders(run.checkpoints)
            files.write_atomically(run._history, b"")
            run._write_rows([])
            run._write_description()
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
            used = path.exists() and (not path.is_dir() or any(entry.name != LOCK for entry in path.iterdir()))
        except OSError as error:
            raise RunError(f"cannot use {path}: {error.strerror}; choose another --out") from None
        if used:
            more = f", or go on with it by dither train --resume {path}" if (path / "run.json").is_file() else ""
            raise RunError(f"{path} exists already; choose another --out{more}")
        try:
            files.require_folder(path)
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror}; choose another --out") from None

    @classmethod
    def open(cls, path: AnyPath, *, writing: bool = False) -> Self:
        """Opens an existing run folder.

        :param writing: whether to :meth:`lock` it, before anything is read.
        :raises RunError: if it is missing or not a run of this program's format, or somebody else
            writes it.
        """
        run = cls._read(Path(path))
        if not writing:
            return run
        run.lock()
        # Until then somebody else may have changed it.
        locked = cls._read(run.path)
        locked._lock = run._lock
        return locked

    @classmethod
    def _read(cls, path: Path) -> Self:
        file = path / "run.json"
        try:
            description = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is not a run folder: it has no run.json") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{file} cannot be read: {error}") from None
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise RunError(f"{file} is not of format {FORMAT}, which this version of dither reads")
        return cls(path, description)

    def lock(self) -> None:
        """Makes sure that nobody else writes the folder until :meth:`close` or this process' end.

        Everything that writes does this first.

        :raises RunError: if somebody else does, saying who, or the folder cannot be written.
        """
        try:
            had = self._lock.take()
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None
        self.require(had, f"is in use: {self._lock.holder}; end that first, or wait for it")

    def close(self) -> None:
        """Gives back the lock, so that others may write the folder."""
        self._lock.release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keeps everybody from writing the folder for a while.

        :raises RunError: if somebody does, saying who.
        """
        with self._lock.shared() as had:
            self.require(had, f"is in use: {self._lock.holder}; end that first, or wait for it")
            yield

    @property
    def busy(self) -> bool:
        """Whether somebody is writing the folder: a run is under way. Asking disturbs nobody."""
        return self._lock.busy

    @property
    def state(self) -> tuple[int, ...]:
        """What changes whenever the run logs something or sets it down in ``run.json``."""
        try:
            return self._curve.stat().st_size, (self.path / "run.json").stat().st_mtime_ns
        except OSError as error:
            raise RunError(f"{error.filename} cannot be read: {error.strerror}") from None

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
        return [self.metric.name if name == "metric" else name for name in COLUMNS]

    @property
    def identity(self) -> str:
        """Digest of everything in ``run.json`` that the run's bits depend on."""
        return identity_of(self.description)

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
        self.lock()
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
        self.lock()
        try:
            # The history first: a curve never has a line without its record, as long as the system
            # runs; save_checkpoint sees to the rest.
            files.append(self._history, record.tobytes())
            files.append(self._curve, f"{','.join(row.cells())}\n".encode())
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None

    def logged(self) -> tuple[list[CurveRow], NDArray[np.int32]]:
        """Returns the curve, and the masters of every line of it, as they were at one moment.

        :raises RunError: as :meth:`curve` and :meth:`history` do.
        """
        for seconds in _WAITS:
            try:
                return self._logged()
            except RunError:
                # Between the two somebody may have resumed the run, and cut both back.
                with self._lock.shared() as quiet:
                    if quiet:
                        return self._logged()
            time.sleep(seconds)
        return self._logged()

    def _logged(self) -> tuple[list[CurveRow], NDArray[np.int32]]:
        rows = self.curve()
        return rows, self.history(rows)

    def curve(self, count: int | None = None) -> list[CurveRow]:
        """Returns all lines of the curve.

        :param count: of the first lines alone, as far as they are there, whatever stands behind.

        :raises RunError: if the file is missing or damaged.
        """
        try:
            lines = self._curve.read_bytes().split(b"\n")[:-1]
        except OSError as error:
            raise RunError(f"{self._curve} cannot be read: {error}") from None
        if not lines or lines[0] != ",".join(self._header).encode():
            raise RunError(f"{self._curve} is damaged: its first line should be {','.join(self._header)}")
        try:
            rows = [
                CurveRow.parse(dict(zip(COLUMNS, line.decode("ascii").split(","), strict=True)))
                for line in lines[1:][:count]
            ]
        except ValueError as error:
            raise RunError(f"{self._curve} is damaged: {error}") from None
        if any(after.step <= before.step for before, after in itertools.pairwise(rows)):
            raise RunError(f"{self._curve} is damaged: its steps do not ascend")
        return rows

    def history(self, rows: list[CurveRow]) -> NDArray[np.int32]:
        """Returns the masters of every logged step, shape (len(rows), parameters).

        :param rows: the curve; every record is checked against its digest.
        :raises RunError: if the file is missing, too short or does not match the curve.
        """
        file, size = self._history, 4 * self.parameters
        try:
            held = file.stat().st_size // max(size, 1)
            if held < len(rows):
                raise RunError(f"{file} is truncated: it holds {held} of {len(rows)} steps")
            content = np.fromfile(file, "<i4", count=len(rows) * self.parameters)
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror}") from None
        records = content.reshape(len(rows), self.parameters).astype(np.int32, copy=False)
        for row, record in zip(rows, records, strict=True):
            if parameter_digest(record) != row.digest:
                raise RunError(f"{file} is damaged: the parameters of step {row.step} do not match curve.csv's digest")
        return records

    def masters(self) -> dict[str, NDArray[np.int32]]:
        """Returns the masters of the last logged step by tensor, as the engine holds them.

        :raises RunError: if nothing has been logged yet, or the folder's files are damaged.
        """
        rows, records = self.logged()
        self.require(bool(rows), "has logged no step yet")
        ends = list(itertools.accumulate(tensor.size for tensor in self.tensors))
        parts = np.split(records[-1], ends[:-1])
        return {tensor.name: part.reshape(tensor.shape) for tensor, part in zip(self.tensors, parts, strict=True)}

    def network(self) -> Network:
        """Returns the network of the run as of its last logged step.

        :raises RunError: if nothing has been logged yet, or the folder's files are damaged.
        """
        masters, fracs = self.masters(), {tensor.name: tensor.frac for tensor in self.tensors}
        values = {name: np.ldexp(words.astype(np.float64), -fracs[name]) for name, words in masters.items()}
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
        self._cut(self._first(rows))

    def _first(self, rows: int) -> list[CurveRow]:
        """So many lines, which must be there together with their records."""
        kept = self.curve(rows)
        if len(kept) < rows:
            raise RunError(f"{self._curve} has {len(kept)} lines, the checkpoint was made after {rows}")
        self.history(kept)
        return kept

    def _cut(self, kept: list[CurveRow]) -> None:
        """Drops all but these lines, the first ones, and their records."""
        self.lock()
        try:
            self._write_rows(kept)
            files.truncate(self._history, len(kept) * self.parameters * 4)
        except OSError as error:
            raise RunError(f"cannot write to {self.path}: {error.strerror}") from None

    def take_up(self, steps: int) -> Checkpoint:
        """Returns the newest checkpoint that goes with curve and history, which are cut back to it.

        They always go together unless files were lost or changed: then checkpoints that count on
        what is not there any more are removed, and an older one is taken.

        :param steps: how many the run is to have.
        :raises CheckpointError: if a checkpoint is damaged or of another run.
        :raises RunError: if there is none that goes with the files, or it is beyond the last step.
        """
        self.lock()
        complaints: list[RunError] = []
        useless = list(self.path.rglob(".*.tmp"))
        for file in reversed(self._checkpoint_files()):
            checkpoint = self._load(file)
            self.require(checkpoint.step <= steps, f"is at step {checkpoint.step} already; ask for more --steps")
            checkpoint.require(misfit(checkpoint.meta, {"rows": POSITIVE}))
            lines = checkpoint.meta["rows"]
            try:
                if checkpoint.step == steps:
                    # The last step's line stays, even if it is off the grid.
                    lines += sum(row.step == steps for row in self.curve(lines + 1)[lines:])
                kept = self._first(lines)
            except RunError as error:
                complaints.append(error)
                useless.append(file)
                continue
            self._cut(kept)
            try:
                for path in useless:
                    files.remove(path)
            except OSError as error:
                raise RunError(f"cannot write to {self.path}: {error.strerror}") from None
            return checkpoint
        raise complaints[0] if complaints else self._nothing()

    def save_checkpoint(self, step: int, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Path:
        """Writes a checkpoint, removes all but the last few, and returns the new one's path.

        :raises RunError: if it cannot be written.
        """
        self.lock()
        path = self.checkpoints / f"step-{step:09d}.npz"
        try:
            files.sync(self._history)
            files.sync(self._curve)
            Checkpoint(self.identity, step, arrays, meta).save(path)
            for old in self._checkpoint_files()[:-KEPT_CHECKPOINTS]:
                files.remove(old)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from None
        return path

    def load_checkpoint(self) -> Checkpoint:
        """Reads the newest checkpoint.

        :raises RunError: if there is none.
        :raises CheckpointError: if it is truncated, damaged or of another run.
        """
        found = self._checkpoint_files()
        if not found:
            raise self._nothing()
        return self._load(found[-1])

    def _load(self, file: Path) -> Checkpoint:
        checkpoint = Checkpoint.load(file, self.identity)
        if file.name != f"step-{checkpoint.step:09d}.npz":
            raise CheckpointError(f"{file} holds step {checkpoint.step}; give it back its own name")
        return checkpoint

    def _nothing(self) -> RunError:
        return RunError(f"{self.path} holds no checkpoint; start the run again in another folder")

    @property
    def _curve(self) -> Path:
        return self.path / "curve.csv"

    @property
    def _history(self) -> Path:
        return self.path / "history"

    def _checkpoint_files(self) -> list[Path]:
        return sorted(self.checkpoints.glob("step-*.npz"))

    def _write_description(self) -> None:
        text = json.dumps(self.description, indent=1, ensure_ascii=False) + "\n"
        files.write_atomically(self.path / "run.json", text.encode())

    def _write_rows(self, rows: Iterable[CurveRow]) -> None:
        lines = [",".join(self._header), *(",".join(row.cells()) for row in rows)]
        text = "\n".join(lines) + "\n"
        files.write_atomically(self._curve, text.encode())

"""A run's curve as TensorBoard's event files, by tensorboardX, an optional extra."""

from __future__ import annotations

import math
from pathlib import Path

from ..runs import RunError, RunFolder
from ..tools.files import AnyPath

__all__ = ["Events"]


class Events:
    """Event files of one run, to which logged steps are added.

    :param folder: folder to make; TensorBoard shows it as a run, those beside it as others.
    :raises RunError: if tensorboardX is not installed, or the folder holds something or cannot be
        written.
    """

    def __init__(self, folder: AnyPath) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise RunError("event files need tensorboardX: pip install tensorboardX") from None
        path = Path(folder)
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise RunError(f"{path} exists already; remove it, or choose another --tensorboard")
            self._writer = SummaryWriter(str(path))
        except OSError as error:
            raise RunError(f"cannot write to {path}: {error.strerror}; choose another --tensorboard") from None
        self._last = -1

    def add(self, run: RunFolder) -> None:
        """Adds what the run has logged since the last time: losses, and its figure of merit."""
        for row in run.curve():
            if row.step > self._last:
                scalars = {"loss/held-out": row.loss, "loss/training": row.train_loss, run.metric.name: row.metric}
                for name, value in scalars.items():
                    if math.isfinite(value):
                        self._writer.add_scalar(name, value, row.step)
                self._last = row.step
        self._writer.flush()

    def close(self) -> None:
        """Ends the event files; nothing can be added afterwards."""
        self._writer.close()

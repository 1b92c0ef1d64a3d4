"""What a baseline run leaves behind: a record as of other results, and the trained network.

Records are described in :mod:`dither.report.records`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..nn.network import Network
from ..report.records import FIRST_ORDER
from ..runs import RunError, RunFolder
from ..runs.metrics import Metric
from ..tools.files import AnyPath

__all__ = ["BaselineRow", "Result", "write_result"]


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """One line of ``curve.csv``: how a baseline does at one logged step."""

    step: int
    """Number of optimiser steps done."""
    forwards: int
    """Number of samples that went through the network so far, in training: as many went back."""
    train_loss: float
    """Mean loss of the steps since the last line; NaN where there was none."""
    loss: float
    """Mean loss on held-out data."""
    metric: float
    """Value of the task's :class:`~dither.runs.metrics.Metric` on held-out data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished baseline run: its curve, its network and facts about it."""

    metric: Metric
    """Metric that the curve has values of."""
    rows: tuple[BaselineRow, ...]
    """Lines of the curve."""
    network: Network
    """Network with the trained parameters."""
    facts: Mapping[str, Any]
    """Further content of ``result.json``."""

    @property
    def final(self) -> float:
        """Value of the metric after the last step."""
        return self.rows[-1].metric


def write_result(path: AnyPath, result: Result, command: str) -> None:
    """Writes a new folder: ``result.json``, ``curve.csv``, ``curve.svg``, ``network.npz``.

    :param command: the command line that makes the same run again.
    :raises RunError: if the folder is in use or cannot be written.
    """
    from ..report.plots import learning_curves, save_figure

    path = Path(path)
    RunFolder.refuse_used(path)
    name = {"accuracy": "test_accuracy"}.get(result.metric.name, result.metric.name)
    title = f"{result.facts['method']}: {result.facts['network']}"
    content = {
        "title": title,
        "group": "baseline",
        "kind": FIRST_ORDER,
        "command": command,
        **result.facts,
        name: result.final,
    }
    lines = [f"step,forwards,train_loss,loss,{result.metric.name}"]
    lines += [f"{row.step},{row.forwards},{row.train_loss},{row.loss},{row.metric}" for row in result.rows]
    texts = {
        "result.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "curve.csv": "\n".join(lines) + "\n",
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (path / file).write_text(text, "utf-8")
        save_figure(learning_curves([(title, result.rows)], result.metric), path / "curve.svg")
        result.network.save(path / "network.npz")
    except OSError as error:
        raise RunError(f"cannot write to {path}: {error.strerror}; choose another --out") from None

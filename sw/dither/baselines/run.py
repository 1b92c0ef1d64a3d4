"""The training loop of baselines: Adam in PyTorch."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any

from ..nn.models import Model
from ..nn.network import Network
from ..pytorch import from_torch, require_torch, to_torch
from ..report.records import forward_macs
from ..train.equations import EquationTask
from ..train.tasks import Task, TrainingTask
from .recipe import Baseline
from .results import BaselineRow, Result

__all__ = ["default_baseline", "train_baseline"]


def default_baseline(task: TrainingTask) -> Baseline:
    """Returns the settings that suit a task: 12 passes over its data.

    For an equation, which has fresh points in every step, 10,000 steps.
    """
    samples = task.samples["train"]
    if not samples:
        return Baseline(batch=task.recipe.batch, steps=10_000, log_every=500)
    batch = min(128, samples)
    return Baseline(batch=batch, steps=12 * samples // batch, rate=4e-3, log_every=max(1, samples // batch))


def train_baseline(
    task: TrainingTask,
    baseline: Baseline,
    model: Model | None = None,
    report: Callable[[BaselineRow], None] = lambda row: None,
) -> Result:
    """Trains a network by Adam from the initial values and on the samples of ``dither train``.

    :param model: the model; the task's own if None.
    :param report: called with every line of the curve.
    :raises ValueError: if the model does not suit the task.
    :raises ImportError: if PyTorch is not installed.
    """
    torch = require_torch()
    from .objectives import Classes, Objective, Residuals

    model = model or task.model
    torch.set_num_threads(baseline.threads)
    torch.use_deterministic_algorithms(True)
    objective: Objective
    if isinstance(task, EquationTask):
        objective = Residuals(task, autograd=baseline.derivatives == "autograd")
        if (model.inputs, model.outputs) != (task.problem.dimensions, 1):
            raise ValueError(f"{task.name} needs {task.problem.dimensions} inputs and one output")
    else:
        assert isinstance(task, Task)
        task.check_model(model)
        objective = Classes(task)
    network = to_torch(Network(model, model.initial_parameters(baseline.seed)), trains=True)
    optimiser = torch.optim.Adam(network.parameters(), lr=baseline.rate)
    batches = task.batches(replace(task.recipe, batch=baseline.batch, tile=baseline.batch, seed=baseline.seed))
    per_step = baseline.batch * objective.evaluations
    rows: list[BaselineRow] = []
    pending: list[float] = []
    begun = time.monotonic()

    def log(step: int) -> None:
        scores = objective.score(network)
        mean = sum(pending) / len(pending) if pending else float("nan")
        rows.append(BaselineRow(step, step * per_step, mean, scores.loss, scores.metric))
        pending.clear()
        report(rows[-1])

    log(0)
    for step in range(baseline.steps):
        inputs, targets = batches.take(step, 1)
        for group in optimiser.param_groups:
            group["lr"] = baseline.rate_at(step)
        optimiser.zero_grad()
        loss = objective.loss(network, inputs[0], None if targets is None else targets[0])
        loss.backward()
        optimiser.step()
        pending.append(float(loss.detach()))
        if (step + 1) % baseline.log_every == 0 or step + 1 == baseline.steps:
            log(step + 1)
    forwards = baseline.steps * per_step
    facts: dict[str, Any] = {
        "task": task.name,
        "network": str(model),
        "parameters": model.parameter_count,
        "method": "back-propagation, Adam",
        **asdict(baseline),
        ("network_evaluations" if isinstance(task, EquationTask) else "image_forwards"): forwards,
        "mac": _macs(model, forwards, baseline),
        "saturations": 0,
        "seconds": round(time.monotonic() - begun, 1),
        "versions": {"python": platform.python_version(), "torch": metadata.version("torch")},
    }
    trained = from_torch(network, loss=model.loss)
    return Result(metric=task.metric, rows=tuple(rows), network=trained, facts=facts)


def _macs(model: Model, forwards: int, baseline: Baseline) -> int | None:
    """Returns the multiply-accumulates of all steps.

    A sample's way back takes two products where its way forward takes one. None where the network
    is differentiated by its inputs too, which is not counted.
    """
    return None if baseline.derivatives == "autograd" else 3 * forwards * forward_macs(model)

"""Five lines from two arrays to a trained network.

>>> import dither
>>> from sklearn.datasets import load_digits
>>> run = dither.train(*load_digits(return_X_y=True))
>>> run.accuracy, run.report
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from ..arch.config import EngineConfig
from ..arch.config import engine as engine_of
from ..data import AS_THEY_ARE, Samples, as_inputs, as_labels
from ..devices import board_engine, is_line
from ..nn.models import Model
from ..nn.network import Network
from ..physics import Problem
from ..pytorch import from_torch
from ..recipe import Recipe
from ..runs import RunFolder, default_folder
from ..tools import trust
from ..tools.files import AnyPath
from ..train.equations import EquationTask
from ..train.experiment import Experiment
from ..train.loop import Progress
from ..train.own import equation_task, labelled_task, settled
from ..train.prepared import prepare
from ..train.source import Source
from ..train.task import Task
from .run import Run

__all__ = ["train"]


def train(
    x: ArrayLike | str | Task | EquationTask | Problem,
    y: ArrayLike | None = None,
    *,
    x_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    model: Model | Network | str | Sequence[int] | Any = None,
    device: str = "golden",
    engine: str | EngineConfig | None = None,
    steps: int | None = None,
    recipe: Recipe | Mapping[str, Any] | None = None,
    out: AnyPath | None = None,
    name: str = "arrays",
    held_out: float = 0.2,
    split_seed: int = 0,
    scaling: str = "auto",
    stencil: str | None = None,
    data: AnyPath | None = None,
    then: Sequence[str] = (),
    log_every: int | None = None,
    checkpoint_every: int = 200,
    show: Callable[[Progress], None] | None = None,
    **changes: Any,
) -> Run:
    """Trains a network by forward passes, writes a run folder and returns the run.

    Samples are split, scaled and given a network and a recipe that suit many; all of these can be
    chosen. The folder keeps a copy of arrays, so that ``dither train --resume`` needs nothing else:
    it goes on from the last checkpoint after Ctrl-C, too.

    :param x: samples, shape (samples, …), as they are; or a task: a name, a file or folder as
        ``dither train`` takes it (code in it is run), a ``Task``, ``EquationTask`` or ``Problem``.
    :param y: class of each sample, whole numbers or texts, shape (samples,).
    :param x_test: held-out samples; a fifth of each class, always the same ones, if None.
    :param y_test: classes of the held-out samples.
    :param model: a ``Model``; a ``Network``, a file of one or a ``torch.nn.Sequential`` for its
        parameters too; a model's name; or sizes of hidden layers, such as ``(64, 32)``.
    :param device: ``golden``, ``native``, ``numpy``, ``rtl``, or the serial port of a board; all
        give the same bits.
    :param engine: geometry, which decides cycles; a preset's name or ``ROWSxLANES``.
    :param steps: optimiser steps; schedules of the recipe do not follow it.
    :param recipe: a recipe, or fields that differ from the task's.
    :param out: the run's folder, new or empty; ``runs/NAME-DEVICE-1`` or the next free number.
    :param name: name of a task that arrays make.
    :param held_out: fraction of arrays to hold out, if there is no ``x_test``.
    :param split_seed: seed of that split, which the run's ``seed`` leaves as it is.
    :param scaling: how arrays become numbers from -1 to 1: ``auto``, ``one`` scaling for all
        features, one for each of the ``features``, or ``none``.
    :param stencil: how derivatives are taken, for a differential equation.
    :param data: folder of a named task's files.
    :param then: further phases, as ``--then`` takes them.
    :param log_every: steps between evaluations.
    :param checkpoint_every: steps between checkpoints.
    :param show: called with the progress about once a second; a bar in a terminal if None.
    :param changes: fields of the recipe, such as ``rate=0.002`` or ``seed=7``.
    :raises TaskError: if the samples or the task cannot be used.
    :raises ValueError: if model, recipe or engine do not go together; the message says how.
    :raises RunError: if the folder is used already or cannot be written.
    :raises DeviceError: if the device cannot be built or fails.
    """
    samples: Samples | None = None
    task: Any = x
    if y is not None:
        if not re.fullmatch(r"[\w.-]{1,80}", name):
            raise ValueError(f"name must be a word of letters and digits, as folders are called by it, not {name!r}")
        samples = settled(
            _samples(x, y, x_test, y_test, name), name, held_out=held_out, seed=split_seed, scaling=scaling
        )
        task = labelled_task(name, samples)
    elif isinstance(x, Problem):
        task = equation_task(x, stencil)
    elif isinstance(x, Task):
        held = Samples(x.test.inputs, x.test.labels)
        samples = Samples(x.train.inputs, x.train.labels, held, x.names or tuple(range(x.classes)), AS_THEY_ARE, x.name)
    elif isinstance(x, (str, os.PathLike)):
        task = os.fspath(x)
        if (source := Source.of(task)) and source.code and source.path.is_file():
            trust.allow(source.path)
    elif not isinstance(x, EquationTask):
        raise ValueError("y is missing: the class of each sample of x")
    fields = dict(recipe.to_dict() if isinstance(recipe, Recipe) else recipe or {}) | changes
    config = engine_of(engine) if isinstance(engine, str) else engine
    if is_line(device):
        config = board_engine(device, config)
    experiment = Experiment.of_task(
        task,
        device=device,
        engine=config,
        steps=steps,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        recipe=fields,
        then=then,
        stencil=stencil,
        data=data,
        samples=samples,
        **_network(model),
    )
    path = Path(out) if out is not None else default_folder(experiment.name, device)
    RunFolder.refuse_used(path)
    prepared = prepare(experiment)
    try:
        run = Run.create(path, prepared.describe(path))
        try:
            trainer = prepared.trainer(run)
            trainer.start()
            with _display(trainer.steps) as bar:
                trainer.train(report=show or bar, stop=lambda: False)
            prepared.finish(run)
        finally:
            run.close()
    finally:
        prepared.close()
    return run


@contextmanager
def _display(steps: int) -> Iterator[Callable[[Progress], None]]:
    """Shows progress as a bar, where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=steps)

        def show(standing: Progress) -> None:
            figure = f"{standing.metric.title} {standing.metric.text(standing.row.metric)}"
            bar.update(task, completed=standing.step, description=f"step {standing.step}/{steps}  {figure}")

        yield show


def _samples(x: Any, y: ArrayLike, x_test: ArrayLike | None, y_test: ArrayLike | None, name: str) -> Samples:
    test = None
    if (x_test is None) != (y_test is None):
        raise ValueError(f"{'x_test' if x_test is None else 'y_test'} is missing; give both, or neither")
    if x_test is not None and y_test is not None:
        held = as_inputs(x_test, f"{name}: x_test")
        test = Samples(held, as_labels(y_test, f"{name}: y_test", len(held)))
    inputs = as_inputs(x, f"{name}: x")
    return Samples(inputs, as_labels(y, f"{name}: y", len(inputs)), test, name=name)


def _network(model: Any) -> dict[str, Any]:
    """Returns what an experiment takes of a model."""
    if isinstance(model, Sequence) and not isinstance(model, str):
        model = ",".join(str(int(size)) for size in model)
    if model is None or isinstance(model, (str, os.PathLike)):
        return {"network": model}
    if isinstance(model, Model):
        return {"model": model}
    network = model if isinstance(model, Network) else from_torch(model)
    return {"model": network.model, "parameters": network.parameters}

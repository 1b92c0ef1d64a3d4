"""The command ``dither baseline``, which trains by back-propagation."""

from __future__ import annotations

import shlex
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from ..baselines import Baseline, BaselineRow, default_baseline, train_baseline, write_result
from ..baselines.recipe import DERIVATIVES, SCHEDULES
from ..data import DATA_VARIABLE
from ..nn.models import MODELS, named_model
from ..runs import RunFolder, default_folder
from ..train.tasks import load_task
from .values import TASK, Suggesting

__all__ = ["baseline"]


@click.command(
    epilog="""\b
Examples:
  dither baseline mnist                            the published tensor-train network, 12 passes over the data
  dither baseline mnist --model mnist-cnn --out results/cnn
  dither baseline hjb --derivatives autograd --steps 2000
""",
)
@click.argument("task", type=TASK)
@click.option("--model", "network", type=Suggesting("model", list(MODELS)), help="Another network than the task's.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder.  [default: runs/TASK-baseline-N]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Folder of the task's files.  [default: ${DATA_VARIABLE}, or downloaded into the user's cache]",
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Optimiser steps.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Passes over the data, instead of --steps.")
@click.option("--batch", type=click.IntRange(1, 1 << 20), metavar="N", help="Samples of a step.")
@click.option("--rate", type=float, metavar="X", help="Learning rate.")
@click.option("--schedule", type=click.Choice(SCHEDULES), help="How the learning rate goes down.")
@click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), metavar="N", help="Seed of initial values and sample order."
)
@click.option("--log-every", type=click.IntRange(1), metavar="N", help="Steps between evaluations.")
@click.option(
    "--derivatives", type=click.Choice(DERIVATIVES), help="How a differential equation's derivatives are taken."
)
@click.option("--stencil", metavar="SPEC", help="How differences are taken; see dither train --help.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of PyTorch.  [default: 1]")
def baseline(
    task: str,
    network: str | None,
    out: Path | None,
    data: Path | None,
    epochs: int | None,
    stencil: str | None,
    **options: Any,
) -> None:
    """Train TASK's network by Adam and back-propagation in PyTorch, an optional extra.

    Writes a folder with result.json, curve.csv and the trained network.
    """
    console = Console(soft_wrap=True, highlight=False)
    found = load_task(task, stencil, data)
    path = out or default_folder(found.name, "baseline")
    RunFolder.refuse_used(path)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        chosen = _recipe(default_baseline(found), found.samples["train"], epochs, given)
        model = named_model(network) if network else found.model
        console.print(
            f"[bold]{escape(str(path))}[/]: {model}; back-propagation, {chosen.steps} steps of {chosen.batch}"
        )

        def show(row: BaselineRow) -> None:
            metric = found.metric
            console.print(
                f"step {row.step}/{chosen.steps}  loss {row.loss:.4g}  {metric.title} {metric.text(row.metric)}"
            )

        result = train_baseline(found, chosen, model, show)
    except (ImportError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    words = ["dither", "baseline", task]
    for name, value in (("model", network), ("stencil", stencil), *_differences(chosen, default_baseline(found))):
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    write_result(path, result, shlex.join(words))


def _recipe(default: Baseline, samples: int, epochs: int | None, given: dict[str, Any]) -> Baseline:
    values = asdict(default) | given
    if epochs is not None:
        if not samples or "steps" in given:
            raise ValueError("--epochs needs a data set, and no --steps")
        values["steps"] = max(1, epochs * samples // values["batch"])
    elif samples and "steps" not in given:
        values["steps"] = max(1, default.steps * default.batch // values["batch"])
    return Baseline(**values)


def _differences(chosen: Baseline, default: Baseline) -> list[tuple[str, Any]]:
    names = [field.name for field in fields(Baseline)]
    return [(name, getattr(chosen, name)) for name in names if getattr(chosen, name) != getattr(default, name)]

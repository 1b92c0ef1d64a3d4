"""The command ``dither fit``: whether a training fits an engine, and what it takes there."""

from __future__ import annotations

from typing import Any

import click

from .answers import Answer, answering
from .fitting import show
from .train import RECIPE, fresh, train

__all__ = ["fit"]

_SHARED = ("task", "engine", "board", "steps", "data", "network", "stencil", "ranks", "then", *RECIPE)
"""Options of ``dither train`` that this command has too."""


@click.command(
    epilog="""\b
Examples:
  dither fit mnist --board ulx3s-85f
  dither fit mnist --board ulx3s-25f --estimator tensorwise --ranks 3
  dither fit digits --engine 4x32
  dither fit hjb --board icebreaker --json
""",
)
@answering("fit")
@click.pass_context
def fit(context: click.Context, /, answer: Answer, **options: Any) -> None:
    """Say whether a training fits a board or an engine, and what it takes there.

    That is: memory by memory, cycles and seconds of a step, the line's share, the time to recorded
    accuracies. Nothing is built for it.

    Takes the options of dither train. Where it does not fit, a recorded recipe, a change and a
    board are named that do. Exit code 0: it fits. 1: it does not.
    """
    experiment = fresh({"device": "golden", "log_every": None, "checkpoint_every": 200, **options})
    context.exit(show(experiment, options["board"], answer))


fit.params += [parameter for parameter in train.params if parameter.name in _SHARED]

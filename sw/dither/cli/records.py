"""``dither record`` and ``dither repeat``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ..devices import DEVICES
from ..records import FIRST_STEPS, check_record, write_record
from ..runs import RunFolder
from .parameters import Suggesting

__all__ = ["record", "repeat"]


@click.command(
    short_help="Keep a finished run's result, curve and first digests.",
    epilog="""\b
Examples:
  dither record runs/mnist-golden-1 docs/results/mnist-mirror --title "MNIST, learned feedback"
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--title", required=True, help="One line that says what was tried.")
def record(run: Path, folder: Path, title: str) -> None:
    """Write FOLDER with result.json, curve.csv and curve.svg of the finished run RUN."""
    console = Console(soft_wrap=True, highlight=False)
    with console.status("repeating the first steps"):
        result = write_record(RunFolder.open(run), folder, title)
    figure = next(f"{name} {result[name]:.5g}" for name in ("test_accuracy", "relative_l2") if name in result)
    console.print(f"[bold]{escape(str(folder))}[/]: {figure}, digest {result['digest']}")


@click.command(
    short_help="Repeat the first steps of recorded results, bit by bit.",
    epilog="""\b
Examples:
  dither repeat docs/results/mnist-mirror
  dither repeat docs/results/* --device rtl
""",
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--device", type=Suggesting("device", list(DEVICES)), default="golden", show_default=True,
              help="Machine to repeat them on.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1, FIRST_STEPS), default=FIRST_STEPS, show_default=True,
              help="Training steps to repeat.")  # fmt: skip
@click.pass_context
def repeat(context: click.Context, folders: tuple[Path, ...], device: str, steps: int) -> None:
    """Repeat the first training steps of the records FOLDERS and compare all parameters.

    Exit code 0: the same bits. 1: other bits.
    """
    console = Console(soft_wrap=True, highlight=False)
    good = True
    for folder in folders:
        if not (folder / "result.json").exists():
            continue
        with console.status(f"{folder.name}: preparing") as status:
            check = check_record(folder, device, steps, lambda text: status.update(escape(text)))
        verdict = "[green]identical[/]" if check.identical else "[bold red]different[/]"
        console.print(f"{escape(folder.name)}: {verdict}, {len(check.found)} steps on {device}")
        good = good and check.identical
    context.exit(0 if good else 1)

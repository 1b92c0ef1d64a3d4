"""The commands ``dither record``, ``dither repeat`` and ``dither results``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ..arch.config import PRESETS, EngineConfig, engine_name
from ..data import DATA_VARIABLE
from ..report.records import FIRST_ORDER, FIRST_STEPS, GROUPS, add_check, check_record, load_record, write_record
from ..runs import RunFolder
from .answers import Answer, answering
from .generated import CHECK, report_stale, write_file
from .values import DEVICE, ENGINE, Suggesting

__all__ = ["record", "repeat", "results"]

_DATA = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Folder of the task's files.  [default: ${DATA_VARIABLE}, or the user's cache]",
)


@click.command(
    epilog="""\b
Examples:
  dither record runs/mnist-golden-1 docs/results/mnist-mirror --title "MNIST, learned feedback" --group mnist
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--title", required=True, help="One line that says what was tried.")
@click.option(
    "--group",
    type=Suggesting("group", list(GROUPS)),
    required=True,
    help=f"What it is compared with: {', '.join(GROUPS)}.",
)
@_DATA
def record(run: Path, folder: Path, title: str, group: str, data: Path | None) -> None:
    """Write FOLDER with result.json, curve.csv and curve.svg of the finished run RUN."""
    console = Console(soft_wrap=True, highlight=False)
    with console.status("repeating the first steps"):
        result = write_record(RunFolder.open(run), folder, title, group, data)
    figure = next(f"{name} {result[name]:.5g}" for name in ("test_accuracy", "relative_l2") if name in result)
    console.print(f"[bold]{escape(str(folder))}[/]: {figure}, digest {result['digest']}")


@click.command(
    epilog="""\b
Examples:
  dither repeat docs/results/mnist-mirror
  dither repeat docs/results/*/ --device rtl --steps 1 --record
  dither repeat docs/results/*/ --junit repeat.xml
""",
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--device",
    type=DEVICE,
    default="golden",
    show_default=True,
    help="Machine to repeat them on, or the serial port of a board.",
)
@click.option(
    "--engine",
    type=ENGINE,
    metavar="NAME",
    help=f"Geometry: {', '.join(PRESETS)} or ROWSxLANES[@WORDS].  [default: the record's]",
)
@click.option(
    "--steps",
    type=click.IntRange(1, FIRST_STEPS),
    default=FIRST_STEPS,
    show_default=True,
    help="Training steps to repeat.",
)
@click.option("--record", "keep", is_flag=True, help="Write into result.json what --device rtl found.")
@_DATA
@answering("repeat")
@click.pass_context
def repeat(
    context: click.Context,
    folders: tuple[Path, ...],
    device: str,
    engine: EngineConfig | None,
    steps: int,
    keep: bool,
    data: Path | None,
    answer: Answer,
) -> None:
    """Repeat the first training steps of the records FOLDERS and compare all parameters.

    Folders without a record, and those of first-order baselines, are skipped as long as there is
    something to repeat. Exit code 0: the same bits. 1: other bits. 2: nothing was repeated.
    """
    if keep and device != "rtl":
        raise click.UsageError("--record keeps what the gateware did; add --device rtl")
    console = answer.console(soft_wrap=True, highlight=False)
    answer.values = {"device": device, "records": [], "skipped": {}}
    notes, good = {}, []
    for folder in folders:
        if not folder.is_dir():
            raise click.UsageError(f"there is no folder {folder}")
        if not (folder / "result.json").exists():
            notes[folder] = "no record"
        elif load_record(folder).get("kind") == FIRST_ORDER:
            notes[folder] = "first order, nothing to repeat"
    for folder in folders:
        if folder in notes:
            continue
        with console.status(f"{folder.name}: preparing") as status:
            try:
                check = check_record(folder, device, steps, lambda text: status.update(escape(text)), engine, data)
            except ValueError as error:
                raise click.UsageError(f"{folder}: {error}") from None
        if keep:
            add_check(folder, check)
        verdict = "[green]identical[/]" if check.identical else "[bold red]different[/]"
        taken = f"{len(check.found)} step{'s' if len(check.found) > 1 else ''}"
        where = f"{device} {engine_name(check.engine)}" if device == "rtl" else device
        console.print(f"{escape(folder.name)}: {verdict}, {taken} on {where}")
        good.append(check.identical)
        differs = f"digests {', '.join(check.found)} instead of {', '.join(check.recorded[: len(check.found)])}"
        answer.case(str(folder), failure=None if check.identical else differs)
        answer.values["records"].append(
            {
                "folder": folder,
                "identical": check.identical,
                "steps": len(check.found),
                "engine": engine_name(check.engine),
                "recorded": check.recorded,
                "found": check.found,
            }
        )
    if not good:
        raise click.UsageError("; ".join(f"{folder}: {note}" for folder, note in notes.items()))
    for folder, note in notes.items():
        console.print(f"[dim]{escape(folder.name)}: {note}[/]")
        answer.case(str(folder), skipped=note)
        answer.values["skipped"][str(folder)] = note
    context.exit(0 if all(good) else 1)


@click.command(
    epilog="""\b
Examples:
  dither results docs/results
  dither results docs/results --check
""",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("docs/results"))
@CHECK
@click.option(
    "--yardsticks",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write this file too: what reports of runs compare accuracies and errors with.",
)
@click.pass_context
def results(context: click.Context, folder: Path, check: bool, yardsticks: Path | None) -> None:
    """Write FOLDER/README.md, which sets all records in FOLDER side by side, and its pictures.

    FOLDER/records.json has the records in short: from it dither fit knows what was reached.
    """
    from ..fit import recorded
    from ..report.pictures import draw_results
    from ..report.results import load_records, render_results
    from ..report.results import yardsticks as best_baselines
    from ..report.yardsticks import render_yardsticks

    texts = {folder / "README.md": render_results(folder), folder / recorded.FILE: recorded.summary(folder)}
    if check:
        context.exit(int(report_stale(texts, f"dither results {folder}")))
    made = draw_results(folder) | {page: text.encode() for page, text in texts.items()}
    if yardsticks is not None:
        made[yardsticks] = render_yardsticks(best_baselines(load_records(folder))).encode()
    for path, content in made.items():
        write_file(path, content)
    click.echo(f"wrote {folder / 'README.md'} and {len(made) - 1} files beside it")

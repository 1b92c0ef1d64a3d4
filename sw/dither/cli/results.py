"""The commands ``dither compare`` and ``dither report``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from ..runs import RunFolder
from ..runs.compare import compare as compare_runs
from .answers import Answer, answering

__all__ = ["compare", "report"]


@click.command(
    epilog="""\b
Examples:
  dither compare runs/digits-golden-1 runs/digits-rtl-1
  dither compare A B --no-plot && echo same bits
  dither compare A B --no-plot --json --junit compare.xml
""",
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("compare.png"),
    show_default=True,
    help="Draw both learning curves and their differences to this file (.png, .svg or .pdf).",
)
@click.option("--no-plot", is_flag=True, help="Draw nothing.")
@answering("compare")
@click.pass_context
def compare(context: click.Context, a: Path, b: Path, plot: Path, no_plot: bool, answer: Answer) -> None:
    """Compare the runs A and B: every parameter at every logged step, without tolerance.

    What their settings differ in (seed, recipe, width, engine) comes first; rows, lanes and depths
    of an engine change no bit.

    Exit code 0: identical. 1: they differ; the first differing step, tensor and element are named.
    2: they cannot be compared.
    """
    runs = RunFolder.open(a), RunFolder.open(b)
    result = compare_runs(*runs)
    console = answer.console(soft_wrap=True, highlight=False)
    answer.values = {"a": a, "b": b, "identical": result.identical, **asdict(result)}
    answer.case(f"{a} and {b} are identical", failure=result.reason)
    if result.settings:
        console.print(f"settings differ: {escape('; '.join(result.settings))}")
        if any(setting.startswith("width ") for setting in result.settings):
            console.print("numbers of other widths cannot agree: train both with one --board or --engine")
    if result.identical:
        what = f"{result.steps} logged steps × {result.parameters} parameters, every bit equal"
        console.print(f"[bold green]identical[/]: {what}")
    else:
        console.print(f"[bold red]different[/]: {escape(str(result.reason))}")
    if not no_plot:
        _draw(runs, plot)
        console.print(f"[dim]curves: {escape(str(plot))}[/]")
    context.exit(0 if result.identical else 1)


def _draw(runs: tuple[RunFolder, RunFolder], path: Path) -> None:
    from ..report.plots import comparison, save_figure

    first, second = runs
    figure = comparison((str(first.path), first.curve()), (str(second.path), second.curve()), first.metric)
    try:
        save_figure(figure, path)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"cannot draw {path}: {error}; choose another --plot, or --no-plot") from None


@click.command(
    epilog="""\b
Examples:
  dither report runs/digits-golden-1
  dither report runs/mnist-golden-1 --watch                       while it trains, in another terminal
  dither report runs/mnist-golden-1 --watch --tensorboard events  the same for TensorBoard (an optional extra)
""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: RUN/report.html]"
)
@click.option(
    "--watch",
    "watched",
    is_flag=True,
    help="Make it again as long as the run goes on; the page in the browser shows itself anew. Ctrl-C ends that.",
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the curve as event files too, to DIR/NAME for a run of that name.",
)
def report(run: Path, out: Path | None, watched: bool, tensorboard: Path | None) -> None:
    """Write the report of RUN: curves, engine, plan, cycles, ranges, memory map.

    A finished run has one already; this makes it again, or makes one of an interrupted run, or of
    one that is under way.
    """
    from ..report import write_report
    from ..report.tensorboard import Events
    from ..report.watch import watch

    opened, steps = RunFolder.open(run), [-1]
    events = Events(tensorboard / run.resolve().name) if tensorboard else None

    def seen(run: RunFolder) -> None:
        last = run.curve()[-1]
        if watched and last.step != steps[-1]:
            steps.append(last.step)
            click.echo(f"step {last.step}: loss {last.loss:.4g}, {run.metric.title} {run.metric.text(last.metric)}")
        if events:
            events.add(run)

    if watched:
        click.echo(f"watching {run}: open {out or run / 'report.html'} in a browser; Ctrl-C ends this")
        path = watch(run, out, seen=seen)
    else:
        path = write_report(opened, out)
        seen(opened)
    if events:
        events.close()
    click.echo(f"report: {path}")

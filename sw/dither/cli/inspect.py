"""The commands ``dither info``, ``dither docs`` and ``dither disassemble``."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..arch.config import PRESETS, EngineConfig
from ..arch.isa import decode_program
from ..arch.pages import PAGES
from ..devices import tools
from ..diagrams import DIAGRAMS
from ..link.transport import serial_ports
from ..train.describe import versions
from ..train.experiment import Experiment
from ..train.tasks import task_names
from .answers import Answer, answering
from .generated import CHECK, report_stale, write_file
from .values import ENGINE, TASK

__all__ = ["disassemble", "docs", "info"]


@click.command()
@answering("info")
def info(answer: Answer) -> None:
    """Show the engine presets, the tasks, versions, tools and serial ports.

    The tools are those that --device rtl needs.
    """
    found, ports = tools(), serial_ports()
    answer.values = {
        "engines": {name: {"digest": config.digest(), **config.to_dict()} for name, config in PRESETS.items()},
        "tasks": task_names(),
        "versions": versions(),
        "tools": {tool: {"usable": good, "found": what} for tool, what, good in found},
        "ports": [{"path": port.path, "description": port.description, "bridge": port.bridge} for port in ports],
    }
    for tool, what, good in found:
        answer.case(tool, skipped=None if good else what)
    if answer.as_json:
        return
    console = Console(highlight=False, width=max(shutil.get_terminal_size().columns, 80))
    engines = Table(
        "engine", "multipliers", "bits", "activations", "parameters", "program", "digest", box=None, pad_edge=False
    )
    for name, config in PRESETS.items():
        engines.add_row(
            f"[bold]{name}[/]",
            str(config.multipliers),
            str(config.width),
            f"{config.activation_depth} words",
            f"{config.parameter_depth * config.rows}",
            f"{config.program_depth} words",
            config.digest(),
        )
    console.print(engines)
    console.print("\n[bold]tasks[/]    " + ", ".join(task_names()))
    console.print("[bold]versions[/] " + ", ".join(f"{name} {version}" for name, version in versions().items()))
    console.print("\n[bold]tools of the simulated gateware[/]")
    for tool, what, good in found:
        console.print(f"  {'[green]✓[/]' if good else '[red]✗[/]'} {tool}: {what}", soft_wrap=True)
    console.print("\n[bold]serial ports[/]" + ("" if ports else "\n  none"))
    for port in ports:
        note = "" if port.bridge else " (not a bridge that boards have)"
        console.print(f"  {escape(port.path)}: {escape(port.description)}{note}", soft_wrap=True)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs"),
    show_default=True,
    help="Folder of the documentation.",
)
@CHECK
@click.pass_context
def docs(context: click.Context, out: Path, check: bool) -> None:
    """Write the pages and diagrams of docs that derive from data.

    The pages are instruction set, registers, memories and streams, timing, packages; the diagrams
    are drawn from the same data, and from a program that is compiled for them.
    """
    texts = {out / name: make() for name, make in {**PAGES, **DIAGRAMS}.items()}
    if check:
        context.exit(int(report_stale(texts, "dither docs")))
    for page, text in texts.items():
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"cannot make {page.parent}: {error.strerror}; choose another --out") from None
        write_file(page, text.encode(), "choose another --out")
        click.echo(f"wrote {page}")


@click.command(
    epilog="""\b
Examples:
  dither disassemble digits --engine 1x8 | less
""",
)
@click.argument("task", type=TASK)
@click.option(
    "--engine",
    type=ENGINE,
    metavar="NAME",
    help=f"Geometry: {', '.join(PRESETS)} or ROWSxLANES.  [default: the task's]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the task's files, if it has any.",
)
def disassemble(task: str, engine: EngineConfig | None, data: Path | None) -> None:
    """Compile TASK with its own model and recipe, and show the program, one instruction a line.

    Fields that are 0 are left out.
    """
    experiment = Experiment.of_task(task, device="golden", engine=engine, recipe={}, data=data)
    try:
        compiled = experiment.compile(experiment.load(), experiment.engine)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    names = {address: name for name, address in compiled.entries.items()}
    for address, instruction in decode_program(list(compiled.program)):
        if address in names:
            click.echo(f"{names[address]}:")
        click.echo(f"{address:5d}  {instruction}")

"""Answers about what fits, printed for people or as JSON."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..arch.config import engine_name
from ..boards import Board
from ..fit import UNITS, Finding, Suggestion, examine, suggestions
from ..fit.recorded import plain_options
from ..report.text import duration
from ..train.experiment import Experiment
from .answers import Answer
from .boards import BOARD
from .group import refusals
from .progress import telling

__all__ = ["show"]


def show(experiment: Experiment, board_name: str | None, answer: Answer) -> int:
    """Prints whether an experiment fits its engine, and what does where it does not.

    :param board_name: name or file of the board that the engine is of; None if it is of none.
    :param answer: takes the same as JSON data.
    :returns: the exit code: 0 if it fits, 1 if it does not.
    """
    board: Board | None = None if board_name is None else BOARD.convert(board_name, None, None)
    console, status_console = answer.console(soft_wrap=True, highlight=False), Console(stderr=True)
    near: list[Suggestion] = []
    with refusals(), status_console.status("loading the task") as status:
        task = experiment.load()
        status.update("compiling")
        found = examine(experiment, task, board)
    if not answer.as_json:
        _print(console, found)
    if not found.fits:
        with refusals(), telling(status_console, "") as tell:
            tell("looking for what fits in its place, which may take minutes; Ctrl-C ends that")
            near = suggestions(found, task, tuple(plain_options(experiment.command())), tell)
    others = [{"kind": each.kind, "command": each.command, **each.finding.to_dict()} for each in near]
    answer.values = found.to_dict() | {"nearest": others}
    lacking = found.refusal or ", ".join(
        f"{use.what}: {use.needed} of {use.there}" for use in found.uses if not use.fits
    )
    answer.case(f"{experiment.task} fits {_place(found)}", failure=None if found.fits else lacking)
    if not answer.as_json and not found.fits:
        _print_near(console, found, near)
    return 0 if found.fits else 1


def _print(console: Console, found: Finding) -> None:
    verdict = "[bold green]fits[/]" if found.fits else "[bold red]does not fit[/]"
    console.print(f"{escape(found.experiment.task)} on {escape(_place(found))}: {verdict}")
    if found.uses:
        console.print(_uses(found))
    if found.refusal is not None:
        console.print(f"  {escape(found.refusal)}")
    for line in _times(found):
        console.print(f"  {escape(line)}")


def _print_near(console: Console, found: Finding, near: list[Suggestion]) -> None:
    for each in near:
        console.print(f"\n{_KINDS[each.kind]}\n  [bold]{escape(each.command)}[/]")
        for line in _times(each.finding):
            console.print(f"  {escape(line)}")
        if found.phases[0].step_cycles and each.finding.phases[0].step_cycles and each.kind != "board":
            ratio = each.finding.phases[0].step_cycles / found.phases[0].step_cycles
            console.print(f"  {ratio:.2g} times the cycles a step of what was asked for")
    if not near:
        console.print("\nnothing near it fits: no recorded recipe, no smaller ranks, no board of dither boards")


_WORTH_TELLING = 0.05
"""Share of the cycles from which on it is said what takes them."""
_KINDS = {
    "recorded": "the best recorded recipe that fits:",
    "changed": "the nearest change that fits; what it reaches is not recorded:",
    "board": "the smallest board that holds it as it is:",
}


def _place(found: Finding) -> str:
    engine, board = found.experiment.engine, found.board
    if board is None:
        return f"{engine_name(engine)} ({engine.geometry} engine, {engine.width} bits)"
    return f"{board.name} ({engine.geometry} engine, {engine.width} bits, {board.clock.hz / 1e6:g} MHz)"


def _uses(found: Finding) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=True)
    table.add_column("  what", no_wrap=True)
    for heading in ("needed", "there"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for use in found.uses:
        unit = use.parameter in UNITS
        needed, there = (("no", "yes")[number] if unit else f"{number:,}" for number in (use.needed, use.there))
        note = "" if use.fits else "[red]missing[/]" if unit else f"[red]{use.needed - use.there:,} too many[/]"
        table.add_row(f"  {use.what}", needed, there, note)
    return table


def _times(found: Finding) -> list[str]:
    """Returns lines about cycles and seconds, the line, and what is recorded."""
    lines = []
    several = len(found.phases) > 1
    for number, (phase, line) in enumerate(zip(found.phases, found.lines, strict=True), start=1):
        if phase.step_cycles is None:
            continue
        where = f"a step of phase {number}: " if several else "a step: "
        if not phase.fits:
            where = where.replace("a step", "a step on an engine that is large enough")
        text = f"{where}{phase.step_cycles:,} cycles"
        if line is not None:
            assert found.board is not None
            text += f", {_brief(phase.step_cycles / found.board.clock.hz)}"
            carries = f"its {line.bytes / 1000:,.1f} kB take the line {_brief(line.seconds)}"
            waits = f"together {_brief(line.step_seconds)}, {line.wait_share:.0%} of it waiting for samples"
            text += f"; {carries}; {waits}"
            if line.stored:
                once = f"{line.once_bytes / 1e6:.1f} MB, {_brief(line.once_seconds)}"
                text += f"; the data set goes over the line once: {once}"
        lines.append(text)
        most = [f"{name.upper()} {share:.0%}" for name, share in phase.shares.items() if share >= _WORTH_TELLING]
        lines.append(f"its multipliers work in {phase.utilisation:.1%} of them; most cycles go to {', '.join(most)}")
    if found.known is None:
        seconds = found.seconds(found.experiment.steps)
        if seconds is not None:
            lines.append(f"{found.experiment.steps:,} steps: {duration(seconds)}; what they reach is not recorded")
        return lines
    metric = found.known.metric
    reached = [
        f"{each.text} after {each.step:,} steps{'' if each.seconds is None else f', {duration(each.seconds)}'}"
        for each in found.reached
    ]
    return [*lines, f"recorded {metric.title} ({found.known.name}): {'; '.join(reached)}"]


def _brief(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds * 1e3:.3g} ms"
    return duration(seconds) if seconds >= 10 else f"{seconds:.2f} s"

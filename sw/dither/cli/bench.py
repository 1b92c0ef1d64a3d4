"""The command ``dither bench``: measurements of :mod:`dither.bench`, for people or as JSON."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..bench import measure

__all__ = ["bench"]

_ROWS = (
    ("utilisation", "multipliers at work in a whole tensor-wise step", "{:.1%}"),
    ("cycle_model_exact", "cycle model equals the RTL's counters", "{}"),
    ("rtl_mac_per_s", "simulated RTL, multiply-accumulates per second", "{:,.0f}"),
    ("rtl_cycles_per_s", "simulated RTL, cycles per second", "{:,.0f}"),
    ("rtl_vs_bare_verilator", "… against a bare loop over the same model", "{:.3f}"),
    ("golden_mac_per_s", "golden machine, multiply-accumulates per second", "{:,.0f}"),
    ("torch_mac_per_s", "PyTorch float32, tensordot", "{:,.0f}"),
    ("torch_best_mac_per_s", "PyTorch float32, best layout known", "{:,.0f}"),
    ("golden_vs_torch", "golden machine against tensordot", "{:.2f}"),
    ("golden_vs_torch_best", "golden machine against the best layout", "{:.2f}"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def bench(as_json: bool) -> None:
    """Measure utilisation and speed on MNIST's network, as ratios within one run.

    Takes about three minutes, and some more if the 4x32 engine has yet to be compiled. PyTorch is
    compared where it is installed (pip install torch).
    """
    console = Console(stderr=True)
    with console.status("measuring") as status:
        values = measure(lambda name: status.update(f"measuring: {name}"))
    if as_json:
        click.echo(json.dumps(values, indent=2))
    else:
        Console().print(_table(values))


def _table(values: dict[str, Any]) -> Table:
    table = Table(title=f"{values['cores']} cores, medians")
    table.add_column("figure")
    table.add_column("", justify="right")
    for key, meaning, form in _ROWS:
        table.add_row(meaning, "—" if values[key] is None else form.format(values[key]))
    for name, speeds in values["steps"].items():
        table.add_row(f"training {name}: golden machine, samples per second of processor", f"{speeds['golden']:,.0f}")
        table.add_row("… native machine against it, one thread", f"{speeds['native'] / speeds['golden']:.2f}")
        if twin := speeds.get("PyTorch, same estimator"):
            table.add_row("… native machine against PyTorch, same estimator", f"{speeds['native'] / twin:.2f}")
        table.add_row("… native machine, two threads against one, by the clock", f"{values['two_threads'][name]:.2f}")
    table.add_row("processes that wanted a core meanwhile", f"{values['load']:.1f}")
    for name, mebibytes in values["memory_mib"].items():
        table.add_row(f"peak memory: {name}", f"{mebibytes:,.0f} MiB")
    return table

"""A build's report: one HTML page that needs no other file."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from dither.report.pages import render
from dither.report.plots import inline_svg

from .floorplan import PlacedCell, draw

__all__ = ["render_page", "short_name"]

_TITLES = {
    "lut4": "LUTs with four inputs",
    "ff": "flip-flops",
    "multipliers": "multipliers",
    "block_ram": "block RAMs",
    "large_ram": "large RAMs",
    "pll": "PLLs",
    "pins": "pins",
}
_MAPPED = re.compile(r"_(?:TRELLIS_|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|ALU54B|DP16KD|SB_)[^.\[]*")


def short_name(name: str) -> str:
    """Returns the name of a cell's port, or of a net, without what synthesis appended to it."""
    return _MAPPED.sub("…", name)


def render_page(report: dict[str, Any], cells: list[PlacedCell]) -> str:
    """Returns a build's report as HTML, in the style of the reports of training.

    :param report: the figures, as in ``report.json``.
    :param cells: the placed cells, for the picture.
    """
    floorplan = inline_svg(draw(cells), f"placement on {report['device']}")
    routing = sum(hop["delay_ns"] for hop in report["critical_path"] if hop["kind"] == "routing")
    return render(
        "build.html",
        package="dither_hw.build",
        filters={"short": short_name},
        report=report,
        titles=_TITLES,
        floorplan=Markup(floorplan),
        total=sum(hop["delay_ns"] for hop in report["critical_path"]),
        routing=routing,
    )

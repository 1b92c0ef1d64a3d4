"""A build's report: one HTML page that needs no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dither.report.pages import render

from .floorplan import MARKS, PlacedCell, floor_plan, outlines
from .path import short_name, stops, summary

__all__ = ["render_page"]

_TITLES = {
    "lut4": "LUTs with four inputs",
    "ff": "flip-flops",
    "multipliers": "multipliers",
    "block_ram": "block RAMs",
    "large_ram": "large RAMs",
    "pll": "PLLs",
    "pins": "pins",
}


def render_page(report: dict[str, Any], cells: list[PlacedCell], dies: Mapping[str, tuple[int, int]]) -> str:
    """Returns a build's report as HTML, in the style of the reports of training.

    :param report: the figures, as in ``report.json``.
    :param cells: the placed cells, for the picture.
    :param dies: sizes of chips, as in :attr:`dither_hw.vendor.flow.Flow.dies`.
    """
    die = next((size for device, size in dies.items() if re.match(device, report["device"])), None)
    path = stops(report["critical_path"])
    return render(
        "build.html",
        package="dither_hw.build",
        filters={"short": short_name},
        report=report,
        titles=_TITLES,
        plan=floor_plan(cells, die),
        marks={kind: outlines(kind, [(0, 0)]) for kind in MARKS},
        path=path,
        summary=summary(path) if path else "There is no path from clock to clock.",
    )

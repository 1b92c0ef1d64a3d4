"""Pictures of runs: what their axes show, what tells curves apart, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from dither.report.colors import KINDS, KINDS_DARK
from dither.report.pages import style_sheet
from dither.report.plots import (
    SOFT,
    Line,
    Mark,
    comparison,
    cost_curves,
    inline_svg,
    learning_curves,
    panels,
    save_figure,
)
from dither.report.text import count, number, power_of_ten, thousands
from dither.runs import CurveRow
from dither.runs.metrics import ACCURACY, RELATIVE_L2, Metric

NARROW = "\N{NARROW NO-BREAK SPACE}"


def rows(metric: Callable[[int], float], loss: Callable[[int], float], count: int = 40) -> list[CurveRow]:
    return [
        CurveRow(step, 0, 0, math.nan if step == 0 else 1.1 * loss(step), loss(step), metric(step), "")
        for step in range(count)
    ]


EQUATION = rows(lambda step: 0.05 * 0.9**step + 3e-4, lambda step: 0.9 * 0.7**step + 1e-4)
GOOD = rows(lambda step: 1 - 0.9 * 0.9**step - 0.02, lambda step: 2.3 * 0.9**step + 0.07)
POOR = rows(lambda step: 0.1 + 0.01 * step, lambda step: 2.3 - 0.01 * step)


def axes_of(run: list[CurveRow], metric: Metric, mark: Mark | None = None) -> tuple[Axes, Axes]:
    figure = learning_curves([("a", run)], metric, mark)
    figure.canvas.draw()
    loss, merit = figure.axes
    return loss, merit


def ticks(axes: Axes) -> list[str]:
    low, high = axes.get_ylim()
    return [
        text.get_text()
        for value, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if low <= value <= high
    ]


def test_errors_of_equations_fill_their_logarithmic_axes() -> None:
    for axes, seen in zip(axes_of(EQUATION, RELATIVE_L2), ("loss", "metric"), strict=True):
        values = [getattr(row, seen) for row in EQUATION]
        low, high = axes.get_ylim()
        assert axes.get_yscale() == "log"
        assert min(values) / 1.5 < low < min(values)
        assert max(values) < high < max(values) * 1.5
        assert len(ticks(axes)) >= 3


def test_accuracies_near_one_are_drawn_as_errors() -> None:
    _, axes = axes_of(GOOD, ACCURACY)
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log"
    assert axes.get_title(loc="left") == "Errors on held-out data"
    assert low < 0.035 < high < 1.2
    assert {"5%", "10%", "50%"} <= set(ticks(axes))
    (line,) = axes.get_lines()
    assert list(line.get_ydata()) == [1 - row.metric for row in GOOD]  # type: ignore[arg-type]


def test_poor_accuracies_and_losses_begin_at_zero() -> None:
    for axes in axes_of(POOR, ACCURACY):
        assert axes.get_yscale() == "linear"
        assert axes.get_ylim()[0] == 0


@pytest.mark.parametrize("metric", [ACCURACY, RELATIVE_L2])
def test_values_of_zero_do_no_harm(metric: Metric) -> None:
    exact = 1.0 if metric is ACCURACY else 0.0
    run = rows(lambda step: exact if step > 5 else abs(exact - 0.25 / (1 + step)), lambda step: 0.0)
    _, axes = axes_of(run, metric)
    low, high = axes.get_ylim()
    assert 0 < low < 0.05 < 0.25 < high
    axes_of(rows(lambda step: exact, lambda step: 0.0, 1), metric)


def test_a_yardstick_is_in_sight() -> None:
    for run, metric, value, said in ((GOOD, ACCURACY, 0.99, "1%"), (EQUATION, RELATIVE_L2, 1e-5, "1 × 10⁻⁵")):
        _, axes = axes_of(run, metric, Mark("back-propagation", value))
        height = 1 - value if metric is ACCURACY else value
        assert axes.get_ylim()[0] < height
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [f"back-propagation, {said}"]


def test_differences_have_panels_of_their_own() -> None:
    figure = comparison(("a", GOOD), ("b", [*GOOD[:20], *(replaced(row) for row in GOOD[20:])]))
    _, _, loss, metric = figure.axes
    for axes, differs in ((loss, 0.5), (metric, -0.01)):
        (line,) = [line for line in axes.get_lines() if len(line.get_xdata()) == len(GOOD)]  # type: ignore[arg-type]
        values = list(line.get_ydata())  # type: ignore[arg-type]
        assert values[:20] == [0] * 20
        assert values[20:] == pytest.approx([differs] * 20)
        low, high = axes.get_ylim()
        assert low < -abs(differs) < abs(differs) < high


def replaced(row: CurveRow) -> CurveRow:
    return CurveRow(row.step, 0, 0, row.train_loss, row.loss + 0.5, row.metric + 0.01, "")


def test_identical_runs_are_said_to_be(tmp_path: Path) -> None:
    save_figure(comparison(("a", GOOD), ("b", GOOD)), tmp_path / "same.svg")
    assert (tmp_path / "same.svg").read_text().count("equal at every step that both have") == 2
    save_figure(comparison(("a", GOOD[:1]), ("b", GOOD[1:])), tmp_path / "none.svg")
    assert "no step that both have" in (tmp_path / "none.svg").read_text()


def test_costs_are_compared_on_one_axis() -> None:
    lines = [Line("a", [[(0, 0.1), (1000, 0.5), (20_000, 0.95)]]), Line("b", [[(500, 0.2)]], "a")]
    (axes,) = cost_curves(lines, ACCURACY, "forwards").axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    first, second = axes.get_lines()
    assert list(first.get_xdata()) == [1000, 20_000]  # type: ignore[arg-type]
    assert (first.get_color(), second.get_color()) == (KINDS[0], SOFT)
    (axes,) = cost_curves([*lines, Line("c", [[(500, 0.3)]]), Line("d", [[(9, 0.1)]], "c")], ACCURACY, "forwards").axes
    assert [line.get_color() for line in axes.get_lines()] == [KINDS[0], KINDS[0], KINDS[1], KINDS[1]]
    assert [line.get_linestyle() for line in axes.get_lines()] == ["-", "--", "-", "--"]


def test_figures_of_pages_follow_the_page(tmp_path: Path) -> None:
    loss, metric = panels(GOOD, ACCURACY)
    assert len(loss.axes) == len(metric.axes) == 1
    text = inline_svg(metric, "errors") + inline_svg(cost_curves([Line("a", [[(1, 0.5)]])], ACCURACY, "x"), "costs")
    assert "var(--blue)" in text
    assert "var(--c0)" in text
    assert "#2f5fd0" not in text
    assert 'id="figure' not in text


def test_steps_are_written_like_all_numbers() -> None:
    figure = learning_curves([("a", [CurveRow(step, 0, 0, 1.0, 1.0, 0.5, "") for step in (0, 3000)])])
    figure.canvas.draw()
    assert f"3{NARROW}000" in [text.get_text() for text in figure.axes[0].get_xticklabels()]


def test_numbers_are_written_one_way() -> None:
    assert count(1234567) == f"1{NARROW}234{NARROW}567"
    assert count(12_345_678) == f"12.35{NARROW}M"
    assert thousands("takes 357,792 of 1,2 or 2,3681, 784-1024-10, 3,962") == (
        f"takes 357{NARROW}792 of 1,2 or 2,3681, 784-1024-10, 3{NARROW}962"
    )
    assert [number(value) for value in (0.25, -1.5, 12345.0, 2e-5, -3.25e9)] == [
        "0.25",
        "−1.5",
        "1.234 × 10⁴",
        "2 × 10⁻⁵",
        "−3.25 × 10⁹",
    ]
    assert power_of_ten(-12) == "10⁻¹²"


def linear(color: str) -> list[float]:
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    lights = sorted(sum(map(float.__mul__, (0.2126, 0.7152, 0.0722), linear(color))) for color in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def lab(color: str) -> tuple[float, float, float]:
    """Lightness and colour in OKLab, where distances are about those that people see."""
    r, g, b = linear(color)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize("dark", [False, True])
def test_colours_of_kinds_tell_kinds_apart(dark: bool) -> None:
    colors, scheme = (KINDS_DARK, 1) if dark else (KINDS, 0)
    papers = [style_sheet().split(f"--{name}: ")[1 + scheme][:7] for name in ("paper", "card")]
    assert len(colors) == len(set(colors)) == 24
    assert min(contrast(color, paper) for color in colors for paper in papers) >= 3
    assert min(math.dist(lab(one), lab(other)) for one, other in combinations(colors, 2)) > 0.03
    assert min(math.dist(lab(one), lab(other)) for one, other in combinations(colors[:12], 2)) > 0.05
    assert min(math.dist(lab(one), lab(other)) for one, other in pairwise(colors)) > 0.1

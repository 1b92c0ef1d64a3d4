"""Where multipliers and block RAMs are fixed."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from dither_hw.build.arrangement import arrange

SIZES = {"LFE5U-25F": (28, 56), "LFE5U-45F": (72, 108), "LFE5UM5G-85F": (156, 208)}


def engine(lanes: int, rows: int, *, segments: int = 4, group: int = 4) -> dict[str, str]:
    """Cells of an engine, as synthesis names them."""
    cells = {"core.engine.sequencer.x": "LUT4"}
    for lane in range(lanes):
        name = f"core.engine.contract.group{lane // group}"
        cells |= {f"{name}.lane{lane % group}.multiplier{row}.U$0": "MULT18X18D" for row in range(rows)}
        cells |= {f"core.engine.activation.bank{lane}_ram{i}_0": "DP16KD" for i in range(segments)}
        if lane % group == 0:
            cells[f"{name}.interpolator.multiplier.U$0"] = "MULT18X18D"
    for row in range(rows):
        for memory, columns in {"gradient": 3, "master": 2, "moment1": 2, "moment2": 2}.items():
            cells |= {f"core.engine.{memory}.bank{row}_ram0_{i}": "DP16KD" for i in range(columns)}
    return cells | {"core.engine.update.multiplier.low.U$0": "MULT18X18D", "core.link.x": "DP16KD"}


def place(site: str) -> tuple[int, int]:
    match = re.fullmatch(r"X(\d+)/Y(\d+)/(?:MULT18|EBR)_?\d", site)
    assert match is not None, site
    return int(match[1]), int(match[2])


@pytest.mark.parametrize(
    ("device", "lanes", "rows"),
    [
        ("LFE5U-25F", 8, 2),
        ("LFE5U-25F", 4, 4),
        ("LFE5U-45F", 16, 4),
        ("LFE5U-45F", 8, 8),
        ("LFE5UM5G-85F", 16, 8),
        ("LFE5UM5G-85F", 32, 4),
    ],
)
def test_lanes_are_neighbours(device: str, lanes: int, rows: int) -> None:
    cells = engine(lanes, rows, segments=2)
    sites = arrange(device, cells)
    assert len(set(sites.values())) == len(sites), "two cells at one site"
    kinds = Counter(cells[name] for name in sites)
    assert kinds["LUT4"] == 0
    assert all(count <= most for count, most in zip((kinds["MULT18X18D"], kinds["DP16KD"]), SIZES[device], strict=True))
    assert all(("MULT18" in site) == (cells[name] == "MULT18X18D") for name, site in sites.items())
    for lane in range(lanes):
        name = f"core.engine.contract.group{lane // 4}.lane{lane % 4}"
        columns, lines = zip(*(place(sites[f"{name}.multiplier{row}.U$0"]) for row in range(rows)), strict=True)
        assert len(set(lines)) == 1, "a lane in two rows of multipliers"
        # Four multipliers in nine columns; the middle of the chip may lie between.
        assert max(columns) - min(columns) <= 9 * (rows // 4 + 1) + 11
        for i in range(2):
            x, y = place(sites[f"core.engine.activation.bank{lane}_ram{i}_0"])
            assert abs(x - columns[0]) < 40
            assert abs(y - lines[0]) < 40
    assert "core.link.x" not in sites


def test_what_is_not_known_is_left_to_the_placer() -> None:
    assert arrange("iCE40UP5K", engine(4, 4)) == {}
    assert arrange("LFE5U-45F", {"core.x": "MULT18X18D"}) == {}
    # More lanes than fit.
    assert arrange("LFE5U-25F", engine(16, 4)) == {}

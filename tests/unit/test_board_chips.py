"""The chips that boards' files name in a comment are there, and suit the pins and clocks."""

from __future__ import annotations

import re

import pytest

from dither.boards import board_folder, load_board
from dither.store.chip import chip
from dither_hw.board.board import BoardTop, create_platform
from dither_hw.sdram.controller import row_pins

NAMED = {
    path.stem: match[1]
    for path in sorted(board_folder().glob("*.toml"))
    if (match := re.search(r'^(?:# )?chip = "(.*)"$', path.read_text(), re.MULTILINE))
}


def test_all_boards_with_sdram_are_known() -> None:
    assert len(NAMED) == 9


@pytest.mark.parametrize("name", NAMED)
def test_a_board_with_its_chip(name: str, tmp_path) -> None:
    path = tmp_path / f"{name}.toml"
    text = (board_folder() / f"{name}.toml").read_text()
    path.write_text(text.replace("# [memory]", "[memory]").replace("# chip =", "chip ="))
    found = load_board(path)
    assert found.memory is not None
    assert found.memory.chip == chip(NAMED[name])
    found.memory.chip.timing(found.clock.hz)
    platform = create_platform(found)
    pins = platform.request("sdram", 0, dir="-")
    assert len(pins.dq) == found.memory.chip.width
    assert len(pins.a) >= row_pins(found.memory.chip)
    assert 1 << len(pins.ba) == found.memory.chip.banks
    assert BoardTop(found, 0).board is found

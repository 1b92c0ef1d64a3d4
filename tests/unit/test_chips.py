"""Memory chips as data: their files, and times as cycles of a clock."""

from __future__ import annotations

import dataclasses
import math

import pytest

from dither.arch.device import DeviceError
from dither.store.chip import chip, chip_names, load_chip

FILE = (
    """title = "A chip"
source = "its data sheet"
[geometry]
width = 16
banks = 4
rows = 8192
columns = 512
[timing]
"""
    + "\n".join(
        f"{name} = {value}"
        for name, value in {
            "row_cycle": 60,
            "row_active": 42,
            "row_active_most": 100_000,
            "precharge": 18,
            "activate_to_access": 18,
            "activate_to_activate": 12,
            "write_recovery": 12,
            "refresh_cycle": 60,
            "refresh_interval": 7812.5,
            "mode": 12,
            "power_up": 200_000,
            "clock_cas2": 10,
            "clock_cas3": 6,
        }.items()
    )
    + "\n"
)


@pytest.mark.parametrize("name", chip_names())
@pytest.mark.parametrize("clock_hz", [24_000_000, 80_000_000, 100_000_000, 133_000_000])
def test_every_distance_lasts_as_long_as_its_time(name: str, clock_hz: int) -> None:
    found = chip(name)
    timing, period = found.timing(clock_hz), 1e9 / clock_hz
    for field in dataclasses.fields(timing):
        if field.name in ("latency", "refresh_interval"):
            continue
        cycles, time = getattr(timing, field.name), getattr(found, field.name)
        assert cycles * period >= time - 1e-6
        assert (cycles - 1) * period < time or cycles <= 2
    assert timing.refresh_interval * period <= found.refresh_interval
    assert timing.latency == (2 if period >= found.clock_cas2 else 3)
    # All rows are refreshed within the time that chips hold what they hold.
    assert found.rows * found.refresh_interval <= 64e6 + 1


def test_sizes() -> None:
    assert chip("mt48lc16m16a2-75").bytes == 32 << 20
    assert chip("as4c32m8sa-7").bytes == 32 << 20
    assert chip("m12l16161a-7-pair").bytes == 4 << 20


def test_a_clock_that_is_too_fast_is_refused() -> None:
    with pytest.raises(ValueError, match=r"works at up to 133 MHz, not 150 MHz"):
        chip("mt48lc16m16a2-75").timing(150e6)


def test_unknown_chips_are_named_with_the_known_ones() -> None:
    with pytest.raises(DeviceError, match=r"unknown memory chip '\.\./x'; known: as4c32m16sb-7, "):
        chip("../x")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("row_cycle = 60", "", r"timing\.row_cycle: is missing"),
        ("row_cycle = 60", "row_cycle = 60\nspeed = 3", r"timing\.speed: is not known"),
        ("row_cycle = 60", 'row_cycle = "60"', r"timing\.row_cycle: must be a time in nanoseconds, not '60'"),
        ("row_cycle = 60", "row_cycle = -1", r"timing\.row_cycle: must be a time in nanoseconds, not -1"),
        ("width = 16", "width = 12", r"geometry\.width: must be one of \(8, 16, 32\), not 12"),
        ('title = "A chip"', "title = 3", r"title: must be text, not 3"),
        ("[geometry]", "[geometrie]", r": geometr"),
        ("width = 16", "width = ", r"chip\.toml: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(FILE)
    assert math.isclose(load_chip(path).precharge, 18)
    path.write_text(FILE.replace(old, new))
    with pytest.raises(DeviceError, match=complaint):
        load_chip(path)

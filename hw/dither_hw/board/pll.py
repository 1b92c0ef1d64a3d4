"""Clock multipliers of ECP5 and iCE40: a search for their settings, and the gateware with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from amaranth.hdl import Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Ecp5Pll", "Ecp5Settings", "Ice40Pll", "Ice40Settings", "ecp5_settings", "ice40_settings"]

_S = TypeVar("_S")
_ECP5_INPUT = (8_000_000, 400_000_000)
_ECP5_COMPARED = (3_125_000, 400_000_000)
_ECP5_OSCILLATOR = (400_000_000, 800_000_000)
_ECP5_MIDDLE = 600_000_000
_ECP5_OUTPUT = (10_000_000, 400_000_000)
_ICE40_INPUT = (10_000_000, 133_000_000)
_ICE40_OSCILLATOR = (533_000_000, 1_066_000_000)
_ICE40_OUTPUT = (16_000_000, 275_000_000)
_ICE40_FILTERS = ((17_000_000, 1), (26_000_000, 2), (44_000_000, 3), (66_000_000, 4), (101_000_000, 5))


@dataclass(frozen=True, slots=True)
class Ecp5Settings:
    """Dividers of an EHXPLLL with feedback from its first output.

    ``out = in / reference * feedback``.
    """

    reference: int
    """Divider of the input clock, ``CLKI_DIV``: 1 to 128."""
    feedback: int
    """Divider of the feedback, ``CLKFB_DIV``: 1 to 80."""
    output: int
    """Divider of the output, ``CLKOP_DIV``: 1 to 128.

    The oscillator runs at ``out * output``.
    """


@dataclass(frozen=True, slots=True)
class Ice40Settings:
    """Parameters of an SB_PLL40 with simple feedback.

    ``out = in * (divf + 1) / (2**divq * (divr + 1))``.
    """

    divr: int
    divf: int
    divq: int
    filter_range: int


def ecp5_settings(input_hz: int, output_hz: int) -> Ecp5Settings:
    """Returns settings that make exactly ``output_hz`` of ``input_hz``.

    Of several, they are those with the highest compared frequency, because that jitters least, and
    of these those with the oscillator nearest to the middle of its range.

    :raises ValueError: if there are none, naming the nearest frequencies that can be had.
    """
    _within("PLL input", input_hz, _ECP5_INPUT)
    _within("PLL output", output_hz, _ECP5_OUTPUT)
    found: dict[Fraction, Ecp5Settings] = {}
    for reference in range(1, 129):
        compared = Fraction(input_hz, reference)
        if not _ECP5_COMPARED[0] <= compared <= _ECP5_COMPARED[1]:
            continue
        for feedback in range(1, 81):
            out = compared * feedback
            output = max(1, round(_ECP5_MIDDLE / out))
            good = _ECP5_OSCILLATOR[0] <= out * output <= _ECP5_OSCILLATOR[1]
            if good and out not in found and _ECP5_OUTPUT[0] <= out <= _ECP5_OUTPUT[1]:
                found[out] = Ecp5Settings(reference, feedback, output)
    return _exact(found, input_hz, output_hz)


def ice40_settings(input_hz: int, output_hz: int) -> Ice40Settings:
    """Returns settings that make exactly ``output_hz`` of ``input_hz``.

    Of several, they are those with the highest compared frequency.

    :raises ValueError: if there are none, naming the nearest frequencies that can be had.
    """
    _within("PLL input", input_hz, _ICE40_INPUT)
    _within("PLL output", output_hz, _ICE40_OUTPUT)
    found: dict[Fraction, Ice40Settings] = {}
    for divr, divf, divq in _ice40_choices():
        compared = Fraction(input_hz, divr + 1)
        oscillator = compared * (divf + 1)
        out = oscillator / (1 << divq)
        good = compared >= _ICE40_INPUT[0] and _ICE40_OSCILLATOR[0] <= oscillator <= _ICE40_OSCILLATOR[1]
        if good and out not in found and _ICE40_OUTPUT[0] <= out <= _ICE40_OUTPUT[1]:
            filter_range = next((n for limit, n in _ICE40_FILTERS if compared < limit), 6)
            found[out] = Ice40Settings(divr, divf, divq, filter_range)
    return _exact(found, input_hz, output_hz)


def _ice40_choices() -> Iterator[tuple[int, int, int]]:
    return ((divr, divf, divq) for divr in range(16) for divf in range(128) for divq in range(1, 7))


def _within(what: str, hz: int, limits: tuple[int, int]) -> None:
    if not limits[0] <= hz <= limits[1]:
        raise ValueError(f"{what} must be from {limits[0] / 1e6:g} to {limits[1] / 1e6:g} MHz, not {hz / 1e6:g} MHz")


def _exact(found: dict[Fraction, _S], input_hz: int, output_hz: int) -> _S:
    if output_hz in found:
        return found[Fraction(output_hz)]
    below = max((hz for hz in found if hz < output_hz), default=None)
    above = min((hz for hz in found if hz > output_hz), default=None)
    near = " and ".join(f"{float(hz) / 1e6:.6g}" for hz in (below, above) if hz is not None)
    raise ValueError(
        f"no PLL setting makes {output_hz / 1e6:g} MHz of {input_hz / 1e6:g} MHz; nearest: {near or 'none'}"
    )


class Ecp5Pll(wiring.Component):
    """Makes the engine's clock with one EHXPLLL of an ECP5.

    Attributes
    ----------
    clock_in, clock_out : In(1), Out(1)
        The clock before and after.
    locked : Out(1)
        ``clock_out`` is steady; asynchronous.

    :param input_hz: rate of the clock before.
    :param output_hz: rate of the clock after.
    """

    def __init__(self, input_hz: int, output_hz: int) -> None:
        self.settings = ecp5_settings(input_hz, output_hz)
        self._frequencies = (f"{input_hz / 1e6:g}", f"{output_hz / 1e6:g}")
        super().__init__({"clock_in": In(1), "clock_out": Out(1), "locked": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=self._frequencies[0],
            a_FREQUENCY_PIN_CLKOP=self._frequencies[1],
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=self.settings.reference,
            p_CLKFB_DIV=self.settings.feedback,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=self.settings.output,
            p_CLKOP_CPHASE=self.settings.output - 1,
            p_CLKOP_FPHASE=0,
            i_RST=0,
            i_STDBY=0,
            i_CLKI=self.clock_in,
            o_CLKOP=self.clock_out,
            i_CLKFB=self.clock_out,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=1,
            i_PHASESTEP=1,
            i_PHASELOADREG=1,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_LOCK=self.locked,
        )
        return m


class Ice40Pll(wiring.Component):
    """Makes the engine's clock with the PLL of an iCE40: one SB_PLL40_PAD or SB_PLL40_CORE.

    SB_PLL40_PAD has the PLL's own pin as its input, SB_PLL40_CORE any signal.

    Attributes
    ----------
    clock_out : Out(1)
        The clock made, on a global net.
    locked : Out(1)
        ``clock_out`` is steady; asynchronous.

    :param input_hz: rate of the clock before.
    :param output_hz: rate of the clock after.
    :param pin: the clock's pin (PAD) or None.
    :param clock_in: the clock as a signal (CORE) where there is no ``pin``.
    """

    def __init__(self, input_hz: int, output_hz: int, *, pin: Any = None, clock_in: Any = None) -> None:
        self.settings = ice40_settings(input_hz, output_hz)
        self._pin = pin
        self._clock_in = clock_in
        super().__init__({"clock_out": Out(1), "locked": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        settings = self.settings
        kind, source = ("CORE", {"i_REFERENCECLK": self._clock_in})
        if self._pin is not None:
            kind, source = ("PAD", {"i_PACKAGEPIN": self._pin})
        m.submodules.pll = Instance(
            f"SB_PLL40_{kind}",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=settings.divr,
            p_DIVF=settings.divf,
            p_DIVQ=settings.divq,
            p_FILTER_RANGE=settings.filter_range,
            p_PLLOUT_SELECT="GENCLK",
            i_RESETB=1,
            i_BYPASS=0,
            o_PLLOUTGLOBAL=self.clock_out,
            o_LOCK=self.locked,
            o_PLLOUTCORE=Signal(),
            **source,
        )
        return m

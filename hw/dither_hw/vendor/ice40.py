"""Multipliers of the iCE40 UltraPlus, with their own registers and accumulators.

Yosys infers the multiplier alone; the accumulator inside saves 32 flip-flops and an adder for each,
and loading it from a neighbour's makes a chain of all of them without any logic. Source: Lattice
FPGA-TN-02007 (sysDSP).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from .flow import Flow
from .frequencies import exact, within

__all__ = ["FLOW", "Pll", "PllSettings", "multiply_accumulate", "pll_settings"]

_PLL_INPUT = (10_000_000, 133_000_000)
_PLL_OSCILLATOR = (533_000_000, 1_066_000_000)
_PLL_OUTPUT = (16_000_000, 275_000_000)
_PLL_FILTERS = ((17_000_000, 1), (26_000_000, 2), (44_000_000, 3), (66_000_000, 4), (101_000_000, 5))


def multiply_accumulate(
    m: Module, *, name: str, a: Value, b: Value, load: Value, hold: Value, chain: Value, total: Signal
) -> None:
    """Adds the product ``a * b`` of two cycles ago to ``total``, with one SB_MAC16.

    ``total`` has 32 bits and wraps modulo 2**32. The primitive has operand registers, one register
    behind the multiplier, and the accumulator.

    :param a: 16 bits, signed.
    :param b: 16 bits, signed.
    :param load: while high, the accumulator takes ``chain`` instead of a sum.
    :param hold: while high, the accumulator keeps its value.
    """
    zero, one = Const(0, 1), Const(1, 1)
    output = Signal(32, name=f"{name}_total")
    m.submodules[name] = Instance(
        "SB_MAC16",
        p_A_REG=1,
        p_B_REG=1,
        p_C_REG=0,
        p_D_REG=0,
        p_NEG_TRIGGER=0,
        p_MODE_8x8=0,
        p_A_SIGNED=1,
        p_B_SIGNED=1,
        p_TOP_8x8_MULT_REG=0,
        p_BOT_8x8_MULT_REG=0,
        p_PIPELINE_16x16_MULT_REG1=0,
        p_PIPELINE_16x16_MULT_REG2=1,
        # Outputs are the accumulators, which add the product; the upper half takes the lower one's
        # carry.
        p_TOPOUTPUT_SELECT=1,
        p_TOPADDSUB_LOWERINPUT=2,
        p_TOPADDSUB_UPPERINPUT=0,
        p_TOPADDSUB_CARRYSELECT=3,
        p_BOTOUTPUT_SELECT=1,
        p_BOTADDSUB_LOWERINPUT=2,
        p_BOTADDSUB_UPPERINPUT=0,
        p_BOTADDSUB_CARRYSELECT=0,
        i_CLK=ClockSignal(),
        i_CE=one,
        i_A=a,
        i_B=b,
        i_C=chain[16:],
        i_D=chain[:16],
        i_AHOLD=zero,
        i_BHOLD=zero,
        i_CHOLD=zero,
        i_DHOLD=zero,
        i_IRSTTOP=zero,
        i_IRSTBOT=zero,
        i_ORSTTOP=zero,
        i_ORSTBOT=zero,
        i_OLOADTOP=load,
        i_OLOADBOT=load,
        i_OHOLDTOP=hold,
        i_OHOLDBOT=hold,
        i_ADDSUBTOP=zero,
        i_ADDSUBBOT=zero,
        i_CI=zero,
        i_ACCUMCI=zero,
        i_SIGNEXTIN=zero,
        o_O=output,
    )
    m.d.comb += total.eq(output)


@dataclass(frozen=True, slots=True)
class PllSettings:
    """Parameters of an SB_PLL40 with simple feedback.

    ``out = in * (divf + 1) / (2**divq * (divr + 1))``.
    """

    divr: int
    divf: int
    divq: int
    filter_range: int


def pll_settings(input_hz: int, output_hz: int) -> PllSettings:
    """Returns settings that make exactly ``output_hz`` of ``input_hz``.

    Of several, they are those with the highest compared frequency.

    :raises ValueError: if there are none, naming the nearest frequencies that can be had.
    """
    within("PLL input", input_hz, _PLL_INPUT)
    within("PLL output", output_hz, _PLL_OUTPUT)
    found: dict[Fraction, PllSettings] = {}
    for divr, divf, divq in _pll_choices():
        compared = Fraction(input_hz, divr + 1)
        oscillator = compared * (divf + 1)
        out = oscillator / (1 << divq)
        good = compared >= _PLL_INPUT[0] and _PLL_OSCILLATOR[0] <= oscillator <= _PLL_OSCILLATOR[1]
        if good and out not in found and _PLL_OUTPUT[0] <= out <= _PLL_OUTPUT[1]:
            filter_range = next((n for limit, n in _PLL_FILTERS if compared < limit), 6)
            found[out] = PllSettings(divr, divf, divq, filter_range)
    return exact(found, input_hz, output_hz)


def _pll_choices() -> Iterator[tuple[int, int, int]]:
    return ((divr, divf, divq) for divr in range(16) for divf in range(128) for divq in range(1, 7))


class Pll(wiring.Component):
    """Makes the engine's clock with the PLL of an iCE40: one SB_PLL40_PAD or SB_PLL40_CORE.

    SB_PLL40_PAD has the PLL's own pin as its input, SB_PLL40_CORE any signal.

    Attributes
    ----------
    clock_in : In(1)
        The clock before, where it comes from no pin of the PLL's own.
    clock_out : Out(1)
        The clock made, on a global net.
    locked : Out(1)
        ``clock_out`` is steady; asynchronous.

    :param input_hz: rate of the clock before.
    :param output_hz: rate of the clock after.
    :param pin: the clock's pin (PAD), in place of ``clock_in`` (CORE).
    """

    def __init__(self, input_hz: int, output_hz: int, *, pin: Any = None) -> None:
        self.settings = pll_settings(input_hz, output_hz)
        self._pin = pin
        super().__init__({"clock_in": In(1), "clock_out": Out(1), "locked": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        settings = self.settings
        kind, source = ("CORE", {"i_REFERENCECLK": self.clock_in})
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


_DEVICES = {
    "iCE40UP3K": "--up3k",
    "iCE40UP5K": "--up5k",
    "iCE40HX1K": "--hx1k",
    "iCE40HX4K": "--hx4k",
    "iCE40HX8K": "--hx8k",
}
_DELAYS = {"iCE40UP": "u", "iCE40HX": "hx"}
"""Name of the delays that synthesis assumes, by the beginning of the device's name."""


def _part(platform: Any) -> tuple[str, ...] | None:
    device = platform.device
    return (_DEVICES[device], "--package", platform.package.lower()) if device in _DEVICES else None


# Without -dsp: that pass takes registers and modes out of the SB_MAC16 that a design instantiates
# itself. nextpnr counts a logic cell with its LUT and its flip-flop once.
FLOW = Flow(
    name="ice40",
    title="iCE40",
    platform=SiliconBluePlatform,
    tools=("yosys", "nextpnr-ice40", "icepack"),
    pins="top.pcf",
    placed="top.asc",
    bitstream="top.bin",
    part=_part,
    synthesis=lambda device, options: f"synth_ice40 -device {_DELAYS[device[:7]]} -top top {options}",
    files=("--pcf", "top.pcf", "--asc", "top.asc"),
    pack=lambda place, options: [*options, "top.asc", "top.bin"],
    blocks={
        "lut4": ("ICESTORM_LC",),
        "ff": ("ICESTORM_LC",),
        "multipliers": ("ICESTORM_DSP",),
        "block_ram": ("ICESTORM_RAM",),
        "large_ram": ("ICESTORM_SPRAM",),
        "pll": ("ICESTORM_PLL",),
        "pins": ("SB_IO",),
    },
    kinds={
        "ICESTORM_LC": "logic",
        "ICESTORM_DSP": "multiplier",
        "ICESTORM_RAM": "block RAM",
        "ICESTORM_SPRAM": "block RAM",
        "SB_IO": "pin",
    },
    dies={"iCE40UP[35]K": (26, 32), "iCE40HX1K": (14, 18), "iCE40HX[48]K": (34, 34)},
    pll=lambda input_hz, output_hz, device, pin: Pll(input_hz, output_hz, pin=pin),
    pad_pll=True,
    flip_flops="SB_DFF",
)
"""The way to an iCE40's bitstream."""

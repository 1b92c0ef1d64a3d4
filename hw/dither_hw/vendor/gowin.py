"""Gowin's GW1N and GW2A: block RAMs, clock multipliers, platforms, and the way to a bitstream.

Families whose names have an R, such as GW2AR, hold a memory chip besides, and are the same inside.
Sources: Gowin UG285 (block RAM), UG286 (clocks), DS117 and DS226 (limits of the PLL).

Multipliers are those that Yosys infers, between registers of the fabric: nextpnr knows no delays of
a multiplier, so that any other path that begins or ends at one would look faster than it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource, Subsignal
from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.vendor import GowinPlatform

from .flow import BLOCK_RAM_MODES, BlockRamLayout, Flow
from .frequencies import exact, within

__all__ = ["FLOW", "Pll", "PllLimits", "PllSettings", "TangNano20kPlatform", "block_ram", "pll_limits", "pll_settings"]

_ADDRESS_BITS = 14
_INIT_PARAMETERS = 64
_WIDE = 9
"""Least data bits of a block RAM that has all of its bits; narrower ones lack every ninth."""


def block_ram(
    m: Module,
    *,
    name: str,
    depth: int,
    write_enable: Value,
    write_addr: Value,
    write_data: Value,
    read_addr: Value,
    read_enable: Value | None = None,
    byte_enables: Value | None = None,
    init: Sequence[int] = (),
) -> Value:
    """Makes a memory of block RAMs, one port to write and one to read; returns the word read.

    That is the word that was at ``read_addr`` a cycle ago, or in the last cycle with
    ``read_enable``. The result of reading a word in the cycle in which it is written is undefined.

    The block RAMs' own output registers are not used: those of the GW1N-9 and the GW2A-18 do not
    work in all modes, and nextpnr would put flip-flops in their place. Yosys would infer memories
    with two ports of which each can do both, and nextpnr knows no delay out of their second one.

    :param m: module that gets the primitives.
    :param name: prefix of their names.
    :param depth: number of words.
    :param read_enable: whether to read; by default in every cycle.
    :param byte_enables: which half of a word of 18 bits to write; by default both.
    :param init: words that are not zero at first, from address 0 on.
    """
    bits = len(write_data)
    layout = BlockRamLayout.of(depth, bits)
    if byte_enables is not None:
        width, address_bits = BLOCK_RAM_MODES[0]
        assert bits == width
        layout = BlockRamLayout(width, address_bits, 1, -(-depth // (1 << address_bits)))
    low = layout.address_bits
    reads: Value = Const(1, 1) if read_enable is None else read_enable
    parts = []
    for segment in range(layout.segments):
        enable = Signal(name=f"{name}_write{segment}")
        alone = layout.segments == 1
        m.d.comb += enable.eq(write_enable if alone else write_enable & (write_addr[low:] == segment))
        own = init[segment << low : (segment + 1) << low]
        columns = []
        for column in range(layout.columns):
            place = column * layout.width
            output = Signal(layout.width, name=f"{name}_{segment}_{column}")
            m.submodules[f"{name}_ram{segment}_{column}"] = _dual_port(
                m,
                layout,
                contents=[value >> place & ((1 << layout.width) - 1) for value in own],
                write=(enable, write_addr[:low], write_data[place : place + layout.width]),
                read=(reads, read_addr[:low]),
                bytes_written=Const(0b11, 2) if byte_enables is None else byte_enables,
                output=output,
            )
            columns.append(output)
        parts.append(Cat(*columns)[:bits])
    word: Value = parts[-1]
    if layout.segments > 1:
        select = Signal((layout.segments - 1).bit_length(), name=f"{name}_select")
        with m.If(reads):
            m.d.sync += select.eq(read_addr[low:])
        for segment in reversed(range(layout.segments - 1)):
            word = Mux(select == segment, parts[segment], word)
    return word


def _dual_port(
    m: Module,
    layout: BlockRamLayout,
    *,
    contents: Sequence[int],
    write: tuple[Value, Value, Value],
    read: tuple[Value, Value],
    bytes_written: Value,
    output: Signal,
) -> Instance:
    """Makes one block RAM whose port A writes and whose port B reads.

    :param contents: its first words.
    :param write: enable, address, data.
    :param read: enable, address.
    :param bytes_written: which half of a word of 18 bits is written.
    """
    width, shift = layout.width, _ADDRESS_BITS - layout.address_bits
    wide = width >= _WIDE
    data_bits, init_bits = (36, 288) if wide else (32, 256)
    write_enable, write_addr, write_data = write
    read_enable, read_addr = read
    word = Signal(data_bits)
    m.d.comb += output.eq(word)
    words = init_bits // width
    init = {
        f"p_INIT_RAM_{i:02X}": Const(
            sum(value << (width * k) for k, value in enumerate(contents[i * words : (i + 1) * words])), init_bits
        )
        for i in range(_INIT_PARAMETERS)
    }
    # In the widest mode the lowest address bits of a write are its byte enables.
    low = Cat(bytes_written, Const(0, shift - 2)) if width == 2 * _WIDE else Const(0, shift)
    zero, one = Const(0, 1), Const(1, 1)
    return Instance(
        "SDPX9B" if wide else "SDPB",
        p_READ_MODE=zero,
        p_BIT_WIDTH_0=width,
        p_BIT_WIDTH_1=width,
        p_BLK_SEL_0=Const(0, 3),
        p_BLK_SEL_1=Const(0, 3),
        p_RESET_MODE="SYNC",
        **init,
        i_BLKSELA=Const(0, 3),
        i_BLKSELB=Const(0, 3),
        i_CLKA=ClockSignal(),
        i_CEA=write_enable,
        i_RESETA=zero,
        i_ADA=Cat(low, write_addr, Const(0, _ADDRESS_BITS))[:_ADDRESS_BITS],
        i_DI=Cat(write_data, Const(0, data_bits))[:data_bits],
        i_CLKB=ClockSignal(),
        i_CEB=read_enable,
        i_RESETB=zero,
        i_OCE=one,
        i_ADB=Cat(Const(0, shift), read_addr, Const(0, _ADDRESS_BITS))[:_ADDRESS_BITS],
        o_DO=word,
    )


@dataclass(frozen=True, slots=True)
class PllLimits:
    """Frequencies that an rPLL can do, in Hz, each as the least and the most."""

    compared: tuple[int, int]
    """What the input is divided to, and also the input itself."""
    oscillator: tuple[int, int]
    output: tuple[int, int]


_FAST = PllLimits((3_000_000, 500_000_000), (500_000_000, 1_250_000_000), (3_906_250, 625_000_000))
_SLOW = PllLimits((3_000_000, 400_000_000), (400_000_000, 1_200_000_000), (3_125_000, 600_000_000))
_LIMITS = {("GW2A", "C8/I7"): _FAST, ("GW1N", "C6/I5"): _SLOW}
"""Limits by series and speed grade, of those chips that boards here have."""
_PLL_OUTPUT_DIVIDERS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
_PLL_MOST = 64


@dataclass(frozen=True, slots=True)
class PllSettings:
    """Dividers of an rPLL.

    ``out = in / reference * feedback``; the oscillator runs at ``out * output``.
    """

    reference: int
    """Divider of the input clock, ``IDIV_SEL + 1``: 1 to 64."""
    feedback: int
    """Divider of the feedback, ``FBDIV_SEL + 1``: 1 to 64."""
    output: int
    """Divider of the oscillator, ``ODIV_SEL``: 2, 4, 8 and multiples of 16 up to 128."""


def pll_limits(device: str) -> PllLimits:
    """Returns what a device's PLL can do.

    :param device: the FPGA's whole name, with package and speed grade.
    :raises ValueError: if they are not known here.
    """
    for (series, speed), limits in _LIMITS.items():
        if device.startswith(series) and device.endswith(speed):
            return limits
    raise ValueError(f"the limits of the PLL of {device} are not known")


def pll_settings(input_hz: int, output_hz: int, limits: PllLimits) -> PllSettings:
    """Returns settings that make exactly ``output_hz`` of ``input_hz``.

    Of several, they are those with the highest compared frequency, because that jitters least, and
    of these those with the oscillator nearest to the middle of its range.

    :raises ValueError: if there are none, naming the nearest frequencies that can be had.
    """
    within("PLL input", input_hz, limits.compared)
    within("PLL output", output_hz, limits.output)
    middle = sum(limits.oscillator) / 2
    found: dict[Fraction, PllSettings] = {}
    for reference in range(1, _PLL_MOST + 1):
        compared = Fraction(input_hz, reference)
        if not limits.compared[0] <= compared <= limits.compared[1]:
            continue
        for feedback in range(1, _PLL_MOST + 1):
            out = compared * feedback
            if out in found or not limits.output[0] <= out <= limits.output[1]:
                continue
            output = min(_PLL_OUTPUT_DIVIDERS, key=lambda divider: abs(out * divider - middle))
            if limits.oscillator[0] <= out * output <= limits.oscillator[1]:
                found[out] = PllSettings(reference, feedback, output)
    return exact(found, input_hz, output_hz)


class Pll(wiring.Component):
    """Makes the engine's clock with one rPLL.

    Attributes
    ----------
    clock_in, clock_out : In(1), Out(1)
        The clock before and after.
    locked : Out(1)
        ``clock_out`` is steady; asynchronous.

    :param input_hz: rate of the clock before.
    :param output_hz: rate of the clock after.
    :param device: the FPGA's whole name.
    """

    def __init__(self, input_hz: int, output_hz: int, device: str) -> None:
        self.settings = pll_settings(input_hz, output_hz, pll_limits(device))
        self._input = f"{input_hz / 1e6:g}"
        super().__init__({"clock_in": In(1), "clock_out": Out(1), "locked": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        zero = Const(0, 1)
        m.submodules.pll = Instance(
            "rPLL",
            p_FCLKIN=self._input,
            p_DEVICE=platform.family,
            p_IDIV_SEL=self.settings.reference - 1,
            p_FBDIV_SEL=self.settings.feedback - 1,
            p_ODIV_SEL=self.settings.output,
            p_DYN_IDIV_SEL="false",
            p_DYN_FBDIV_SEL="false",
            p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false",
            p_DYN_SDIV_SEL=2,
            p_PSDA_SEL="0000",
            p_DUTYDA_SEL="1000",
            p_CLKFB_SEL="internal",
            p_CLKOUT_BYPASS="false",
            p_CLKOUTP_BYPASS="false",
            p_CLKOUTD_BYPASS="false",
            p_CLKOUTD_SRC="CLKOUT",
            p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=self.clock_in,
            i_CLKFB=zero,
            i_RESET=zero,
            i_RESET_P=zero,
            i_FBDSEL=Const(0, 6),
            i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=self.clock_out,
            o_LOCK=self.locked,
        )
        return m


_CHIPS = ("GW1N-9", "GW1N-9C", "GW2A-18", "GW2A-18C")
"""Names of nextpnr's data bases, which are also the packer's."""
_FAMILY_OPTION = "family="


def _part(platform: Any) -> tuple[str, ...] | None:
    # Chips with a memory chip inside have the data base of those without.
    chip = re.sub(r"^(GW1N|GW2A)R-", r"\1-", platform.family)
    if chip not in _CHIPS:
        return None
    return ("--device", platform.part, "--vopt", f"{_FAMILY_OPTION}{chip}")


def _pack(place: tuple[str, ...], options: tuple[str, ...]) -> list[str]:
    chip = next(option for option in place if option.startswith(_FAMILY_OPTION)).removeprefix(_FAMILY_OPTION)
    return ["-d", chip, *options, "-o", "top.fs", "placed.json"]


# Nothing depends on what a word gives that is read while it is written (-no-rw-check).
FLOW = Flow(
    name="gowin",
    title="Gowin",
    platform=GowinPlatform,
    tools=("yosys", "nextpnr-himbaechel-gowin", "gowin_pack"),
    pins="top.cst",
    comment="//",
    placed="placed.json",
    bitstream="top.fs",
    part=_part,
    synthesis=lambda device, options: (
        f"synth_gowin -no-rw-check -setundef -noiopads -family {device[:4].lower()} -top top {options}"
    ),
    files=("--vopt", "cst=top.cst"),
    pack=_pack,
    blocks={
        "lut4": ("LUT4", "ALU"),
        "ff": ("DFF",),
        "multipliers": ("MULT18X18",),
        "block_ram": ("BSRAM",),
        "pll": ("rPLL",),
        "pins": ("IOB", "TBUF"),
    },
    kinds={
        r"LUT\d|ALU|DFF\w*|RAM16\w+": "logic",
        r"MULT\w+": "multiplier",
        r"BSRAM|S?DPX?9?B|SPX?9?": "block RAM",
        r"[IOT]BUF|IOBUF": "pin",
    },
    dies={r"GW1NR?-\w*9": (47, 29), r"GW2AR?-\w*18": (56, 55)},
    pll=lambda input_hz, output_hz, device, pin: Pll(input_hz, output_hz, device),
)
"""The way to a bitstream of the GW1N and the GW2A."""


class TangNano20kPlatform(GowinPlatform):
    """Amaranth's platform for Sipeed's Tang Nano 20K, with the pins that a build here may use.

    The pins are those of LiteX's and Apycula's public descriptions of the board, which agree.
    """

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = [  # noqa: RUF012 - Amaranth's platforms have lists
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), Attrs(IO_TYPE="LVCMOS33")),
        Resource(
            "uart",
            0,
            Subsignal("rx", Pins("70", dir="i")),
            Subsignal("tx", Pins("69", dir="o")),
            Attrs(IO_TYPE="LVCMOS33", PULL_MODE="UP"),
        ),
        *(
            Resource("led", number, PinsN(pin, dir="o"), Attrs(IO_TYPE="LVCMOS33"))
            for number, pin in enumerate(("15", "16", "17", "18", "19", "20"))
        ),
        *(
            Resource("button", number, Pins(pin, dir="i"), Attrs(IO_TYPE="LVCMOS33"))
            for number, pin in enumerate(("88", "87"))
        ),
    ]
    connectors: list[Any] = []  # noqa: RUF012

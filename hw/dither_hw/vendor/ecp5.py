"""Primitives of the ECP5: multipliers with own registers, block RAMs with output registers.

Yosys infers neither, and they decide the clock: 3.9 ns through a bare multiplier against 0.7 ns out
of its register, and 5.8 ns out of a bare block RAM (speed grade 6, nextpnr's timing data). Sources:
Lattice TN1267 (sysDSP), TN1264 (memory); the port map of DP16KD is that of Yosys' own mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.vendor import LatticePlatform

from .flow import BLOCK_RAM_MODES, BlockRamLayout, Flow
from .frequencies import exact, within

__all__ = ["FLOW", "Pll", "PllSettings", "block_ram", "masked_adder", "multiplier", "pll_settings"]

MULTIPLIER_BITS = 18
_MASKED_SUM = 0xA6AA
"""Contents of a carry cell's LUT with the inputs A, B, C and D.

With D, it gives A xor B, or A where C; without D, it gives A, which is also the carry where both
operands agree.
"""
_PLL_INPUT = (8_000_000, 400_000_000)
_PLL_COMPARED = (3_125_000, 400_000_000)
_PLL_OSCILLATOR = (400_000_000, 800_000_000)
_PLL_MIDDLE = 600_000_000
_PLL_OUTPUT = (10_000_000, 400_000_000)
_ADDRESS_BITS = 14
_WIDE = (36, 9)
"""Data bits and address bits of a block RAM's widest mode, of which one port writes, one reads."""


def multiplier(m: Module, *, a: Signal, b: Signal, product: Signal) -> None:
    """Multiplies ``a`` by ``b`` into ``product``, two cycles later, with one MULT18X18D.

    Four neighbouring multipliers share their four clock enables, so these are constant: no router
    finds a way to multipliers that want enables of their own.

    :param m: module that gets the primitive.
    :param a: up to 18 bits.
    :param b: up to 18 bits.
    """
    ports: dict[str, object] = {}
    for name, operand in (("A", a), ("B", b)):
        signed = operand.shape().signed
        sign = operand[-1] if signed else Const(0, 1)
        bits = Cat(operand, sign.replicate(MULTIPLIER_BITS - len(operand)))
        ports |= {f"i_{name}{i}": bits[i] for i in range(MULTIPLIER_BITS)}
        # An unsigned operand of fewer than 18 bits is the same as a signed one with a zero above;
        # only one of 18 bits has to be declared.
        ports[f"i_SIGNED{name}"] = Const(int(signed or len(operand) < MULTIPLIER_BITS), 1)
        ports[f"i_SOURCE{name}"] = Const(0, 1)
    ports |= {f"i_C{i}": Const(0, 1) for i in range(MULTIPLIER_BITS)}
    result = Signal(2 * MULTIPLIER_BITS)
    ports |= {f"o_P{i}": result[i] for i in range(len(result))}
    ports |= {f"i_CE{i}": Const(1, 1) for i in range(4)}
    ports |= {f"i_CLK{i}": ClockSignal() if i == 0 else Const(0, 1) for i in range(4)}
    ports |= {f"i_RST{i}": Const(0, 1) for i in range(4)}
    clocks = {"INPUTA": "CE0", "INPUTB": "CE1", "OUTPUT": "CE2"}
    parameters = {f"p_REG_{name}_CLK": "CLK0" for name in clocks}
    parameters |= {f"p_REG_{name}_CE": source for name, source in clocks.items()}
    m.submodules += Instance(
        "MULT18X18D", p_REG_PIPELINE_CLK="NONE", p_GSR="DISABLED", p_RESETMODE="SYNC", **parameters, **ports
    )
    m.d.comb += product.eq(result)


def masked_adder(m: Module, *, a: Signal, b: Signal, mask: Value, total: Signal) -> None:
    """Drives ``total`` with ``a + b``, or with ``a`` where ``mask`` is 1, by carry cells alone.

    All operands have the same width. A carry cell has a LUT of four inputs in front of its carry;
    an adder as Yosys makes it uses two of them.
    """
    width = len(total)
    carry: Value = Const(0, 1)
    for i in range(0, width, 2):
        ports: dict[str, object] = {"i_CIN": carry}
        carry = Signal(name=f"carry{i + 2}")
        for k in range(2):
            # Beyond the operands, the chain adds zeros.
            bits = (a[i + k], b[i + k]) if i + k < width else (Const(0, 1), Const(0, 1))
            ports |= {f"i_{pin}{k}": bit for pin, bit in zip("ABCD", (*bits, mask, Const(1, 1)), strict=True)}
            ports[f"o_S{k}"] = total[i + k] if i + k < width else Signal(name="beyond")
        parameters = {f"p_INIT{k}": Const(_MASKED_SUM, 16) for k in range(2)} | {
            f"p_INJECT1_{k}": "NO" for k in range(2)
        }
        m.submodules += Instance("CCU2C", o_COUT=carry, **parameters, **ports)


def block_ram(
    m: Module, *, depth: int, write_enable: Value, write_addr: Value, write_data: Value, read_addr: Value, name: str
) -> Signal:
    """Makes a memory of block RAMs; returns the word that was at ``read_addr`` two cycles ago.

    The block RAMs' output registers are used, but for memories of up to 512 words: a block RAM
    holds 36 bits of each, and nextpnr has no output registers for all of them, so these stand in
    the fabric. The result of reading a word in the cycle in which it is written is undefined.

    :param m: module that gets the primitives.
    :param depth: number of words.
    :param name: prefix of the primitives' names.
    """
    bits = len(write_data)
    wide = depth <= 1 << _WIDE[1] and bits > MULTIPLIER_BITS
    layout = BlockRamLayout.of(depth, bits, [_WIDE] if wide else BLOCK_RAM_MODES)
    low = layout.address_bits
    parts = []
    for segment in range(layout.segments):
        columns = []
        chosen = write_enable if layout.segments == 1 else write_enable & (write_addr[low:] == segment)
        enable = Signal(name=f"{name}_write{segment}")
        m.d.comb += enable.eq(chosen)
        for column in range(layout.columns):
            data = write_data[column * layout.width : (column + 1) * layout.width]
            output = Signal(layout.width, name=f"{name}_{segment}_{column}")
            if wide:
                ram = _pdpw16kd(m, enable, write_addr[:low], data, read_addr[:low], output)
            else:
                ram = _dp16kd(layout, enable, write_addr[:low], data, read_addr[:low], output)
            m.submodules[f"{name}_ram{segment}_{column}"] = ram
            columns.append(output)
        parts.append(Cat(*columns)[:bits])
    word: Value = parts[-1]
    if layout.segments > 1:
        # Each bank selects with registers of its own, next to it.
        select = read_addr[low : low + (layout.segments - 1).bit_length()]
        for stage in range(2):
            delayed = Signal(len(select), name=f"{name}_select{stage}_copy")
            m.d.sync += delayed.eq(select)
            select = delayed
        for segment in reversed(range(layout.segments - 1)):
            word = Mux(select == segment, parts[segment], word)
    read = Signal(bits, name=f"{name}_read")
    m.d.comb += read.eq(word)
    return read


def _dp16kd(
    layout: BlockRamLayout, enable: Value, write_addr: Value, write_data: Value, read_addr: Value, output: Signal
) -> Instance:
    """Makes one block RAM whose port A writes and whose port B reads."""
    shift = _ADDRESS_BITS - layout.address_bits
    wide = layout.width == MULTIPLIER_BITS
    # In the widest mode the lowest address bits of a write are its byte enables.
    low = Const(0b11, shift) if wide else Const(0, shift)
    write = Cat(low, write_addr, Const(0, _ADDRESS_BITS))[:_ADDRESS_BITS]
    read = Cat(Const(0, shift), read_addr, Const(0, _ADDRESS_BITS))[:_ADDRESS_BITS]
    data = Cat(write_data, Const(0, MULTIPLIER_BITS))[:MULTIPLIER_BITS]
    ports: dict[str, object] = {}
    for port, address, written in (("A", write, data), ("B", read, Const(0, MULTIPLIER_BITS))):
        ports |= {f"i_AD{port}{i}": address[i] for i in range(_ADDRESS_BITS)}
        ports |= {f"i_DI{port}{i}": written[i] for i in range(MULTIPLIER_BITS)}
        ports |= {f"i_CS{port}{i}": Const(0, 1) for i in range(3)}
        ports |= {
            f"i_CLK{port}": ClockSignal(),
            f"i_CE{port}": Const(1, 1),
            f"i_OCE{port}": Const(1, 1),
            f"i_RST{port}": Const(0, 1),
            f"i_WE{port}": enable if port == "A" else Const(0, 1),
        }
    ports |= {f"o_DOB{i}": output[i] for i in range(layout.width)}
    parameters = {
        "DATA_WIDTH_A": layout.width,
        "DATA_WIDTH_B": layout.width,
        "REGMODE_A": "NOREG",
        "REGMODE_B": "OUTREG",
        "CSDECODE_A": "0b000",
        "CSDECODE_B": "0b000",
        "CLKAMUX": "CLKA",
        "CLKBMUX": "CLKB",
        "RESETMODE": "SYNC",
        "ASYNC_RESET_RELEASE": "SYNC",
        "WRITEMODE_A": "NORMAL",
        "WRITEMODE_B": "NORMAL",
        "GSR": "DISABLED",
    }
    return Instance("DP16KD", **{f"p_{name}": value for name, value in parameters.items()}, **ports)


def _pdpw16kd(
    m: Module, enable: Value, write_addr: Value, write_data: Value, read_addr: Value, output: Signal
) -> Instance:
    """Makes one block RAM in its widest mode, and the register behind it."""
    width, shift = _WIDE[0], _ADDRESS_BITS - _WIDE[1]
    write, data = Cat(write_addr, Const(0, _WIDE[1])), Cat(write_data, Const(0, width))
    read = Cat(Const(0, shift), read_addr, Const(0, _ADDRESS_BITS))
    fresh = Signal(width)
    m.d.sync += output.eq(fresh)
    ports: dict[str, object] = {f"i_ADW{i}": write[i] for i in range(_WIDE[1])}
    ports |= {f"i_ADR{i}": read[i] for i in range(_ADDRESS_BITS)}
    ports |= {f"i_DI{i}": data[i] for i in range(width)} | {f"o_DO{i}": fresh[i] for i in range(width)}
    ports |= {f"i_BE{i}": Const(1, 1) for i in range(4)}
    ports |= {f"i_CS{port}{i}": Const(0, 1) for port in "WR" for i in range(3)}
    ports |= {"i_CLKW": ClockSignal(), "i_CEW": enable, "i_CLKR": ClockSignal(), "i_CER": Const(1, 1)}
    ports |= {"i_OCER": Const(0, 1), "i_RST": Const(0, 1)}
    parameters = {
        "DATA_WIDTH_W": width,
        "DATA_WIDTH_R": width,
        "REGMODE": "NOREG",
        "CSDECODE_W": "0b000",
        "CSDECODE_R": "0b000",
        "CLKWMUX": "CLKW",
        "CLKRMUX": "CLKR",
        "RESETMODE": "SYNC",
        "ASYNC_RESET_RELEASE": "SYNC",
        "GSR": "DISABLED",
    }
    return Instance("PDPW16KD", **{f"p_{name}": value for name, value in parameters.items()}, **ports)


@dataclass(frozen=True, slots=True)
class PllSettings:
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


def pll_settings(input_hz: int, output_hz: int) -> PllSettings:
    """Returns settings that make exactly ``output_hz`` of ``input_hz``.

    Of several, they are those with the highest compared frequency, because that jitters least, and
    of these those with the oscillator nearest to the middle of its range.

    :raises ValueError: if there are none, naming the nearest frequencies that can be had.
    """
    within("PLL input", input_hz, _PLL_INPUT)
    within("PLL output", output_hz, _PLL_OUTPUT)
    found: dict[Fraction, PllSettings] = {}
    for reference in range(1, 129):
        compared = Fraction(input_hz, reference)
        if not _PLL_COMPARED[0] <= compared <= _PLL_COMPARED[1]:
            continue
        for feedback in range(1, 81):
            out = compared * feedback
            output = max(1, round(_PLL_MIDDLE / out))
            good = _PLL_OSCILLATOR[0] <= out * output <= _PLL_OSCILLATOR[1]
            if good and out not in found and _PLL_OUTPUT[0] <= out <= _PLL_OUTPUT[1]:
                found[out] = PllSettings(reference, feedback, output)
    return exact(found, input_hz, output_hz)


class Pll(wiring.Component):
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
        self.settings = pll_settings(input_hz, output_hz)
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


_DEVICES = {
    f"LFE5{kind}-{size}F": f"--{prefix}{size}k"
    for kind, prefix in (("U", ""), ("UM", "um-"), ("UM5G", "um5g-"))
    for size in (12, 25, 45, 85)
    if size != 12 or kind == "U"
}
_PACKAGES = {
    "BG256": "CABGA256",
    "MG285": "CSFBGA285",
    "BG381": "CABGA381",
    "BG554": "CABGA554",
    "BG756": "CABGA756",
}
_PLACEMENT = ("--router", "router2", "--tmg-ripup", "--placer-heap-timingweight", "60")
"""Options for placing and routing.

The router is one that half-full chips need; it takes up again connections that make detours around
others, of which a single one can cost a seventh of the clock. Timing has six times its default
weight: with a hundred lanes in between, a placer tears units apart that would be fast, because few
of their wires are critical at a time.
"""


def _part(platform: Any) -> tuple[str, ...] | None:
    device, package = platform.device, platform.package
    if device not in _DEVICES or package not in _PACKAGES:
        return None
    return (_DEVICES[device], "--package", _PACKAGES[package], "--speed", platform.speed, *_PLACEMENT)


FLOW = Flow(
    name="ecp5",
    title="ECP5",
    platform=LatticePlatform,
    tools=("yosys", "nextpnr-ecp5", "ecppack"),
    pins="top.lpf",
    placed="top.config",
    bitstream="top.bit",
    part=_part,
    synthesis=lambda device, options: f"synth_ecp5 -top top {options}",
    files=("--lpf", "top.lpf", "--textcfg", "top.config"),
    pack=lambda place, options: ["--compress", *options, "top.config", "top.bit"],
    blocks={
        "lut4": ("TRELLIS_COMB",),
        "ff": ("TRELLIS_FF",),
        "multipliers": ("MULT18X18D",),
        "block_ram": ("DP16KD",),
        "pll": ("EHXPLLL",),
        "pins": ("TRELLIS_IO",),
    },
    kinds={
        "TRELLIS_COMB": "logic",
        "TRELLIS_FF": "logic",
        "TRELLIS_RAMW": "logic",
        "MULT18X18D": "multiplier",
        "ALU54B": "multiplier",
        "DP16KD": "block RAM",
        "TRELLIS_IO": "pin",
    },
    dies={r"LFE5\w*-(12|25)F": (73, 51), r"LFE5\w*-45F": (91, 72), r"LFE5\w*-85F": (127, 96)},
    pll=lambda input_hz, output_hz, device, pin: Pll(input_hz, output_hz),
)
"""The way to an ECP5's bitstream."""

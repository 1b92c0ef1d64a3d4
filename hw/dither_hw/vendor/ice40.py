"""iCE40 UltraPlus: multipliers with their own registers and accumulators, single-port RAMs.

Yosys infers the multiplier alone; the accumulator inside saves 32 flip-flops and an adder for each, and loading it
from a neighbour's makes a chain of all of them without any logic. Sources: Lattice FPGA-TN-02007 (sysDSP),
FPGA-TN-02022 (SPRAM).
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value

__all__ = ["RAM_BITS", "RAM_DEPTH", "SPRAM_BITS", "SPRAM_DEPTH", "block_ram", "multiply_accumulate", "single_port_ram"]

SPRAM_DEPTH = 1 << 14
SPRAM_BITS = 16
RAM_DEPTH, RAM_BITS = 256, 16
"""Of a block RAM at its widest."""


def multiply_accumulate(
    m: Module, *, name: str, a: Value, b: Value, load: Value, hold: Value, chain: Value, total: Signal
) -> None:
    """Adds ``a * b`` of two cycles ago to ``total`` (32 bits, modulo 2**32), or takes ``chain`` into it.

    SB_MAC16 with operand registers, one register behind the multiplier and the accumulator.

    :param a: 16 bits, signed.
    :param b: 16 bits, signed.
    :param load: the accumulator takes ``chain`` instead of a sum.
    :param hold: the accumulator keeps its value.
    """
    zero, one = Const(0, 1), Const(1, 1)
    output = Signal(32, name=f"{name}_total")
    m.submodules[name] = Instance(
        "SB_MAC16",
        p_A_REG=1, p_B_REG=1, p_C_REG=0, p_D_REG=0, p_NEG_TRIGGER=0, p_MODE_8x8=0, p_A_SIGNED=1, p_B_SIGNED=1,
        p_TOP_8x8_MULT_REG=0, p_BOT_8x8_MULT_REG=0, p_PIPELINE_16x16_MULT_REG1=0, p_PIPELINE_16x16_MULT_REG2=1,
        # Outputs are the accumulators, which add the product; the upper half takes the lower one's carry.
        p_TOPOUTPUT_SELECT=1, p_TOPADDSUB_LOWERINPUT=2, p_TOPADDSUB_UPPERINPUT=0, p_TOPADDSUB_CARRYSELECT=3,
        p_BOTOUTPUT_SELECT=1, p_BOTADDSUB_LOWERINPUT=2, p_BOTADDSUB_UPPERINPUT=0, p_BOTADDSUB_CARRYSELECT=0,
        i_CLK=ClockSignal(), i_CE=one, i_A=a, i_B=b, i_C=chain[16:], i_D=chain[:16],
        i_AHOLD=zero, i_BHOLD=zero, i_CHOLD=zero, i_DHOLD=zero,
        i_IRSTTOP=zero, i_IRSTBOT=zero, i_ORSTTOP=zero, i_ORSTBOT=zero,
        i_OLOADTOP=load, i_OLOADBOT=load, i_OHOLDTOP=hold, i_OHOLDBOT=hold, i_ADDSUBTOP=zero, i_ADDSUBBOT=zero,
        i_CI=zero, i_ACCUMCI=zero, i_SIGNEXTIN=zero, o_O=output,
    )  # fmt: skip
    m.d.comb += total.eq(output)


def block_ram(
    m: Module,
    *,
    name: str,
    depth: int,
    write_enable: Value,
    write_addr: Value,
    write_data: Value,
    read_addr: Value,
    word: Signal,
    init: Sequence[int] = (),
) -> None:
    """SB_RAM40_4K side by side and one behind the other: ``word`` is what stood at ``read_addr`` a cycle ago.

    Reading a word in the cycle in which it is written gives anything. What Yosys infers promises the old value
    instead, for some seventy logic cells a block RAM.

    :param init: words that are not zero at first, from address 0 on.
    """
    bits, low = len(word), (RAM_DEPTH - 1).bit_length()
    columns, segments = -(-bits // RAM_BITS), -(-depth // RAM_DEPTH)
    parts = []
    for segment in range(segments):
        enable = write_enable if segments == 1 else write_enable & (write_addr[low:] == segment)
        outputs = []
        for column in range(columns):
            output = Signal(RAM_BITS, name=f"{name}_{segment}_{column}")
            outputs.append(output)
            own = init[segment * RAM_DEPTH : (segment + 1) * RAM_DEPTH]
            own = [value >> (column * RAM_BITS) & ((1 << RAM_BITS) - 1) for value in own]
            contents = sum(value << (RAM_BITS * i) for i, value in enumerate(own))
            data = _wide(write_data[column * RAM_BITS : (column + 1) * RAM_BITS], RAM_BITS)
            m.submodules[f"{name}_ram{segment}_{column}"] = Instance(
                "SB_RAM40_4K",
                p_READ_MODE=0, p_WRITE_MODE=0,
                **{f"p_INIT_{i:X}": Const(contents >> (256 * i) & ((1 << 256) - 1), 256) for i in range(16)},
                i_RCLK=ClockSignal(), i_RCLKE=Const(1, 1), i_RE=Const(1, 1), i_RADDR=_wide(read_addr[:low], 11),
                i_WCLK=ClockSignal(), i_WCLKE=Const(1, 1), i_WE=enable, i_WADDR=_wide(write_addr[:low], 11),
                i_MASK=Const(0, RAM_BITS), i_WDATA=data, o_RDATA=output,
            )  # fmt: skip
        parts.append(Cat(*outputs)[:bits])
    if segments == 1:
        m.d.comb += word.eq(parts[0])
    else:
        select = Signal((segments - 1).bit_length(), name=f"{name}_select")
        m.d.sync += select.eq(read_addr[low:])
        m.d.comb += word.eq(Array(parts)[select])


def single_port_ram(m: Module, *, name: str, addr: Value, write: Value, data: Value, word: Signal) -> None:
    """16K words of 16 bits: ``word`` is what stood at ``addr`` a cycle ago, unless that was written.

    :param addr: 14 bits.
    """
    zero, one = Const(0, 1), Const(1, 1)
    output = Signal(SPRAM_BITS, name=f"{name}_word")
    m.submodules[name] = Instance(
        "SB_SPRAM256KA",
        i_ADDRESS=_wide(addr, 14), i_DATAIN=data, i_MASKWREN=Const(15, 4), i_WREN=write, i_CHIPSELECT=one,
        i_CLOCK=ClockSignal(),
        i_STANDBY=zero, i_SLEEP=zero, i_POWEROFF=one, o_DATAOUT=output,
    )  # fmt: skip
    m.d.comb += word.eq(output)


def _wide(value: Value, bits: int) -> Value:
    """A value with zeros above it."""
    return Cat(value, Const(0, bits))[:bits]

"""Multipliers of the iCE40 UltraPlus, with their own registers and accumulators.

Yosys infers the multiplier alone; the accumulator inside saves 32 flip-flops and an adder for each,
and loading it from a neighbour's makes a chain of all of them without any logic. Source: Lattice
FPGA-TN-02007 (sysDSP).
"""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value

__all__ = ["multiply_accumulate"]


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

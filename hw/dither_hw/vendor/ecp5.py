"""Primitives of the ECP5: multipliers with own registers, block RAMs with output registers.

Yosys infers neither, and they decide the clock: 3.9 ns through a bare multiplier against 0.7 ns out
of its register, and 5.8 ns out of a bare block RAM (speed grade 6, nextpnr's timing data). Sources:
Lattice TN1267 (sysDSP), TN1264 (memory); the port map of DP16KD is that of Yosys' own mapping.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value

__all__ = ["BLOCK_RAM_MODES", "BlockRamLayout", "block_ram", "masked_adder", "multiplier"]

MULTIPLIER_BITS = 18
_MASKED_SUM = 0xA6AA
"""Contents of a carry cell's LUT with the inputs A, B, C and D.

With D, it gives A xor B, or A where C; without D, it gives A, which is also the carry where both
operands agree.
"""
_ADDRESS_BITS = 14
BLOCK_RAM_MODES = ((18, 10), (9, 11), (4, 12), (2, 13), (1, 14))
"""Pairs of data bits and address bits with which a block RAM can be used, the widest first."""


def multiplier(m: Module, *, a: Signal, b: Signal, hold: Value, product: Signal) -> None:
    """Multiplies ``a`` by ``b`` into ``product``, two cycles later, with one MULT18X18D.

    Four neighbouring multipliers share their clock enables; if each had several of its own, placing
    them would become a puzzle.

    :param m: module that gets the primitive.
    :param a: up to 18 bits.
    :param b: up to 18 bits.
    :param hold: while high, the register of ``a`` keeps its value.
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
    enables = (~hold, Const(1, 1), Const(1, 1), Const(1, 1))
    ports |= {f"i_CE{i}": value for i, value in enumerate(enables)}
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


@dataclass(frozen=True, slots=True)
class BlockRamLayout:
    """Says how a memory is cut into block RAMs.

    Columns stand side by side for the width, segments one behind the other for the depth.
    """

    width: int
    """Data bits of each block RAM."""
    address_bits: int
    columns: int
    segments: int

    @property
    def blocks(self) -> int:
        """Number of block RAMs that make up the memory."""
        return self.columns * self.segments

    @classmethod
    def of(cls, depth: int, bits: int) -> BlockRamLayout:
        """Returns the layout with the fewest block RAMs for a memory.

        Of layouts with equally many, it is the one with the fewest segments to choose from.

        :param depth: number of words.
        :param bits: bits of a word.
        """
        layouts = [
            cls(width, address_bits, -(-bits // width), -(-depth // (1 << address_bits)))
            for width, address_bits in BLOCK_RAM_MODES
        ]
        return min(layouts, key=lambda layout: (layout.blocks, layout.segments))


def block_ram(
    m: Module, *, depth: int, write_enable: Value, write_addr: Value, write_data: Value, read_addr: Value, name: str
) -> Signal:
    """Makes a memory of DP16KDs; returns the word that was at ``read_addr`` two cycles ago.

    The block RAMs' output registers are used. The result of reading a word in the cycle in which it
    is written is undefined.

    :param m: module that gets the primitives.
    :param depth: number of words.
    :param name: prefix of the primitives' names.
    """
    bits = len(write_data)
    layout = BlockRamLayout.of(depth, bits)
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
            m.submodules[f"{name}_ram{segment}_{column}"] = _dp16kd(
                layout, enable, write_addr[:low], data, read_addr[:low], output
            )
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

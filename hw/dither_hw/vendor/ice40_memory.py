"""iCE40: memories of bytes and of single bits, as the link needs them. Sources: Lattice FPGA-TN-02002, FPGA-TN-02022.

Reading in the cycle of a write gives anything. What Yosys infers promises the old value instead, for up to seventy
logic cells a block RAM.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value

__all__ = ["byte_ram", "column_ram", "single_port_bytes"]

_BLOCK_BYTES = 512
_WORD_BITS = 16
_BLOCK_WORDS = 256
_ADDRESS_BITS = 11
_INITS = 16
_SINGLE_PORT_ADDRESS_BITS = 14


def _block(
    *, mode: int, contents: int, write: tuple[Value, Value, Value, Value], read: tuple[Value, Value], word: Signal
) -> Instance:
    """One SB_RAM40_4K.

    :param contents: its 4,096 bits at first.
    :param write: enable, address, data, mask (0: written).
    :param read: enable, address.
    """
    part = 4096 // _INITS
    values = {f"p_INIT_{i:X}": Const(contents >> (part * i) & ((1 << part) - 1), part) for i in range(_INITS)}
    write_enable, write_addr, write_data, mask = write
    read_enable, read_addr = read
    return Instance(
        "SB_RAM40_4K",
        p_READ_MODE=mode,
        p_WRITE_MODE=mode,
        **values,
        i_RCLK=ClockSignal(),
        i_RCLKE=Const(1, 1),
        i_RE=read_enable,
        i_RADDR=Cat(read_addr, Const(0, _ADDRESS_BITS))[:_ADDRESS_BITS],
        i_WCLK=ClockSignal(),
        i_WCLKE=Const(1, 1),
        i_WE=write_enable,
        i_WADDR=Cat(write_addr, Const(0, _ADDRESS_BITS))[:_ADDRESS_BITS],
        i_MASK=mask,
        i_WDATA=write_data,
        o_RDATA=word,
    )


def byte_ram(
    m: Module,
    *,
    size: int,
    write_enable: Value,
    write_addr: Value,
    write_data: Value,
    read_enable: Value,
    read_addr: Value,
    init: bytes = b"",
) -> Value:
    """A memory of bytes in block RAMs of 512: what stood at ``read_addr`` in the last cycle with ``read_enable``.

    :param size: bytes, a power of two.
    """
    low = (_BLOCK_BYTES - 1).bit_length()
    segments = -(-size // _BLOCK_BYTES)
    address_bits = min(low, (size - 1).bit_length())
    # In words of 16 bits, the bits of a byte of the upper half stand between those of a byte of the lower half.
    spread = Cat(*(Cat(bit, 0) for bit in write_data))
    parts = []
    for segment in range(segments):
        own = init[segment * _BLOCK_BYTES : (segment + 1) * _BLOCK_BYTES]
        contents = 0
        for address, byte in enumerate(own):
            half, place = divmod(address, _BLOCK_WORDS)
            contents |= sum((byte >> i & 1) << (_WORD_BITS * place + 2 * i + half) for i in range(8))
        enable = write_enable if segments == 1 else write_enable & (write_addr[low:] == segment)
        word = Signal(_WORD_BITS, name=f"byte_ram{segment}_word")
        m.submodules[f"byte_ram{segment}"] = _block(
            mode=1,
            contents=contents,
            write=(enable, write_addr[:address_bits], spread, Const(0, _WORD_BITS)),
            read=(read_enable, read_addr[:address_bits]),
            word=word,
        )
        parts.append(word[::2])
    if segments == 1:
        return parts[0]
    select = Signal((segments - 1).bit_length(), name="byte_ram_select")
    with m.If(read_enable):
        m.d.sync += select.eq(read_addr[low:])
    chosen: Value = Array(parts)[select]
    return chosen


def column_ram(m: Module, *, write_enables: Value, write_addr: Value, write_data: Value, read_addr: Value) -> Signal:
    """256 words of up to 16 bits, each with a write enable of its own: what stood at ``read_addr`` a cycle ago."""
    word = Signal(_WORD_BITS, name="column_ram_word")
    padding = Const(0, _WORD_BITS)
    m.submodules.column_ram = _block(
        mode=0,
        contents=0,
        write=(
            Const(1, 1),
            write_addr,
            Cat(write_data, padding)[:_WORD_BITS],
            ~Cat(write_enables, padding)[:_WORD_BITS],
        ),
        read=(Const(1, 1), read_addr),
        word=word,
    )
    return word


def single_port_bytes(m: Module, *, enable: Value, write: Value, lane: Value, addr: Value, data: Value) -> Signal:
    """32 KB of an iCE40UP5K in words of two bytes: the word read last.

    :param enable: access in this cycle; otherwise what was read stays.
    :param write: the access is a write; what was read is lost then.
    :param lane: which byte of the word is written.
    :param addr: of the word.
    :param data: the byte to write.
    """
    word = Signal(_WORD_BITS, name="single_port_word")
    m.submodules.single_port = Instance(
        "SB_SPRAM256KA",
        i_CLOCK=ClockSignal(),
        i_ADDRESS=Cat(addr, Const(0, _SINGLE_PORT_ADDRESS_BITS))[:_SINGLE_PORT_ADDRESS_BITS],
        i_DATAIN=data.replicate(2),
        # One enable for each four bits.
        i_MASKWREN=Cat(~lane, ~lane, lane, lane),
        i_WREN=write,
        i_CHIPSELECT=enable,
        i_STANDBY=Const(0, 1),
        i_SLEEP=Const(0, 1),
        i_POWEROFF=Const(1, 1),  # active low
        o_DATAOUT=word,
    )
    return word

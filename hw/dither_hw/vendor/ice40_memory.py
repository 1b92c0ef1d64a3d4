"""Memories of the iCE40: of words, of bytes and of single bits.

The result of reading a word in the cycle in which it is written is undefined. What Yosys infers
promises the old value instead, for up to seventy logic cells a block RAM. Sources: Lattice
FPGA-TN-02002, FPGA-TN-02022.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value

__all__ = ["SPRAM_DEPTH", "WORD_BITS", "byte_ram", "column_ram", "single_port_bytes", "single_port_ram", "word_ram"]

WORD_BITS = 16
"""Bits of a word of every memory at its widest."""
SPRAM_DEPTH = 1 << 14
"""Number of words of a single-port RAM."""
_BLOCK_WORDS = 256
_BLOCK_BYTES = 512
_ADDRESS_BITS = 11
_INITS = 16


def _block(
    *, mode: int, contents: int, write: tuple[Value, Value, Value, Value], read: tuple[Value, Value], word: Signal
) -> Instance:
    """Makes one SB_RAM40_4K.

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
        i_RADDR=_wide(read_addr, _ADDRESS_BITS),
        i_WCLK=ClockSignal(),
        i_WCLKE=Const(1, 1),
        i_WE=write_enable,
        i_WADDR=_wide(write_addr, _ADDRESS_BITS),
        i_MASK=mask,
        i_WDATA=write_data,
        o_RDATA=word,
    )


def _wide(value: Value, bits: int) -> Value:
    """Returns the lowest ``bits`` bits of a value with zeros above it."""
    return Cat(value, Const(0, bits))[:bits]


def word_ram(
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
    """Makes a memory of words; ``word`` is what was at ``read_addr`` a cycle ago.

    The block RAMs stand side by side for the width and one behind the other for the depth.

    :param m: module that gets the primitives.
    :param name: prefix of their names.
    :param depth: number of words.
    :param init: words that are not zero at first, from address 0 on.
    """
    bits, low = len(word), (_BLOCK_WORDS - 1).bit_length()
    columns, segments = -(-bits // WORD_BITS), -(-depth // _BLOCK_WORDS)
    parts = []
    for segment in range(segments):
        enable = write_enable if segments == 1 else write_enable & (write_addr[low:] == segment)
        own = init[segment * _BLOCK_WORDS : (segment + 1) * _BLOCK_WORDS]
        outputs = []
        for column in range(columns):
            place = column * WORD_BITS
            output = Signal(WORD_BITS, name=f"{name}_{segment}_{column}")
            outputs.append(output)
            m.submodules[f"{name}_ram{segment}_{column}"] = _block(
                mode=0,
                contents=sum(
                    (value >> place & ((1 << WORD_BITS) - 1)) << (WORD_BITS * i) for i, value in enumerate(own)
                ),
                write=(
                    enable,
                    write_addr[:low],
                    _wide(write_data[place : place + WORD_BITS], WORD_BITS),
                    Const(0, WORD_BITS),
                ),
                read=(Const(1, 1), read_addr[:low]),
                word=output,
            )
        parts.append(Cat(*outputs)[:bits])
    if segments == 1:
        m.d.comb += word.eq(parts[0])
    else:
        select = Signal((segments - 1).bit_length(), name=f"{name}_select")
        m.d.sync += select.eq(read_addr[low:])
        m.d.comb += word.eq(Array(parts)[select])


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
    """Makes a memory of bytes; returns the byte that was read last.

    That is what was at ``read_addr`` in the last cycle with ``read_enable``. The memory consists of
    block RAMs of 512 bytes.

    :param m: module that gets the primitives.
    :param size: number of bytes, a power of two.
    :param init: the memory's first contents.
    """
    low = (_BLOCK_BYTES - 1).bit_length()
    segments = -(-size // _BLOCK_BYTES)
    address_bits = min(low, (size - 1).bit_length())
    # In a word of 16 bits, the bits of a byte of the memory's upper half alternate with those of a
    # byte of its lower half.
    spread = Cat(*(Cat(bit, 0) for bit in write_data))
    parts = []
    for segment in range(segments):
        own = init[segment * _BLOCK_BYTES : (segment + 1) * _BLOCK_BYTES]
        contents = 0
        for address, byte in enumerate(own):
            half, place = divmod(address, _BLOCK_WORDS)
            contents |= sum((byte >> i & 1) << (WORD_BITS * place + 2 * i + half) for i in range(8))
        enable = write_enable if segments == 1 else write_enable & (write_addr[low:] == segment)
        word = Signal(WORD_BITS, name=f"byte_ram{segment}_word")
        m.submodules[f"byte_ram{segment}"] = _block(
            mode=1,
            contents=contents,
            write=(enable, write_addr[:address_bits], spread, Const(0, WORD_BITS)),
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
    """Makes 256 words of up to 16 bits with a write enable for each bit; returns the word read.

    That is what was at ``read_addr`` a cycle ago.
    """
    word = Signal(WORD_BITS, name="column_ram_word")
    m.submodules.column_ram = _block(
        mode=0,
        contents=0,
        write=(Const(1, 1), write_addr, _wide(write_data, WORD_BITS), ~_wide(write_enables, WORD_BITS)),
        read=(Const(1, 1), read_addr),
        word=word,
    )
    return word


def _single_port(*, enable: Value, write: Value, addr: Value, data: Value, mask: Value, word: Signal) -> Instance:
    """Makes one SB_SPRAM256KA.

    :param mask: a write enable for each four bits.
    """
    return Instance(
        "SB_SPRAM256KA",
        i_CLOCK=ClockSignal(),
        i_ADDRESS=_wide(addr, (SPRAM_DEPTH - 1).bit_length()),
        i_DATAIN=data,
        i_MASKWREN=mask,
        i_WREN=write,
        i_CHIPSELECT=enable,
        i_STANDBY=Const(0, 1),
        i_SLEEP=Const(0, 1),
        i_POWEROFF=Const(1, 1),  # active low
        o_DATAOUT=word,
    )


def single_port_ram(m: Module, *, name: str, addr: Value, write: Value, data: Value, word: Signal) -> None:
    """Makes 16K words of 16 bits with one port; ``word`` is what was at ``addr`` a cycle ago.

    ``word`` is undefined if that cycle was a write.

    :param addr: 14 bits.
    """
    output = Signal(WORD_BITS, name=f"{name}_word")
    m.submodules[name] = _single_port(
        enable=Const(1, 1), write=write, addr=addr, data=data, mask=Const(0b1111, 4), word=output
    )
    m.d.comb += word.eq(output)


def single_port_bytes(m: Module, *, enable: Value, write: Value, lane: Value, addr: Value, data: Value) -> Signal:
    """Makes 32 KB of bytes on an iCE40UP5K, in words of two; returns the word that was read last.

    :param enable: access in this cycle; otherwise, what was read stays.
    :param write: the access is a write; what was read is lost then.
    :param lane: which byte of the word is written.
    :param addr: address of the word.
    :param data: the byte to write.
    """
    word = Signal(WORD_BITS, name="single_port_word")
    m.submodules.single_port = _single_port(
        enable=enable, write=write, addr=addr, data=data.replicate(2), mask=Cat(~lane, ~lane, lane, lane), word=word
    )
    return word

"""What a build has to know of a family of FPGAs, as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["BLOCK_RAM_MODES", "BlockRamLayout", "Flow", "device_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """The way from gateware to a bitstream on one family: tools, files, options, kinds of blocks.

    Each family's module in this package has one, ``FLOW``.
    """

    name: str
    """Name of the family, as builds call it."""
    title: str
    """Name of the family, for people."""
    platform: Any
    """The class of Amaranth's platforms for the family."""
    tools: tuple[str, str, str]
    """Names of synthesis tool, placement tool and packer."""
    pins: str
    """Name of the file with the pins, as Amaranth writes it."""
    placed: str
    """Name of the file that the placement tool makes and the packer reads."""
    bitstream: str
    """Name of the bitstream's file."""
    part: Callable[[Any], tuple[str, ...] | None]
    """Returns the placement tool's options for a platform's FPGA, None if it has no such FPGA."""
    synthesis: Callable[[str, str], str]
    """Returns Yosys' command for a device's name and further options; the top module is ``top``."""
    files: tuple[str, ...]
    """The placement tool's options that name its files of pins and of the result."""
    pack: Callable[[tuple[str, ...], tuple[str, ...]], list[str]]
    """Returns the packer's arguments, for the options of :attr:`part` and further ones."""
    blocks: Mapping[str, tuple[str, ...]]
    """The placement tool's names of the kinds of blocks that are counted, by the budget's names.

    Of several, numbers of used blocks add up; the first one says how many there are.
    """
    kinds: Mapping[str, str]
    """What the floor plan shows a placed cell as, by a regular expression for the cell's type."""
    dies: Mapping[str, tuple[int, int]]
    """Columns and rows of tiles, by a regular expression for the beginnings of devices' names."""
    pll: Callable[..., Any]
    """Makes a PLL from ``input_hz``, ``output_hz``, ``device`` and ``pin``.

    The result is a component with ``clock_in``, ``clock_out`` and ``locked``. A ``pin`` is the
    clock's, where the family has PLLs with a pin of their own, and takes the place of ``clock_in``;
    else it is None.

    :raises ValueError: if there are no settings for these frequencies.
    """
    pad_pll: bool = False
    """Whether PLLs may have a pin of their own."""
    comment: str = "#"
    """What begins a comment in the file with the pins."""
    flip_flops: str = ""
    """Beginning of the names of flip-flops in netlists, where the placement tool doesn't count
    them."""


def device_of(platform: object) -> str:
    """Returns the name of a platform's FPGA; empty if it has none, as in simulation."""
    return str(getattr(platform, "device", None) or getattr(platform, "part", None) or "")


BLOCK_RAM_MODES = ((18, 10), (9, 11), (4, 12), (2, 13), (1, 14))
"""Pairs of data bits and address bits with which a block RAM of 18,432 bits can be used, the widest
first: that of an ECP5 and that of Gowin's."""


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
    def of(cls, depth: int, bits: int, modes: Sequence[tuple[int, int]] = BLOCK_RAM_MODES) -> BlockRamLayout:
        """Returns the layout with the fewest block RAMs for a memory.

        Of layouts with equally many, it is the one with the fewest segments to choose from.

        :param depth: number of words.
        :param bits: bits of a word.
        :param modes: pairs of data bits and address bits to choose from.
        """
        layouts = [
            cls(width, address_bits, -(-bits // width), -(-depth // (1 << address_bits)))
            for width, address_bits in modes
        ]
        return min(layouts, key=lambda layout: (layout.blocks, layout.segments))

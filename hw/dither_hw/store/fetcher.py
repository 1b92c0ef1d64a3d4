"""Reads samples from memory: looks each up in the index, fetches its blocks and checks its CRC."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.store.layout import BLOCK_BITS, BLOCK_BYTES, ENTRY_BYTES

from .checksum import CRC_BITS, CRC_RESIDUE, crc32_next

__all__ = ["NUMBER_BITS", "SampleFetcher"]

NUMBER_BITS = 24
"""Bits of the number of a sample."""
_BYTE = 8
_UNDER_WAY = 4
"""Number of blocks that may be asked for before the first of them has come."""
_ENTRY = data.StructLayout({"first": BLOCK_BITS, "blocks": CRC_BITS - BLOCK_BITS})


class SampleFetcher(wiring.Component):
    """Fetches the samples of a group of lanes, block by block, each lane in its turn.

    First it looks up all lanes in the index, about a dozen cycles each. Then it asks for a block
    for each lane that has room, as fast as the memory gives them.

    Resources: about 250 registers, 12 LUTs of memory for each 16 lanes and bit of four numbers.

    Attributes
    ----------
    start, busy : In(1), Out(1)
        A pulse that begins a group; from then on until all blocks are there and checked.
    indexed : Out(1)
        A pulse: the numbers of this group are not needed any more.
    lane, number : Out, In
        Asks for the number of a lane's sample, which is there in the same cycle.
    samples : In(24)
        Number of samples that there are.
    request, valid, word
        To the controller of the memory, see :class:`~dither_hw.sdram.controller.SdramController`.
        All words that come while ``busy`` are for this component.
    hasty : In(1)
        Nobody waits for the bytes any more: they are only checked, whether there is room or not.
    asked, asked_lane, fill, fill_lane, fill_place, fill_word, filled, over, room
        To the unpacker.
    damaged, damaged_number : Out(1), Out(24)
        A pulse: this sample has a wrong CRC, or there is none.

    :param lanes: number of lanes, a power of two.
    :param width: bits of a word of the memory chip.
    :param address_bits: bits of the address of a word.
    :param request: layout of a request.
    """

    def __init__(self, lanes: int, width: int, address_bits: int, request: data.StructLayout) -> None:
        self.lanes, self.width, self.address_bits = lanes, width, address_bits
        self.block_words = BLOCK_BYTES * _BYTE // width
        lane = range(lanes)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "indexed": Out(1),
                "lane": Out(lane),
                "number": In(NUMBER_BITS),
                "samples": In(NUMBER_BITS),
                "request": Out(stream.Signature(request)),
                "valid": In(1),
                "word": In(width),
                "hasty": In(1),
                "asked": Out(1),
                "asked_lane": Out(lane),
                "fill": Out(1),
                "fill_lane": Out(lane),
                "fill_place": Out(range(self.block_words)),
                "fill_word": Out(width),
                "filled": Out(1),
                "over": Out(lanes),
                "room": In(lanes),
                "damaged": Out(1),
                "damaged_number": Out(NUMBER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, width = self.lanes, self.width
        entry_words = ENTRY_BYTES * _BYTE // width
        lane = Signal(range(lanes))
        indexing = Signal()
        entry = Signal(CRC_BITS)
        entry_left = Signal(range(entry_words + 1))
        indexed_entry = data.View(_ENTRY, entry)

        # Where each lane is, what it is, and its CRC so far; the last two belong to the answers.
        m.submodules.standing = standing = Memory(shape=CRC_BITS, depth=lanes, init=[])
        place, look = standing.write_port(), standing.read_port(domain="comb")
        m.submodules.numbers = numbers = Memory(shape=NUMBER_BITS, depth=lanes, init=[])
        number_write, number_read = numbers.write_port(), numbers.read_port(domain="comb")
        m.submodules.checks = checks = Memory(shape=CRC_BITS, depth=lanes, init=[])
        check_write, check_read = checks.write_port(), checks.read_port(domain="comb")

        here = data.View(_ENTRY, look.data)
        finished = Signal(lanes)
        """All blocks of a lane have been asked for."""
        m.submodules.order = order = SyncFIFO(width=len(lane) + 1, depth=_UNDER_WAY)
        waiting = Signal()
        """There is a request that the memory has not taken."""
        request = self.request
        absent = Signal()
        m.d.comb += [
            self.lane.eq(lane),
            look.addr.eq(lane),
            request.valid.eq(waiting),
            place.addr.eq(lane),
            number_write.addr.eq(lane),
            number_write.data.eq(self.number),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += waiting.eq(0)

        block = (self.block_words - 1).bit_length()
        wrong = Signal()
        wrong_number = Signal(NUMBER_BITS)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.busy.eq(1), lane.eq(0), finished.eq(0), self.over.eq(0)]
                m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.d.sync += [
                    indexing.eq(1),
                    waiting.eq(1),
                    request.payload.address.eq(self.number * entry_words),
                    request.payload.more.eq(entry_words - 1),
                    absent.eq(self.number >= self.samples),
                    entry_left.eq(entry_words),
                ]
                m.next = "ENTRY"
            with m.State("ENTRY"):
                with m.If(self.valid):
                    m.d.sync += [entry.eq(Cat(entry, self.word) >> width), entry_left.eq(entry_left - 1)]
                with m.If(entry_left == 0):
                    m.next = "KEEP"
            with m.State("KEEP"):
                none = Signal()
                m.d.comb += [
                    none.eq(
                        absent | (indexed_entry.blocks == 0) | indexed_entry.first[self.address_bits - block :].any()
                    ),
                    place.en.eq(1),
                    place.data.eq(entry),
                    number_write.en.eq(1),
                    wrong.eq(none),
                    wrong_number.eq(self.number),
                ]
                with m.If(none):
                    m.d.sync += [finished.bit_select(lane, 1).eq(1), self.over.bit_select(lane, 1).eq(1)]
                m.d.sync += lane.eq(lane + 1)
                m.next = "LOOK_UP"
                with m.If(lane == lanes - 1):
                    m.d.comb += self.indexed.eq(1)
                    m.d.sync += [indexing.eq(0), lane.eq(0)]
                    m.next = "ASK"
            with m.State("ASK"):
                free = ~waiting & order.w_rdy
                wanted = ~finished.bit_select(lane, 1) & (self.room.bit_select(lane, 1) | self.hasty)
                with m.If(free & wanted):
                    m.d.comb += [
                        self.asked.eq(1),
                        self.asked_lane.eq(lane),
                        order.w_en.eq(1),
                        order.w_data.eq(Cat(lane, here.blocks == 1)),
                        place.en.eq(1),
                        place.data.eq(Cat((here.first + 1)[:BLOCK_BITS], (here.blocks - 1)[: len(here.blocks)])),
                    ]
                    m.d.sync += [
                        waiting.eq(1),
                        request.payload.address.eq(here.first << block),
                        request.payload.more.eq(self.block_words - 1),
                    ]
                    with m.If(here.blocks == 1):
                        m.d.sync += finished.bit_select(lane, 1).eq(1)
                with m.If(free):
                    m.d.sync += lane.eq(lane + 1)
                with m.If(self.over.all()):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"

        self._answers(
            m,
            order=order,
            check_read=check_read,
            check_write=check_write,
            number_read=number_read,
            indexing=indexing,
            wrong=wrong,
            wrong_number=wrong_number,
        )
        return m

    def _answers(
        self,
        m: Module,
        *,
        order: SyncFIFO,
        check_read: Any,
        check_write: Any,
        number_read: Any,
        indexing: Signal,
        wrong: Signal,
        wrong_number: Signal,
    ) -> None:
        """Takes the words of blocks; whose they are stands beside them a cycle later."""
        coming = Signal()
        m.d.comb += coming.eq(self.valid & ~indexing)
        count = Signal(range(self.block_words))
        lane, final = order.r_data[:-1], order.r_data[-1]
        number = number_read.data
        begun = Signal(self.lanes)
        """The lane's CRC has been begun."""
        first, last = Signal(), Signal()
        m.d.comb += [
            check_read.addr.eq(lane),
            number_read.addr.eq(lane),
            first.eq(~begun.bit_select(lane, 1)),
            last.eq(coming & (count == self.block_words - 1)),
            order.r_en.eq(last),
        ]
        # The CRC goes on from the word before, unless that is another lane's.
        check, kept, changes = Signal(CRC_BITS), Signal(CRC_BITS), Signal()
        ends, word_number = Signal(), Signal(NUMBER_BITS)
        m.d.sync += [self.fill.eq(coming), self.filled.eq(last), ends.eq(last & final)]
        with m.If(coming):
            m.d.sync += [
                count.eq(count + 1),
                self.fill_lane.eq(lane),
                self.fill_place.eq(count),
                self.fill_word.eq(self.word),
                word_number.eq(number),
                kept.eq(Mux(first, Cat(~number, Const(-1, CRC_BITS - NUMBER_BITS)), check_read.data)),
                changes.eq((count == 0) & (first | (lane != self.fill_lane))),
            ]
        with m.If(last):
            m.d.sync += begun.bit_select(lane, 1).eq(1)
        with m.If(self.start):
            m.d.sync += begun.eq(0)

        following = Signal(CRC_BITS)
        m.d.comb += [
            following.eq(crc32_next(Mux(changes, kept, check), self.fill_word)),
            check_write.addr.eq(self.fill_lane),
            check_write.data.eq(following),
            check_write.en.eq(self.filled),
        ]
        with m.If(self.fill):
            m.d.sync += check.eq(following)
        with m.If(ends):
            m.d.sync += self.over.bit_select(self.fill_lane, 1).eq(1)
        bad, bad_number = Signal(), Signal(NUMBER_BITS)
        m.d.sync += [bad.eq(ends), bad_number.eq(word_number)]
        m.d.comb += [
            self.damaged.eq(wrong | (bad & (check != CRC_RESIDUE))),
            self.damaged_number.eq(Mux(wrong, wrong_number, bad_number)),
        ]

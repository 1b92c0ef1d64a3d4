"""The sample store: between an engine's input and whoever feeds it, with a memory chip behind."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.store.chip import Chip
from dither.store.layout import BLOCK_BYTES, MAX_FIELDS, PAGE_ENTRIES, PAGES
from dither.store.registers import DATA_WINDOW, DATA_WORDS, NUMBER_BIT, STORE_BASE, TABLE_WINDOW, Status, address

from ..sdram.controller import SdramController, address_bits, burst_layout
from .checksum import CRC_BITS, crc32_next
from .fetcher import NUMBER_BITS, SampleFetcher
from .unpacker import SampleUnpacker

__all__ = ["SampleStore"]

_HOST_BITS = 16
_WORD_BITS = 32


class SampleStore(wiring.Component):
    """Feeds an engine with samples that a memory chip holds, in place of numbers of samples.

    Beats pass from ``input`` to ``output`` as they are, unless ``store_control`` is set: then a
    word whose beats have bit :data:`~dither.store.registers.NUMBER_BIT` set is the number of a
    sample, and as many of them as the engine has lanes are a group. In their place, the words of
    the group's samples go to the engine, a sample in each lane, as LOAD takes them. While a group
    is unpacked, the numbers of the next one are taken; as soon as it is over, the next is fetched.

    Latency: from a group's last number to its first beat some 15 cycles a lane for the index and
    as many for the first blocks. Throughput: see :class:`~dither_hw.store.unpacker.SampleUnpacker`.

    Attributes
    ----------
    reset : In(1)
        Forgets groups that are under way, that a sample was damaged, and ``store_control``; memory
        and layout stay.
    input, output : In(stream), Out(stream)
        Beats from the link, and those for the engine.
    host_addr, host_write, host_wdata, host_rdata
        Registers, see :mod:`dither.store.registers`; a read takes a cycle.
    holds : Out(1)
        A group is under way: not all of its words have gone to the engine.
    damaged : Out(1)
        A sample was damaged, or not there, since the last reset.
    pins : Out(SdramPins)
        The pins of the chip.

    :param config: the engine, with a power of two of lanes, and not compact.
    :param chip: the memory chip.
    :param clock_hz: frequency of the domain ``sync``.
    :raises ValueError: if the engine cannot have a store, or the clock is too fast for the chip.
    """

    def __init__(self, config: EngineConfig, chip: Chip, clock_hz: int, controller: Any = None) -> None:
        self.config, self.chip = config, chip
        self.controller = SdramController(chip, clock_hz) if controller is None else controller
        self.unpacker = SampleUnpacker(config, chip.width)
        self.fetcher = SampleFetcher(config.lanes, chip.width, address_bits(chip), burst_layout(chip))
        beats = stream.Signature(config.beat_width)
        super().__init__(
            {
                "reset": In(1),
                "input": In(beats),
                "output": Out(beats),
                "host_addr": In(_HOST_BITS),
                "host_write": In(1),
                "host_wdata": In(_WORD_BITS),
                "host_rdata": Out(_WORD_BITS),
                "holds": Out(1),
                "damaged": Out(1),
                "pins": self.controller.signature.members["pins"],
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, controller = self.config, self.controller
        fetcher, unpacker = self.fetcher, self.unpacker
        m.submodules.controller = controller
        m.submodules.fetcher = fetcher
        m.submodules.unpacker = ResetInserter(self.reset)(unpacker)
        wiring.connect(m, wiring.flipped(self.pins), controller.pins)

        control = Signal()
        control_write = self._written("store_control")
        with m.If(control_write):
            m.d.sync += control.eq(self.host_wdata[0])

        # Numbers of the next group; and the state of the one at work.
        lanes, parts = config.lanes, config.word_parts
        m.submodules.numbers = numbers = Memory(shape=NUMBER_BITS, depth=lanes, init=[])
        number_write, number_read = numbers.write_port(), numbers.read_port(domain="comb")
        lane = Signal(range(lanes))
        part = Signal(range(parts))
        complete = Signal()
        some = Signal()
        """There is a number, or a part of one, of the next group."""
        beat = self.input.payload
        number = control & beat[NUMBER_BIT]
        taken = self.input.valid & self.input.ready & number
        m.d.comb += [
            number_write.addr.eq(lane),
            number_write.data.eq(beat[:NUMBER_BITS]),
            number_write.en.eq(taken),
            number_read.addr.eq(fetcher.lane),
            fetcher.number.eq(number_read.data),
        ]
        with m.If(taken):
            m.d.sync += [some.eq(1), part.eq(Mux(part == parts - 1, 0, part + 1))]
            with m.If(part == parts - 1):
                m.d.sync += [lane.eq(lane + 1), complete.eq(lane == lanes - 1)]
        draining = Signal()
        """A session ended within a group: its blocks still come, and nobody wants them."""
        start = Signal()
        begun = Signal()
        """The numbers are those of the group at work, which is still looking them up."""
        m.d.comb += start.eq(complete & ~begun & ~fetcher.busy & ~unpacker.busy & ~draining & ~self.reset)
        m.d.comb += [fetcher.start.eq(start), unpacker.start.eq(start), fetcher.hasty.eq(~unpacker.busy)]
        with m.If(start):
            m.d.sync += begun.eq(1)
        with m.If(fetcher.indexed):
            m.d.sync += [begun.eq(0), complete.eq(0), some.eq(0), lane.eq(0)]

        own = Signal()
        m.d.comb += [
            own.eq(some | fetcher.busy | unpacker.busy | unpacker.pending),
            self.holds.eq(own),
            self.output.valid.eq(unpacker.output.valid | (self.input.valid & ~number & ~own)),
            self.output.payload.eq(Mux(unpacker.output.valid, unpacker.output.payload, beat)),
            unpacker.output.ready.eq(self.output.ready),
            self.input.ready.eq(Mux(number, ~complete & ~begun, self.output.ready & ~own)),
        ]
        for name in ("asked", "asked_lane", "fill", "fill_lane", "fill_place", "fill_word", "filled", "over"):
            m.d.comb += getattr(unpacker, name).eq(getattr(fetcher, name))
        m.d.comb += fetcher.room.eq(unpacker.room)

        with m.If(self.reset):
            m.d.sync += [control.eq(0), some.eq(0), complete.eq(0), lane.eq(0), part.eq(0), draining.eq(fetcher.busy)]
        with m.Elif(~fetcher.busy):
            m.d.sync += draining.eq(0)
        self._damage(m, fetcher.damaged & ~draining, fetcher.damaged_number, unpacker.dry)
        self._loader(m)
        self._layout(m)
        self._read(m)
        return m

    def _written(self, name: str) -> Any:
        return self.host_write & (self.host_addr == address(name))

    def _damage(self, m: Module, damaged: Any, number: Any, dry: Any) -> None:
        """Remembers that a sample was damaged, and which one was the first."""
        self._damaged_number = Signal(NUMBER_BITS)
        with m.If(damaged | dry):
            m.d.sync += self.damaged.eq(1)
        with m.If(damaged & ~self.damaged):
            m.d.sync += self._damaged_number.eq(number)
        with m.If(self.reset | self._written("store_place")):
            m.d.sync += self.damaged.eq(0)

    def _layout(self, m: Module) -> None:
        """Takes the layout of samples, and the table."""
        unpacker = self.unpacker
        for number in range(MAX_FIELDS):
            field = Signal.like(unpacker.fields[number], name=f"field{number}")
            m.d.comb += unpacker.fields[number].eq(field)
            with m.If(self._written(f"store_field{number}")):
                m.d.sync += field.eq(self.host_wdata)
            background = Signal(self.config.width, name=f"background{number}")
            m.d.comb += unpacker.backgrounds[number].eq(background)
            with m.If(self._written(f"store_background{number}")):
                m.d.sync += background.eq(self.host_wdata)
        words = Signal.like(unpacker.words)
        m.d.sync += words.eq(sum(unpacker.fields[number].words for number in range(MAX_FIELDS)))
        samples = Signal(NUMBER_BITS)
        with m.If(self._written("store_samples")):
            m.d.sync += samples.eq(self.host_wdata)
        entry = self.host_addr - TABLE_WINDOW
        m.d.comb += [
            unpacker.words.eq(words),
            self.fetcher.samples.eq(samples),
            unpacker.table_write.eq(
                self.host_write & (self.host_addr[10:] == TABLE_WINDOW >> 10),
            ),
            unpacker.table_address.eq(entry),
            unpacker.table_value.eq(self.host_wdata),
        ]

    def _loader(self, m: Module) -> None:
        """Puts words of the host into memory, or reads memory, and computes the check of it."""
        chip, controller, fetcher = self.chip, self.controller, self.fetcher
        pieces = _WORD_BITS // chip.width
        block_words = BLOCK_BYTES * 8 // chip.width
        place = Signal(address_bits(chip))
        check = Signal(CRC_BITS, init=(1 << CRC_BITS) - 1)
        self._check = check
        word = Signal(_WORD_BITS)
        storing = Signal()
        asked = Signal()
        """The burst has been asked for, but not all of its words have gone."""
        left = Signal(range(pieces + 1))
        verify = Signal(20)
        """Number of blocks that are still to be asked for."""
        coming = Signal(range(2 * block_words + 1))
        verifying = Signal()
        written = self.host_write & (self.host_addr[8:] == DATA_WINDOW >> 8)
        request = controller.request
        ask = Signal()
        m.d.comb += ask.eq((storing & ~asked) | ((verify != 0) & (coming == 0)))
        m.d.comb += [
            request.valid.eq(Mux(fetcher.busy, fetcher.request.valid, ask)),
            request.payload.eq(fetcher.request.payload),
            fetcher.request.ready.eq(request.ready & fetcher.busy),
            fetcher.valid.eq(controller.valid & ~verifying),
            fetcher.word.eq(controller.word),
            controller.data.valid.eq(asked),
            controller.data.payload.eq(word),
        ]
        with m.If(~fetcher.busy):
            m.d.comb += [
                request.payload.address.eq(place),
                request.payload.more.eq(Mux(storing, pieces, block_words) - 1),
                request.payload.write.eq(storing),
            ]
        with m.If(written):
            m.d.sync += [word.eq(self.host_wdata), storing.eq(1), check.eq(crc32_next(check, self.host_wdata))]
        with m.If(ask & request.ready & ~fetcher.busy):
            with m.If(storing):
                m.d.sync += [asked.eq(1), left.eq(pieces), place.eq(place + pieces)]
            with m.Else():
                m.d.sync += [verify.eq(verify - 1), coming.eq(block_words), place.eq(place + block_words)]
        with m.If(asked & controller.data.ready):
            m.d.sync += [word.eq(word >> chip.width), left.eq(left - 1)]
            with m.If(left == 1):
                m.d.sync += [asked.eq(0), storing.eq(0)]
        with m.If(verifying & controller.valid):
            m.d.sync += [coming.eq(coming - 1), check.eq(crc32_next(check, controller.word))]
        m.d.comb += verifying.eq(coming != 0)
        with m.If(self._written("store_place")):
            m.d.sync += [place.eq(self.host_wdata << (pieces - 1).bit_length()), check.eq(check.init)]
        with m.If(self._written("store_verify")):
            m.d.sync += [place.eq(0), verify.eq(self.host_wdata), check.eq(check.init)]
        self._working = storing | (verify != 0) | verifying

    def _read(self, m: Module) -> None:
        """Reads registers."""
        flags = {Status.READY: self.controller.ready, Status.WORKING: self._working, Status.DAMAGED: self.damaged}
        status = Cat(flags[flag] for flag in Status)
        values = {
            "store_status": status,
            "store_check": ~self._check,
            "store_damaged": self._damaged_number,
            "store_blocks": self.chip.bytes // BLOCK_BYTES,
        }
        with m.Switch(self.host_addr):
            for name, value in values.items():
                with m.Case(address(name)):
                    m.d.sync += self.host_rdata.eq(value)
            with m.Default():
                m.d.sync += self.host_rdata.eq(0)


assert DATA_WORDS == 1 << 8
assert DATA_WINDOW % DATA_WORDS == 0
assert PAGES * PAGE_ENTRIES == 1 << 10
assert TABLE_WINDOW % (PAGES * PAGE_ENTRIES) == 0
assert STORE_BASE < DATA_WINDOW

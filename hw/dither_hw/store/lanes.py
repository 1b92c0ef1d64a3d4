"""The samples' bytes on their way: a queue for each lane of a unit, and the byte at its head."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.store.layout import BLOCK_BYTES, GROUP

__all__ = ["QUEUE_BLOCKS", "LaneQueues"]

QUEUE_BLOCKS = 4
"""Number of blocks that a lane's queue holds."""
_BYTE = 8
_FETCH_CYCLES = 2
"""Cycles from the address of a byte until it can be put at the head."""


class LaneQueues(wiring.Component):
    """Keeps blocks of some lanes' samples and gives their bytes, one lane at a time.

    Lanes are served in turns: in each cycle, ``slot`` names one. A byte that was taken is replaced
    three cycles later, so with four lanes or more a byte a cycle comes out.

    Resources: one block RAM; about 30 registers a lane.

    Attributes
    ----------
    clear : In(1)
        Forgets all that is held; for a new group of samples.
    asked, asked_slot : In(1), In
        A block for this lane is on its way.
    room : Out(slots)
        For each lane: there is room for another block.
    fill, fill_slot, fill_place, fill_word : In
        A word of a lane's block, at this place of the block.
    filled : In(1)
        With ``fill``: it is the block's last word.
    over : In(slots)
        For each lane: no more blocks come.
    slot : In
        The lane at work.
    load : In(1)
        A byte of flags is wanted. Otherwise a byte of a value, if ``present``.
    moves, next_slot, next_place : In(1), In, In(3)
        With ``moves``, the lane at work is another one in the next cycle, and ``present`` its flag
        of this number.
    present : Out(1)
        The flag that decides.
    ok : Out(1)
        What is wanted is there, or never comes.
    take : In(1)
        It is taken; only with ``ok``.
    byte : Out(8)
        What is taken; zero if it never comes.
    dry : Out(1)
        With ``take``: it never came, because the sample was too short.

    :param slots: number of lanes.
    :param width: bits of a word of the memory chip: 8, 16 or 32.
    """

    def __init__(self, slots: int, width: int) -> None:
        self.slots, self.width = slots, width
        slot, words = range(slots), BLOCK_BYTES * _BYTE // width
        super().__init__(
            {
                "clear": In(1),
                "asked": In(1),
                "asked_slot": In(slot),
                "room": Out(slots),
                "fill": In(1),
                "fill_slot": In(slot),
                "fill_place": In(range(words)),
                "fill_word": In(width),
                "filled": In(1),
                "over": In(slots),
                "slot": In(slot),
                "load": In(1),
                "moves": In(1),
                "next_slot": In(slot),
                "next_place": In(range(GROUP)),
                "present": Out(1),
                "ok": Out(1),
                "take": In(1),
                "byte": Out(_BYTE),
                "dry": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slots, block = range(self.slots), (BLOCK_BYTES - 1).bit_length()
        within = (self.width // _BYTE - 1).bit_length()
        """Address bits of a byte within a word."""
        queue = QUEUE_BLOCKS * BLOCK_BYTES
        head = Array(Signal(_BYTE, name=f"head{i}") for i in slots)
        there = Signal(self.slots)
        flags = Array(Signal(GROUP, name=f"flags{i}") for i in slots)
        position = Array(Signal(range(queue), name=f"position{i}") for i in slots)
        end = Array(Signal(range(QUEUE_BLOCKS), name=f"end{i}") for i in slots)
        """Number of the block that is filled."""
        full, held = ([Signal(range(QUEUE_BLOCKS + 1), name=f"{name}{i}") for i in slots] for name in ("full", "held"))
        """Blocks that are filled, and those besides that are on their way; begun ones count."""

        m.submodules.memory = memory = Memory(
            shape=self.width, depth=self.slots * queue >> within, init=[], attrs={"ram_style": "block"}
        )
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.fill),
            write.addr.eq(Cat(self.fill_place, end[self.fill_slot], self.fill_slot)),
            write.data.eq(self.fill_word),
        ]

        slot = self.slot
        wants = Signal()
        fetch = Signal()
        now = position[slot]
        flying = Signal(_FETCH_CYCLES)
        flying_slot = [Signal(range(self.slots), name=f"flying_slot{i}") for i in range(_FETCH_CYCLES)]
        coming = Cat(flying[i] & (flying_slot[i] == slot) for i in range(_FETCH_CYCLES)).any()
        available = Array(count != 0 for count in full)[slot]
        # Of the lane at work: there is a byte; there was none, and none comes any more.
        has, ended = Signal(), Signal()
        m.d.comb += [
            wants.eq(self.load | self.present),
            self.ok.eq(~wants | has | ended),
            self.byte.eq(head[slot] & has.replicate(_BYTE)),
            self.dry.eq(self.take & wants & ~has),
            fetch.eq(wants & available & ~coming & (self.take | ~has)),
            read.addr.eq(Cat(now[within:], slot)),
            read.en.eq(1),
        ]
        has_kept = has & ~(self.take & wants) | flying[-1] & (flying_slot[-1] == slot)
        m.d.sync += [has.eq(has_kept), ended.eq(~has & ~available & ~coming & self.over.bit_select(slot, 1))]
        following = flags[self.next_slot].bit_select(self.next_place, 1)
        if self.slots == 1:
            # Its flags come in the cycle before the first of them decides.
            following = Mux(self.load, self.byte[0], following)
        with m.If(self.moves):
            m.d.sync += [self.present.eq(following), ended.eq(0)]
            if self.slots > 1:
                arrives = flying[-1] & (flying_slot[-1] == self.next_slot)
                m.d.sync += has.eq(there.bit_select(self.next_slot, 1) | arrives)
        word, lane = Signal(self.width), Signal(max(within, 1))
        m.d.sync += [
            flying.eq(Cat(fetch, flying)),
            flying_slot[0].eq(slot),
            flying_slot[1].eq(flying_slot[0]),
            lane.eq(now[:within]),
            word.eq(read.data),
        ]
        late = Signal.like(lane)
        m.d.sync += late.eq(lane)
        arrived = word.word_select(late[:within], _BYTE) if within else word
        with m.If(self.take & wants):
            m.d.sync += there.bit_select(slot, 1).eq(0)
            with m.If(self.load):
                m.d.sync += flags[slot].eq(self.byte)
        with m.If(flying[-1]):
            m.d.sync += [head[flying_slot[-1]].eq(arrived), there.bit_select(flying_slot[-1], 1).eq(1)]
        # A lane's queue moves on a cycle late: while a byte is coming, no other is fetched.
        fetched = position[flying_slot[0]]
        with m.If(flying[0]):
            m.d.sync += fetched.eq(fetched + 1)
        leaves = flying[0] & (fetched[:block] == BLOCK_BYTES - 1)
        for i in slots:
            gone, came = Signal(name=f"gone{i}"), Signal(name=f"came{i}")
            m.d.comb += [
                gone.eq(leaves & (flying_slot[0] == i)),
                came.eq(self.fill & self.filled & (self.fill_slot == i)),
                self.room[i].eq(held[i] != QUEUE_BLOCKS),
            ]
            m.d.sync += [
                full[i].eq(full[i] + came - gone),
                held[i].eq(held[i] + (self.asked & (self.asked_slot == i)) - gone),
            ]
            with m.If(came):
                m.d.sync += end[i].eq(end[i] + 1)
        with m.If(self.clear):
            m.d.sync += [there.eq(0), has.eq(0), ended.eq(0), flying.eq(0)]
            for i in slots:
                m.d.sync += [position[i].eq(0), end[i].eq(0), full[i].eq(0), held[i].eq(0)]
        return m

"""Makes the words of a group of lanes from the bytes of their samples."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.store.layout import GROUP, LITERAL, MAX_FIELDS, MAX_WORDS, PAGE_ENTRIES, PAGES, literal_bytes

from .lanes import LaneQueues

__all__ = ["FIELD", "SampleUnpacker", "units_of"]

FIELD = data.StructLayout({"words": 16, "kind": 3})
"""The description of a field of a sample, but for its background."""
_BYTE = 8
_AHEAD = 8
"""Number of beats that may be under way, from the first byte asked for to the engine."""
_SLOTS_A_UNIT = 4
"""Number of lanes for which a unit gives a byte a cycle; with fewer, it waits for memory."""
_MOST_UNITS = 4


def units_of(config: EngineConfig) -> int:
    """Returns the number of units that unpack side by side.

    They are as many as keep up with LOAD, where an engine takes words in parts, but no more than
    four; elsewhere an engine has so few lanes that one suffices.

    :param config: the engine; lanes are a power of two.
    :raises ValueError: if the number of lanes is none.
    """
    if config.lanes & (config.lanes - 1) or config.family.beat_bits:
        raise ValueError("a sample store is for engines that are not compact, with a power of two of lanes")
    return max(1, min(_MOST_UNITS, config.part_lanes, config.lanes // _SLOTS_A_UNIT))


class SampleUnpacker(wiring.Component):
    """Gives the words of a group of samples, one for each lane, as beats of the engine's input.

    Lane l is lane l // U of unit l % U, where U is the number of units, which work side by side on
    neighbouring lanes. A word takes a step for each lane of a unit, and each eight words one more,
    for flags; a value of more than a byte takes about four cycles a byte more.

    Resources: two block RAMs a unit; about 30 registers and 40 LUTs a lane.

    Attributes
    ----------
    start : In(1)
        A pulse that begins a group; only while not ``busy``.
    busy : Out(1)
        Words are still to be unpacked; beats may wait longer in ``output``.
    pending : Out(1)
        There are beats that were not taken from ``output`` yet.
    fields : In
        The fields of a sample, as many words in all as ``words``.
    backgrounds : In
        For each field, the value of its words that are left out.
    words : In(16)
        The number of words of a sample, at least one.
    table_write, table_address, table_value : In
        Writes a value of the table.
    asked, asked_lane, fill, fill_lane, fill_place, fill_word, filled, over, room
        As for :class:`LaneQueues`, with numbers of lanes.
    dry : Out(1)
        A pulse: a sample was too short.
    output : Out(stream)
        The beats' lowest bits: those of a part of a word of activations.

    :param config: the engine; gives lanes, parts and widths.
    :param width: bits of a word of the memory chip.
    :raises ValueError: if the engine's lanes are not a power of two.
    """

    def __init__(self, config: EngineConfig, width: int) -> None:
        self.config, self.units = config, units_of(config)
        self.queues = [LaneQueues(config.lanes // self.units, width) for _ in range(self.units)]
        queue, lane = self.queues[0].signature.members, range(config.lanes)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "pending": Out(1),
                "fields": In(data.ArrayLayout(FIELD, MAX_FIELDS)),
                "backgrounds": In(data.ArrayLayout(config.width, MAX_FIELDS)),
                "words": In(range(MAX_WORDS + 1)),
                "table_write": In(1),
                "table_address": In(range(PAGES * PAGE_ENTRIES)),
                "table_value": In(config.width),
                "asked": In(1),
                "asked_lane": In(lane),
                "fill": In(1),
                "fill_lane": In(lane),
                "fill_place": queue["fill_place"],
                "fill_word": queue["fill_word"],
                "filled": In(1),
                "over": In(config.lanes),
                "room": Out(config.lanes),
                "dry": Out(1),
                "output": Out(stream.Signature(config.part_lanes * config.width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, units, slots = self.config, self.units, self.config.lanes // self.units
        shift = (units - 1).bit_length()
        place = Signal(range(GROUP))
        slot = Signal(range(slots))
        left = Signal.like(self.words)
        field = Signal(range(MAX_FIELDS))
        field_left = Signal(16)
        load = Signal()
        sizes = literal_bytes(config.width)
        byte = Signal(range(sizes))
        literal = Signal()
        step, moves, last_slot, last_byte = Signal(), Signal(), Signal(), Signal()
        turns = config.part_lanes // units
        """Steps that a beat takes."""
        turn = Signal(range(turns))
        credit = Signal(range(_AHEAD + 1), init=_AHEAD)

        for number, queue in enumerate(self.queues):
            m.submodules[f"queue{number}"] = queue
            mine = [(lane, lane >> shift) for lane in range(config.lanes) if lane % units == number]
            m.d.comb += [
                queue.clear.eq(self.start),
                queue.asked_slot.eq(self.asked_lane >> shift),
                queue.fill_slot.eq(self.fill_lane >> shift),
                queue.asked.eq(self.asked & (self.asked_lane[:shift] == number)),
                queue.fill.eq(self.fill & (self.fill_lane[:shift] == number)),
                queue.fill_place.eq(self.fill_place),
                queue.fill_word.eq(self.fill_word),
                queue.filled.eq(self.filled),
                queue.slot.eq(slot),
                queue.load.eq(load),
                queue.moves.eq(moves),
                queue.next_slot.eq(slot + 1),
                queue.next_place.eq(place + (last_slot & ~load)),
                queue.take.eq(step),
                *(queue.over[at].eq(self.over[lane]) for lane, at in mine),
                *(self.room[lane].eq(queue.room[at]) for lane, at in mine),
            ]

        # What a step is: a byte of flags, or a byte of a value, of one lane of each unit.
        ready = Cat(queue.ok for queue in self.queues).all()
        some = Cat(queue.present for queue in self.queues).any()
        begins = Signal()
        emits = Signal()
        m.d.comb += [
            begins.eq(~load & (turn == 0) & (byte == 0)),
            step.eq(self.busy & ready & ~(begins & (credit == 0))),
            last_slot.eq(slot == slots - 1),
            literal.eq(self.fields[field].kind == LITERAL),
            last_byte.eq(~literal | ~some | (byte == sizes - 1)),
            moves.eq(step & (load | last_byte)),
            emits.eq(step & ~load & last_byte),
            self.dry.eq(Cat(queue.dry for queue in self.queues).any()),
        ]
        with m.If(step):
            with m.If(moves):
                m.d.sync += [slot.eq(slot + 1), byte.eq(0)]
            with m.Else():
                m.d.sync += byte.eq(byte + 1)
        with m.If(step & load & last_slot):
            m.d.sync += load.eq(0)
        with m.If(emits):
            m.d.sync += turn.eq(Mux(turn == turns - 1, 0, turn + 1))
        with m.If(emits & last_slot):
            m.d.sync += [left.eq(left - 1), place.eq(place + 1), field_left.eq(field_left - 1)]
            with m.If(place == GROUP - 1):
                m.d.sync += load.eq(1)
            with m.If(field_left == 1):
                m.d.sync += [
                    field.eq(field + 1),
                    field_left.eq(Array(self.fields[i].words for i in range(MAX_FIELDS))[field + 1]),
                ]
            with m.If(left == 1):
                m.d.sync += self.busy.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.busy.eq(1),
                load.eq(1),
                slot.eq(0),
                byte.eq(0),
                turn.eq(0),
                place.eq(0),
                left.eq(self.words),
                field.eq(0),
                field_left.eq(self.fields[0].words),
            ]
        self._values(
            m,
            step=step,
            emits=emits,
            literal=literal,
            kind=self.fields[field].kind,
            background=self.backgrounds[field],
            turn=turn,
            turns=turns,
            credit=credit,
            begins=begins,
        )
        return m

    def _values(
        self,
        m: Module,
        *,
        step: Signal,
        emits: Signal,
        literal: Signal,
        kind: Value,
        background: Value,
        turn: Signal,
        turns: int,
        credit: Signal,
        begins: Signal,
    ) -> None:
        """Turns bytes into values and those into beats, four cycles later."""
        config, width = self.config, self.config.width
        size = _BYTE * literal_bytes(width)
        emitted = Signal(3)
        m.d.sync += emitted.eq(Cat(emits, emitted))
        turned = [Signal(range(turns), name=f"turned{i}") for i in range(3)]
        itself = Signal(2)
        m.d.sync += [turned[0].eq(turn), turned[1].eq(turned[0]), turned[2].eq(turned[1])]
        m.d.sync += itself.eq(Cat(literal, itself))
        absent = [Signal(width, name=f"absent{i}") for i in range(2)]
        m.d.sync += [absent[0].eq(background), absent[1].eq(absent[0])]
        page = Signal(range(PAGES))
        m.d.sync += page.eq(kind)
        beat = Signal(config.part_lanes * width)
        for number, queue in enumerate(self.queues):
            bytes_ = Signal(size, name=f"bytes{number}")
            present = Signal(2, name=f"present{number}")
            m.d.sync += present.eq(Cat(queue.present, present))
            with m.If(step):
                m.d.sync += bytes_.eq(Cat(bytes_[_BYTE:], queue.byte))
            m.submodules[f"table{number}"] = table = Memory(
                shape=width, depth=PAGES * PAGE_ENTRIES, init=[], attrs={"ram_style": "block"}
            )
            write, read = table.write_port(), table.read_port()
            m.d.comb += [
                write.en.eq(self.table_write),
                write.addr.eq(self.table_address),
                write.data.eq(self.table_value),
                read.addr.eq(Cat(bytes_[-_BYTE:], page)),
                read.en.eq(1),
            ]
            whole = Signal(width, name=f"whole{number}")
            value = Signal(width, name=f"value{number}")
            m.d.sync += whole.eq(bytes_[:width])
            m.d.sync += value.eq(Mux(present[1], Mux(itself[1], whole, read.data), absent[1]))
            for j in range(turns):
                with m.If(emitted[2] & (turned[2] == j)):
                    start = (j * self.units + number) * width
                    m.d.sync += beat[start : start + width].eq(value)
        done = Signal()
        m.d.sync += done.eq(emitted[2] & (turned[2] == turns - 1))
        m.submodules.beats = beats = SyncFIFOBuffered(width=len(beat), depth=_AHEAD)
        taken = Signal()
        m.d.comb += [
            beats.w_en.eq(done),
            beats.w_data.eq(beat),
            self.output.valid.eq(beats.r_rdy),
            self.output.payload.eq(beats.r_data),
            beats.r_en.eq(self.output.ready),
            taken.eq(self.output.valid & self.output.ready),
            self.pending.eq(credit != _AHEAD),
        ]
        m.d.sync += credit.eq(credit + taken - (step & begins))

"""The controller of an SDRAM chip: power-up, refresh, and bursts in rows that stay open."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from dither.store.chip import INIT_REFRESHES, Chip

__all__ = ["PIN_CYCLES", "Command", "SdramController", "SdramPins", "address_bits", "burst_layout"]

PIN_CYCLES = 2
"""Cycles that registers at the pins add to a read: one on the way to the chip, one back."""
_ALL_BANKS = 10
"""The address bit that makes a PRECHARGE close all banks; accesses have it low."""
_MODE_LATENCY = 4
"""Lowest bit of the latency in the mode register; other bits are zero: single words."""
_COUNT_BITS = 8
_OWED_MOST = 7


class Command(enum.Enum, shape=3):  # type: ignore[call-arg]
    """Levels of the pins ``ras``, ``cas`` and ``we``, the lowest bit first; 1 is active."""

    NOTHING = 0b000
    ACTIVATE = 0b001
    READ = 0b010
    REFRESH = 0b011
    PRECHARGE = 0b101
    WRITE = 0b110
    MODE = 0b111


class SdramPins(wiring.Signature):
    """What goes to the chip's pins and comes from them, seen from the controller.

    ``command`` holds the levels of :class:`Command`; ``drive``: the controller drives the data
    pins with ``write`` in this cycle. Chip select and clock enable are always active, data masks
    never.

    :param chip: the chip; gives the widths.
    """

    def __init__(self, chip: Chip) -> None:
        super().__init__(
            {
                "command": Out(Command),
                "bank": Out(_bits(chip.banks)),
                "address": Out(row_pins(chip)),
                "drive": Out(1),
                "write": Out(chip.width),
                "read": In(chip.width),
            }
        )


def _bits(count: int) -> int:
    return (count - 1).bit_length()


def row_pins(chip: Chip) -> int:
    """Returns the number of the chip's address pins."""
    return max(_bits(chip.rows), _ALL_BANKS + 1)


def address_bits(chip: Chip) -> int:
    """Returns the number of bits of a word's address in a chip."""
    return _bits(chip.words)


def burst_layout(chip: Chip) -> data.StructLayout:
    """Returns the layout of a request: words to read or write, one behind the other in one row.

    ``address`` counts words: the column has the lowest bits, then the bank, then the row, so that
    a sequence goes from bank to bank. ``more`` is the number of words less one.
    """
    return data.StructLayout({"address": address_bits(chip), "more": _COUNT_BITS, "write": 1})


class SdramController(wiring.Component):
    """Reads and writes words of an SDRAM chip, and refreshes it.

    Each word has a READ or WRITE of its own (the chip's bursts have one word), so a burst may have
    any length. A row stays open until another of its bank is wanted or a refresh is due; a burst
    that follows in the same row begins without a gap. Refreshes wait for the end of a burst; they
    are kept apart by the chip's interval on average.

    Latency: a read's first word comes ``latency + PIN_CYCLES + 5`` cycles after its request was
    taken, if its row is open. Throughput: a word a cycle within a row.

    Resources: about 150 registers.

    Attributes
    ----------
    request : In(stream)
        Bursts, see :func:`burst_layout`. They are taken in order; all words are in one row.
    data : In(stream)
        The words to be written; a burst of writes waits for them.
    valid, word : Out(1), Out(width)
        With ``valid``, ``word`` is the next word read; there is no way to hold it back.
    ready : Out(1)
        The chip is initialised.
    pins : Out(SdramPins)
        The chip's pins, through a register each way (:data:`PIN_CYCLES`).

    :param chip: the chip.
    :param clock_hz: frequency of the domain ``sync``, the chip's clock too.
    :raises ValueError: if the chip is not made for so fast a clock.
    """

    def __init__(self, chip: Chip, clock_hz: int) -> None:
        self.chip = chip
        self.timing = chip.timing(clock_hz)
        super().__init__(
            {
                "request": In(stream.Signature(burst_layout(chip))),
                "data": In(stream.Signature(chip.width)),
                "valid": Out(1),
                "word": Out(chip.width),
                "ready": Out(1),
                "pins": Out(SdramPins(chip)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip, timing = self.chip, self.timing
        columns, banks, rows = _bits(chip.columns), _bits(chip.banks), _bits(chip.rows)
        command = Signal(Command)
        bank = Signal(banks)
        address = Signal(row_pins(chip))
        m.d.sync += [self.pins.command.eq(command), self.pins.bank.eq(bank), self.pins.address.eq(address)]

        # The burst at work, and the one behind it.
        current = Signal(burst_layout(chip))
        following = Signal(burst_layout(chip))
        here, there = (_Place(burst.address, columns, banks, rows) for burst in (current, following))
        waiting = Signal()
        """There is a burst behind the one at work."""
        m.d.comb += self.request.ready.eq(~waiting & self.ready)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [following.eq(self.request.payload), waiting.eq(1)]

        opened = Signal(chip.banks)
        row = Array(Signal(rows, name=f"row{number}") for number in range(chip.banks))
        follows = Signal()
        """The burst that waits has its row open, as of the cycle before, and nothing was opened or
        closed since.
        """
        accessing = Signal()
        m.d.sync += follows.eq(accessing & waiting & opened.bit_select(there.bank, 1) & (row[there.bank] == there.row))

        # Distances that are still to be kept: a counter is zero when a command may come.
        def wait(name: str, most: int) -> tuple[Signal, Value]:
            left = Signal(range(max(most, 2)), name=name)
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
            return left, left == 0

        recover, recovered = wait("recover", timing.write_recovery)
        out, all_out = wait("out", timing.read_to_close)
        settle, settled = wait(
            "settle", max(timing.precharge, timing.refresh_cycle, timing.mode, timing.activate_to_access)
        )
        apart, other_bank = wait("apart", timing.activate_to_activate)
        turn, turned = wait("turn", timing.latency + 2)
        active = [wait(f"active{number}", timing.row_active) for number in range(chip.banks)]
        cycle = [wait(f"cycle{number}", timing.row_cycle) for number in range(chip.banks)]
        may_close = Array(done for _, done in active)[here.bank]
        may_open = Array(done for _, done in cycle)[here.bank]
        all_may_close = Cat(done for _, done in active).all()
        all_may_open = Cat(done for _, done in cycle).all()

        due, owed = self._refresh_clock(m)
        refreshed = Signal()
        m.d.sync += owed.eq(owed + due - refreshed)

        pause = Signal(range(max(timing.power_up, INIT_REFRESHES) + 1), init=timing.power_up)
        reads = Signal(timing.latency + PIN_CYCLES + 1)
        reading = Signal()
        m.d.sync += reads.eq(Cat(reading, reads))
        m.d.comb += [self.valid.eq(reads[-1]), self.word.eq(self.pins.read)]
        write = Signal()
        m.d.sync += [self.pins.drive.eq(write), self.pins.write.eq(self.data.payload)]

        with m.FSM():
            with m.State("POWER_UP"):
                m.d.sync += pause.eq(pause - 1)
                with m.If(pause == 0):
                    m.d.comb += [command.eq(Command.PRECHARGE), address.eq(1 << _ALL_BANKS)]
                    m.d.sync += [settle.eq(timing.precharge - 1), pause.eq(INIT_REFRESHES)]
                    m.next = "FIRST_REFRESHES"
            with m.State("FIRST_REFRESHES"), m.If(settled):
                m.d.sync += pause.eq(pause - 1)
                with m.If(pause != 0):
                    m.d.comb += command.eq(Command.REFRESH)
                    m.d.sync += settle.eq(timing.refresh_cycle - 1)
                with m.Else():
                    m.d.comb += [command.eq(Command.MODE), address.eq(timing.latency << _MODE_LATENCY)]
                    m.d.sync += [settle.eq(timing.mode - 1), self.ready.eq(1)]
                    m.next = "IDLE"
            with m.State("IDLE"):
                with m.If(owed != 0):
                    m.next = "CLOSE_ALL"
                with m.Elif(waiting):
                    m.d.sync += [current.eq(following), waiting.eq(0)]
                    m.next = "LOOK"
            with m.State("LOOK"):
                with m.If(~opened.bit_select(here.bank, 1)):
                    m.next = "OPEN"
                with m.Elif(row[here.bank] == here.row):
                    m.next = "ACCESS"
                with m.Else():
                    m.next = "CLOSE"
            with m.State("CLOSE"), m.If(may_close & recovered & all_out):
                m.d.comb += [command.eq(Command.PRECHARGE), bank.eq(here.bank)]
                m.d.sync += [settle.eq(timing.precharge - 1), opened.bit_select(here.bank, 1).eq(0)]
                m.next = "OPEN"
            with m.State("OPEN"), m.If(settled & may_open & other_bank):
                m.d.comb += [command.eq(Command.ACTIVATE), bank.eq(here.bank), address.eq(here.row)]
                m.d.sync += [
                    settle.eq(timing.activate_to_access - 1),
                    apart.eq(timing.activate_to_activate - 1),
                    opened.bit_select(here.bank, 1).eq(1),
                    row[here.bank].eq(here.row),
                ]
                for number in range(chip.banks):
                    with m.If(here.bank == number):
                        m.d.sync += [
                            active[number][0].eq(timing.row_active - 1),
                            cycle[number][0].eq(timing.row_cycle - 1),
                        ]
                m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.comb += [accessing.eq(1), bank.eq(here.bank), address.eq(here.column)]
                with m.If(settled):
                    m.d.comb += [
                        reading.eq(~current.write),
                        write.eq(current.write & self.data.valid & turned),
                        self.data.ready.eq(current.write & turned),
                    ]
                with m.If(reading | write):
                    m.d.comb += command.eq(Mux(current.write, Command.WRITE, Command.READ))
                    m.d.sync += [
                        current.address[:columns].eq(current.address[:columns] + 1),
                        current.more.eq(current.more - 1),
                    ]
                    with m.If(reading):
                        m.d.sync += [out.eq(timing.read_to_close - 1), turn.eq(timing.latency + 1)]
                    with m.Else():
                        m.d.sync += recover.eq(timing.write_recovery - 1)
                    with m.If(current.more == 0):
                        with m.If(follows & (owed == 0)):
                            m.d.sync += [current.eq(following), waiting.eq(0), follows.eq(0)]
                        with m.Else():
                            m.next = "IDLE"
            with m.State("CLOSE_ALL"), m.If(all_may_close & recovered & all_out):
                m.d.comb += [command.eq(Command.PRECHARGE), address.eq(1 << _ALL_BANKS)]
                m.d.sync += [settle.eq(timing.precharge - 1), opened.eq(0)]
                m.next = "REFRESH"
            with m.State("REFRESH"), m.If(settled & all_may_open):
                m.d.comb += [command.eq(Command.REFRESH), refreshed.eq(1)]
                m.d.sync += settle.eq(timing.refresh_cycle - 1)
                m.next = "AFTER"
            with m.State("AFTER"), m.If(settled):
                m.next = "IDLE"
        return m

    def _refresh_clock(self, m: Module) -> tuple[Signal, Signal]:
        """Returns a pulse in each interval of refreshes, and the number of those that are owed."""
        interval = self.timing.refresh_interval
        due = Signal()
        left = Signal(range(interval), init=interval - 1)
        m.d.sync += [left.eq(Mux(left == 0, interval - 1, left - 1)), due.eq((left == 0) & self.ready)]
        owed = Signal(range(_OWED_MOST + 1))
        return due, owed


class _Place:
    """Column, bank and row of an address."""

    def __init__(self, address: Value, columns: int, banks: int, rows: int) -> None:
        self.column = address[:columns]
        self.bank = address[columns : columns + banks]
        self.row = address[columns + banks : columns + banks + rows]

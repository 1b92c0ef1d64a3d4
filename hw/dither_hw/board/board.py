"""A board's top level: pins, clock and reset around the link and the engine."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

from amaranth.build import Attrs, Pins, Resource, ResourceError, Subsignal
from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Module, Signal, Value
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from dither.boards import Board, BoardError

from .. import vendor

__all__ = ["BoardTop", "Core", "StartUp", "board_core", "create_platform"]

_START_SECONDS = 15e-6
"""Seconds for which logic stays in reset once the clock is steady.

Block RAMs of an iCE40 need as long after configuration.
"""
_INDICATORS = ("led", "rgb_led")

Core = Callable[[Board, int], Any]
"""Makes what is behind the pins, from a board and a build id.

The result is a component with ports ``reset``, ``rx``, ``tx``, ``busy`` and ``error``, in a domain
``sync`` that has no reset.
"""


def board_core(board: Board, build_id: int) -> Any:
    """Returns link and engine of a board: a :class:`dither_hw.board.core.BoardCore`.

    :param build_id: 64 bits that the link tells its host.
    :raises BoardError: if there is no gateware for what the board's file asks for.
    """
    from .core import BoardCore

    try:
        return BoardCore(
            board.engine,
            clock_hz=board.clock.hz,
            baud=board.uart.baud,
            build_id=build_id,
            input_bytes=board.link.input_bytes,
            output_bytes=board.link.output_bytes,
            memory=None if board.memory is None else board.memory.chip,
            board=board.name,
        )
    except ValueError as error:
        raise BoardError(f"{board.name}: {error}") from None


def create_platform(board: Board) -> Any:
    """Returns the Amaranth platform of a board, with pins for the UART added where it has none.

    :raises BoardError: if there is no such platform, clock or UART.
    """
    module, _, name = board.platform.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BoardError(f"{board.name}: platform: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, tuple(flow.platform for flow in vendor.FLOWS))):
        *others, last = (flow.title for flow in vendor.FLOWS)
        raise BoardError(
            f"{board.name}: platform: {board.platform} is no platform of Amaranth for {', '.join(others)} or {last}"
        )
    try:
        platform: Any = kind()
    except (NotImplementedError, TypeError) as error:
        raise BoardError(f"{board.name}: platform: {board.platform} is no whole platform: {error}") from None
    uart = board.uart
    if uart.rx is not None and uart.tx is not None:
        pins = Subsignal("rx", Pins(uart.rx, dir="i")), Subsignal("tx", Pins(uart.tx, dir="o"))
        platform.add_resources([Resource(uart.resource, uart.number, *pins, Attrs(**uart.attributes))])
    memory = board.memory
    for key, resource, number in (
        *(() if memory is None else (("memory", memory.resource, memory.number),)),
        ("uart", uart.resource, uart.number),
        ("clock", board.clock.resource or platform.default_clk, 0),
    ):
        try:
            platform.lookup(resource, number)
        except ResourceError as error:
            raise BoardError(f"{board.name}: {key}.resource: {error}") from None
    return platform


class StartUp(wiring.Component):
    """Holds a reset until its clock has been steady for some cycles, and again whenever it is not.

    Attributes
    ----------
    clock : In(1)
        The clock.
    steady : In(1)
        Whether the clock is steady; asynchronous.
    reset : Out(1)
        The reset, in the domain of ``clock``.

    :param cycles: cycles of the clock for which ``reset`` stays high; three more are for
        synchronisation.
    """

    def __init__(self, cycles: int) -> None:
        self.cycles = cycles
        super().__init__({"clock": In(1), "steady": In(1), "reset": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.start = ClockDomain(local=True)
        m.d.comb += ClockSignal("start").eq(self.clock)
        m.submodules.synchronizer = ResetSynchronizer(~self.steady, domain="start")
        elapsed = Signal(range(self.cycles + 1))
        with m.If(elapsed == self.cycles):
            m.d.start += self.reset.eq(0)
        with m.Else():
            m.d.start += elapsed.eq(elapsed + 1)
        return m


class BoardTop(Elaboratable):
    """Everything in the FPGA: PLL, reset, the UART's pins, up to two LEDs, and the core.

    The clock input becomes the engine's clock, domain ``sync``, through a PLL unless it has that
    frequency already. Logic is held in reset until the clock has been steady for 15 us. LED 0 shows
    that the engine runs, LED 1 that the core reports an error.

    :param board: the board to build for; elaborate the top with the platform of
        :func:`create_platform`.
    :param build_id: 64 bits that the link tells its host.
    :param core: makes what is between the pins.
    """

    def __init__(self, board: Board, build_id: int, core: Core = board_core) -> None:
        self.board = board
        self.build_id = build_id
        self.core = core

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        reset = self._clock(m, platform)
        m.submodules.core = core = self.core(self.board, self.build_id)
        pins = platform.request(self.board.uart.resource, self.board.uart.number, dir="-")
        m.submodules.rx_pin = rx_pin = io.Buffer("i", pins.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", pins.tx)
        m.d.comb += [core.reset.eq(reset), core.rx.eq(rx_pin.i), tx_pin.o.eq(core.tx)]
        if hasattr(core, "memory"):
            self._memory(m, platform, core.memory)
        for number, status in enumerate((core.busy, core.error)):
            self._indicator(m, platform, number, status)
        return m

    def _clock(self, m: Module, platform: Any) -> Value:
        """Makes the domain ``sync``, which has no reset; returns the reset for the core."""
        name = self.board.clock.resource or platform.default_clk
        resource = platform.lookup(name)
        if resource.clock is None:
            raise BoardError(f"{self.board.name}: clock.resource: {name!r} has no frequency")
        input_hz, output_hz = round(resource.clock.frequency), self.board.clock.hz
        pin = platform.request(name, 0, dir="-")
        clock, locked = Signal(name="engine_clock"), Signal()
        flow = vendor.flow(platform)
        assert flow is not None, "create_platform takes no others"
        multiplied = input_hz != output_hz
        on_pad = flow.pad_pll and self.board.clock.pll == "pad" and multiplied
        source: Value = Const(0)
        if not on_pad:
            m.submodules.clock_pin = buffer = io.Buffer("i", pin)
            source = buffer.i
        try:
            if multiplied:
                m.submodules.pll = pll = flow.pll(
                    input_hz, output_hz, vendor.device_of(platform), pin.io if on_pad else None
                )
                m.d.comb += [pll.clock_in.eq(source), clock.eq(pll.clock_out), locked.eq(pll.locked)]
            else:
                m.d.comb += [clock.eq(source), locked.eq(1)]
        except ValueError as error:
            raise BoardError(f"{self.board.name}: clock.hz: {error}") from None
        if platform.default_rst is not None:
            m.submodules.reset_pin = reset = io.Buffer("i", platform.request(platform.default_rst, 0, dir="-"))
            locked = locked & ~reset.i

        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.start = start = StartUp(math.ceil(_START_SECONDS * output_hz))
        m.d.comb += [
            ClockSignal("sync").eq(clock),
            start.clock.eq(clock),
            start.steady.eq(locked),
        ]
        return start.reset

    def _memory(self, m: Module, platform: Any, memory: Any) -> None:
        """Connects the memory chip's pins, each through a register beside it.

        The chip's clock is the engine's turned over: its edges come in the middle of the cycles in
        which all other pins hold still.
        """
        assert self.board.memory is not None
        pins = platform.request(self.board.memory.resource, self.board.memory.number, dir="-")
        m.submodules.memory_clock = clock = io.DDRBuffer("o", pins.clk)
        m.d.comb += [clock.o[0].eq(0), clock.o[1].eq(1)]
        ras, cas, we = memory.command.as_value()
        outputs: dict[str, Value] = {
            "ras": ras,
            "cas": cas,
            "we": we,
            "ba": memory.bank,
            "a": memory.address,
            # Always on and never masked, where a board connects these pins at all.
            "clk_en": Const(1),
            "cs": Const(1),
            "dqm": Const(0),
        }
        for name, value in outputs.items():
            if (port := getattr(pins, name, None)) is not None:
                m.submodules[f"memory_{name}_pin"] = pin = io.FFBuffer("o", port)
                m.d.comb += pin.o.eq(value)
        m.submodules.memory_dq_pin = data = io.FFBuffer("io", pins.dq)
        m.d.comb += [data.o.eq(memory.write), data.oe.eq(memory.drive), memory.read.eq(data.i)]

    def _indicator(self, m: Module, platform: Any, number: int, status: Value) -> None:
        """Shows ``status`` on the board's LED of this number, if there is one with its own pin."""
        for name in _INDICATORS:
            try:
                port = platform.request(name, number, dir="-")
            except ResourceError:
                continue
            if hasattr(port, "r"):
                port = port.r
            m.submodules[f"led{number}_pin"] = led = io.Buffer("o", port[0])
            m.d.comb += led.o.eq(status)
            return

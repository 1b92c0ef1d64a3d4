"""The core of a board: the link and an engine, without pins and clocks."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dither.arch.config import EngineConfig
from dither.link.protocol import CRC_SLACK, Identity
from dither.store.chip import Chip

from ..engines import make_engine
from ..link.bridge import Bridge
from ..link.link import Link
from ..sdram.controller import SdramPins
from ..store.store import SampleStore

__all__ = ["BoardCore"]


class BoardCore(wiring.Component):
    """An engine with its serial link, in one clock domain.

    Attributes
    ----------
    reset : In(1)
        While high, nothing begins. It is used besides the domain's reset, which an FPGA need not
        have: thousands of registers are better off with the few resets that each unit has for
        itself.
    rx, tx : In(1), Out(1)
        The serial line, asynchronous; ``tx`` is high from the first cycle on.
    busy : Out(1)
        The engine runs.
    error : Out(1)
        The last program met a fault, or a broken frame came in this session.
    session : Out(1)
        A driver has opened a session.

    :param config: the engine's configuration.
    :param clock_hz: clock rate of the domain ``sync``.
    :param baud: bits a second on the line; at most an eighth of the clock.
    :param board: name that the board tells its host, up to 16 ASCII characters.
    :param build_id: 64 bits that the board tells besides.
    :param input_bytes: size of the input buffer, a power of two.
    :param output_bytes: size of the output buffer, a power of two.
    :param memory: a memory chip, for which the core has a sample store and the port ``memory``
        (:class:`~dither_hw.sdram.controller.SdramPins`); None without.
    :param engine: a component with an engine's ports, to be used instead of the engine that
        ``config`` describes.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        clock_hz: int,
        baud: int,
        board: str = "",
        build_id: int = 0,
        input_bytes: int = 8192,
        output_bytes: int = 1024,
        memory: Chip | None = None,
        engine: Any = None,
    ) -> None:
        self.identity = Identity.of(
            config,
            clock=clock_hz,
            baud=baud,
            input=input_bytes - CRC_SLACK,
            output=output_bytes,
            build=build_id,
            board=board,
        )
        self._bridge = Bridge(config) if config.family.bridged else None
        self._link = Link(
            config,
            clock_hz=clock_hz,
            baud=baud,
            identity=self.identity.encode(),
            input_bytes=input_bytes,
            output_bytes=output_bytes,
            read_cycles=config.family.host_read_cycles + (0 if self._bridge is None else self._bridge.READ_CYCLES),
        )
        if memory is not None and self._bridge is None:
            raise ValueError("a sample store is for engines that are not compact")
        self._engine = make_engine(config) if engine is None else engine
        self._store = None if memory is None else SampleStore(config, memory, clock_hz)
        super().__init__(
            {
                **({} if memory is None else {"memory": Out(SdramPins(memory))}),
                "reset": In(1),
                "rx": In(1),
                "tx": Out(1, init=1),
                "busy": Out(1),
                "error": Out(1),
                "session": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        link, engine = self._link, self._engine
        reset = Signal(init=1)
        m.d.sync += reset.eq(self.reset)
        m.submodules.link = link
        m.submodules.engine = engine
        near: Any = engine
        if self._bridge is not None:
            m.submodules.bridge = bridge = self._bridge
            if self._store is None:
                wiring.connect(m, bridge.engine, engine)
                m.d.comb += link.holds.eq(bridge.holds)
            else:
                self._connect_store(m, bridge.engine)
                m.d.comb += link.holds.eq(bridge.holds | self._store.holds)
            near = bridge.link
        m.d.comb += [
            near.reset.eq(reset | link.reset),
            link.cold.eq(reset),
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            near.host_addr.eq(link.host_addr),
            near.host_write.eq(link.host_write),
            near.host_wdata.eq(link.host_wdata),
            link.host_rdata.eq(near.host_rdata),
            link.busy.eq(near.busy),
            link.fault.eq(near.fault),
            self.busy.eq(engine.busy),
            self.error.eq(near.fault | link.error),
            self.session.eq(link.session),
        ]
        wiring.connect(m, link.input, near.input)
        wiring.connect(m, near.output, link.output)
        return m

    def _connect_store(self, m: Module, port: Any) -> None:
        """Puts the store between the bridge's port for the engine and the engine.

        Its registers lie beside the engine's, which read as zero there and the other way round.
        """
        m.submodules.store = store = self._store
        engine = self._engine
        assert store is not None
        for name in ("reset", "host_addr", "host_write", "host_wdata"):
            m.d.comb += getattr(engine, name).eq(getattr(port, name))
        for name in ("reset", "host_addr", "host_write", "host_wdata"):
            m.d.comb += getattr(store, name).eq(getattr(port, name))
        m.d.comb += [
            port.host_rdata.eq(engine.host_rdata | store.host_rdata),
            port.busy.eq(engine.busy),
            port.fault.eq(engine.fault | store.damaged),
        ]
        wiring.connect(m, wiring.flipped(self.memory), store.pins)
        wiring.connect(m, port.input, store.input)
        wiring.connect(m, store.output, engine.input)
        wiring.connect(m, engine.output, port.output)

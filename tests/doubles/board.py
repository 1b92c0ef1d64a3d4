"""A whole board in software: the link's model over the golden machine, in memory or behind a
pseudo-terminal.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from dither.arch.config import EngineConfig
from dither.link.protocol import Identity

from .golden import GoldenEngine
from .model import LinkModel

__all__ = ["BoardModel", "ModelTransport", "PseudoTerminal"]

_BYTE_BITS = 10
"""On the line: a start bit, eight data bits, a stop bit."""
_SETTLE_SECONDS = 0.02
_BUSY_SECONDS, _IDLE_SECONDS = 0.0005, 0.01
"""How often a board behind a pseudo-terminal looks after its engine."""
_CHUNK = 4096


class BoardModel:
    """A board as its driver sees it.

    :param config: of its engine.
    :param clock: of the engine, in Hz, as the identity says.
    :param baud: of the line, as the identity says.
    :param input: bytes of the input buffer.
    :param output: bytes of the output buffer.
    :param name: of the board.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        clock: int = 25_000_000,
        baud: int = 1_000_000,
        input: int = 4092,
        output: int = 2048,
        name: str = "model",
    ) -> None:
        self.identity = Identity.of(
            config,
            clock=clock,
            baud=baud,
            input=input,
            output=output,
            build=0,
            board=name,
        )
        self.engine = GoldenEngine(config)
        self.link = LinkModel(config, self.identity, self.engine)

    def restart(self) -> None:
        """What switching it off and on does: the session is gone, and so are the memories'
        contents.
        """
        config = self.engine.config
        self.engine.close()
        self.engine = GoldenEngine(config)
        self.link = LinkModel(config, self.identity, self.engine)

    def exchange(self, data: bytes) -> bytes:
        """What the board sends when these bytes arrive at once; it has time to work, but does not
        wait for programs.
        """
        self.link.feed(data)
        self.settle()
        return self.link.answer() or b""

    def settle(self) -> None:
        """Lets the engine work until it waits for the link, is done, or a while has passed."""
        while self.engine.settle(_SETTLE_SECONDS) and self.link.pump():
            pass

    def close(self) -> None:
        """Ends the engine's thread."""
        self.engine.close()


class ModelTransport:
    """A line to a :class:`BoardModel` in the same process, as fast as both can.

    :param board: the board at its other end; whoever made it closes it.
    """

    name = "model"
    bauds: Sequence[int] = ()
    baud: int | None = None

    def __init__(self, board: BoardModel) -> None:
        self.board = board
        self._arrived = b""

    def set_baud(self, baud: int) -> None:
        """See :meth:`~dither.link.transport.Transport.set_baud`; does nothing."""

    def write(self, data: bytes) -> None:
        """See :meth:`~dither.link.transport.Transport.write`."""
        self._arrived += self.board.exchange(data)

    def read(self, timeout: float) -> bytes:
        """See :meth:`~dither.link.transport.Transport.read`; does not wait: no board speaks by
        itself.
        """
        if not self._arrived:
            self.board.settle()
        arrived, self._arrived = self._arrived, b""
        return arrived

    def reset_input(self) -> None:
        """See :meth:`~dither.link.transport.Transport.reset_input`."""
        self._arrived = b""

    def close(self) -> None:
        """See :meth:`~dither.link.transport.Transport.close`; the board lives on."""


class PseudoTerminal:
    """Offers a :class:`BoardModel` at a path that any driver can open; use as a context manager.

    :param board: the board.
    :param paced: whether bytes take the time that the board's baud rate means, both ways.
    """

    def __init__(self, board: BoardModel, *, paced: bool = False) -> None:
        self.board = board
        self._byte_seconds = _BYTE_BITS / board.identity.baud if paced else 0.0
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(slave)
        self._slave: int | None = slave
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="board model", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Takes the line away from whoever has it open."""
        self._ended.set()
        self._thread.join()
        if self._slave is not None:
            os.close(self._slave)
            os.close(self._master)
            self._slave = None

    def _serve(self) -> None:
        received_until = sent_until = 0.0
        frame: bytes | None = None
        while not self._ended.is_set():
            link, now = self.board.link, time.monotonic()
            link.pump()
            if frame is not None and now >= sent_until:
                self._send(frame)
                frame = None
            if frame is None and (frame := link.answer()) is not None:
                sent_until = now + len(frame) * self._byte_seconds
                continue
            patience = _BUSY_SECONDS if self.board.engine.busy or frame is not None else _IDLE_SECONDS
            if not select.select([self._master], [], [], min(patience, max(0.0, sent_until - now) or patience))[0]:
                received_until = time.monotonic()
                continue
            size = _CHUNK if not self._byte_seconds else int((now - received_until) / self._byte_seconds)
            if size < 1:
                time.sleep(self._byte_seconds)
                continue
            data = os.read(self._master, min(size, _CHUNK))
            received_until += len(data) * self._byte_seconds
            link.feed(data)

    def _send(self, frame: bytes) -> None:
        # Nobody may be reading; a serial line does not wait for that either.
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, frame)

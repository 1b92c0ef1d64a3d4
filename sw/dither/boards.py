"""Boards, as data: one TOML file each, as ``constraints/README.md`` describes.

A file says which FPGA platform a board has, what engine fits, how fast it runs, which pins carry
the link, and what it may cost. Nothing here knows Amaranth: :mod:`dither_hw.board.board` turns a
board into gateware.

A file may come from anywhere. What it says ends in an import, in the tools' scripts and in command
lines, so that only platforms of known packages, known programmers and known options are let through
(:mod:`dither.tools.options`).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .arch.config import EngineConfig, preset
from .arch.device import DeviceError
from .link.protocol import BOARD_NAME_BYTES
from .store.chip import Chip, chip
from .tools.files import AnyPath
from .tools.options import refusal
from .tools.toolchain import PROGRAMMERS

__all__ = [
    "MAX_BAUD",
    "RESOURCES",
    "Board",
    "BoardError",
    "Budget",
    "Build",
    "Clock",
    "Link",
    "MemoryChip",
    "Programmer",
    "Uart",
    "board",
    "board_folder",
    "boards",
    "load_board",
]

MAX_BAUD = 12_000_000
"""Highest baud rate, in bits a second, that USB bridges of common boards can do: FTDI's FT2232H."""
RESOURCES = ("lut4", "ff", "multipliers", "block_ram")
"""Kinds of cells that an FPGA has, in the order of tables; a budget limits how many are taken."""
PLATFORM_PACKAGE = "amaranth_boards"
"""The Python package that boards' platforms are taken from."""
OWN_PLATFORMS = "dither_hw.vendor"
"""The gateware's own package with platforms, of boards that :data:`PLATFORM_PACKAGE` lacks."""
PLATFORM_VARIABLE = "DITHER_PLATFORM_PACKAGES"
"""Names further ones, with commas between."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_WORD = re.compile(r"[\w.:+-]+", re.ASCII)


class BoardError(DeviceError):
    """A board's file is missing or wrong; the message names file and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The engine's clock and where it comes from."""

    hz: int
    """Frequency of the engine's clock in Hz, exactly.

    A PLL makes it where the platform's clock input has another.
    """
    resource: str | None = None
    """Clock input of the platform; its default clock if None."""
    pll: str = "pad"
    """Kind of the PLL on iCE40: ``pad`` where the clock's pin is the PLL's own, else ``core``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uart:
    """The pins of the link: a resource of the platform, or pins by name."""

    baud: int
    """Baud rate in bits a second, at most :data:`MAX_BAUD`."""
    bridge: str = "external adapter"
    """Name of what makes a serial port of the pins, for people."""
    resource: str = "uart"
    """Name of the platform's resource."""
    number: int = 0
    """Number of the platform's resource."""
    rx: str | None = None
    """Pin that the board receives on, where the platform has no resource."""
    tx: str | None = None
    """Pin that the board sends on, where the platform has no resource."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Attributes of pins given by name, such as ``IO_TYPE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Sizes of the link's buffers, powers of two."""

    input_bytes: int
    """Number of bytes that the host may send ahead."""
    output_bytes: int
    """Number of bytes that the board keeps for retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChip:
    """An SDRAM chip beside the FPGA, which holds data sets."""

    chip: Chip
    """The chip, or the slowest of those that such boards have."""
    resource: str = "sdram"
    """Name of the platform's resource."""
    number: int = 0
    """Number of the platform's resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Options of the tools that make the bitstream."""

    seeds: tuple[int, ...] = (1,)
    """Seeds of the placements that are tried; the fastest wins."""
    synthesis: tuple[str, ...] = ()
    """Further options of ``synth_ecp5`` or ``synth_ice40``."""
    place: tuple[str, ...] = ()
    """Further options of nextpnr."""
    pack: tuple[str, ...] = ()
    """Further options of ecppack or icepack."""
    preferences: tuple[str, ...] = ()
    """Lines added to the pin file (LPF or PCF)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most a build may take, and the least clock rate it must reach; None means no limit."""

    lut4: int | None = None
    """Number of LUTs with four inputs, those of carry chains included."""
    ff: int | None = None
    """Number of flip-flops of all kinds."""
    multipliers: int | None = None
    """Number of multiplier blocks."""
    block_ram: int | None = None
    """Number of block RAMs."""
    fmax_mhz: float | None = None
    """Least clock rate in MHz; that of the engine's clock if None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmer:
    """Program and arguments that get a bitstream onto the board."""

    tool: str
    """One of :data:`dither.tools.toolchain.PROGRAMMERS`; the bitstream's path comes last."""
    load: tuple[str, ...] = ()
    """Arguments that load into the FPGA."""
    flash: tuple[str, ...] | None = None
    """Arguments that write the flash memory; None: the board has no such way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board with its engine, clock, link, build options, budget and programmer."""

    name: str
    """Name as ``--board`` takes it: the file's, without ``.toml``."""
    title: str
    """Title for people: maker's name and FPGA."""
    platform: str
    """Amaranth platform as ``module:class``."""
    engine: EngineConfig
    """Configuration of the engine on the board."""
    clock: Clock
    """The engine's clock and where it comes from."""
    uart: Uart
    """Pins and baud rate of the link."""
    link: Link
    """Sizes of the link's buffers."""
    build: Build
    """Options of the tools that make the bitstream."""
    budget: Budget
    """Limits that a build must keep."""
    program: Programmer
    """Program that loads bitstreams into the board."""
    memory: MemoryChip | None = None
    """Chip that holds data sets; None if samples are streamed."""
    notes: str = ""
    """Remarks for people: what to know before using it."""

    def describe(self) -> dict[str, Any]:
        """Returns all that a bitstream depends on, as plain data.

        What is only for people is left out.
        """
        memory = self.memory
        return {
            **({} if memory is None else {"memory": [asdict(memory.chip), memory.resource, memory.number]}),
            "platform": self.platform,
            "engine": self.engine.to_dict(),
            "clock": [self.clock.hz, self.clock.resource, self.clock.pll],
            "uart": [
                self.uart.baud,
                self.uart.resource,
                self.uart.number,
                self.uart.rx,
                self.uart.tx,
                self.uart.attributes,
            ],
            "link": [self.link.input_bytes, self.link.output_bytes],
            "build": [self.build.synthesis, self.build.place, self.build.pack, self.build.preferences],
        }


def board_folder() -> Path:
    """Returns the folder of the boards' files, within this package.

    In the repository it is a symbolic link to ``constraints``; an installed package has the files
    themselves.

    :raises BoardError: if they are missing.
    """
    folder = Path(__file__).with_name("constraints")
    if not any(folder.glob("*.toml")):
        raise BoardError("the boards' files are missing: install dither again, or name a file: --board PATH.toml")
    return folder


def boards() -> dict[str, Board]:
    """Returns all boards by name, in alphabetical order.

    :raises BoardError: if a file is wrong.
    """
    return {path.stem: load_board(path) for path in sorted(board_folder().glob("*.toml"), key=lambda path: path.stem)}


def board(name: AnyPath) -> Board:
    """Returns the board of this name, or of the file of this path if it ends in ``.toml``.

    :raises BoardError: if there is none (the message lists the known ones), or its file is wrong.
    """
    name = os.fspath(name)
    if name.endswith(".toml"):
        return load_board(name)
    path = board_folder() / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(path.stem for path in board_folder().glob("*.toml")))
        raise BoardError(f"unknown board {name!r}; known: {known}")
    return load_board(path)


def load_board(path: AnyPath) -> Board:
    """Reads the board that a file describes.

    :raises BoardError: with one line naming file and key, if it cannot be read or something in it
        is wrong.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BoardError(f"{path}: {error}") from None
    if not _NAME.fullmatch(path.stem) or len(path.stem) > BOARD_NAME_BYTES:
        raise BoardError(f"{path}: a board's name has up to {BOARD_NAME_BYTES} small letters, digits and hyphens")
    top = _Table(path, "", values)
    found = Board(
        name=path.stem,
        title=top.text("title"),
        platform=_platform(top),
        notes=top.text("notes", default=""),
        engine=_engine(top.table("engine")),
        clock=_clock(top.table("clock")),
        uart=_uart(top.table("uart")),
        link=_link(top.table("link")),
        memory=_memory(top.table("memory", optional=True)),
        build=_build(top.table("build", optional=True)),
        budget=_budget(top.table("budget", optional=True)),
        program=_programmer(top.table("program")),
    )
    top.finish()
    return found


class _Table:
    """A table of a file: hands out its values once, checked, and complains about what is left."""

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self.path = path
        self.name = name
        self.rest = dict(values)
        self.inner: list[_Table] = []

    def wrong(self, key: str, complaint: str) -> BoardError:
        return BoardError(f"{self.path}: {self.name}{key}: {complaint}")

    def take(self, key: str, kind: type, what: str, default: Any = ...) -> Any:
        if key not in self.rest:
            if default is ...:
                raise self.wrong(key, "is missing")
            return default
        value = self.rest.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, f"must be {what}, not {value!r}")
        return value

    def table(self, key: str, optional: bool = False) -> _Table:
        inner = _Table(self.path, f"{self.name}{key}.", self.take(key, dict, "a table", {} if optional else ...))
        self.inner.append(inner)
        return inner

    def text(self, key: str, pattern: re.Pattern[str] | None = None, what: str = "", default: Any = ...) -> str:
        value: str = self.take(key, str, "text", default)
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"must be {what}, not {value!r}")
        return value

    def integer(self, key: str, least: int, most: int, default: Any = ...) -> Any:
        value = self.take(key, int, "an integer", default)
        if value is not default and not least <= value <= most:
            raise self.wrong(key, f"must be from {least} to {most}, not {value}")
        return value

    def texts(self, key: str, default: Any = ()) -> Any:
        values = self.take(key, list, "a list of texts", default)
        if values is default:
            return default
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, f"must be a list of texts, not {values!r}")
        return tuple(values)

    def options(self, key: str, user: str, default: Any = ()) -> Any:
        """Arguments of a tool, see :func:`dither.tools.options.refusal`."""
        values = self.texts(key, default)
        if values and (complaint := refusal(user, values)):
            raise self.wrong(key, complaint)
        return values

    def words(self, key: str, values: Iterable[str | None]) -> None:
        """Complains about values that are not plain."""
        for value in values:
            if value is not None and not _WORD.fullmatch(value):
                raise self.wrong(key, f"must be one word of letters, digits and _.:+-, not {value!r}")

    def finish(self) -> None:
        if self.rest:
            raise self.wrong(min(self.rest), "is not known")
        for inner in self.inner:
            inner.finish()


def _platform(table: _Table) -> str:
    platform = table.text("platform", _CLASS, "module:class")
    known = [PLATFORM_PACKAGE, *filter(None, os.environ.get(PLATFORM_VARIABLE, "").split(","))]
    module = platform.partition(":")[0]
    if module.partition(".")[0] not in known and not module.startswith(f"{OWN_PLATFORMS}."):
        raise table.wrong(
            "platform",
            f"must be a module of {' or '.join(known)}, not {platform!r}, as importing a module runs it; if you trust "
            f"another package, name it in {PLATFORM_VARIABLE}",
        )
    return platform


def _engine(table: _Table) -> EngineConfig:
    name = table.take("preset", str, "text", None)
    values, table.rest = table.rest, {}
    try:
        return EngineConfig.from_dict({**(preset(name).to_dict() if name is not None else {}), **values})
    except ValueError as error:
        raise BoardError(f"{table.path}: engine: {error}") from None


def _clock(table: _Table) -> Clock:
    return Clock(
        hz=table.integer("hz", 1_000_000, 400_000_000),
        resource=table.take("resource", str, "text", None),
        pll=table.text("pll", re.compile("pad|core"), "pad or core", "pad"),
    )


def _uart(table: _Table) -> Uart:
    uart = Uart(
        baud=table.integer("baud", 9600, MAX_BAUD),
        bridge=table.text("bridge", default="external adapter"),
        resource=table.text("resource", default="uart"),
        number=table.integer("number", 0, 99, 0),
        rx=table.take("rx", str, "text", None),
        tx=table.take("tx", str, "text", None),
        attributes=table.take("attributes", dict, "a table", {}),
    )
    if (uart.rx is None) != (uart.tx is None):
        raise table.wrong("rx" if uart.rx is None else "tx", "is missing: pins come in pairs")
    if not all(isinstance(value, str) for value in uart.attributes.values()):
        raise table.wrong("attributes", f"must be texts, not {uart.attributes!r}")
    for key, values in (("rx", [uart.rx]), ("tx", [uart.tx]), ("resource", [uart.resource])):
        table.words(key, values)
    table.words("attributes", [*uart.attributes, *uart.attributes.values()])
    return uart


def _link(table: _Table) -> Link:
    sizes = {name: table.integer(name, 256, 32768) for name in ("input_bytes", "output_bytes")}
    for name, size in sizes.items():
        if size & (size - 1):
            raise table.wrong(name, f"must be a power of two, not {size}")
    return Link(**sizes)


def _memory(table: _Table) -> MemoryChip | None:
    name = table.take("chip", str, "text", None)
    if name is None:
        return None
    resource, number = table.text("resource", default="sdram"), table.integer("number", 0, 99, 0)
    table.words("resource", [resource])
    try:
        return MemoryChip(chip=chip(name), resource=resource, number=number)
    except DeviceError as error:
        raise table.wrong("chip", str(error)) from None


def _build(table: _Table) -> Build:
    seeds = table.take("seeds", list, "a list of integers", [1])
    if not seeds or not all(type(seed) is int and seed > 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise table.wrong("seeds", f"must be different positive integers, not {seeds!r}")
    options = {name: table.options(name, name) for name in ("synthesis", "place", "pack")}
    preferences = table.texts("preferences")
    for line in preferences:
        if not line.isprintable():
            raise table.wrong("preferences", f"must be single lines, not {line!r}")
    return Build(seeds=tuple(seeds), preferences=preferences, **options)


def _budget(table: _Table) -> Budget:
    fmax = table.take("fmax_mhz", (int, float), "a number", None)  # type: ignore[arg-type]
    if fmax is not None and fmax <= 0:
        raise table.wrong("fmax_mhz", f"must be positive, not {fmax}")
    limits = {name: table.integer(name, 0, 1 << 20, None) for name in RESOURCES}
    return Budget(fmax_mhz=None if fmax is None else float(fmax), **limits)


def _programmer(table: _Table) -> Programmer:
    tool = table.text("tool")
    if tool not in PROGRAMMERS:
        raise table.wrong("tool", f"must be one of {', '.join(sorted(PROGRAMMERS))}, not {tool!r}")
    return Programmer(tool=tool, load=table.options("load", tool), flash=table.options("flash", tool, None))

"""From a board to what the tools need: RTLIL, pins, options, and an identity of it all."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from dither.boards import Board, BoardError
from dither.tools.cache import cached, digest
from dither.tools.collector import collector_paused
from dither.tools.sources import source_files
from dither.tools.toolchain import tool_version

from .. import vendor
from ..board.board import BoardTop, Core, board_core, create_platform
from ..vendor import Flow

__all__ = ["Design", "design_of"]

_SOURCE_LOCATIONS = re.compile(r"^\s*attribute \\src .*\n", re.MULTILINE)
# Registers that were duplicated on purpose end in _copy; without ``keep`` they would be merged
# again.
_READ = "read_rtlil top.il; proc; flatten; setattr -set keep 1 w:*_copy %ci1"


@dataclass(frozen=True, slots=True)
class Design:
    """All that the tools make a bitstream from."""

    rtlil: str
    flow: Flow
    """The way to a bitstream of the FPGA's family."""
    device: str
    """The FPGA, as its maker calls it."""
    pins: str
    """Pins and clocks, as text: the content of ``flow.pins``."""
    place_options: tuple[str, ...]
    """Options of nextpnr: device, package, and how to place and route."""
    script: str
    """The script that Yosys executes."""
    build_id: int
    """64 bits that identify everything above, and the tools' versions.

    The build id in the gateware itself counts as zero in them.
    """

    def versions(self) -> dict[str, str]:
        """Returns the tools' versions, by name.

        :raises DeviceError: if one is missing.
        """
        return {name: tool_version(name) for name in self.flow.tools}


def design_of(board: Board, core: Core = board_core) -> Design:
    """Returns all that a board's bitstream is made from.

    The design depends neither on where or when it is made nor on comments in the sources: the same
    gateware has the same build id. Designs are cached under the digest of the sources.

    :param core: makes what is between the board's pins.
    :raises DeviceError: if the board's file asks for something impossible, or a tool is missing.
    """
    parameters = (
        board.name,
        board.describe(),
        _sources(core),
        metadata.version("amaranth"),
        metadata.version("amaranth-boards"),
    )
    flow, device, options = _part(create_platform(board))
    versions = [tool_version(name) for name in flow.tools]

    def build(directory: Path) -> None:
        draft, pins = _elaborate(board, 0, core, flow)
        content = (draft, pins, _script(board, flow, device), options, versions, board.build.place, board.build.pack)
        build_id = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        rtlil, _ = _elaborate(board, int(build_id, 16), core, flow)
        (directory / "top.il").write_text(rtlil)
        (directory / "pins").write_text(pins)
        (directory / "build_id").write_text(build_id)

    place = cached("design", digest(*parameters, versions), build)
    return Design(
        rtlil=(place / "top.il").read_text(),
        flow=flow,
        device=device,
        pins=(place / "pins").read_text(),
        place_options=options,
        script=_script(board, flow, device),
        build_id=int((place / "build_id").read_text(), 16),
    )


@cache
def _sources(core: Core) -> list[str]:
    """Returns the texts of all modules of the project that a design is made by."""
    paths = {*source_files("dither_hw.board.board"), *source_files(__name__), *source_files(core.__module__)}
    own = inspect.getsourcefile(core)
    if own is not None:
        paths.add(Path(own))
    return [path.read_text() for path in sorted(paths)]


def _part(platform: Any) -> tuple[Flow, str, tuple[str, ...]]:
    """Returns the way to a bitstream, the FPGA's name, and the placement tool's options for it."""
    flow, device = vendor.flow(platform), vendor.device_of(platform)
    options = None if flow is None else flow.part(platform)
    if flow is None or options is None:
        raise BoardError(f"there are no tools for {device} in package {platform.package}")
    return flow, device, options


def _elaborate(board: Board, build_id: int, core: Core, flow: Flow) -> tuple[str, str]:
    """Returns the design's RTLIL and the text of its pins."""
    with collector_paused():
        plan = create_platform(board).prepare(BoardTop(board, build_id, core), "top")
    files = {name: text.decode() if isinstance(text, bytes) else text for name, text in plan.files.items()}
    lines = [line.strip() for line in files[flow.pins].splitlines()]
    lines = [line for line in lines if line and not line.startswith(flow.comment)]
    return _SOURCE_LOCATIONS.sub("", files["top.il"]), "\n".join([*lines, *board.build.preferences, ""])


def _script(board: Board, flow: Flow, device: str) -> str:
    synthesis = flow.synthesis(device, " ".join(board.build.synthesis)).strip()
    return f"{_READ}; {synthesis}; write_json top.json"

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

from ..board.board import BoardTop, Core, board_core, create_platform

__all__ = ["Design", "design_of"]

_SOURCE_LOCATIONS = re.compile(r"^\s*attribute \\src .*\n", re.MULTILINE)
_ECP5_DEVICES = {
    f"LFE5{kind}-{size}F": f"--{prefix}{size}k"
    for kind, prefix in (("U", ""), ("UM", "um-"), ("UM5G", "um5g-"))
    for size in (12, 25, 45, 85)
    if size != 12 or kind == "U"
}
_ECP5_PACKAGES = {
    "BG256": "CABGA256",
    "MG285": "CSFBGA285",
    "BG381": "CABGA381",
    "BG554": "CABGA554",
    "BG756": "CABGA756",
}
_ICE40_DEVICES = {
    "iCE40UP3K": "--up3k",
    "iCE40UP5K": "--up5k",
    "iCE40HX1K": "--hx1k",
    "iCE40HX4K": "--hx4k",
    "iCE40HX8K": "--hx8k",
}
_ECP5_PLACEMENT = ("--router", "router2", "--tmg-ripup", "--placer-heap-timingweight", "60")
"""Options for placing and routing on an ECP5.

The router is one that half-full chips need; it takes up again connections that make detours around
others, of which a single one can cost a seventh of the clock. Timing has six times its default
weight: with a hundred lanes in between, a placer tears units apart that would be fast, because few
of their wires are critical at a time.
"""
_TOOLS = {"ecp5": ("yosys", "nextpnr-ecp5", "ecppack"), "ice40": ("yosys", "nextpnr-ice40", "icepack")}
# Without -dsp on iCE40: that pass takes registers and modes out of the SB_MAC16 that a design
# instantiates itself. Registers that were duplicated on purpose end in _copy; without ``keep`` they
# would be merged again.
_READ = "read_rtlil top.il; proc; flatten; setattr -set keep 1 w:*_copy %ci1"
_SYNTHESIS = {
    "ecp5": "synth_ecp5 -top top {options}",
    "ice40": "synth_ice40 -device {delays} -top top {options}",
}
_ICE40_DELAYS = {"iCE40UP": "u", "iCE40HX": "hx"}
"""Name of the delays that synthesis assumes, by the beginning of the device's name."""


@dataclass(frozen=True, slots=True)
class Design:
    """All that the tools make a bitstream from."""

    rtlil: str
    family: str
    """Family of the FPGA: ``ecp5`` or ``ice40``."""
    device: str
    """The FPGA, as its maker calls it."""
    pins: str
    """Pins and clocks, as text: an LPF or PCF file."""
    place_options: tuple[str, ...]
    """Options of nextpnr: device, package, and how to place and route."""
    script: str
    """The script that Yosys executes."""
    build_id: int
    """64 bits that identify everything above, and the tools' versions.

    The build id in the gateware itself counts as zero in them.
    """

    @property
    def pins_file(self) -> str:
        """Name of the file with the pins."""
        return "top.lpf" if self.family == "ecp5" else "top.pcf"

    @property
    def tools(self) -> tuple[str, str, str]:
        """Names of synthesis tool, placement tool and packer."""
        return _TOOLS[self.family]

    def versions(self) -> dict[str, str]:
        """Returns the tools' versions, by name.

        :raises DeviceError: if one is missing.
        """
        return {name: tool_version(name) for name in self.tools}


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
    family, device, options = _part(create_platform(board))
    versions = [tool_version(name) for name in _TOOLS[family]]

    def build(directory: Path) -> None:
        draft, pins = _elaborate(board, 0, core, family)
        content = (draft, pins, _script(board, family, device), options, versions, board.build.place, board.build.pack)
        build_id = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        rtlil, _ = _elaborate(board, int(build_id, 16), core, family)
        (directory / "top.il").write_text(rtlil)
        (directory / "pins").write_text(pins)
        (directory / "build_id").write_text(build_id)

    place = cached("design", digest(*parameters, versions), build)
    return Design(
        rtlil=(place / "top.il").read_text(),
        family=family,
        device=device,
        pins=(place / "pins").read_text(),
        place_options=options,
        script=_script(board, family, device),
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


def _part(platform: Any) -> tuple[str, str, tuple[str, ...]]:
    """Returns the FPGA's family, its name, and nextpnr's options for it."""
    device, package = platform.device, platform.package
    if device in _ECP5_DEVICES and package in _ECP5_PACKAGES:
        part = (_ECP5_DEVICES[device], "--package", _ECP5_PACKAGES[package], "--speed", platform.speed)
        return "ecp5", device, (*part, *_ECP5_PLACEMENT)
    if device in _ICE40_DEVICES:
        return "ice40", device, (_ICE40_DEVICES[device], "--package", package.lower())
    raise BoardError(f"there are no tools for {device} in package {package}")


def _elaborate(board: Board, build_id: int, core: Core, family: str) -> tuple[str, str]:
    """Returns the design's RTLIL and the text of its pins."""
    with collector_paused():
        plan = create_platform(board).prepare(BoardTop(board, build_id, core), "top")
    files = {name: text.decode() if isinstance(text, bytes) else text for name, text in plan.files.items()}
    pins = files["top.lpf" if family == "ecp5" else "top.pcf"]
    lines = [line.strip() for line in pins.splitlines() if line.strip() and not line.strip().startswith("#")]
    return _SOURCE_LOCATIONS.sub("", files["top.il"]), "\n".join([*lines, *board.build.preferences, ""])


def _script(board: Board, family: str, device: str) -> str:
    options, delays = " ".join(board.build.synthesis), _ICE40_DELAYS.get(device[:7], "")
    synthesis = _SYNTHESIS[family].format(options=options, delays=delays).strip()
    return f"{_READ}; {synthesis}; write_json top.json"

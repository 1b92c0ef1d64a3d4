"""The tools, one after the other: synthesis, placements, packing.

Synthesis and placements are cached by the content of what they read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from dither.boards import Board
from dither.tools.cache import cached, digest, forget
from dither.tools.toolchain import tool_command, tool_version

from .arrangement import arrange
from .design import Design
from .floorplan import PlacedCell, read_cells
from .placed import PLACED, keep_placed
from .processes import Processes
from .progress import Listener, Teller, nextpnr_phase, yosys_phase
from .timing import Timing, read_timing

__all__ = ["Placement", "pack", "place", "synthesise"]

_PLACED = "placed.json"
_FORGIVING = ("--timing-allow-fail",)
"""Option of nextpnr by which a placement that misses the clock is no failure.

It is still wanted: the budget's verdict comes later, with figures.
"""


@dataclass(frozen=True, slots=True)
class Placement:
    """What nextpnr has made with one seed."""

    seed: int
    folder: Path
    """The placement's folder in the cache.

    It holds ``report.json``, ``cells.json`` (:class:`PlacedCell`), ``log``, the netlist
    (:data:`~dither_hw.build.placed.PLACED`) and what the packer reads, ``flow.placed``.
    """
    timing: Timing
    seconds: float
    """Seconds that the placement took when it was made."""

    def cells(self) -> list[PlacedCell]:
        """Returns where each cell is placed on the chip."""
        return [PlacedCell(*values) for values in json.loads((self.folder / "cells.json").read_text())]


def synthesise(design: Design, listener: Listener, *, again: bool = False) -> Path:
    """Synthesises a design; returns a folder with the netlist, ``top.json``.

    The folder also holds Yosys' ``log`` and the ``seconds`` that it took.

    :param again: whether to synthesise even if the cache has the netlist.
    :raises DeviceError: if Yosys fails.
    """
    command = tool_command("yosys")
    key = digest(design.rtlil, design.script, tool_version("yosys"))

    def build(directory: Path) -> None:
        (directory / "top.il").write_text(design.rtlil)
        teller = Teller(listener, "synthesis", yosys_phase)
        with Processes() as processes, (directory / "log").open("w") as log:

            def line(text: str) -> None:
                log.write(f"{text}\n")
                teller.line(text)

            processes.run("Yosys", [*command, "-p", design.script], directory, line)
        (directory / "top.il").unlink()
        (directory / "seconds").write_text(f"{teller.seconds:.1f}")
        teller.tell("done", done=True)

    if again:
        forget("synthesis", key)
    return cached("synthesis", key, build)


def place(
    design: Design,
    board: Board,
    netlist: Path,
    seeds: Sequence[int],
    jobs: int,
    listener: Listener,
    *,
    again: bool = False,
) -> list[Placement]:
    """Places and routes a netlist once for each seed; returns the placements.

    :param netlist: folder of :func:`synthesise`.
    :param jobs: placements at a time.
    :param again: whether to place even if the cache has the placements.
    :raises DeviceError: if nextpnr fails, as for a design that does not fit.
    """
    tool = design.flow.tools[1]
    command = [*tool_command(tool), *_place_options(design, board)]
    content = (netlist / "top.json").read_bytes()
    placed = _arranged(content, design.device)
    shared = digest(
        hashlib.sha256(content).hexdigest(),
        sorted(placed.items()),
        design.pins,
        _place_options(design, board),
        tool_version(tool),
    )

    def one(seed: int, processes: Processes) -> Placement:
        def build(directory: Path) -> None:
            (directory / "top.json").write_bytes(_fixed(content, placed))
            (directory / design.flow.pins).write_text(design.pins)
            teller = Teller(listener, f"seed {seed}", nextpnr_phase)
            processes.run(f"{tool} with seed {seed}", [*command, "--seed", str(seed)], directory, teller.line)
            timing = read_timing(directory / "report.json", board.clock.hz)
            (directory / "seconds").write_text(f"{teller.seconds:.1f}")
            (directory / "cells.json").write_text(
                json.dumps([astuple(cell) for cell in read_cells(directory / _PLACED, design.flow.kinds)])
            )
            keep_placed(directory / _PLACED, directory / PLACED)
            if design.flow.placed != _PLACED:
                # With all its wires it is the largest file of all.
                (directory / _PLACED).unlink()
            (directory / "top.json").unlink()
            teller.tell(f"{timing.fmax_mhz:.1f} MHz", done=True)

        key = digest(shared, seed, PLACED)
        if again:
            forget("placement", key)
        folder = cached("placement", key, build)
        seconds = float((folder / "seconds").read_text())
        return Placement(seed, folder, read_timing(folder / "report.json", board.clock.hz), seconds)

    with Processes() as processes:
        return processes.all([lambda seed=seed: one(seed, processes) for seed in seeds], jobs)  # type: ignore[misc]


def _arranged(netlist: bytes, device: str) -> dict[str, str]:
    """Returns the sites of those cells that :mod:`~dither_hw.build.arrangement` places."""
    cells = json.loads(netlist)["modules"]["top"]["cells"]
    return arrange(device, {name: cell["type"] for name, cell in cells.items()})


def _fixed(netlist: bytes, sites: dict[str, str]) -> bytes:
    """Returns a netlist whose cells are fixed at these sites."""
    if not sites:
        return netlist
    design = json.loads(netlist)
    cells = design["modules"]["top"]["cells"]
    for name, site in sites.items():
        cells[name]["attributes"]["BEL"] = site
    return json.dumps(design).encode()


def _place_options(design: Design, board: Board) -> list[str]:
    frequency = f"{board.clock.hz / 1e6:.6f}".rstrip("0").rstrip(".")
    return [
        *design.place_options,
        "--json",
        "top.json",
        *design.flow.files,
        "--freq",
        frequency,
        "--report",
        "report.json",
        "--write",
        _PLACED,
        "--log",
        "log",
        *_FORGIVING,
        *board.build.place,
    ]


def pack(design: Design, board: Board, placement: Placement, directory: Path) -> Path:
    """Writes the bitstream into a directory; returns its path.

    :raises DeviceError: if the packer fails.
    """
    flow = design.flow
    tool = flow.tools[2]
    arguments = flow.pack(design.place_options, board.build.pack)
    shutil.copy(placement.folder / flow.placed, directory / flow.placed)
    with Processes() as processes:
        processes.run(tool, [*tool_command(tool), *arguments], directory)
    (directory / flow.placed).unlink()
    return directory / flow.bitstream

"""From a board to its build folder: bitstream, netlist, figures, and a page about them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dither.arch.device import DeviceError
from dither.boards import Board
from dither.tools.files import AnyPath

from ..board.board import Core, board_core
from .design import Design, design_of
from .page import render_page
from .placed import PLACED
from .progress import Listener, Standing
from .resources import Verdict, read_usage, verdicts
from .stages import Placement, pack, place, synthesise
from .timing import read_report

__all__ = ["BuildResult", "build"]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build has made: the folder, the bitstream, figures, and verdicts on budgets."""

    folder: Path
    bitstream: Path
    report: dict[str, Any]
    """The build's figures, as they stand in ``report.json``."""
    verdicts: tuple[Verdict, ...]

    @property
    def kept(self) -> bool:
        """Whether the build keeps all budgets, the clock's included."""
        return all(verdict.kept for verdict in self.verdicts)


def build(
    board: Board,
    out: AnyPath,
    *,
    seeds: Sequence[int] | None = None,
    jobs: int | None = None,
    again: bool = False,
    core: Core = board_core,
    listener: Listener = lambda standing: None,
) -> BuildResult:
    """Makes a board's bitstream, with its report, in a folder.

    The folder is there wholly or not at all; one from an earlier build is replaced. The same
    gateware, board and tools make the same bitstream. Placements differ by their seed; the one with
    the fastest clock wins, and of equals the one with the lowest seed.

    :param seeds: seeds of the placements, by default the board's.
    :param jobs: placements at a time, by default as many as there are processors.
    :param again: whether to make again even what the cache has.
    :param core: makes what is between the board's pins.
    :param listener: called with what the tools are doing, from several threads.
    :raises DeviceError: if a tool is missing or fails, as for a design that doesn't fit, or ``out``
        can't be written.
    """
    begun, out = time.monotonic(), Path(out)
    listener(Standing("gateware", "elaborating", 0.0))
    design = design_of(board, core)
    versions = design.versions()
    listener(Standing("gateware", f"build {design.build_id:016x}", time.monotonic() - begun, done=True))
    netlist = synthesise(design, listener, again=again)
    chosen = sorted(set(seeds or board.build.seeds))
    placements = place(
        design, board, netlist, chosen, min(jobs or os.cpu_count() or 1, len(chosen)), listener, again=again
    )
    best = max(placements, key=lambda placement: (placement.timing.fmax_mhz, -placement.seed))
    with _Draft(out) as draft:
        bitstream = pack(design, board, best, draft)
        _keep(design, netlist, best, draft)
        usage = read_usage(design.flow, read_report(best.folder / "report.json")["utilization"], netlist / "top.json")
        found = verdicts(board, best.timing.fmax_mhz, usage)
        report = {
            "board": board.name,
            "title": board.title,
            "device": design.device,
            "build_id": f"{design.build_id:016x}",
            "bitstream": {
                "file": bitstream.name,
                "bytes": bitstream.stat().st_size,
                "sha256": hashlib.sha256(bitstream.read_bytes()).hexdigest(),
            },
            "clock_mhz": board.clock.hz / 1e6,
            "fmax_mhz": best.timing.fmax_mhz,
            "baud": board.uart.baud,
            "engine": board.engine.to_dict(),
            "engine_digest": board.engine.digest(),
            "multipliers": usage["multipliers"].used,
            "resources": {name: {"used": of.used, "available": of.available} for name, of in usage.items()},
            "seed": best.seed,
            "seeds": {str(placement.seed): placement.timing.fmax_mhz for placement in placements},
            "budgets": [verdict.to_dict() for verdict in found],
            "critical_path": [
                {
                    "kind": hop.kind,
                    "delay_ns": hop.delay_ns,
                    "from": hop.source,
                    "to": hop.sink,
                    "net": hop.net,
                    "place": list(hop.place),
                }
                for hop in best.timing.path
            ],
            "versions": versions,
            "seconds": {
                "synthesis": float((netlist / "seconds").read_text()),
                **{f"seed {placement.seed}": placement.seconds for placement in placements},
                "this time": round(time.monotonic() - begun, 1),
            },
        }
        (draft / "report.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        (draft / "report.html").write_text(render_page(report, best.cells(), design.flow.dies), "utf-8")
    return BuildResult(out, out / bitstream.name, report, tuple(found))


def _keep(design: Design, netlist: Path, best: Placement, draft: Path) -> None:
    """Copies what may be wanted later: netlists to simulate, the tools' inputs and logs."""
    shutil.copy(netlist / "top.json", draft / "top.json")
    shutil.copy(netlist / "log", draft / "yosys.log")
    shutil.copy(best.folder / PLACED, draft / PLACED)
    shutil.copy(best.folder / "log", draft / "nextpnr.log")
    shutil.copy(best.folder / "report.json", draft / "nextpnr.json")
    (draft / design.flow.pins).write_text(design.pins)


class _Draft:
    """A folder that takes the place of another one at the end, unless there was an error."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> Path:
        if self._out.exists() and not (self._out / "report.json").is_file() and not _is_empty(self._out):
            raise DeviceError(f"{self._out} is there and holds no build; choose another --out")
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._draft = Path(tempfile.mkdtemp(prefix=f".{self._out.name}.", dir=self._out.parent))
        except OSError as error:
            raise DeviceError(f"cannot write {self._out}: {error.strerror}; choose another --out") from None
        return self._draft

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                self._draft.chmod(0o755)
                if self._out.exists():
                    old = self._draft / "old"
                    self._out.rename(old)
                    self._draft.rename(self._out)
                    shutil.rmtree(self._out / "old")
                else:
                    self._draft.rename(self._out)
        except OSError as failure:
            raise DeviceError(f"cannot write {self._out}: {failure.strerror}; choose another --out") from None
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None

"""Bitstreams as files: finding the right one for a board, checking it, gathering them for others.

A bitstream stands in a folder of ``dither build``, beside ``report.json``, or in a release, as
``BOARD.bit`` beside ``BOARD.json``, which is the same report. The report says whose it is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .boards import Board, BoardError
from .tools.files import AnyPath, make_folders, write_atomically
from .tools.forms import misfit

__all__ = ["CHECKSUMS", "SUFFIXES", "build_report", "find_bitstream", "gather_release"]

SUFFIXES = (".bit", ".bin", ".fs")
"""Endings of bitstreams' names: those of ECP5, iCE40 and Gowin."""
CHECKSUMS = "SHA256SUMS"
"""Name of the list of a release's files, as ``sha256sum --check`` reads it."""
_FORM = {
    "board": str,
    "build_id": str,
    "engine": {str: int},
    "engine_digest": str,
    "fmax_mhz": float,
    "resources": {str: {"used": int, "available": int}},
    "bitstream": {"file": str, "bytes": int, "sha256": str},
    "budgets": [{"name": str, "kept": bool, "text": str}],
}
"""What is needed of a report, in the terms of :func:`~dither.tools.forms.misfit`."""


def find_bitstream(board: Board, place: AnyPath) -> Path:
    """Returns the bitstream of a board, checked: its digest, its board and its engine.

    :param place: a bitstream with its report beside it, a folder of ``dither build``, or a release.
    :raises BoardError: if there is none, its report is missing or damaged, or it is another
        board's, another engine's, or not what the report says.
    """
    place = Path(place)
    bitstream, report_path = _found(board, place)
    report = build_report(report_path)
    if report["board"] != board.name:
        raise BoardError(f"{bitstream} is a bitstream of {report['board']}, not of {board.name}")
    if report["engine_digest"] != board.engine.digest():
        raise BoardError(
            f"{bitstream} has an engine with digest {report['engine_digest']}, {board.name}'s file asks for "
            f"{board.engine.digest()}: another version of dither made it; make it again: dither build --board "
            f"{board.name}"
        )
    digest = _digest(bitstream)
    if digest != report["bitstream"]["sha256"]:
        raise BoardError(f"{bitstream} is damaged: it is not the file of which {report_path.name} has the digest")
    listed = _listed(bitstream.with_name(CHECKSUMS))
    if listed.get(bitstream.name, digest) != digest:
        raise BoardError(f"{bitstream} is damaged: {CHECKSUMS} has another digest")
    return bitstream


def _found(board: Board, place: Path) -> tuple[Path, Path]:
    """Returns the paths of bitstream and report."""
    if place.is_file():
        report = place.with_suffix(".json")
        # In a folder of a build, top.json is the netlist.
        if place.stem == "top" or not report.is_file():
            report = place.with_name("report.json")
        if not report.is_file():
            wanted = place.with_suffix(".json").name
            raise BoardError(f"{place} has no report beside it, {wanted}, by which to check it; take both files")
        return place, report
    for stem, name in ((board.name, f"{board.name}.json"), ("top", "report.json")):
        found = [path for path in (place / f"{stem}{suffix}" for suffix in SUFFIXES) if path.is_file()]
        if found and (place / name).is_file():
            return found[0], place / name
    raise BoardError(
        f"there is no bitstream of {board.name} in {place}; make it: dither build --board {board.name}, or take a "
        "released one: --bitstream FILE"
    )


def build_report(path: Path) -> dict[str, Any]:
    """Returns what ``dither build`` wrote down of a build, its ``report.json``.

    :raises BoardError: if the file is missing, or no such report.
    """
    try:
        report = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BoardError(f"{path} is no report of a build: {error}") from None
    if complaint := misfit(report, _FORM):
        raise BoardError(f"{path} is no report of a build: {complaint}")
    found: dict[str, Any] = report
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _listed(path: Path) -> dict[str, str]:
    """Returns the digests of a list by file name; none if there is no list."""
    if not path.is_file():
        return {}
    lines = (line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines())
    return {words[1].lstrip("*"): words[0] for words in lines if len(words) == 2}


def gather_release(builds: Iterable[AnyPath], out: AnyPath) -> list[Path]:
    """Copies builds' bitstreams and reports into a folder, and lists the digests of all its files.

    What the folder holds already, such as a wheel, is listed too.

    :param builds: folders of ``dither build``.
    :param out: the folder, which is made if it is missing.
    :returns: the bitstreams.
    :raises BoardError: if a folder holds no build, a bitstream is damaged, a budget is not kept, or
        ``out`` cannot be written.
    """
    out = Path(out)
    rows, made = [], []
    try:
        make_folders(out)
        for folder in map(Path, builds):
            report = build_report(folder / "report.json")
            bitstream = folder / report["bitstream"]["file"]
            if not bitstream.is_file() or _digest(bitstream) != report["bitstream"]["sha256"]:
                raise BoardError(f"{folder} does not hold the bitstream of its report; build it again")
            if broken := [budget["text"] for budget in report["budgets"] if not budget["kept"]]:
                raise BoardError(f"{folder} is not fit for a release: {'; '.join(broken)}")
            made.append(out / f"{report['board']}{bitstream.suffix}")
            for source, target in (
                (bitstream, made[-1]),
                (folder / "report.json", out / f"{report['board']}.json"),
                (folder / "report.html", out / f"{report['board']}.html"),
            ):
                shutil.copy(source, target)
            engine = report["engine"]
            rows.append(
                f"| {report['board']} | {made[-1].name} | {engine['rows']}×{engine['lanes']} | "
                f"{report['engine_digest']} | {report['build_id']} | {report['fmax_mhz']:.1f} MHz |"
            )
        page = [_INTRODUCTION, *rows, ""]
        write_atomically(out / "BITSTREAMS.md", "\n".join(page).encode())
        files = sorted(path for path in out.iterdir() if path.is_file() and path.name != CHECKSUMS)
        sums = "".join(f"{_digest(path)}  {path.name}\n" for path in files)
        write_atomically(out / CHECKSUMS, sums.encode())
    except OSError as error:
        raise BoardError(f"cannot write {out}: {error.strerror}; choose another folder") from None
    return made


_INTRODUCTION = """\
# Bitstreams

`dither program --board NAME --bitstream .` checks one of these and loads it; `sha256sum --check
SHA256SUMS` checks all files. A board's report stands beside its bitstream, as data and as a page.

| board | file | engine | engine digest | build id | clock reached |
| --- | --- | --- | --- | --- | --- |"""

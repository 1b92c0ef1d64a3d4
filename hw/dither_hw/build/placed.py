"""The netlist that nextpnr has placed, kept for simulations in a tenth of its size."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from dither.arch.device import DeviceError

__all__ = ["PLACED", "keep_placed", "read_placed"]

PLACED = "placed.json.gz"
"""Name of the file with a placed netlist, in a build's folder."""
_NEEDED = ("type", "parameters", "port_directions", "connections")
_SITES = ("NEXTPNR_BEL", "BEL_PAD_INPUT")


def keep_placed(source: Path, target: Path) -> None:
    """Copies a netlist, as nextpnr writes it, without names and routes of its nets."""
    top = json.loads(source.read_text())["modules"]["top"]
    cells = {
        name: {key: cell[key] for key in _NEEDED}
        | {"attributes": {site: cell["attributes"][site] for site in _SITES if site in cell["attributes"]}}
        for name, cell in top["cells"].items()
    }
    text = json.dumps({"ports": top["ports"], "cells": cells}, separators=(",", ":"))
    # Without a time, so that the same netlist is the same file.
    target.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_placed(folder: Path) -> dict[str, Any]:
    """Returns the netlist that a build has placed: ``ports`` and ``cells`` in Yosys' JSON.

    :param folder: of a build.
    :raises DeviceError: if it is not there or cannot be read.
    """
    path = folder / PLACED
    try:
        netlist: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise DeviceError(f"{path} is damaged; make it again: dither build --board NAME --force") from None
        raise DeviceError(f"{path}: {error.strerror}; make it first: dither build --board NAME") from None
    except (ValueError, EOFError):
        raise DeviceError(f"{path} is damaged; make it again: dither build --board NAME --force") from None
    return netlist

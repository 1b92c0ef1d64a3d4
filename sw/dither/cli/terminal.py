"""Terminals that cannot show every character, and what stands in the place of missing ones."""

from __future__ import annotations

import codecs
import sys

__all__ = ["spell_out"]

_SPELLED = {
    "×": "x",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "→": "->",
    "✓": "ok",
    "✗": "x",
    "μ": "mu",
    "µ": "u",
    "°": " degrees",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "\N{NARROW NO-BREAK SPACE}": " ",
    "\N{NO-BREAK SPACE}": " ",
}
_NAME = "dither"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character, "?") for character in missing), error.end


def spell_out() -> None:
    """Lets standard output and error spell out what their encoding lacks, rather than fail."""
    codecs.register_error(_NAME, _replace)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            reconfigure(errors=_NAME)

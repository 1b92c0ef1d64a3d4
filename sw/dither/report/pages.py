"""Pages that need nothing else: templates, their filters, the one style sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .colors import KINDS, KINDS_DARK
from .text import count, duration, number, percent, thousands

__all__ = ["render", "style_sheet"]

_OWN = "dither.report"
_FILTERS = {"count": count, "duration": duration, "percent": percent, "number": number, "thousands": thousands}


def render(
    template: str, *, package: str = _OWN, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any
) -> str:
    """Fills a template with values; the style sheet is among them as ``style``, and as
    ``kinds`` the number of its colours for kinds.

    :param package: where the template is; what it includes may also be here.
    :param filters: further filters besides ``count``, ``duration``, ``percent``, ``number`` and
        ``thousands``.
    """
    loader = ChoiceLoader([PackageLoader(name, ".") for name in dict.fromkeys((package, _OWN))])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {**_FILTERS, **(filters or {})}
    return environment.get_template(template).render(style=Markup(style_sheet()), kinds=len(KINDS), **values)


def style_sheet() -> str:
    """Returns the one style sheet, with the colours of kinds as ``--c0`` and so on."""
    text = files(_OWN).joinpath("style.css").read_text("utf-8")
    for place, colors in (("/* kinds */", KINDS), ("/* kinds, dark */", KINDS_DARK)):
        text = text.replace(place, " ".join(f"--c{number}: {color};" for number, color in enumerate(colors)))
    return text

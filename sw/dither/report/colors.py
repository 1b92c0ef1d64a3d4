"""The colours of kinds: of phases, regions and units, told apart by colour and by nothing else.

Hues are a golden angle apart in OKLCH, so that neighbours differ most; every eight colours have a
lightness of their own. All have a contrast of three to one with the page.
"""

from __future__ import annotations

__all__ = ["KINDS", "KINDS_DARK"]

# fmt: off
KINDS = (
    "#4970c6", "#b6532a", "#0b8776", "#9457aa", "#8a7206", "#027fab", "#b64b63", "#2f893f",
    "#473c95", "#723e00", "#06585b", "#792669", "#4d5200", "#004e8e", "#89221a", "#015c43",
    "#9a70cb", "#ae7e05", "#0097b6", "#c85f89", "#62993a", "#6a80dc", "#c96a2f", "#129c92",
)
"""Colours for pages on light paper, in the order in which they should be taken."""
KINDS_DARK = (
    "#7ba3f6", "#e88762", "#0dbfa6", "#c58adb", "#bfa233", "#36b2e7", "#e98093", "#6aba73",
    "#c9cafe", "#ffc18c", "#46e9ef", "#ffb3eb", "#ced970", "#add3fe", "#febdb2", "#6eeabd",
    "#8e67bb", "#a0750c", "#0a8ba8", "#b8597f", "#5b8e37", "#6276ca", "#b9622d", "#089087",
)
"""Colours of the same kinds for pages on dark paper."""
# fmt: on

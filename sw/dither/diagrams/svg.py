"""Drawing in SVG: boxes, lines, text, on a light card that is legible on any page."""

from __future__ import annotations

from html import escape

__all__ = ["BLUE", "FAINT", "INK", "ORANGE", "PALE", "PAPER", "SOFT", "Drawing"]

INK, SOFT, FAINT, PALE, PAPER = "#1d1e26", "#5d606b", "#d3d1c8", "#efede5", "#fdfcf9"
BLUE, ORANGE = "#2f5fd0", "#c65a24"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


class Drawing:
    """A picture that grows by what is drawn on it.

    :param width: width in pixels.
    :param height: height in pixels.
    :param title: what it shows, for those who cannot see it.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        size = f'width="{_number(width)}" height="{_number(height)}"'
        box = f'viewBox="0 0 {_number(width)} {_number(height)}"'
        font = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif" font-size="13"'
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} {size} role="img" {font} fill="{INK}">',
            f"<title>{escape(title)}</title>",
            f'<rect {size} rx="10" fill="{PAPER}"/>',
        ]

    def box(
        self, x: float, y: float, width: float, height: float, fill: str = PALE, stroke: str = "none", title: str = ""
    ) -> None:
        """Draws a rectangle with a corner at (x, y).

        :param title: what a browser says of it under the pointer.
        """
        place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'
        radius = _number(min(5, width / 3, height / 3))
        inside = f"><title>{escape(title)}</title></rect>" if title else "/>"
        self._parts.append(f'<rect {place} rx="{radius}" fill="{fill}" stroke="{stroke}"{inside}')

    def text(
        self, x: float, y: float, words: str, *, at: str = "start", size: float = 13, bold: bool = False, ink: str = INK
    ) -> None:
        """Writes one line with its base line at y.

        :param at: which part of the line stands at x: ``start``, ``middle`` or ``end``.
        """
        weight = ' font-weight="600"' if bold else ""
        style = f'text-anchor="{at}" font-size="{_number(size)}" fill="{ink}"{weight}'
        self._parts.append(f'<text x="{_number(x)}" y="{_number(y)}" {style}>{escape(words)}</text>')

    def label(self, x: float, y: float, width: float, height: float, words: str, note: str = "", **look: str) -> None:
        """Draws a box with a line in its middle, and a smaller one below."""
        self.box(x, y, width, height, **look)
        middle = y + height / 2 + (4.5 if not note else -2)
        self.text(x + width / 2, middle, words, at="middle", bold=True)
        if note:
            self.text(x + width / 2, middle + 16, note, at="middle", size=11, ink=SOFT)

    def line(self, points: list[tuple[float, float]], ink: str = SOFT, width: float = 1.5, arrow: bool = False) -> None:
        """Draws straight lines from point to point, the last with an arrow's head if wanted."""
        way = " L ".join(f"{_number(x)} {_number(y)}" for x, y in points)
        self._way(f"M {way}", ink, width)
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            self._head(x, y, (x > x0) - (x < x0), (y > y0) - (y < y0), ink)

    def curve(self, x0: float, y0: float, x: float, y: float, ink: str, width: float = 1.5, arrow: bool = True) -> None:
        """Draws a curve that begins and ends level, with an arrow's head at its end."""
        direction = 1 if x > x0 else -1
        end = x - 5 * direction if arrow else x
        middle = (x0 + x) / 2
        points = (x0, y0, middle, y0, middle, y, end, y)
        self._way("M {} {} C {} {} {} {} {} {}".format(*map(_number, points)), ink, width)
        if arrow:
            self._head(x, y, direction, 0, ink)

    def _way(self, way: str, ink: str, width: float) -> None:
        self._parts.append(f'<path d="{way}" fill="none" stroke="{ink}" stroke-width="{_number(width)}"/>')

    def _head(self, x: float, y: float, dx: int, dy: int, ink: str) -> None:
        back = (x - 7 * dx, y - 7 * dy)
        corners = [(x, y), (back[0] - 3.5 * dy, back[1] + 3.5 * dx), (back[0] + 3.5 * dy, back[1] - 3.5 * dx)]
        points = " ".join(f"{_number(a)},{_number(b)}" for a, b in corners)
        self._parts.append(f'<polygon points="{points}" fill="{ink}"/>')

    def svg(self) -> str:
        """Returns the picture as the text of an SVG file."""
        return "\n".join([*self._parts, "</svg>"]) + "\n"

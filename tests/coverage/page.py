"""The page about the states that tests meet."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from tests.benches.coverage import PROGRAMS, UNITS, points

from .unreachable import reason

__all__ = ["page"]

_BEGINNING = """# States that tests meet

`make coverage` makes this page; do not edit it.

The table of instructions says what there is to meet: for each field, classes of its values (each
member of an enumeration; zero and more; one and more; each sign; register 0 and another); for each
instruction, all combinations of its choices and flags; and for what uses a stream, each pattern of
pauses. Benches of single units and whole random programs tell which instructions they run, each
process in a file of its own; here all of them are put together. What a column lacks is listed
below.

| instruction | points | cannot be met | met by units' benches | met by whole programs | met |
| --- | --: | --: | --: | --: | --: |
"""


def page(met: Mapping[str, set[tuple[str, str]]]) -> str:
    """Returns the page's text.

    :param met: from :func:`tests.benches.coverage.merge`.
    """
    lines, holes, never = [_BEGINNING.rstrip()], [], []
    totals = [0] * 5
    for name, own in points().items():
        open_points = [point for point in own if reason(name, point) is None]
        units, programs = ([p for p in open_points if (name, p) in met[where]] for where in (UNITS, PROGRAMS))
        either = {*units, *programs}
        numbers = [len(own), len(own) - len(open_points), len(units), len(programs), len(either)]
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} |")
        missing = [point for point in open_points if point not in either]
        holes += [f"- **{name}**: {'; '.join(missing)}."] if missing else []
        never += [f"- **{name}**: {point}: {reason(name, point)}." for point in own if reason(name, point) is not None]
    lines.append(f"| all | {' | '.join(map(str, totals))} |")
    for title, items in (("Not met", holes), ("Cannot be met", never)):
        lines += ["", f"## {title}", ""]
        wrapped = [textwrap.fill(item, 100, subsequent_indent="  ", break_on_hyphens=False) for item in items]
        lines += wrapped or ["Nothing."]
    return "\n".join(lines) + "\n"

"""The page about mutation scores, made from them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .catalogue import COMPONENTS
from .equivalence import EQUIVALENT
from .score import FOUND, Score

__all__ = ["page"]

_BEGINNING = """# Mutation scores

`make mutate` makes this page; do not edit it.

A bench is as good as the faults that it finds. `make mutate` draws random faults of each
component, up to {count} (seed {seed}): an operator becomes its opposite, a constant or a signal
changes its lowest or highest bit, a choice takes its neighbour's value. All faults of a
component are in one compiled simulation, and an input chooses one. The component's bench then
runs on each. What stands in simulations alone, for words that would be anything on a chip, has
no faults. The requantisers and interpolators in the lanes of CONTRACT have rows of their own,
and are left out of that of the lanes.

Of what it does not find, SymbiYosys with Boolector says whether anybody could: it looks for a proof
that component and faulty twin never differ at their ports, whatever their inputs. Such a fault is
*equivalent* and does not count. *Different* are faults for which the solver has inputs, legal or
not, that show them; about *undecided* ones it knows nothing. Both count as not found.

| component | faults there are | tried | equivalent | found | of those that matter |
| --- | --: | --: | --: | --: | --: |
"""


def page(scores: Sequence[Score], count: int, seed: int) -> str:
    """Returns the page's text."""
    lines = [_BEGINNING.format(count=count, seed=seed).rstrip()]
    for score in scores:
        numbers = (score.places, len(score.fates), score.count(EQUIVALENT), score.count(FOUND), f"{score.share:.1%}")
        lines.append(f"| {score.component} | {' | '.join(map(str, numbers))} |")
    tried, matter = sum(len(score.fates) for score in scores), sum(score.matter for score in scores)
    found = sum(score.count(FOUND) for score in scores)
    total = sum(score.places for score in scores)
    lines.append(f"| all | {total} | {tried} | {tried - matter} | {found} | {found / matter:.1%} |")
    lives = [
        f"| {score.component} | `{fate.fault.replace('|', '¦')}` | {fate.fate} |"
        for score in scores
        for fate in score.fates
        if fate.fate not in (FOUND, EQUIVALENT)
    ]
    table = ["| component | fault | the solver says |", "| --- | --- | --- |", *lives]
    lines += ["", "## Faults that live", "", *(table if lives else ["None."])]
    missing = [name for name in COMPONENTS if name not in {score.component for score in scores}]
    if missing:
        lines += ["", "## Not measured yet", "", textwrap.fill(f"{', '.join(missing)}.", 100, break_on_hyphens=False)]
    return "\n".join(lines) + "\n"
